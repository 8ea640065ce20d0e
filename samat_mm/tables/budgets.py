"""How much of the paper's schedule a table is given, and on which data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mmengine.config import Config

from samat_mm.errors import InputError
from samat_mm.perturbations.norms import NORMS

NAMES = ('smoke', 'short', 'paper')


@dataclass(frozen=True)
class Budget:
    """The changes of a budget to the trainings and attacks of a table; none by default.

    Args:
        name: 'smoke', 'short' or 'paper', or the name of its file.
        folder: Folder of its file; None if it stands in the file of the table.
        description: What it changes, in sentences for the pages.
        share: Share of the schedule that is trained; milestones and ramps shrink with it.
        config: Config of plain SGD that takes the place of every row's own, in ``configs/`` or relative to the folder.
        models: By the config that it takes the place of, a change to its model.
        methods: By method, a change to the configs of its rows.
        training_radii: By norm, the factor by which radii of adversarial training are scaled.
        attack_radii: By norm, the factor by which radii of attacks are scaled.
        max_samples: Number of images that are tested, spread evenly over the data; all by default.
        attacks_per_process: Number of attacks that one process runs; more than one where starting it takes longer than
            an attack.
        attacks: By preset, parameters of the attack that are replaced.

    Raises:
        ValueError: if a value is out of its range.
    """

    name: str = 'paper'
    folder: Path | None = None
    description: str = ''
    share: float = 1.0
    config: str | None = None
    models: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] = field(default_factory=dict)
    training_radii: Mapping[str, float] = field(default_factory=dict)
    attack_radii: Mapping[str, float] = field(default_factory=dict)
    max_samples: int | None = None
    attacks_per_process: int = 1
    attacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.share, (int, float)) or not 0 < self.share <= 1:
            raise InputError(f'share of budget {self.name} must be a number in (0, 1]; got {self.share!r}.')
        for name in ('max_samples', 'attacks_per_process'):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f'{name} of budget {self.name} must be a whole number of at least 1; got {value!r}.')
        for name in ('training_radii', 'attack_radii'):
            for norm, factor in getattr(self, name).items():
                if norm not in NORMS or not isinstance(factor, (int, float)) or not factor > 0:
                    raise InputError(
                        f'{name} of budget {self.name} has a positive factor for each of the norms '
                        f'{", ".join(NORMS)}; got {norm!r}: {factor!r}.'
                    )


def read_budget(name: str, table: Mapping[str, Any]) -> Budget:
    """Return a budget.

    Args:
        name: 'smoke', 'short' or 'paper', or the path of a file with the arguments of :class:`Budget`.
        table: The contents of the table's file, which has the named budgets.

    Raises:
        ValueError: if the budget is unknown, or has unknown arguments.
    """
    if name in NAMES:
        return Budget(name, **table.get(name, {}))
    file = Path(name)
    if file.suffix != '.py' or not file.is_file():
        raise InputError(f'budget {name!r} is unknown; it must be {", ".join(NAMES)}, or a file with a budget.')
    given = Config.fromfile(file).to_dict()
    known = {entry.name for entry in fields(Budget)} - {'name', 'folder'}
    if given.keys() - known:
        unknown = ', '.join(sorted(given.keys() - known))
        raise InputError(f'budget {file} has no argument {unknown}; the known ones are {", ".join(sorted(known))}.')
    return Budget(file.stem, file.parent, **given)


def shorten(config: Config, share: float) -> None:
    """Shorten the schedule of a config to a share of it, in place: length, milestones and ramps of all schedulers."""
    if share == 1:
        return
    for key in ('max_iters', 'max_epochs'):
        if key in config.train_cfg:
            config.train_cfg[key] = _part(config.train_cfg[key], share)
            config.train_cfg.val_interval = config.train_cfg[key]
    for scheduler in config.param_scheduler:
        for key in ('begin', 'end', 'T_max', 'step_size'):
            if scheduler.get(key):
                scheduler[key] = _part(scheduler[key], share)
        if 'milestones' in scheduler:
            scheduler.milestones = [_part(milestone, share) for milestone in scheduler.milestones]


def _part(length: int, share: float) -> int:
    return max(1, round(share * length))
