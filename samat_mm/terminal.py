"""Tables on a terminal of any width, in which no word and no number is cut or broken."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

# A name may be broken after these, but not within a number: 0.5/255, 1e-05.
BREAKS = re.compile(r'(?<=[\s_@:=])|(?<=[^\Wde]-)(?=\w)|(?<=[de]-)(?=\D)|(?<=\d-)|(?<=\D/)(?=\S)')
EDGES = 3  # letters of a rule and the blanks beside it
SHORT_NAME = 18  # letters; shorter names are not folded to save a table
MOST_NAME = 40  # percent of the width that names may take beside their texts


def fold(text: str, width: int) -> list[str]:
    """Return the lines of a text, each at most ``width`` letters.

    Lines end between words. A word that is too long for a line is broken after '_', '-' and the like, and anywhere
    only if that is not enough.

    Example:
        >>> fold('deeplabv3_stanford_pgd-at-eps1', 22)
        ['deeplabv3_stanford_', 'pgd-at-eps1']
        >>> fold('pgd-linf@0.5/255 at most', 10)
        ['pgd-linf@', '0.5/255 at', 'most']
    """
    return [line for paragraph in text.split('\n') for line in _folded(paragraph, width)]


def pieces(text: str) -> list[str]:
    """Return the parts of a text between which a line may be broken."""
    return [piece for piece in BREAKS.split(text) if piece]


@dataclass
class FittingTable:
    """A table with the names of its rows in the first column, which fits a console of any width.

    Titles of columns are folded between words, and so are names where the table would be too wide. If that is not
    enough, the columns are distributed over several tables with the same rows.

    Args:
        title: line or lines above the table.
        columns: titles of the columns, that of the names first.
        notes: lines beneath the table.
    """

    title: str
    columns: Sequence[str]
    notes: Sequence[str] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add_row(self, name: str, *cells: str) -> None:
        """Add a row; its cells are never broken."""
        self.rows.append((name, *cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width = options.max_width
        if self.title:
            yield _lines(self.title, width, 'bold')
        others = [self._width(column) for column in range(1, len(self.columns))]
        names = [self.columns[0], *(row[0] for row in self.rows)]
        room = width - 1 - EDGES
        widest = max(1, min(max(map(cell_len, names)), room - max(others, default=-EDGES) - EDGES))
        word = max(cell_len(piece.rstrip()) for name in names for piece in pieces(name))
        narrowest = min(widest, max(word, SHORT_NAME))
        # The widest names with which there are the fewest tables.
        name = min(range(widest, narrowest - 1, -1), key=lambda name: len(_groups(others, room - name)))
        for group in _groups(others, room - name):
            yield self._table([column + 1 for column in group], name)
        for note in self.notes:
            yield _lines(note, width, 'dim')

    def _width(self, column: int) -> int:
        """Return the width of a column: of its widest cell, or the longest word of its title."""
        return max(map(cell_len, (*pieces(self.columns[column]), *(row[column] for row in self.rows))), default=0)

    def _table(self, columns: Sequence[int], name: int) -> Table:
        table = Table()
        table.add_column('\n'.join(fold(self.columns[0], name)), width=name, no_wrap=True)
        for column in columns:
            width = self._width(column)
            title = '\n'.join(fold(self.columns[column], width))
            table.add_column(title, justify='right', width=width, no_wrap=True)
        for row in self.rows:
            table.add_row(Text('\n'.join(fold(row[0], name))), *(Text(row[column]) for column in columns))
        return table


@dataclass(frozen=True)
class Entry:
    """A name and texts about it, for what no table can hold; ``style`` is that of the name, in rich's words."""

    name: str
    style: str
    texts: Sequence[str]


def print_entries(title: str, entries: Sequence[Entry], console: Console) -> None:
    """Print entries one beneath the other: the names in a column of their own, the texts folded between words."""
    print_lines(title, console, style='bold')
    names = min(max(cell_len(entry.name) for entry in entries), MOST_NAME * console.width // 100)
    for entry in entries:
        left = fold(entry.name, names)
        right = [line for text in entry.texts for line in fold(text, console.width - names - 2)]
        for name, text in zip_longest(left, right, fillvalue=''):
            line = Text(no_wrap=True)
            line.append(name.ljust(names) if text else name, entry.style)
            console.print(line.append(f'  {text}' if text else ''))


def print_lines(text: str, console: Console, *, style: str = '') -> None:
    """Print a text, folded between words."""
    console.print(_lines(text, console.width, style))


def _lines(text: str, width: int, style: str) -> Text:
    return Text('\n'.join(fold(text, width)), style=style, no_wrap=True)


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


def _folded(text: str, width: int) -> list[str]:
    lines = ['']
    for word in text.split():
        for number, part in enumerate([word] if cell_len(word) <= width else pieces(word)):
            joined = f'{lines[-1]} {part}' if lines[-1] and not number else lines[-1] + part
            lines[-1:] = [joined] if cell_len(joined) <= width else [*filter(None, lines[-1:]), *_broken(part, width)]
    return lines


def _broken(line: str, width: int) -> list[str]:
    return [line[start : start + width] for start in range(0, max(len(line), 1), width)]
