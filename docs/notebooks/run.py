"""Run the notebooks and save them with their outputs: python docs/notebooks/run.py"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

COLOUR = re.compile('\x1b\\[[0-9;]*m')
FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


def run(notebook: Any, folder: str) -> None:
    """Run all cells of a notebook, which get their outputs.

    Args:
        notebook: a notebook of nbformat.
        folder: working folder of the cells.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    client = NotebookClient(notebook, timeout=600, kernel_name='python3', resources={'metadata': {'path': folder}})
    client.execute(env=environment)


def without_traces(notebook: Any, folder: str) -> None:
    """Take out what is no result: times, warnings, progress, folders of this machine, and colours of printed lines."""
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)
        outputs = [output for output in cell.get('outputs', []) if output.get('name') != 'stderr']
        for output in outputs:
            output.get('metadata', {}).clear()
            data = output.get('data', {})
            if data.get('text/html', '').startswith('<pre'):
                del data['text/html']
            if 'text/html' in data:
                data.pop('text/plain', None)
            if 'text/plain' in data:
                plain = COLOUR.sub('', data['text/plain'])
                data['text/plain'] = plain.replace(f'{folder}/', '').replace(f'{ROOT}/', '')
        if 'outputs' in cell:
            cell.outputs = [output for output in outputs if not _is_progress(output)]


def _is_progress(output: Any) -> bool:
    data = output.get('data', {})
    text = data.get('text/plain', '').strip()
    said = text.endswith(' left') or text.startswith(('log', 'work_dirs')) or 'Warning' in text
    return data.keys() == {'text/plain'} and (not text or said)


if __name__ == '__main__':
    for path in sorted(FOLDER.glob('*.ipynb')):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, folder)
            without_traces(notebook, folder)
        nbformat.write(notebook, path)
