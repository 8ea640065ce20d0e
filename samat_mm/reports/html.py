"""A comparison as a page, from its document."""

from pathlib import Path
from typing import Any

from samat_mm.reports.figures import figures_of
from samat_mm.reports.wording import Document, columns_of, heading, notes, rows_of
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


def _shown(document: Document) -> dict[str, Any]:
    """Return what the table shows."""
    return {
        'document': document,
        'columns': columns_of(document),
        'rows': list(rows_of(document)),
        'notes': notes(document),
    }
