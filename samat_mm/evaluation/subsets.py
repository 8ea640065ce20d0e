"""The images that are tested where a test takes only some of a data set."""

import numpy as np

from samat_mm.errors import InputError

GOLDEN_RATIO = (5**0.5 - 1) / 2


def spread_order(count: int) -> list[int]:
    """Return the numbers 0 .. count - 1 in a fixed order, every beginning of which is spread evenly over all of them.

    Data sets are often sorted by class, so their own beginning would hold one class only. A larger beginning
    contains every smaller one. The order is that of the multiples of the golden ratio, modulo 1: they leave no large
    gap anywhere, and follow no period that the data may have.

    Example:
        >>> spread_order(8)
        [4, 1, 6, 3, 0, 5, 2, 7]
    """
    places = np.arange(1, count + 1) * GOLDEN_RATIO % 1
    return np.argsort(np.argsort(places)).tolist()


def chosen_images(count: int, size: int | None) -> list[int]:
    """Return the first ``size`` numbers of :func:`spread_order`, sorted; all of them for None.

    Raises:
        ValueError: if ``size`` is less than 1, or the data set is empty.
    """
    if not count:
        raise InputError('the test set is empty; check its data_root and its list of images.')
    if size is not None and (type(size) is not int or size < 1):
        raise InputError(f'max_samples must be a whole number of at least 1; got {size!r}.')
    return list(range(count)) if size is None else sorted(spread_order(count)[:size])


def selection_of(size: int, count: int) -> str:
    """Return a phrase that says which images of a data set were tested."""
    return f'all {count}' if size == count else f'{size} of {count}, spread evenly over the data set'
