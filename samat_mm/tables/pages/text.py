"""A table as Markdown, as LaTeX and as CSV."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from samat_mm.tables.booktabs import booktabs, escaped
from samat_mm.tables.pages.wording import (
    MISSING,
    Document,
    heading,
    measured,
    notes,
    number,
    ours,
    published,
    verdict_note,
)


def as_markdown(document: Document) -> str:
    """Return the table in GitHub's Markdown, with the commands behind every row."""
    marks, columns = notes(document), list(document['columns'])
    lines = [
        f'# {heading(document)}',
        '',
        measured(document),
        '',
        f'| method | {" | ".join(columns)} |',
        f'|---|{"---|" * len(columns)}',
    ]
    for row in document['rows']:
        cells = [_both(ours(cell), published(cell, marks)) for cell in row['cells'].values()]
        lines.append(f'| {row["name"]} | {" | ".join(cells)} |')
    lines += ['', *(f'{mark} {note}  '.replace('*', r'\*') for note, mark in marks.items()), '']
    for answer in document['verdict']:
        lines += [*_answer(answer), '']
    lines += [verdict_note(document), ''] if document['verdict'] else []
    lines += ['## Commands', '']
    for name, commands in document['commands'].items():
        lines += [f'{name}:', '', '```bash', *commands, '```', '']
    versions = ', '.join(f'{name} {version}' for name, version in document['versions'].items())
    return '\n'.join([*lines, f'Versions: {versions or "none"}.', ''])


def _answer(answer: Mapping[str, Any]) -> list[str]:
    lines = [f'## {answer["question"]}', '', answer['sentence'], '']
    if answer['columns']:
        lines += [f'| method | {" | ".join(answer["columns"])} |', f'|---|{"---|" * len(answer["columns"])}']
    return lines + [f'| {name} | {" | ".join(map(number, cells))} |' for name, cells in answer['rows']]


def as_latex(document: Document) -> str:
    """Return the table for a paper, with the rules of the package booktabs; published numbers are in parentheses."""
    marks = notes(document)
    rows = [
        (row['name'], [_both(escaped(ours(cell)), published(cell, marks)) for cell in row['cells'].values()])
        for row in document['rows']
    ]
    explained = [f'{mark} {escaped(note)}' for note, mark in marks.items()]
    return booktabs(f'{heading(document)}. {measured(document)}', list(document['columns']), rows, explained)


def as_csv(document: Document) -> str:
    """Return a line for each cell: row, column, mean, standard deviation, number of seeds, published number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['row', 'column', 'mean', 'std', 'n', 'published'])
    for row in document['rows']:
        for column, cell in row['cells'].items():
            writer.writerow([row['name'], column, *(_plain(cell, key) for key in ('mean', 'std', 'n', 'published'))])
    return text.getvalue()


def _both(own: str, theirs: str) -> str:
    return own if theirs == MISSING else f'{own} ({theirs})'


def _plain(cell: Mapping[str, Any], key: str) -> Any:
    return '' if cell[key] is None else cell[key]
