"""Which trainings and evaluations a table consists of, and the files by which each is known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from mmengine.config import Config

from samat_mm.compat import versions
from samat_mm.files.outputs import write_text
from samat_mm.tables.table import SANITY, Row, Table


@dataclass(frozen=True)
class Training:
    """One training of a row: a seed, and the folder of its files.

    Args:
        table: The table.
        row: A row of it.
        seed: A seed of it.
        out: Folder of the table's files.
    """

    table: Table
    row: Row
    seed: int
    out: Path

    @property
    def name(self) -> str:
        """Name of the training, 'SAM_rho-0.1/seed0'."""
        return f'{self.row.key}/seed{self.seed}'

    @property
    def folder(self) -> Path:
        """Folder of the training's results."""
        return self.out / 'cells' / self.name

    @property
    def config_file(self) -> Path:
        """Config of the training; the attacks are not in it."""
        return self.folder / 'train.py'

    @property
    def trained_file(self) -> Path:
        """File that is written when the training is done; it holds the path of the checkpoint."""
        return self.folder / 'trained.txt'

    def examination_file(self, name: str) -> Path:
        """Return the report of one of the table's examinations, 'sanity' or 'sharpness'."""
        return self.folder / f'{name}.json'

    def work_dir(self) -> Path:
        """Return the folder of the checkpoints: another one if the config changes, so that no old one is resumed."""
        digest = sha256(self.config_file.read_bytes()).hexdigest()[:12]
        return self.out / 'work_dirs' / f'{self.name}-{digest}'

    @cached_property
    def evaluations(self) -> tuple['Evaluation', ...]:
        """The evaluations that the columns and examinations of the table ask for."""
        table, size = self.table, self.table.budget.attacks_per_process
        by_surrogate: dict[str | None, list[str]] = {}
        for attack in table.attacks:
            by_surrogate.setdefault(table.surrogates.get(attack), []).append(attack)
        found = [
            Evaluation(self, tuple(attacks[start : start + size]), surrogate)
            for surrogate, attacks in by_surrogate.items()
            for start in range(0, len(attacks), size)
        ]
        return tuple(found) or (Evaluation(self, ()),)

    def write_configs(self) -> None:
        """Write all configs. A file whose contents are the same is left as it is, with its time."""
        table = self.table
        write_if_changed(self.config_file, _text_of(table.training_config(self.row, self.seed)))
        tested = {each.config_file: each.attacks for each in self.evaluations}
        if SANITY in table.examinations:
            tested[self.folder / f'{SANITY}.py'] = (table.roles['attack'],)
        for file, attacks in tested.items():
            write_if_changed(file, _text_of(table.test_config(self.row, self.seed, attacks)))


@dataclass(frozen=True)
class Evaluation:
    """One run of samat-mm test on a training: the cells of its attacks.

    Args:
        training: The training.
        attacks: The attacks; without any, the natural performance.
        surrogate: Key of the row on whose model, of the same seed, they are made; None for the model itself.
    """

    training: Training
    attacks: tuple[str, ...]
    surrogate: str | None = None

    @property
    def name(self) -> str:
        """Name of its files without the suffix: the attacks from the first to the last, and the protocol."""
        ends = dict.fromkeys((self.attacks or ('natural',))[:: max(1, len(self.attacks) - 1)])
        protocol = self.training.table.protocol
        return '_'.join([*ends, *([] if protocol == 'strict' else [protocol])])

    @property
    def config_file(self) -> Path:
        """Config of the test, with its attacks."""
        return self.training.folder / f'{self.name}.py'

    @property
    def report_file(self) -> Path:
        """Report of the test; it proves that its cells are done."""
        return self.training.folder / f'{self.name}.json'

    @property
    def twin(self) -> Training | None:
        """The training on whose model the attacks are made, if it is another one."""
        if self.surrogate is None:
            return None
        table = self.training.table
        return replace(self.training, row=table.row(self.surrogate))


def checkpoint_of(training: Training) -> str:
    """Return the checkpoint of a finished training.

    Raises:
        OSError: if the training is not done.
    """
    return training.trained_file.read_text(encoding='utf-8').strip()


def trainings(table: Table, out: Path) -> Iterator[Training]:
    """Yield the trainings of a table, row by row."""
    for row in table.rows:
        for seed in table.seeds:
            yield Training(table, row, seed, out)


def write_if_changed(path: Path, text: str) -> None:
    """Write a file unless it says the same already; then its time stays, and nothing that depends on it runs again.

    Raises:
        OSError: if it cannot be written.
    """
    if not path.exists() or path.read_text(encoding='utf-8') != text:
        write_text(path, text)


def _text_of(config: Config) -> str:
    """Return a config and the versions of the packages, as a config file."""
    config.versions = versions()
    return config.pretty_text
