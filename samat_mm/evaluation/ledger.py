"""Results on disk, image by image, so that an evaluation that was killed goes on where it stopped."""

import io
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from samat_mm.compat import load_checkpoint_bytes
from samat_mm.errors import InputError
from samat_mm.evaluation.image_score import ImageScore

TABLE = 'CREATE TABLE IF NOT EXISTS scores (attack TEXT, image INTEGER, score BLOB, PRIMARY KEY (attack, image))'


class Ledger:
    """The scores that all processes have written; each process writes into a database of its own.

    Args:
        folder: of the evaluation, which all processes see.
        rank: of this process.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.file = folder, folder / f'scores-{rank}.sqlite'

    def write(self, scores: Mapping[str, Mapping[int, ImageScore]]) -> None:
        """Keep scores by attack and image: all of them, or none if the process dies.

        Raises:
            ValueError: if a score could not be read again, because a metric keeps objects of other types.
        """
        rows = [(name, image, _packed(score)) for name, part in scores.items() for image, score in part.items()]
        with _opened(self.file) as database, database:
            database.executemany('INSERT OR REPLACE INTO scores VALUES (?, ?, ?)', rows)
            _unpacked(rows[0][2], self.file)

    def images(self, attack: str) -> set[int]:
        """Return the numbers of the images whose scores under an attack are known."""
        return {image for _, database in self._all() for (image,) in _select(database, 'image', attack)}

    def read(self, attack: str) -> dict[int, ImageScore]:
        """Return what is known under an attack, by image.

        Raises:
            ValueError: if a score cannot be read without executing something, or a file is damaged.
        """
        return {
            image: _unpacked(score, file)
            for file, database in self._all()
            for image, score in _select(database, 'image, score', attack)
        }

    def read_first(self, count: int, attack: str) -> list[ImageScore]:
        """Return what is known under an attack of the first so many images, in their order."""
        scores = self.read(attack)
        return [scores[image] for image in range(count)]

    def _all(self) -> Iterator[tuple[Path, sqlite3.Connection]]:
        for file in sorted(self.folder.glob('scores-*.sqlite')):
            with _opened(file) as database:
                yield file, database


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database; one whose process died before it had a table gets it now."""
    try:
        with closing(sqlite3.connect(file, timeout=60)) as database:
            database.execute(TABLE)
            yield database
    except sqlite3.Error as error:
        raise InputError(
            f'the results in {file} cannot be read or written ({error}); free space, or remove the file to have its '
            'images scored again.'
        ) from error


def _select(database: sqlite3.Connection, columns: str, attack: str) -> sqlite3.Cursor:
    return database.execute(f'SELECT {columns} FROM scores WHERE attack = ?', (attack,))


def _packed(score: ImageScore) -> bytes:
    buffer = io.BytesIO()
    torch.save(score.to_dict(), buffer)
    return buffer.getvalue()


def _unpacked(score: bytes, file: Path) -> ImageScore:
    return ImageScore(**load_checkpoint_bytes(score, f'in {file}'))
