"""MkDocs hooks: notebooks become pages, with the outputs that they were saved with."""

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
    cells = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == 'markdown':
            cells.append(cell.source)
        else:
            cells.append(f'```python\n{cell.source}\n```')
            cells += [shown for output in cell.outputs if (shown := _output(output))]
    return '\n\n'.join(cells) + '\n'


def _output(output: Any) -> str:
    data = output.get('data', {})
    if 'image/png' in data:
        return f'![output](data:image/png;base64,{data["image/png"].strip()})'
    if 'text/html' in data:
        return data['text/html']
    text = data.get('text/plain', output.get('text', ''))
    return f'```text\n{text.rstrip()}\n```' if text else ''
