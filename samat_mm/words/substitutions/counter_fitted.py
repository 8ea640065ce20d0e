"""Substitutions by the distance of word vectors."""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np

from samat_mm.compat import load_pickle_bytes
from samat_mm.perturbations.checks import whole_number
from samat_mm.words.substitutions.base import Substitution, Substitutions
from samat_mm.words.substitutions.files import damaged, digest_of, path_text, read_bytes

# What numpy's reader raises for arbitrary bytes, a header of Python literals among them.
UNREADABLE = (
    *(ValueError, TypeError, LookupError, ArithmeticError, EOFError, OSError, SyntaxError, TokenError, MemoryError),
    *(BadZipFile, RecursionError),
)
ADVICE = "give the paths of TextAttack's paragram.npy and wordlist.pickle"


@dataclass(frozen=True, repr=False)
class CounterFittedVectors(Substitutions):
    """The words with the nearest vectors; the distance is the squared Euclidean one. A part of speech plays no role.

    Counter-fitting moves the vectors of synonyms together and of antonyms apart, so that near vectors mean like words.

    Source: Mrkšić et al., Counter-fitting word vectors to linguistic constraints, NAACL 2016. TextAttack distributes
    the vectors as ``word_embeddings/paragramcf/``: ``paragram.npy``, float vectors of shape (words, 300), and
    ``wordlist.pickle``, a pickle of ``{word: row}``. The pickle is read as plain data: one that would run something is
    refused. Its other files are not needed.

    Args:
        vectors: the file of the vectors.
        words: the file of the words.
        neighbours: number of words that are returned.
    """

    vectors: str | Path
    words: str | Path
    neighbours: int = 50

    def __post_init__(self) -> None:
        self._settle(vectors=path_text(self.vectors, 'vectors'), words=path_text(self.words, 'words'))
        whole_number(self.neighbours, 'neighbours')

    def __call__(self, word: str, part_of_speech: str | None = None) -> list[Substitution]:
        """Return the words with the nearest vectors."""
        row = self._rows.get(word)
        if row is None:
            return []
        if row not in self._known:
            self._known[row] = self._nearest(row)
        return list(self._known[row])

    def _nearest(self, row: int) -> list[Substitution]:
        distances = ((self._matrix - self._matrix[row]) ** 2).sum(1)
        nearest = [near for near in np.argsort(distances, kind='stable').tolist() if near != row]
        return [(self._names[near], float(distances[near])) for near in nearest[: self.neighbours]]

    @property
    def digest(self) -> str:
        """A number that changes with the content of the files, in hexadecimal."""
        return digest_of(read_bytes(Path(file), ADVICE) for file in (self.vectors, self.words))

    @cached_property
    def _known(self) -> dict[int, list[Substitution]]:
        return {}

    @cached_property
    def _matrix(self) -> np.ndarray:
        file = Path(self.vectors)
        content = read_bytes(file, ADVICE)
        try:
            matrix = np.load(io.BytesIO(content), allow_pickle=False)
        except UNREADABLE as error:
            raise damaged(file, error) from error
        if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind != 'f':
            raise damaged(file, 'not an array of numbers of shape (words, dimensions)')
        if not np.isfinite(matrix).all():
            raise damaged(file, 'not all numbers are finite')
        return matrix

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Return the row of each word; reads both files, which have to fit."""
        file, count = Path(self.words), len(self._matrix)
        rows = load_pickle_bytes(read_bytes(file, ADVICE), str(self.words))
        if not isinstance(rows, dict) or not all(isinstance(word, str) for word in rows):
            raise damaged(file, 'not rows by word')
        if sorted(map(repr, rows.values())) != sorted(map(repr, range(count))):
            raise damaged(file, f'not each of the {count} rows of {self.vectors} once')
        return rows

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self._rows, key=self._rows.__getitem__)
