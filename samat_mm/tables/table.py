"""A table of the paper as data: its rows, its columns, and the published numbers."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from samat_mm.errors import InputError
from samat_mm.files.configs import configs_folder
from samat_mm.perturbations.units import parse_radius
from samat_mm.tables.budgets import Budget, shorten
from samat_mm.tables.methods import changes_of, parts_of

SANITY, SHARPNESS = EXAMINATIONS = ('sanity', 'sharpness')


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
        column_metrics: By column, the key of the metric that it shows in the place of ``metric``.
        columns: By name, the attacks over which a number is averaged; none for the natural accuracy.
        rows: Rows in the paper's order.
        seeds: Seeds of the trainings.
        budget: Changes that save time.
        attacks: By name, the config of each attack that a column names.
        labels: By attack, how the answers call it; by its name if it is not here.
        surrogates: By attack, the key of the row on whose model, of the same seed, its images are made.
        metrics: Metrics that are computed besides those of the rows' configs.
        examinations: What is measured besides the columns: 'sanity', 'sharpness'.
        roles: For the questions: the keys of the rows ``reference`` and ``yardstick``, the method of the ``claim``, and
            the ``attack`` by which its best row is chosen.
        questions: What is asked of the results, each with ``ask`` and the settings of the question.
        protocol: How attacks see a model, see :class:`samat_mm.crafting.crafting.Crafting`.
    """

    name: str
    folder: Path
    title: str
    metric: str
    columns: Mapping[str, Sequence[str]]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    budget: Budget
    attacks: Mapping[str, Mapping[str, Any]]
    column_metrics: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    surrogates: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Mapping[str, Any], ...] = ()
    examinations: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[Mapping[str, Any], ...] = ()
    protocol: str = 'strict'

    def metric_of(self, column: str) -> str:
        """Return the key of the metric that a column shows."""
        return self.column_metrics.get(column, self.metric)

    def row(self, key: str) -> Row:
        """Return a row by its key.

        Raises:
            ValueError: if there is no such row.
        """
        for row in self.rows:
            if key in (row.key, row.name):
                return row
        raise InputError(f'{self.name} has no row {key!r}; it has {", ".join(row.key for row in self.rows)}.')

    def row_or_none(self, key: str) -> Row | None:
        """Return a row by its key, None if there is no such row."""
        return next((row for row in self.rows if row.key == key), None)

    def with_rows(self, keys: Iterable[str]) -> 'Table':
        """Return the table with some of its rows only.

        Raises:
            ValueError: if there is no such row, or one is left out that the others need.
        """
        rows = tuple(self.row(key) for key in keys)
        needed = set(self.surrogates.values())
        if self.questions:
            needed |= {self.roles['reference'], self.roles['yardstick']}
        missing = sorted(needed - {row.key for row in rows})
        if self.questions and all(row.settings['method'] != self.roles['claim'] for row in rows):
            missing.append(f'a row of {self.roles["claim"]}')
        if missing:
            raise InputError(f'{self.name} compares its rows with {", ".join(missing)}; give that too.')
        return replace(self, rows=rows)

    def with_seeds(self, seeds: Iterable[int]) -> 'Table':
        """Return the table with other seeds.

        Raises:
            ValueError: if a seed is negative or given twice, or there is none.
        """
        given = tuple(seeds)
        if not given or len(set(given)) < len(given) or min(given) < 0:
            raise InputError(f'seeds must be different numbers from 0 on; got {", ".join(map(str, given)) or "none"}.')
        return replace(self, seeds=given)

    def training_config(self, row: Row, seed: int) -> Config:
        """Return the config by which a row is trained."""
        own = row.settings['config']
        config = Config.fromfile(self._file(self.budget.config or own))
        if own in self.budget.models:
            config.merge_from_dict(dict(model=deepcopy(self.budget.models[own])))  # merging empties _delete_
        config.merge_from_dict(changes_of(row.settings, config, self.budget.training_radii))
        for method in parts_of(row.settings):
            config.merge_from_dict(deepcopy(self.budget.methods.get(method, {})))
        shorten(config, self.budget.share)
        config.randomness = dict(seed=seed)
        return config

    def _file(self, config: str) -> Path:
        folders = [self.folder] if self.budget.folder is None else [self.budget.folder, self.folder]
        beside = [folder / config for folder in folders if (folder / config).is_file()]
        return beside[0] if beside else configs_folder() / config

    def test_config(self, row: Row, seed: int, attacks: Sequence[str]) -> Config:
        """Return the config by which a training of a row is tested under some of the attacks."""
        config = self.training_config(row, seed)
        own = (config.get('test_cfg') or {}).get('type', 'TestLoop')
        kind = 'AttackTestLoop' if own == 'TestLoop' else own
        loop: dict[str, Any] = dict(type=kind, attacks=[self.attack_config(name) for name in attacks])
        if self.budget.max_samples is not None:
            loop['max_samples'] = self.budget.max_samples
        if self.protocol != 'strict':
            loop['protocol'] = self.protocol
        config.test_cfg = loop
        if self.metrics:
            own = config.test_evaluator
            config.test_evaluator = [*(own if isinstance(own, list) else [own]), *self.metrics]
        return config

    def attack_configs(self) -> dict[str, dict[str, Any]]:
        """Return all attacks of the columns by name, at the budget's radii."""
        return {name: self.attack_config(name) for name in self.attacks}

    def attack_config(self, name: str) -> dict[str, Any]:
        """Return an attack of the columns at the budget's radius, with what the budget sets of it."""
        return {**self._scaled(self.attacks[name]), **self.budget.attacks.get(name, {}), 'name': name}

    def _scaled(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of an attack, and of one within it, with radii multiplied by the budget's factor."""
        factor = self.budget.attack_radii.get(config.get('norm', ''), 1.0)
        radii = [key for key in ('eps', 'step_size') if key in config and factor != 1]
        scaled = {key: factor * parse_radius(config[key], key) for key in radii}
        inner = {'attack': self._scaled(config['attack'])} if 'attack' in config else {}
        return {**config, **scaled, **inner}
