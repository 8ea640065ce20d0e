"""Run the notebooks and save them with their outputs: python docs/notebooks/run.py"""

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

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
    """Take out what differs from run to run: times of execution, numbers of messages, and the working folder."""
    for cell in notebook.cells:
        cell.metadata.pop('execution', None)
        for output in cell.get('outputs', []):
            output.get('metadata', {}).clear()
            if 'text' in output:
                output.text = output.text.replace(f'{folder}/', '')


if __name__ == '__main__':
    for path in sorted(FOLDER.glob('*.ipynb')):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, folder)
            without_traces(notebook, folder)
        nbformat.write(notebook, path)
