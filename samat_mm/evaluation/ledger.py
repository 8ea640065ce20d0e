"""Scores on disk, image by image, from which a killed evaluation continues where it stopped."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from samat_mm.compat import load_checkpoint_bytes
from samat_mm.errors import InputError
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.scores_file import Row, opened, read_rows, write_rows


class Ledger:
    """The scores that all processes have written; each process writes into its own database.

    A damaged score counts as missing.

    Args:
        folder: folder of the evaluation, which all processes see.
        rank: rank of this process.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.file = folder, folder / f'scores-{rank}.sqlite'

    def write(self, scores: Mapping[str, Mapping[int, ImageScore]]) -> None:
        """Write scores by attack and image: all of them, or none if the process dies.

        Raises:
            OSError: if the file cannot be written.
            ValueError: if a score could not be read again, because a metric keeps objects of other types.
        """
        rows = [Row(name, image, _packed(score)) for name, part in scores.items() for image, score in part.items()]
        _unpacked(rows[0].score, self.file)
        with opened(self.file) as database:
            write_rows(database, rows)

    def images(self, attack: str) -> set[int]:
        """Return the numbers of the images that have a score under an attack."""
        return {row.image for _, row in self._rows(attack)}

    def read(self, attack: str) -> dict[int, ImageScore]:
        """Return the scores under an attack, by image.

        Raises:
            OSError: if a file cannot be read.
            ValueError: if a file is damaged, or a score cannot be read without executing something.
        """
        return {row.image: _unpacked(row.score, file) for file, row in self._rows(attack)}

    def read_images(self, numbers: Sequence[int], attack: str) -> list[ImageScore]:
        """Return the scores of these images under an attack, in their order.

        Raises:
            OSError: if a file cannot be read.
            ValueError: if a score is missing or damaged.
        """
        scores = self.read(attack)
        missing = [image for image in numbers if image not in scores]
        if missing:
            raise InputError(
                f'the results of number {missing[0]} under {attack} are missing or damaged in {self.folder}; '
                'run the same command again to have them scored again.'
            )
        return [scores[image] for image in numbers]

    def _rows(self, attack: str) -> Iterator[tuple[Path, Row]]:
        for file in sorted(self.folder.glob('scores-*.sqlite')):
            with opened(file) as database:
                for row in read_rows(database, 'WHERE attack = ?', (attack,)):
                    yield file, row


def _packed(score: ImageScore) -> bytes:
    buffer = io.BytesIO()
    torch.save(score.to_dict(), buffer)
    return buffer.getvalue()


def _unpacked(score: bytes, file: Path) -> ImageScore:
    return ImageScore(**load_checkpoint_bytes(score, f'in {file}'))
