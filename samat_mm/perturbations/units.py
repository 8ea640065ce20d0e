"""Radii and step sizes as people write them: numbers, or fractions such as ``'8/255'``."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from numbers import Real
from typing import Any

from samat_mm.errors import InputError

Radius = Any  # a number or a string such as '8/255' when it is given, a float once it is read
Radii = Any  # a radius, a sequence of them, or a mapping from norms to one or several
ANY = 'any'  # norm


def parse_radius(value: float | str, name: str) -> float:
    """Return ``value`` as a number in [0, 1] pixel units.

    Args:
        value: a number, or a string such as ``'8/255'`` or ``'0.5/255'``.
        name: name of the value in the error.

    Raises:
        ValueError: if the value is not a finite number of at least 0.
    """
    try:
        if isinstance(value, str):
            numerator, slash, denominator = value.partition('/')
            if '/' in denominator or bool(slash) != bool(denominator.strip()):
                raise ValueError
            number = float(_exact(numerator) / _exact(denominator or '1'))
        else:
            number = float(value)
    except OverflowError:
        number = math.inf
    except (ValueError, TypeError, ZeroDivisionError):
        raise InputError(f"{name} must be a number or a fraction such as '8/255'; got {value!r}.") from None
    if not math.isfinite(number) or number < 0:
        raise InputError(
            f'{name} must be a finite number of at least 0, in [0, 1] pixel units; '
            f'got {value!r}. {describe_radius(number)}'
        )
    return number


def _exact(text: str) -> Fraction:
    """Return a number as written, or 0 where it is too small for a float.

    Raises:
        ValueError: if it is not a number.
        OverflowError: if it is too large for a float, or infinite.
    """
    nearest = float(text)  # at once, where a fraction would write out all the digits of 1e999999999
    if not math.isfinite(nearest):
        raise OverflowError
    return Fraction(text.strip()) if nearest else Fraction(0)


def describe_radius(number: float) -> str:
    """Return a hint for somebody who wrote 8 and meant 8/255."""
    if math.isfinite(number) and number >= 1:
        return f"Did you mean '{number:g}/255'?"
    return "A usual value is '8/255'."


def radii_by_norm(radii: Radii) -> dict[str, list[Radius]]:
    """Return lists of radii by norm, those for any norm under ``ANY``; norms without radii are left out.

    Args:
        radii: a radius, or several in rising order, or those of each norm.

    Raises:
        ValueError: if one is not a radius, or they do not rise.
    """
    given = radii if isinstance(radii, Mapping) else {ANY: radii}
    listed = {norm: [some] if isinstance(some, (str, Real)) else list(some) for norm, some in given.items()}
    for some in listed.values():
        _check_rising(some)
    return {norm: some for norm, some in listed.items() if some}


def _check_rising(radii: Sequence[Radius]) -> None:
    numbers = [parse_radius(radius, 'eps') for radius in radii]
    for position in range(1, len(numbers)):
        if numbers[position] <= numbers[position - 1]:
            raise InputError(
                f'several radii must rise; got {radii[position]} after {radii[position - 1]}. '
                f'Give them as {" ".join(str(radii[numbers.index(number)]) for number in sorted(set(numbers)))}.'
            )
