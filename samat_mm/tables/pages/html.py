"""A table as one page that needs nothing but itself."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

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

TEMPLATE = Path(__file__).with_name('table.html.jinja')


def as_html(document: Document) -> str:
    """Return the page: the table, its figures, the commands and the versions."""
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        TEMPLATE.read_text(encoding='utf-8')
    )
    marks = notes(document)
    return page.render(
        document=document,
        heading=heading(document),
        measured=measured(document),
        marks=marks,
        ours=ours,
        number=number,
        verdict_note=verdict_note(document),
        missing=MISSING,
        published=lambda cell: published(cell, marks),
        figures={caption: Markup(svg) for caption, svg in figures_of(document).items()},
    )
