"""The configs that come with samat-mm, in a checkout or in an installed package."""

from difflib import get_close_matches
from pathlib import Path

from samat_mm.errors import MissingFileError

PREFIX = 'samat_mm::'


def configs_folder() -> Path:
    """Return the folder of the configs."""
    packaged = Path(__file__).parents[1] / 'configs'
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / 'configs'


def preset_folder() -> Path:
    """Return the folder of the attacks, a file for each."""
    return configs_folder() / '_base_' / 'attacks'


def preset_names() -> list[str]:
    """Return the names of the attacks, without reading them."""
    return [file.stem for file in sorted(preset_folder().glob('*.py'))]


def find_config(name: str | Path) -> Path:
    """Return the file of a config.

    Args:
        name: a path, or ``samat_mm::`` and a path in the package's folder of configs.

    Raises:
        FileNotFoundError: if there is no such file; the message has the names that are close to it.
    """
    known = config_names()
    if not str(name).startswith(PREFIX):
        if Path(name).is_file():
            return Path(name)
        close = get_close_matches(Path(name).name, known, n=1, cutoff=0.8)
        hint = f'samat_mm has {PREFIX}{close[0]}' if close else f'those of samat_mm are {PREFIX}NAME'
        raise MissingFileError(f'config {name} is not a file; {hint}.')
    own = str(name).removeprefix(PREFIX)
    if own not in known:
        close = get_close_matches(own, known, cutoff=0.4)
        hint = (
            f'close to it are {", ".join(PREFIX + file for file in close)}' if close else f'one is {PREFIX}{known[-1]}'
        )
        raise MissingFileError(f'config {name} is unknown; {hint}.')
    return configs_folder() / own


def config_names() -> list[str]:
    """Return the names of the package's configs, as paths in its folder; ``_base_/...`` are parts of others."""
    folder = configs_folder()
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob('*.py'))
