"""Check input files before the work, without importing what reads them."""

from pathlib import Path

from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.configs import find_config

CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


def config_file(path: str | Path) -> Path:
    """Return the path of a config file, given so or as ``samat_mm::NAME``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is a file of another kind.
    """
    file = find_config(path)
    if file.suffix not in CONFIG_SUFFIXES:
        raise InputError(f'the config comes first and is a .py file; got {path}.')
    return file


def checkpoint_file(path: str | Path) -> Path:
    """Return the path of a checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    if not Path(path).expanduser().is_file():
        raise MissingFileError(f'checkpoint {path} is not a file; give the path of a .pth file.')
    return Path(path).expanduser()
