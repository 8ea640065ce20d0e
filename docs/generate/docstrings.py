"""The parts of a Google-style docstring, in Markdown."""

import inspect
import re
import textwrap
from typing import Any

SECTIONS = ('Args', 'Attributes', 'Returns', 'Yields', 'Raises', 'Example')
ROLE = re.compile(r':\w+:`~?([^`]+)`')


class Docstring:
    """What a docstring says.

    Args:
        described: a class or a function.

    Attributes:
        text: everything before the sections, less the source.
        source: where a method comes from, or an empty string.
        meanings: the entries of ``Args``, by name.
        attributes: the entries of ``Attributes``, by name.
        returns: what is returned.
        raises: the entries of ``Raises``, by type.
        example: lines of a session with ``>>>``, or an empty string.
    """

    def __init__(self, described: Any) -> None:
        whole = ROLE.sub(r'`\1`', inspect.cleandoc(described.__doc__ or ''))
        head, *rest = re.split(rf'\n*^({"|".join(SECTIONS)}):\n', whole, flags=re.MULTILINE)
        sections = dict(zip(rest[::2], rest[1::2], strict=True))
        text, _, source = head.partition('\nSource: ')
        self.text = text.strip()
        self.source = ' '.join(source.split())
        self.meanings = _entries(sections.get('Args', ''))
        self.attributes = _entries(sections.get('Attributes', ''))
        self.returns = ' '.join(sections.get('Returns', '').split())
        self.raises = _entries(sections.get('Raises', ''))
        self.example = textwrap.dedent(sections.get('Example', '')).strip()

    @property
    def summary(self) -> str:
        """The first sentence."""
        return ' '.join(self.text.partition('\n\n')[0].split())


def _entries(section: str) -> dict[str, str]:
    entries = re.split(r'\n(?=    \*{0,2}\w+: )', '\n' + section)[1:]
    pairs = (entry.partition(':') for entry in entries)
    return {name.strip().lstrip('*'): ' '.join(text.split()) for name, _, text in pairs}
