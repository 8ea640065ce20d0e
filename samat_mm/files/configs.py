"""The configs that come with samat-mm, in a checkout or in an installed package."""

from pathlib import Path


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
