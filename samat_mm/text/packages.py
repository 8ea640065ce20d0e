"""The packages of the text extra, imported when they are needed."""

from importlib import import_module
from typing import Any

from samat_mm.errors import MissingPackageError


def text_package(name: str) -> Any:
    """Return a package of the text extra.

    Args:
        name: its import name, 'transformers' or 'tokenizers'.

    Raises:
        ModuleNotFoundError: if it cannot be imported; the message says how to install it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f'text models need the package {name}, which cannot be imported ({error}); run '
            '`pip install samat-mm[text]`.'
        ) from error
