"""A table on the terminal."""

from rich.table import Table

from samat_mm.tables.pages.wording import Document, heading, ours


def as_terminal_table(document: Document) -> Table:
    """Return our numbers, a line for each row of the table."""
    table = Table(title=heading(document), caption=document['metric'])
    table.add_column('method')
    for column in document['columns']:
        table.add_column(column, justify='right')
    for row in document['rows']:
        table.add_row(row['name'], *map(ours, row['cells'].values()))
    return table
