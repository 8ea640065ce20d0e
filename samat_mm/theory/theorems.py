"""Theorems 4.1 to 4.5 of the duality paper as functions, with the ranges in which they hold.

Each returns a robust feature weight W_R, or a radius. The proofs of 4.4 and 4.5 lose a factor 1/(2n); both the paper's
formula and the corrected one are here. docs/results/theory.md derives the latter.
"""

import math

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative
from samat_mm.theory.model import FeatureModel
from samat_mm.theory.sharpness_aware import exact_sam_weight


def standard_weight(model: FeatureModel) -> float:
    """Return W_R of standard training, ``W* = (ln p - ln(1 - p)) / (2 n eta)``, for every model.

    Source: theorem 4.1.

    Example:
        >>> round(standard_weight(FeatureModel(p=0.9, eta=0.1, n=100)), 6)
        0.109861
    """
    return model.weight / model.n


def adversarial_weight(model: FeatureModel, eps: float) -> float:
    """Return W_R of adversarial training, ``W* eta / (eta - eps)``, for ``eps < eta``.

    The attack moves each non-robust feature by at most ``eps`` and leaves the robust one as it is.

    Source: theorem 4.2.

    Raises:
        ValueError: if eps is not in range. From eta on, the attack makes the non-robust features useless, and no finite
            weight is best.
    """
    if non_negative(eps, 'eps') >= model.eta:
        raise InputError(
            f'eps must be below eta={model.eta:g} for adversarial training; got {eps!r}, at which the attack turns the '
            'non-robust features against the label and the best weight is infinite.'
        )
    return standard_weight(model) * model.eta / (model.eta - eps)


def sam_excess(model: FeatureModel, eps: float) -> float:
    """Return what the exact W_R of SAM has over that of standard training: a number above 0, for every ``eps > 0``.

    Source: theorem 4.3, whose inequality this is.

    Raises:
        ValueError: if eps is below ``sqrt(n) / 1000``, where rounding hides the difference.
    """
    if non_negative(eps, 'eps') < model.spread / 1000:
        raise InputError(
            f'eps must be at least sqrt(n) / 1000 = {model.spread / 1000:g}, below which rounding hides what SAM '
            f'changes; got {eps!r}. There, take sam_weight_corrected.'
        )
    return exact_sam_weight(model, eps) - standard_weight(model)


def sam_weight_paper(model: FeatureModel, eps: float) -> float:
    """Return W_R of SAM as published, ``W* (1 + 2 eps^2 / 3)``, which holds only if ``2n`` were 1.

    Source: theorem 4.4, equation 13.
    """
    return standard_weight(model) * (1 + 2 / 3 * non_negative(eps, 'eps') ** 2)


def sam_weight_corrected(model: FeatureModel, eps: float) -> float:
    """Return W_R of SAM to second order in its radius, ``W* (1 + eps^2 / (3 n))``; see :func:`sam_range`.

    Source: theorem 4.4 with the exponent ``-w^2 / (2 n)`` in place of ``-w^2`` in equation 31.
    """
    return standard_weight(model) * (1 + non_negative(eps, 'eps') ** 2 / (3 * model.n))


def sam_range(model: FeatureModel, tolerance: float = 0.1) -> float:
    """Return the radius up to which the next term of the expansion is at most this share of the shift.

    The shift is ``W* eps^2 / (3 n) (1 + eps^2 (3 / n - eta^2 - W*^2) / 15 + ..)``; here all three parts of the next
    term count as positive.

    Args:
        model: the model.
        tolerance: the share.
    """
    parts = 3 / model.n + model.eta**2 + standard_weight(model) ** 2
    return math.sqrt(15 * non_negative(tolerance, 'tolerance') / parts)


def matching_radius_paper(model: FeatureModel, eps: float) -> float:
    """Return the radius of AT with the W_R of SAM as published, from ``2 + 3 / eps^2 = 2 eta / eps_AT``.

    Source: theorem 4.5, equation 14.
    """
    return _share(model, 2 / 3 * non_negative(eps, 'eps') ** 2)


def matching_radius_corrected(model: FeatureModel, eps: float) -> float:
    """Return the radius of AT with the W_R of SAM, from ``2 + 6 n / eps^2 = 2 eta / eps_AT``; see :func:`sam_range`.

    It is below ``eta``, and below ``eps`` if ``eta^2 < 12 n``.

    Source: theorem 4.5 with the corrected theorem 4.4.
    """
    return _share(model, non_negative(eps, 'eps') ** 2 / (3 * model.n))


def exact_matching_radius(model: FeatureModel, eps: float) -> float:
    """Return the radius of AT with the exact W_R of SAM of radius ``eps``."""
    return _share(model, exact_sam_weight(model, eps) / standard_weight(model) - 1)


def _share(model: FeatureModel, growth: float) -> float:
    """Return eps_AT at which ``eta / (eta - eps_AT) = 1 + growth``."""
    return model.eta * growth / (1 + growth)
