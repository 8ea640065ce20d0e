"""MkDocs hooks: notebooks become pages, with the outputs that they were saved with."""

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each notebook."""
    for notebook in [file for file in files if file.src_uri.endswith('.ipynb')]:
        page = notebook.src_uri.removesuffix('.ipynb') + '.md'
        files.append(File.generated(config, page, content=as_markdown(Path(notebook.abs_src_path))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to notebooks, which GitHub shows, to their pages."""
    return markdown.replace('.ipynb)', '.md)')


def as_markdown(path: Path) -> str:
    """Return a notebook as Markdown: text, code, and what the code printed, showed and returned."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == 'markdown':
            parts.append(cell.source)
        else:
            parts.append(f'```python\n{cell.source}\n```')
            for is_text, group in groupby(map(_content, cell.outputs), key=itemgetter(0)):
                contents = [content for _, content in group]
                parts += [f'```text\n{"".join(contents).rstrip()}\n```'] if is_text else contents
    return '\n\n'.join(parts) + '\n'


def _content(output: Any) -> tuple[bool, str]:
    """Return whether an output is plain text, and what it shows: a picture as Markdown, a table as HTML."""
    data = output.get('data', {})
    if 'image/png' in data:
        return False, f'![output](data:image/png;base64,{data["image/png"].strip()})'
    page = data.get('text/html', '')
    if page and not page.startswith('<pre'):  # which says no more than the text
        return False, page
    return True, data.get('text/plain', output.get('text', ''))
