"""The base of every source of substitutions."""

from abc import ABC, abstractmethod
from typing import Any

from samat_mm.perturbations.parametrized import Parametrized

PARTS_OF_SPEECH = ('noun', 'verb', 'adjective', 'adverb')

Substitution = tuple[str, float]  # a word, and how far it is from the one that it replaces


class Substitutions(Parametrized, ABC):
    """The words that may replace a word.

    A subclass is a frozen dataclass, whose fields name its files. Making one reads nothing: the files are read once, by
    :meth:`load` or when the first word is looked up.
    """

    @abstractmethod
    def __call__(self, word: str, part_of_speech: str | None = None) -> list[Substitution]:
        """Return the words that may replace a word, the best or nearest ones first.

        Args:
            word: a word, in lower case.
            part_of_speech: 'noun', 'verb', 'adjective' or 'adverb'; None for each that the word can be.

        Returns:
            Words and their distances, which are 0 in a source that measures none; nothing for an unknown word.

        Raises:
            OSError: if a file is missing or cannot be read.
            ValueError: if a file is damaged.
        """

    @property
    @abstractmethod
    def digest(self) -> str:
        """A number that changes with the content of the files, in hexadecimal.

        Raises:
            OSError: if a file is missing or cannot be read.
            ValueError: if a file is damaged.
        """

    def load(self) -> None:
        """Read the files, so that a missing or damaged one is found before any work.

        Raises:
            OSError: if a file is missing or cannot be read.
            ValueError: if a file is damaged.
        """
        self('', None)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was read, which another process reads for itself."""
        return {name: value for name, value in vars(self).items() if name in self.parameters}
