"""A comparison as a page, in LaTeX and on the terminal, from its document."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from samat_mm.reports.figures import figures_of
from samat_mm.reports.wording import Document, are_repeated, cell_of, heading, notes
from samat_mm.tables.booktabs import booktabs, escaped
from samat_mm.terminal import FittingTable
from samat_mm.visualization.page import render, svg
from samat_mm.visualization.report_texts import parameters

TABLE = Path(__file__).with_name('comparison_table.html.jinja')
PAGE = Path(__file__).with_name('comparison.html.jinja')


def as_html(document: Document) -> str:
    """Return the page: the table, curves where an attack has several radii, and what was compared."""
    return render(
        PAGE,
        **_shown(document),
        heading=heading(document),
        curves=[svg(figure, f'curves{number}') for number, figure in enumerate(figures_of(document))],
        parameters={name: parameters({'attack': attack}) for name, attack in document['attacks'].items() if attack},
    )


def table_html(document: Document) -> str:
    """Return the table alone, for a notebook."""
    return render(TABLE, **_shown(document))


def as_latex(document: Document) -> str:
    """Return the table for a paper; see :func:`booktabs`."""
    rows = [
        (name, [rf'\textbf{{{escaped(cell)}}}' if is_best else escaped(cell) for cell, is_best in cells])
        for name, cells in _rows(document)
    ]
    return booktabs(' '.join([f'{heading(document)}.', *notes(document)]), _columns(document), rows)


def as_terminal_table(document: Document) -> FittingTable:
    """Return a line for each method, with the notes beneath it."""
    table = FittingTable(heading(document), ('method', *_columns(document)), notes(document, best='*'))
    for name, cells in _rows(document):
        table.add_row(name, *(f'{cell}*' if is_best else cell for cell, is_best in cells))
    return table


def _columns(document: Document) -> list[str]:
    return [*(['n'] if are_repeated(document) else []), *document['columns'].values()]


def _rows(document: Document) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Yield the name of each method, and its cells and whether each is marked as the best."""
    for method in document['methods']:
        count = [(str(method['trainings']), False)] if are_repeated(document) else []
        cells = [(cell_of(method, name), document['best'][name] == method['name']) for name in document['columns']]
        yield method['name'], [*count, *cells]


def _shown(document: Document) -> dict[str, Any]:
    """Return what the table shows."""
    return {
        'document': document,
        'columns': _columns(document),
        'rows': list(_rows(document)),
        'notes': notes(document),
    }


PAGES: dict[str, Callable[[Document], str]] = {'.html': as_html, '.tex': as_latex}
