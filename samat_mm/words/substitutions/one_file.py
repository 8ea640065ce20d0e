"""The base of sources that are one file."""

from abc import ABC
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from samat_mm.words.substitutions.base import Substitutions
from samat_mm.words.substitutions.files import digest_of, path_text, read_bytes


class OneFile(Substitutions, ABC):
    """Substitutions from one file, which is read once.

    Attributes:
        file: the file.
        advice: what to do where it is missing.
    """

    file: str | Path
    advice: ClassVar[str]

    def __post_init__(self) -> None:
        self._settle(file=path_text(self.file, 'file'))

    @property
    def digest(self) -> str:
        """A number that changes with the content of the file, in hexadecimal."""
        return digest_of([self._content])

    @cached_property
    def _content(self) -> bytes:
        return read_bytes(Path(self.file), self.advice)
