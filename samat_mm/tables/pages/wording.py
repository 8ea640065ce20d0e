"""What the pages of a table say, whatever their format."""

from collections.abc import Mapping
from typing import Any

from samat_mm.tables.statistics import in_words

Document = Mapping[str, Any]
MISSING = '--'


def heading(document: Document) -> str:
    """Return the title, 'Table 8: SAM and AT ...'; without a number where the paper has no such table."""
    number = document['table']
    return f'Table {number}: {document["title"]}' if number.isdigit() else document['title']


def measured(document: Document) -> str:
    """Return one paragraph on how the numbers came about."""
    seeds = len(document['seeds'])
    samples = ' or '.join(f'{count:,}' for count in document['samples']) or 'no'
    is_published = any(cell['published'] is not None for row in document['rows'] for cell in row['cells'].values())
    beside = ', and the published number' if is_published else ''
    columns = document.get('column_metrics', {})
    others = ''.join(
        f' {metric}: {", ".join(column for column in columns if columns[column] == metric)}.'
        for metric in dict.fromkeys(columns.values())
    )
    return (
        f'{document["metric"]} on {samples} {document.get("unit", "image")}s: mean ± sample standard deviation over '
        f'{seeds} {"seed" if seeds == 1 else "seeds"}{beside}.{others} Budget {document["budget"]}, protocol '
        f'{document["protocol"]}. {document["schedule"]}'
    ).strip()


def verdict_note(document: Document) -> str:
    """Return what the answers of a verdict mean."""
    seeds, samples = len(document['seeds']), max(document['samples'], default=0)
    counted = samples and document['metric'].startswith('accuracy')  # mIoU has no such step
    image = f' One of {samples:,} images is {100 / samples:.2g} points of accuracy.' if counted else ''
    return (
        'Yes and No mean that all seeds say so (at least two); differences are taken between models of the same seed. '
        f'By chance, {seeds} seeds agree once in {2 ** max(seeds - 1, 0)} times.{image} Of several rows of SAM, the '
        'one with the largest gain under the usual attack on these images counts, which favours it.'
    )


def ours(cell: Mapping[str, Any]) -> str:
    """Return our number, '64.3 ± 0.2'; a dash where it is missing."""
    return in_words(cell, missing=MISSING)


def number(cell: Mapping[str, Any]) -> str:
    """Return a number behind an answer with all its decimals, '0.0765 ± 0.002'; a dash where it is missing."""
    if cell['mean'] is None:
        return MISSING
    return f'{cell["mean"]:g}' if cell['std'] is None else f'{cell["mean"]:g} ± {cell["std"]:g}'


def notes(document: Document) -> dict[str, str]:
    """Return the marks of published numbers by their text: {'table 5 has 57.8 in this place': '*'}."""
    found = [cell['note'] for row in document['rows'] for cell in row['cells'].values() if 'note' in cell]
    return {note: '*' * (number + 1) for number, note in enumerate(dict.fromkeys(found))}


def published(cell: Mapping[str, Any], marks: Mapping[str, str]) -> str:
    """Return the published number with its mark, '47.8*'; a dash where there is none."""
    if cell['published'] is None:
        return MISSING
    return f'{cell["published"]:.1f}{marks.get(cell.get("note", ""), "")}'
