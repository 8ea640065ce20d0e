"""The fenced blocks of the documents."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md')])


@dataclass(frozen=True)
class Block:
    """Text between two fences.

    Args:
        page: the document, from the root of the repository.
        line: number of its first line there.
        text: what stands between the fences.
    """

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'


def blocks(language: str) -> list[Block]:
    """Return all blocks in a language: 'bash' or 'python'."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding='utf-8')
        for match in re.finditer(rf'^```{language}\n(.*?)^```', text, flags=re.MULTILINE | re.DOTALL):
            line = text.count('\n', 0, match.start()) + 2
            found.append(Block(str(page.relative_to(ROOT)), line, match[1]))
    return found
