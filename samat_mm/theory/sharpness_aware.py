"""The optimum of SAM over w_1, by exact root finding, and with the maximum inside the expectation."""

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative
from samat_mm.theory.model import FeatureModel


def exact_sam_weight(model: FeatureModel, eps: float) -> float:
    """Return W_R at the minimum over w_1 of the largest expected loss on ``[w_1 - eps, w_1 + eps]``.

    The expected accuracy u rises up to w* and falls from there, so that the largest loss is at one of the ends, and the
    smallest of these where both are equal, ``u(w - eps) = u(w + eps)``. With M(c) the probability that the sum of the
    non-robust features, for y = 1, is within eps of c, that is ``p M(-w) = (1 - p) M(w)``: an exact equation whose
    logarithm keeps its digits where u is 1 up to rounding. ``ln M(w) - ln M(-w)`` grows with w everywhere, so the root
    is the only one.

    Source: equations 26 and 27 of the duality paper.

    Args:
        model: the model; ``w_2 = .. = w_(n+1) = 1`` stay as they are.
        eps: the radius, in units of these weights.

    Example:
        >>> model = FeatureModel(p=0.9, eta=0.1, n=100)
        >>> round(100 * exact_sam_weight(model, 0.5) / model.weight - 1, 7)
        0.0008334
    """
    if non_negative(eps, 'eps') == 0:
        return model.weight / model.n

    def gain(weight: float) -> float:
        return model.log_odds + _log_mass(model, -weight, eps) - _log_mass(model, weight, eps)

    return float(brentq(gain, 0, model.weight + eps + 1, xtol=1e-14, rtol=1e-15)) / model.n


def per_sample_sam_weight(model: FeatureModel, eps: float) -> float:
    """Return W_R of SAM that perturbs w_1 for each sample by itself, ``W* eta n / (eta n - eps)`` for ``eps < eta n``.

    A change of w_1 by eps takes ``eps`` from the margin of any one sample, whatever its x_1, as an attack of radius
    ``eps / n`` on the non-robust features does: this SAM *is* adversarial training.

    Source: equation 11 of the duality paper read literally, with the maximum inside the expectation; its proofs take
    the expectation first.

    Raises:
        ValueError: if eps is not in range.
    """
    if non_negative(eps, 'eps') >= model.eta * model.n:
        raise InputError(
            f'eps must be below eta n = {model.eta * model.n:g} for SAM on single samples; got {eps!r}, from which on '
            'the best weight is infinite.'
        )
    return model.log_odds / (2 * (model.eta * model.n - eps))


def _log_mass(model: FeatureModel, centre: float, eps: float) -> float:
    """Return ln M(centre)."""
    low, high = ((centre + end - model.eta * model.n) / model.spread for end in (-eps, eps))
    if low > 0:
        low, high = -high, -low  # the logarithm of a small probability has more digits than that of one near 1
    below, up_to = log_ndtr(low), log_ndtr(high)
    return float(up_to + math.log1p(-math.exp(below - up_to)))
