"""docs/reference/python.md: the functions and classes that a program calls."""

import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from docstrings import Docstring

import samat_mm
from samat_mm.compat import repair_process
from samat_mm.evaluation import SanityChecks, worst_case_miou
from samat_mm.perturbations.inputs import Attack, Problem
from samat_mm.perturbations.weights import WeightPerturbation, perturbed_step
from samat_mm.presets import build_attacks, preset
from samat_mm.reports import Comparison, Report

HEAD = """# Python

What the commands do, and the plain torch below them, as functions and classes. Generated from the docstrings by
`python docs/generate`. [A notebook](../notebooks/first-steps.ipynb) shows the first group at work.

"""
COMMANDS = (samat_mm.train, samat_mm.evaluate, samat_mm.compare, samat_mm.measure_sharpness)
GROUPS: dict[str, tuple[Any, ...]] = {
    'Train, evaluate, compare, measure': COMMANDS,
    'Reports': (Report, Comparison),
    'Plain torch': (perturbed_step, WeightPerturbation, Attack, Problem),
    'Presets and checks': (build_attacks, preset, SanityChecks, worst_case_miou, repair_process),
}


def document() -> str:
    """Return the whole page."""
    text = HEAD
    for title, entries in GROUPS.items():
        text += f'## {title}\n\n' + ''.join(_entry(entry) for entry in entries)
    return text.rstrip('\n') + '\n'


def place_of(entry: Any) -> str:
    """Return where an entry is imported from: the package of its module, where that has it."""
    if entry in COMMANDS:
        return 'samat_mm'
    package = entry.__module__.rpartition('.')[0]
    known = getattr(import_module(package), entry.__name__, None)
    return package if known is entry else entry.__module__


def _entry(entry: Any) -> str:
    said = Docstring(entry)
    text = f'### {entry.__name__}\n\n```text\n{_signature(entry)}\n```\n\n{said.text}\n\n'
    if said.source:
        text += f'Source: {said.source}\n\n'
    parameters = inspect.signature(entry).parameters
    if said.meanings:
        text += '| parameter | default | meaning |\n|---|---|---|\n'
        text += ''.join(_row(name, parameters, meaning) for name, meaning in said.meanings.items()) + '\n'
    if said.attributes:
        text += '| attribute | meaning |\n|---|---|\n'
        text += ''.join(f'| `{name}` | {meaning} |\n' for name, meaning in said.attributes.items()) + '\n'
    if inspect.isclass(entry) and (methods := list(_methods(entry))):
        text += '| member | what it is or does |\n|---|---|\n'
        text += ''.join(f'| `{name}` | {summary} |\n' for name, summary in methods) + '\n'
    if said.returns:
        text += f'Returns: {said.returns}\n\n'
    if said.raises:
        text += 'Raises:\n\n' + ''.join(f'- `{name}` {when}\n' for name, when in said.raises.items()) + '\n'
    return text + (f'```text\n{said.example}\n```\n\n' if said.example else '')


def _signature(entry: Any) -> str:
    """Return the call, on one line or with a parameter to a line."""
    parts = []
    star = False
    for parameter in inspect.signature(entry).parameters.values():
        if parameter.kind == parameter.KEYWORD_ONLY and not star:
            parts.append('*')
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        default = '' if parameter.default is parameter.empty else f'={parameter.default!r}'
        stars = {parameter.VAR_POSITIONAL: '*', parameter.VAR_KEYWORD: '**'}.get(parameter.kind, '')
        parts.append(f'{stars}{parameter.name}{default}')
    called = f'from {place_of(entry)} import {entry.__name__}\n\n{entry.__name__}('
    return called + textwrap.fill(', '.join(parts), 78, subsequent_indent='    ') + ')'


def _row(name: str, parameters: Any, meaning: str) -> str:
    if name not in parameters or parameters[name].kind == inspect.Parameter.VAR_KEYWORD:
        return f'| `**{name}` | | {meaning} |\n'
    default = parameters[name].default
    return f'| `{name}` | {"required" if default is inspect.Parameter.empty else f"`{default!r}`"} | {meaning} |\n'


def _methods(entry: type) -> Iterator[tuple[str, str]]:
    for name, value in vars(entry).items():
        if name == '__call__':
            yield 'attack(predict, inputs, target)', Docstring(value).summary
        elif not name.startswith('_') and (inspect.isfunction(value) or isinstance(value, (classmethod, property))):
            yield (name if isinstance(value, property) else f'{name}()'), Docstring(value).summary
