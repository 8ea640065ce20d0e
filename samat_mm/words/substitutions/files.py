"""Read the files of a source of substitutions."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.access import reading


def path_text(value: str | Path, name: str) -> str:
    """Return a path as text.

    Raises:
        ValueError: if it is not a path, or empty.
    """
    if not isinstance(value, (str, Path)) or not str(value):
        raise InputError(f'{name} must be a path, as text or Path; got {value!r}.')
    return str(value)


def read_bytes(path: Path, advice: str) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        advice: what to do where it is missing.

    Raises:
        FileNotFoundError: if it is missing.
        OSError: if it cannot be read.
    """
    with reading(path):
        if not path.exists():
            raise MissingFileError(f'{path} is missing; {advice}.')
        return path.read_bytes()


def damaged(path: Path, found: object) -> InputError:
    """Return the error of a damaged file, given what was found."""
    return InputError(f'{path} is damaged or of another kind ({found}); replace it.')


def digest_of(contents: Iterable[bytes]) -> str:
    """Return a number that changes with the contents, in hexadecimal."""
    found = hashlib.sha256()
    for content in contents:
        found.update(len(content).to_bytes(8, 'big') + content)
    return found.hexdigest()[:16]
