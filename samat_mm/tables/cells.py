"""Which trainings and tests a table consists of, and the files by which each is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mmengine.config import Config

from samat_mm.compat import versions
from samat_mm.files.access import writing
from samat_mm.tables.table import Row, Table


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
    def test_config_file(self) -> Path:
        """Config of the test, with the attacks of the table's columns."""
        return self.folder / 'test.py'

    @property
    def trained_file(self) -> Path:
        """File that is written when the training is done; it holds the path of the checkpoint."""
        return self.folder / 'trained.txt'

    @property
    def report_file(self) -> Path:
        """Report of the test; it proves that the cells of the training are done."""
        return self.folder / 'report.json'

    def work_dir(self) -> Path:
        """Return the folder of the checkpoints: another one if the config changes, so that no old one is resumed."""
        digest = sha256(self.config_file.read_bytes()).hexdigest()[:12]
        return self.out / 'work_dirs' / f'{self.name}-{digest}'

    def write_configs(self) -> None:
        """Write both configs. A file whose contents are the same is left as it is, with its time."""
        config = self.table.training_config(self.row, self.seed)
        config.versions = versions()
        _write_if_changed(self.config_file, config)
        attacks = list(self.table.attack_configs().values())
        samples = self.table.budget.max_samples
        config.test_cfg = dict(type='AttackTestLoop', attacks=attacks, **(dict(max_samples=samples) if samples else {}))
        _write_if_changed(self.test_config_file, config)


def trainings(table: Table, out: Path) -> Iterator[Training]:
    """Yield the trainings of a table, row by row."""
    for row in table.rows:
        for seed in table.seeds:
            yield Training(table, row, seed, out)


def _write_if_changed(path: Path, config: Config) -> None:
    text = config.pretty_text
    if path.exists() and path.read_text(encoding='utf-8') == text:
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
