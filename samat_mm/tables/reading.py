"""Read a table of the paper from its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from samat_mm.crafting.protocols import PROTOCOLS, STRICT
from samat_mm.errors import InputError
from samat_mm.files.configs import configs_folder
from samat_mm.presets import attack_config
from samat_mm.tables.budgets import read_budget
from samat_mm.tables.checks import check_table
from samat_mm.tables.methods import key_of, title_of
from samat_mm.tables.table import SANITY, Row, Table


def tables_folder() -> Path:
    """Return the folder of the tables, in a checkout or in an installed package."""
    return configs_folder() / 'tables'


def table_names() -> list[str]:
    """Return the tables that can be rebuilt, table10 after table9."""
    names = [path.stem for path in tables_folder().glob('*.py')]
    return sorted(names, key=lambda name: (name.rstrip('0123456789'), len(name), name))


def read_table(name: str, budget: str = 'paper', protocol: str = 'strict') -> Table:
    """Read a table.

    Args:
        name: 'table2' to 'table10', 'duality', 'duality-segmentation', or the path of a file in the same form.
        budget: 'smoke', 'short' or 'paper', or the path of a file with a budget.
        protocol: 'strict', or 'paper-compat' for the attacks of the released code on segmentors.

    Raises:
        ValueError: if the table or the budget is unknown, or a row does not fit its columns.
    """
    file = Path(name) if name.endswith('.py') else tables_folder() / f'{name}.py'
    if not file.is_file():
        raise InputError(f'table {name!r} is unknown; the known ones are {", ".join(table_names())}, or give a file.')
    if protocol not in PROTOCOLS:
        raise InputError(f'protocol {protocol!r} is unknown; it must be {" or ".join(PROTOCOLS)}.')
    data = Config.fromfile(file).to_dict()
    missing = [key for key in ('title', 'metric', 'columns', 'rows', 'seeds') if key not in data]
    if missing:
        raise InputError(f'table {file} lacks {", ".join(missing)}; add it.')
    columns = data['columns']
    if protocol != 'strict' and data['metric'] != 'mIoU':
        raise InputError(
            f'protocol {protocol} is what the released code does to segmentors, and {file.stem} is about classifiers; '
            'leave --protocol out.'
        )
    own = data.get('attacks', {})
    named = dict.fromkeys([*(attack for attacks in columns.values() for attack in attacks), *own])
    attacks = {attack: own[attack] if attack in own else attack_config(attack)[1] for attack in named}
    examinations = [name for name in data.get('examinations', ()) if protocol == STRICT or name != SANITY]
    table = Table(
        name=file.stem,
        folder=file.parent,
        title=data['title'],
        metric=data['metric'],
        columns=columns,
        rows=tuple(_row(file.stem, settings, data) for settings in data['rows']),
        seeds=(),
        budget=read_budget(budget, data),
        attacks=attacks,
        column_metrics=data.get('column_metrics', {}),
        labels=data.get('labels', {}),
        surrogates=data.get('surrogates', {}),
        metrics=tuple(data.get('metrics', ())),
        examinations=tuple(examinations),
        roles=data.get('roles', {}),
        questions=tuple(data.get('questions', ())),
        protocol=protocol,
    )
    check_table(table)
    return table.with_seeds(data['seeds'])


def _row(table: str, settings: dict[str, Any], data: Mapping[str, Any]) -> Row:
    settings, columns = {'config': data.get('config'), **settings}, list(data['columns'])
    published, notes = settings.pop('published', [None] * len(columns)), settings.pop('notes', {})
    name = title_of(settings)
    if len(published) != len(columns) or set(notes) - set(columns):
        raise InputError(
            f'row {name} of {table} must have a published number for each of {", ".join(columns)}, and notes on those; '
            f'got {published} and {notes}.'
        )
    return Row(name, key_of(name), settings, dict(zip(columns, published, strict=True)), notes)
