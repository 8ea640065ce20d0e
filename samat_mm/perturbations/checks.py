"""Checks of parameters, each with an error in one sentence."""

import sys
from collections.abc import Sequence

from samat_mm.errors import InputError


def non_negative(value: float, name: str) -> float:
    """Return ``value`` as a float.

    Raises:
        ValueError: if it is not a finite number of at least 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= sys.float_info.max:
        raise InputError(f'{name} must be a finite number of at least 0; got {value!r}.')
    return float(value)


def share(value: float, name: str) -> float:
    """Return ``value`` as a float.

    Raises:
        ValueError: if it is not above 0 and at most 1.
    """
    if non_negative(value, name) > 1 or value == 0:
        raise InputError(f'{name} is a share, above 0 and at most 1; got {value!r}.')
    return float(value)


def whole_number(value: int, name: str, least: int = 1) -> int:
    """Return ``value``.

    Raises:
        ValueError: if it is not a whole number of at least ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f'{name} must be a whole number of at least {least}; got {value!r}.')
    return value


def one_of(value: str, names: Sequence[str], name: str) -> str:
    """Return ``value``.

    Raises:
        ValueError: if it is none of ``names``.
    """
    if value not in names:
        raise InputError(f'{name} must be one of {", ".join(names)}; got {value!r}.')
    return value
