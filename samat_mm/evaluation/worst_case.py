"""The worst case of several attacks in a metric that is pooled over images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samat_mm.errors import InputError

SMALLEST_GAIN = 1e-6  # as in the code released with SEA: a round that gains no more is the last


@dataclass(frozen=True)
class WorstCase:
    """The result of a worst-case search.

    Attributes:
        miou: the lowest pooled mIoU found, in [0, 1].
        choices: the attack chosen for each image, an index into the attacks.
        single: the mIoU of each attack on its own, in [0, 1].
    """

    miou: float
    choices: tuple[int, ...]
    single: tuple[float, ...]


def worst_case_miou(confusions: Sequence[ArrayLike] | ArrayLike, seed: int = 0) -> WorstCase:
    """Choose an attack for each image so that the mIoU over all images is as low as a greedy search gets it.

    The mIoU is pooled, so the images cannot be decided one by one, and to try all combinations is out of reach. The
    search starts from the single attack with the lowest mIoU. In rounds, in random order, each image goes to the attack
    that lowers the pooled mIoU most, until a round gains at most 1e-6. The result is an upper bound of the worst case,
    and never above any single attack's.

    This is the search of the paper. The code released with it differs: it begins with the first attack and compares a
    swap with an mIoU that earlier swaps have not lowered yet, so a swap may raise it again. That search ends no lower
    and, where the comparison is renewed once per round, up to several points higher.

    Source: Croce et al., Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models,
    ECCV 2024, section 3.6.

    Args:
        confusions: pixel counts of shape (attacks, images, K, K), true class by predicted class, ignored pixels left
            out.
        seed: seed of the order of the images.

    Returns:
        The mIoU over the classes that occur in labels or predictions, the choice per image, and the single attacks'.

    Raises:
        ValueError: if the shape differs, a count is negative, or there are no pixels.
    """
    counts = np.asarray(confusions, dtype=np.float64)
    if counts.ndim != 4 or counts.shape[2] != counts.shape[3] or 0 in counts.shape:
        raise InputError(
            f'confusions must be pixel counts of shape (attacks, images, K, K); got shape {counts.shape}. '
            'Give one confusion matrix for each attack and image.'
        )
    if not (counts >= 0).all() or not counts.sum(axis=(1, 2, 3)).all():
        raise InputError(
            'confusions must be counts of at least 0, with at least one pixel for each attack; got '
            f'{counts.min():g} as the smallest and {counts.sum():g} as the sum.'
        )
    return worst_case_of_tables(_intersections_and_unions(counts), seed)


def worst_case_of_tables(counts: ArrayLike, seed: int = 0) -> WorstCase:
    """Return the same from intersections and unions in pixels, shape (attacks, images, 2, K)."""
    tables = np.asarray(counts, dtype=np.float64)
    single = mean_iou(tables.sum(axis=1))
    chosen = np.full(tables.shape[1], int(single.argmin()))
    pooled, lowest = tables[chosen[0]].sum(axis=0), float(single.min())
    order = np.random.default_rng(seed)
    while True:
        before = lowest
        for image in order.permutation(len(chosen)):
            candidates = pooled - tables[chosen[image], image] + tables[:, image]
            values = mean_iou(candidates)
            attack = int(values.argmin())
            if values[attack] < lowest:
                chosen[image], pooled, lowest = attack, candidates[attack], float(values[attack])
        if before - lowest <= SMALLEST_GAIN:
            return WorstCase(lowest, tuple(chosen.tolist()), tuple(single.tolist()))


def mean_iou(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the classes that occur of intersection over union.

    Args:
        tables: intersections and unions, shape (..., 2, K).
    """
    intersections, unions = tables[..., 0, :], tables[..., 1, :]
    occurs = unions > 0
    return (intersections / np.where(occurs, unions, 1)).sum(axis=-1) / occurs.sum(axis=-1)


def _intersections_and_unions(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection and the union of each class, shape (..., 2, K), of confusion matrices (..., K, K)."""
    intersections = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.stack([intersections, counts.sum(axis=-1) + counts.sum(axis=-2) - intersections], axis=-2)
