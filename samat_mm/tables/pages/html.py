"""A table as one page that needs nothing but itself."""

from pathlib import Path

from samat_mm.tables.pages.figures import figures_of
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
from samat_mm.visualization.page import render

TEMPLATE = Path(__file__).with_name('table.html.jinja')


def as_html(document: Document) -> str:
    """Return the page: the table, its figures, the commands and the versions."""
    marks = notes(document)
    return render(
        TEMPLATE,
        document=document,
        heading=heading(document),
        measured=measured(document),
        marks=marks,
        ours=ours,
        number=number,
        verdict_note=verdict_note(document),
        missing=MISSING,
        published=lambda cell: published(cell, marks),
        figures=figures_of(document),
    )
