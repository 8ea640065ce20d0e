"""The folder of a data set, as a config gives it."""

import os
from pathlib import Path

from samat_mm.errors import InputError


def folder_of(data_root: str | os.PathLike, dataset: str) -> Path:
    """Return the folder of a data set.

    Args:
        data_root: its path.
        dataset: name of the data set, for the error.

    Raises:
        ValueError: if it is not a path.
    """
    if not isinstance(data_root, (str, os.PathLike)):
        raise InputError(f'{dataset}: data_root must be the folder of the data; got {data_root!r}.')
    return Path(data_root)
