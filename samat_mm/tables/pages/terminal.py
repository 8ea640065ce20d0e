"""A table on the terminal."""

from samat_mm.tables.pages.wording import Document, heading, ours
from samat_mm.terminal import FittingTable


def as_terminal_table(document: Document) -> FittingTable:
    """Return our numbers, a line for each row of the table."""
    table = FittingTable(heading(document), ('method', *document['columns']), [document['metric']])
    for row in document['rows']:
        table.add_row(row['name'], *map(ours, row['cells'].values()))
    return table
