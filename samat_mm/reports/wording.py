"""What a comparison says, whatever its format."""

from collections.abc import Iterator, Mapping
from typing import Any

from samat_mm.tables.statistics import in_words

Document = Mapping[str, Any]


def heading(document: Document) -> str:
    """Return the title."""
    return f'{document["metric"]} on {document["samples"]:,} {document["units"]}'


def are_repeated(document: Document) -> bool:
    """Tell whether some method has several trainings, whose number is then worth a column."""
    return any(method['trainings'] > 1 for method in document['methods'])


def cell_of(method: Mapping[str, Any], column: str) -> str:
    """Return a cell, '74.60 ± 0.21'; with the number of trainings where it is not that of the method."""
    cell = method['cells'][column]
    text = in_words(cell, decimals=2)
    return f'{text} (n={cell["n"]})' if 0 < cell['n'] < method['trainings'] else text


def notes(document: Document, best: str = 'Bold') -> list[str]:
    """Return how the numbers came about, and what to know before one compares them.

    Args:
        document: the document of a comparison.
        best: the mark of the numbers that stand out.
    """
    counts = {cell['n'] for method in document['methods'] for cell in method['cells'].values()}
    found = []
    if are_repeated(document):
        found.append('Mean ± sample standard deviation over n trainings.')
    elif len(document['methods']) > 1:
        found.append('One training of each method: the spread between seeds is unknown, so this ranks no methods.')
    if any(document['best'].values()):
        found.append(
            f'{best}: the mean minus its deviation is above every other mean plus its deviation; two trainings at '
            'least.'
        )
    if 0 in counts:
        found.append('--: not tested, or not a number.')
    return [*found, *document['remarks']]


def columns_of(document: Document) -> list[str]:
    """Return the titles of the columns after that of the methods."""
    return [*(['n'] if are_repeated(document) else []), *document['columns'].values()]


def rows_of(document: Document) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Yield the name of each method, and its cells and whether each is marked as the best."""
    for method in document['methods']:
        count = [(str(method['trainings']), False)] if are_repeated(document) else []
        cells = [(cell_of(method, name), document['best'][name] == method['name']) for name in document['columns']]
        yield method['name'], [*count, *cells]
