"""Tables on a terminal of any width, in which no word and no number is cut or broken."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

# A name may be broken after these, but not within a number: 0.5/255, 1e-05.
BREAKS = re.compile(r'(?<=[\s_@:=])|(?<=[^\Wde]-)(?=\w)|(?<=[de]-)(?=\D)|(?<=\d-)|(?<=\D/)(?=\S)')
EDGES = 3  # letters of a rule and the blanks beside it
LONGEST_NAME = 0.5  # share of the width that the names of rows may take before they are folded


def fold(text: str, width: int) -> list[str]:
    """Return the lines of a text, each at most ``width`` letters; only a longer word is broken within.

    Example:
        >>> fold('deeplabv3_stanford_pgd-at-eps1', 22)
        ['deeplabv3_stanford_', 'pgd-at-eps1']
        >>> fold('pgd-linf@0.5/255', 10)
        ['pgd-linf@', '0.5/255']
    """
    lines: list[str] = []
    for paragraph in text.split('\n'):
        lines.append('')
        for piece in pieces(paragraph):
            if cell_len((lines[-1] + piece).rstrip()) > width and lines[-1]:
                lines.append('')
            lines[-1] += piece
    broken = [part for line in lines for part in _broken(line.rstrip(), width)]
    return broken or ['']


def pieces(text: str) -> list[str]:
    """Return the parts of a text between which a line may be broken."""
    return [piece for piece in BREAKS.split(text) if piece]


@dataclass
class FittingTable:
    """A table with the names of its rows in the first column, which fits a console of any width.

    Names are folded between words where the table would be too wide. If that is not enough, the columns are
    distributed over several tables with the same rows. Titles of columns are always folded.

    Args:
        title: line or lines above the table.
        columns: titles of the columns, that of the names first.
        notes: lines beneath the table.
    """

    title: str
    columns: Sequence[str]
    notes: Sequence[str] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)

    def add_row(self, name: str, *cells: str, style: str = '') -> None:
        """Add a row; a cell is never broken."""
        self.rows.append((name, *cells))
        self.styles.append(style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        if self.title:
            yield Text('\n'.join(fold(self.title, width)), style='bold', no_wrap=True)
        others = [self._width(column) for column in range(1, len(self.columns))]
        name = self._name_width(width, others)
        for group in _groups(others, width - name - 1 - EDGES):
            yield self._table([0, *(column + 1 for column in group)], name)
        for note in self.notes:
            yield Text('\n'.join(fold(note, width)), style='dim', no_wrap=True)

    def _width(self, column: int) -> int:
        """Return the width of a column: of its widest cell, or the longest word of its title."""
        return max(map(cell_len, (*pieces(self.columns[column]), *(row[column] for row in self.rows))), default=0)

    def _name_width(self, width: int, others: Sequence[int]) -> int:
        names = [self.columns[0], *(row[0] for row in self.rows)]
        whole = max(map(cell_len, names))
        longest_word = max((cell_len(piece.rstrip()) for name in names for piece in pieces(name)), default=0)
        room = width - 1 - EDGES - sum(other + EDGES for other in others)
        if whole <= room:
            return whole
        # Folded names for the whole table, or else names that leave several tables most of the room.
        return room if room >= max(longest_word, min(whole, 12)) else min(
            whole, max(longest_word, int(LONGEST_NAME * width) - EDGES)
        )  # fmt: skip

    def _table(self, columns: Sequence[int], name: int) -> Table:
        table = Table()
        for column in columns:
            width = self._width(column) if column else name
            title = '\n'.join(fold(self.columns[column], width))
            table.add_column(title, justify='right' if column else 'left', width=width, no_wrap=True, overflow='fold')
        for row, style in zip(self.rows, self.styles, strict=True):
            cells = (Text('\n'.join(fold(row[0], name))), *(Text(row[column]) for column in columns[1:]))
            table.add_row(*cells, style=style)
        return table


def entries(title: str, named: Iterable[tuple[str, Sequence[str]]], console: Console) -> None:
    """Print texts under their names, for what no table can hold: folded between words, and indented."""
    console.print(Text('\n'.join(fold(title, console.width)), style='bold', no_wrap=True))
    for name, texts in named:
        console.print(Text('\n'.join(fold(name, console.width)), style='cyan', no_wrap=True))
        for text in texts:
            lines = fold(text, console.width - 4)
            console.print(Text('\n'.join(f'    {line}' for line in lines), no_wrap=True))


def _groups(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the columns of each table, as many in each as have room, at least one."""
    groups: list[list[int]] = [[]]
    taken = 0
    for column, width in enumerate(widths):
        taken += width + EDGES
        if taken > room and groups[-1]:
            groups.append([])
            taken = width + EDGES
        groups[-1].append(column)
    return groups


def _broken(line: str, width: int) -> list[str]:
    return [line[start : start + width] for start in range(0, max(len(line), 1), width)]
