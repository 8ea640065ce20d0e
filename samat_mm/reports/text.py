"""A comparison in LaTeX and on the terminal, from its document."""

from samat_mm.reports.wording import Document, columns_of, heading, notes, rows_of
from samat_mm.tables.booktabs import booktabs, escaped
from samat_mm.terminal import FittingTable


def as_latex(document: Document) -> str:
    """Return the table for a paper; see :func:`booktabs`."""
    rows = [
        (name, [rf'\textbf{{{escaped(cell)}}}' if is_best else escaped(cell) for cell, is_best in cells])
        for name, cells in rows_of(document)
    ]
    return booktabs(' '.join([f'{heading(document)}.', *notes(document)]), columns_of(document), rows)


def as_terminal_table(document: Document) -> FittingTable:
    """Return a line for each method, with the notes beneath it."""
    table = FittingTable(heading(document), ('method', *columns_of(document)), notes(document, best='*'))
    for name, cells in rows_of(document):
        table.add_row(name, *(f'{cell}*' if is_best else cell for cell, is_best in cells))
    return table
