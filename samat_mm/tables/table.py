"""A table of the paper as data: its rows, its columns, and the published numbers."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from samat_mm.errors import InputError
from samat_mm.perturbations.units import parse_radius
from samat_mm.presets import attack_config, configs_folder
from samat_mm.tables.budgets import NAMES, Budget, shorten
from samat_mm.tables.methods import changes_of, title_of


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Args:
        name: As in 'SAM (rho = 0.1)'.
        key: The name as part of a path.
        settings: ``method``, its ``rho`` or ``eps``, and ``config``: the file of plain SGD, in ``configs/`` or relative
            to the file of the table.
        published: By column, the number that the paper prints; None where it has none.
        notes: By column, a remark on the published number.
    """

    name: str
    key: str
    settings: Mapping[str, Any]
    published: Mapping[str, float | None]
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table of the duality paper at a budget.

    Args:
        name: As in 'table8'.
        folder: Folder of its file.
        title: Subject of the table.
        metric: Key of the metric in the results of a test, 'mIoU' for instance.
        columns: By name, the attacks over which a number is averaged; none for the natural accuracy.
        rows: Rows in the paper's order.
        seeds: Seeds of the trainings.
        budget: Changes that save time.
    """

    name: str
    folder: Path
    title: str
    metric: str
    columns: Mapping[str, Sequence[str]]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    budget: Budget

    @property
    def attacks(self) -> tuple[str, ...]:
        """The presets that the columns name, each once."""
        return tuple(dict.fromkeys(attack for attacks in self.columns.values() for attack in attacks))

    def row(self, key: str) -> Row:
        """Return a row by its key.

        Raises:
            ValueError: if there is no such row.
        """
        for row in self.rows:
            if key in (row.key, row.name):
                return row
        raise InputError(f'{self.name} has no row {key!r}; it has {", ".join(row.key for row in self.rows)}.')

    def with_rows(self, keys: Iterable[str]) -> 'Table':
        """Return the table with some of its rows only.

        Raises:
            ValueError: if there is no such row.
        """
        return replace(self, rows=tuple(self.row(key) for key in keys))

    def with_seeds(self, seeds: Iterable[int]) -> 'Table':
        """Return the table with other seeds."""
        return replace(self, seeds=tuple(seeds))

    def training_config(self, row: Row, seed: int) -> Config:
        """Return the config by which a row is trained."""
        own = row.settings['config']
        config = Config.fromfile(self._file(self.budget.config or own))
        if own in self.budget.models:
            config.merge_from_dict(dict(model=deepcopy(self.budget.models[own])))  # merging empties _delete_
        config.merge_from_dict(changes_of(row.settings, config, self.budget.training_radii))
        shorten(config, self.budget.share)
        config.randomness = dict(seed=seed)
        return config

    def _file(self, config: str) -> Path:
        beside = self.folder / config
        return beside if beside.is_file() else configs_folder() / config

    def attack_configs(self) -> dict[str, dict[str, Any]]:
        """Return the attacks of the columns by the names of their presets."""
        return {name: self._attack(name) for name in self.attacks}

    def _attack(self, name: str) -> dict[str, Any]:
        _, config = attack_config(name)
        config.update(self.budget.attacks.get(name, {}))
        factor = self.budget.attack_radii.get(config.get('norm', ''), 1.0)
        radii = [key for key in ('eps', 'step_size') if key in config and factor != 1]
        config.update({key: factor * parse_radius(config[key], key) for key in radii})
        return {**config, 'name': name}


def tables_folder() -> Path:
    """Return the folder of the tables, in a checkout or in an installed package."""
    return configs_folder() / 'tables'


def table_names() -> list[str]:
    """Return the tables that can be rebuilt."""
    return sorted(path.stem for path in tables_folder().glob('*.py'))


def read_table(name: str, budget: str = 'paper') -> Table:
    """Read a table.

    Args:
        name: 'table2' to 'table9', or the path of a file in the same form.
        budget: 'smoke', 'short' or 'paper'.

    Raises:
        ValueError: if the table or the budget is unknown, or a row does not fit its columns.
    """
    file = Path(name) if name.endswith('.py') else tables_folder() / f'{name}.py'
    if not file.is_file():
        raise InputError(f'table {name!r} is unknown; the known ones are {", ".join(table_names())}, or give a file.')
    if budget not in NAMES:
        raise InputError(f'budget {budget!r} is unknown; it must be {", ".join(NAMES[:-1])} or {NAMES[-1]}.')
    data = Config.fromfile(file).to_dict()
    return Table(
        name=file.stem,
        folder=file.parent,
        title=data['title'],
        metric=data['metric'],
        columns=data['columns'],
        rows=tuple(_row(file.stem, settings, data) for settings in data['rows']),
        seeds=tuple(data['seeds']),
        budget=Budget(budget, **data.get(budget, {})),
    )


def _row(table: str, settings: dict[str, Any], data: Mapping[str, Any]) -> Row:
    settings, columns = {'config': data.get('config'), **settings}, list(data['columns'])
    published, notes = settings.pop('published', [None] * len(columns)), settings.pop('notes', {})
    name = title_of(settings)
    if len(published) != len(columns) or set(notes) - set(columns):
        raise InputError(
            f'row {name} of {table} must have a published number for each of {", ".join(columns)}, and notes on those; '
            f'got {published} and {notes}.'
        )
    key = ''.join(letter if letter.isalnum() or letter in '.-' else '_' for letter in name.replace(' = ', '-'))
    return Row(name, key.replace('__', '_').strip('_'), settings, dict(zip(columns, published, strict=True)), notes)
