"""What a table is made of besides its cells, in a file: if it changes, the pages are made again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samat_mm.errors import InputError
from samat_mm.tables.cells import write_if_changed
from samat_mm.tables.evidence import read_json
from samat_mm.tables.table import Table

SUFFIX = '.definition.json'


def write_definition(table: Table, out: Path) -> Path:
    """Write the definition of a table into the folder of its cells, unless it is there already, and return its path.

    Raises:
        ValueError: if the folder has the cells of a table on other data or of another budget.
        OSError: if a file cannot be read or written.
    """
    own = _definition(table)
    folder = out / 'cells'
    for path in sorted(folder.glob(f'*{SUFFIX}')):
        other = read_json(path)
        if other['name'] != table.name and other['shared'] != own['shared']:
            raise InputError(
                f'{out} has the cells of {other["name"]} with {_said(other["shared"])}, and {table.name} has '
                f'{_said(own["shared"])}; give another --out.'
            )
    file = folder / f'{table.name}{SUFFIX}'
    write_if_changed(file, json.dumps(own, indent=2, default=str) + '\n')
    return file


def _definition(table: Table) -> dict[str, Any]:
    configs = sorted({str(row.settings['config']) for row in table.rows if 'model' not in row.settings})
    return {**asdict(table), 'folder': '', 'shared': {'config': ', '.join(configs), 'budget': table.budget.name}}


def _said(shared: dict[str, str]) -> str:
    return f'config {shared["config"] or "of each row"} and budget {shared["budget"]}'
