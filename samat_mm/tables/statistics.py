"""Statistics over the seeds of a table."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Values = Mapping[int, float | None]


def summary_of(values: Sequence[float | None], digits: int = 2) -> dict[str, Any]:
    """Return the mean, the sample standard deviation and the number of values; None where there are too few.

    Args:
        values: One for each seed; None is left out.
        digits: Number of decimals.
    """
    known = [value for value in values if value is not None]
    return {
        'mean': round(statistics.mean(known), digits) if known else None,
        'std': round(statistics.stdev(known), digits) if len(known) > 1 else None,
        'n': len(known),
    }


def in_words(cell: Mapping[str, Any], decimals: int = 1, missing: str = '--') -> str:
    """Return a summary as '64.3 ± 0.2', without a deviation as '64.3'.

    Args:
        cell: as :func:`summary_of` returns it.
        decimals: Number of decimals.
        missing: What stands for a mean that is missing.
    """
    if cell['mean'] is None:
        return missing
    mean = f'{cell["mean"]:.{decimals}f}'
    return mean if cell['std'] is None else f'{mean} ± {cell["std"]:.{decimals}f}'


def separated(best: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether the spreads of two summaries leave a gap: mean - std of the one is above mean + std of the other.

    False where one of them has fewer than two values, and so no spread.
    """
    if best['std'] is None or other['std'] is None:
        return False
    return bool(best['mean'] - best['std'] > other['mean'] + other['std'])


def differences(values: Values, reference: Values) -> list[float]:
    """Return value minus reference for each seed that has both."""
    pairs = [(values[seed], reference[seed]) for seed in sorted(values.keys() & reference.keys())]
    return [first - second for first, second in pairs if first is not None and second is not None]


def verdict_of(gains: Sequence[float]) -> str:
    """Return 'yes' if all of several gains are positive, 'no' if all are negative, and 'undecided' otherwise."""
    if len(gains) < 2:
        return 'undecided'
    return 'yes' if min(gains) > 0 else 'no' if max(gains) < 0 else 'undecided'
