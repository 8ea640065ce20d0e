"""A table as Markdown, LaTeX, CSV and HTML, and its models in OpenMMLab's index, from its document."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from samat_mm.files.outputs import write_text
from samat_mm.tables.pages.html import as_html
from samat_mm.tables.pages.model_index import write_model_index
from samat_mm.tables.pages.text import as_csv, as_latex, as_markdown

Document = Mapping[str, Any]
PAGES: dict[str, Callable[[Document], str]] = {
    'md': as_markdown,
    'tex': as_latex,
    'csv': as_csv,
    'html': as_html,
}


def write_pages(document: Document, path: Path) -> list[Path]:
    """Write all pages of a table and the index of its models next to its document.

    Args:
        document: As :func:`samat_mm.tables.results.collect` returns it.
        path: The file that holds the document; the pages' suffixes replace its own.

    Raises:
        OSError: if a page cannot be written, or a config of the table cannot be read.
    """
    written = []
    for suffix, page in PAGES.items():
        target = path.with_suffix(f'.{suffix}')
        write_text(target, page(document))
        written.append(target)
    return written + write_model_index(path.parent)
