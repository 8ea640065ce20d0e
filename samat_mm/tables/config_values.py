"""The values of a config that a training has written, read without running it."""

import ast
from pathlib import Path
from typing import Any

from samat_mm.files.access import reading


def config_values(path: Path) -> dict[str, Any]:
    """Return the values that a config assigns, of those written as literals and ``dict(...)``; others are left out.

    Raises:
        OSError: if the file cannot be read.
    """
    with reading(path):
        text = path.read_text(encoding='utf-8')
    values = {}
    for statement in ast.parse(text).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    values[name] = _literal(value)
                except ValueError:
                    continue
    return values


def _literal(node: ast.expr) -> Any:
    """Return the value of an expression; raises ValueError if it would have to be run."""
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords):
            return {str(keyword.arg): _literal(keyword.value) for keyword in keywords}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {ast.literal_eval(key): _literal(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.List(elts=entries) | ast.Tuple(elts=entries):
            return [_literal(entry) for entry in entries]
    return ast.literal_eval(node)
