"""Cards in Markdown from the docstring and the signature of a class."""

import inspect
from dataclasses import is_dataclass

from docstrings import Docstring

LINE = 120


class Card:
    """What is known of one method or attack.

    Args:
        described: a class whose docstring has ``Source:`` and ``Args:``.
    """

    def __init__(self, described: type) -> None:
        self.name = described.__name__
        self.said = Docstring(described)
        self.parameters = inspect.signature(described).parameters.values()

    def write(self, example: str, last: str) -> str:
        """Return the card.

        Args:
            example: how it stands in a config, up to its parameters: ``perturbation = dict(type='SAM'``.
            last: the last line, after the source.
        """
        defaults = {
            parameter.name: parameter.default
            for parameter in self.parameters
            if parameter.kind != parameter.VAR_KEYWORD
        }
        plain = {key: value for key, value in defaults.items() if value is not None and not is_dataclass(value)}
        shown = [f'{key}={value!r}' for key, value in plain.items()]
        rows = '\n'.join(f'| `{key}` | `{value!r}` | {self.said.meanings[key]} |' for key, value in defaults.items())
        return (
            f'## {self.name}\n\n{self.said.text}\n\n```python\n{_call(example, shown)}\n```\n\n'
            f'| parameter | default | meaning |\n|---|---|---|\n{rows}\n\n'
            f'Source: {self.said.source} {last}\n\n'
        )


def _call(opened: str, arguments: list[str]) -> str:
    """Return a call as the formatter writes it: on one line, indented on the next, or an argument to a line."""
    head, _, first = opened.partition('(')
    entries = [first, *arguments]
    one_line = ', '.join(entries)
    if len(f'{head}({one_line})') <= LINE:
        return f'{head}({one_line})'
    if len(f'    {one_line}') <= LINE:
        return f'{head}(\n    {one_line}\n)'
    return f'{head}(\n' + ''.join(f'    {entry},\n' for entry in entries) + ')'
