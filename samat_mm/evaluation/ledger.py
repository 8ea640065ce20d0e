"""Results on disk, image by image, so that an evaluation that was killed goes on where it stopped."""

import io
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import torch

from samat_mm.compat import load_checkpoint_file
from samat_mm.evaluation.image_score import ImageScore


class Ledger:
    """The scores of one process, in a database of its own; those of all processes are read.

    Args:
        folder: of the evaluation; every process has a file in it.
        rank: of this process.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.rank = folder, rank
        self._database = sqlite3.connect(folder / f'scores-{rank}.sqlite')
        with self._database:
            columns = 'attack TEXT, image INTEGER, score BLOB, PRIMARY KEY (attack, image)'
            self._database.execute(f'CREATE TABLE IF NOT EXISTS scores ({columns})')

    def write(self, attack: str, scores: Mapping[int, ImageScore]) -> None:
        """Keep the scores of some images under an attack: all of them, or none if the process dies."""
        rows = [(attack, number, _packed(score)) for number, score in scores.items()]
        with self._database:
            self._database.executemany('INSERT OR REPLACE INTO scores VALUES (?, ?, ?)', rows)

    def read(self) -> dict[str, dict[int, ImageScore]]:
        """Return the scores that all processes have written, by attack and image.

        Raises:
            ValueError: if a score cannot be read without executing something.
        """
        found: dict[str, dict[int, ImageScore]] = {}
        for file in sorted(self.folder.glob('scores-*.sqlite')):
            database = sqlite3.connect(file)
            try:
                for attack, image, score in database.execute('SELECT attack, image, score FROM scores'):
                    found.setdefault(attack, {})[image] = _unpacked(score, file)
            finally:
                database.close()
        return found

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _packed(score: ImageScore) -> bytes:
    buffer = io.BytesIO()
    torch.save(score.to_dict(), buffer)
    return buffer.getvalue()


def _unpacked(score: bytes, file: Path) -> ImageScore:
    return ImageScore(**load_checkpoint_file(file, content=score))
