"""The optimum of SAM when its ball holds all weights, by an exact search.

Accuracy does not change with the length of w, but a ball of fixed radius looks smaller from longer weights, and SAM
would make them longer without end. So the scale must be fixed: as in the paper, ``w_2 = .. = w_(n+1) = 1`` at the
centre of the ball, which the perturbation leaves in all directions, and eps is in units of these weights.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative
from samat_mm.theory.model import FeatureModel
from samat_mm.theory.theorems import standard_weight

SEARCHED = np.logspace(-6, 6, 601)  # w_1 in units of sqrt(n), to bracket the optimum
AROUND = np.linspace(0, np.pi, 33)  # directions of the perturbation, from plus to minus w_1
EXACT = {'xatol': 1e-13}
SMALLEST = 1e-290  # error of which double precision still has all digits


def all_weights_sam_weight(model: FeatureModel, eps: float) -> float:
    """Return W_R at the w_1 with the smallest worst-case error over ``||delta||_2 <= eps`` of all n + 1 weights.

    Args:
        model: the model.
        eps: the radius.

    Returns:
        W_R, to about 1e-8 of it; infinity if x_1 alone withstands the ball better.

    Raises:
        ValueError: if eps is not below ``sqrt n``, with which the ball could take away all other weights, n is 1, or
            the error is too small for double precision.
    """
    weights = SEARCHED * model.spread
    errors = worst_error(model, weights, eps)
    best = int(errors.argmin())
    if errors[best] < SMALLEST:
        raise InputError(
            f'eta sqrt(n) = {model.eta * model.spread:g} leaves an error below {SMALLEST:g}, too small to be compared '
            'in double precision; give a smaller eta or n.'
        )
    if errors[best] >= 1 - model.p:
        return math.inf
    found = minimize_scalar(
        lambda weight: _exact_worst_error(model, weight, eps),
        bounds=(weights[max(best - 1, 0)], weights[best + 1]),
        method='bounded',
        options=EXACT,
    )
    return float(found.x) / model.n


def all_weights_sam_weight_approximate(model: FeatureModel, eps: float) -> float:
    """Return that W_R to second order, ``W* (1 + eps^2 (w*^2 / n - 2) / (3 n))``.

    Theorem 4.3 holds over all weights only if ``w* > sqrt(2 n)``; otherwise W_R is below W*. The formula assumes that
    the worst perturbation turns w towards or away from w_1, which it does while eps is small against w*.
    """
    ratio = model.weight**2 / model.n
    return standard_weight(model) * (1 + non_negative(eps, 'eps') ** 2 * (ratio - 2) / (3 * model.n))


def worst_error(model: FeatureModel, weights: np.ndarray, eps: float) -> np.ndarray:
    """Return the largest error that a perturbation of all weights causes, on a grid of directions.

    Since accuracy depends on the direction of w alone, the ball is a cone: all directions within
    ``asin(eps / ||w||)`` of w. A perturbation can turn w towards or away from w_1, or the other weights apart from each
    other, which all act alike, so that one angle describes the edge of the cone.

    Args:
        model: the model.
        weights: w_1, shape (N,), with ``w_2 = .. = w_(n+1) = 1``.
        eps: the radius.

    Returns:
        Shape (N,).

    Raises:
        ValueError: if eps is not below ``sqrt n``, or n is 1.
    """
    if model.n == 1:
        raise InputError('SAM over all weights is solved for n of at least 2; got 1.')
    if non_negative(eps, 'eps') >= model.spread:
        raise InputError(
            f'eps must be below sqrt(n) = {model.spread:g}, the length of the weights of the non-robust features, for '
            f'SAM over all weights; got {eps!r}.'
        )
    return _edge_error(model, weights[:, None], eps, AROUND).max(1)


def _exact_worst_error(model: FeatureModel, weight: float, eps: float) -> float:
    errors = _edge_error(model, weight, eps, AROUND)
    best = int(errors.argmax())
    found = minimize_scalar(
        lambda angle: -_edge_error(model, weight, eps, angle),
        bounds=(AROUND[max(best - 1, 0)], AROUND[min(best + 1, len(AROUND) - 1)]),
        method='bounded',
        options=EXACT,
    )
    return float(max(-found.fun, errors[best]))


def _edge_error(model: FeatureModel, weight: np.ndarray | float, eps: float, around: np.ndarray | float) -> np.ndarray:
    """Return the error at the edge of the cone, ``around`` being 0 towards w_1, pi away from it."""
    length = np.hypot(weight, model.spread)
    robust, others = weight / length, model.spread / length  # the direction of w
    sine = eps / length
    cosine = np.sqrt(1 - sine**2)
    turned = robust * cosine + others * sine * np.cos(around)
    along = others * cosine - robust * sine * np.cos(around)  # of the other weights, along their mean
    apart = sine * np.sin(around)
    spread = np.hypot(along, apart)
    mean = model.eta * model.spread * along
    right, wrong = (ndtr(-(sign * turned + mean) / spread) for sign in (1, -1))
    return model.p * right + (1 - model.p) * wrong
