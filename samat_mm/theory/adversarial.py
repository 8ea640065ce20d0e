"""The optimum of adversarial training over w_1, by exact root finding, in four balls."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative, one_of
from samat_mm.theory.model import FeatureModel

SEARCHED = np.array([0, *np.logspace(-6, 12, 3601)])  # w_1 in units of sqrt(n), to bracket the optimum


@dataclass(frozen=True)
class InputBall:
    """A ball of attacks on the inputs.

    Args:
        length: ``(w_1, n)`` returns the dual norm of the attacked weights, which an attack of radius 1 takes from the
            margin.
        slope: its derivative by w_1.
        takes_robust: whether x_1 is attacked as well.
    """

    length: Callable
    slope: Callable
    takes_robust: bool


INPUT_BALLS = {
    'linf': InputBall(lambda w, n: n, lambda w, n: 0.0, False),
    'l2': InputBall(lambda w, n: math.sqrt(n), lambda w, n: 0.0, False),
    'linf-all': InputBall(lambda w, n: w + n, lambda w, n: 1.0, True),
    'l2-all': InputBall(lambda w, n: np.sqrt(w**2 + n), lambda w, n: w / np.sqrt(w**2 + n), True),
}


def exact_standard_weight(model: FeatureModel) -> float:
    """Return W_R at the root of the derivative of the expected accuracy."""
    return exact_adversarial_weight(model, 0.0)


def exact_adversarial_weight(model: FeatureModel, eps: float, ball: str = 'linf') -> float:
    """Return W_R at the w_1 that maximises the accuracy under attack.

    The worst attack takes ``r(w) = eps length(w)`` from the margin of every sample, so that the accuracy is
    ``p Phi((w + c) / sqrt n) + (1 - p) Phi((-w + c) / sqrt n)`` with ``c = eta n - r(w)``. Its derivative is 0 where
    ``ln p/(1 - p) + ln (1 - r')/(1 + r') = 2 w c / n``, and the smallest such w > 0 is the maximum, unless the robust
    feature alone does better.

    Args:
        model: the model; ``w_2 = .. = w_(n+1) = 1``, which is best under these attacks, too.
        eps: the radius.
        ball: 'linf', the paper's; 'l2', equal to it at ``eps / sqrt n``; 'linf-all' and 'l2-all' where the attack moves
            x_1 as well.

    Returns:
        W_R; infinity if it is best to use x_1 alone, and 0 if it is best to leave it out.

    Raises:
        ValueError: if the attack turns the non-robust features against the label (eps is at least ``eta`` in linf,
            ``eta sqrt n`` in l2), or reaches 1 and so the sign of x_1.
    """
    kind = INPUT_BALLS[one_of(ball, tuple(INPUT_BALLS), 'ball')]
    largest = model.eta * (model.n / kind.length(0.0, model.n))
    largest = min(largest, 1.0) if kind.takes_robust else largest
    if non_negative(eps, 'eps') >= largest:
        raise InputError(
            f'eps must be below {largest:g} for adversarial training in the ball {ball}; got {eps!r}, at which the '
            'attack turns features against the label.'
        )

    def margin(weight: Any) -> Any:
        return model.eta * model.n - eps * kind.length(weight, model.n)

    def rise(weight: Any) -> Any:
        slope = eps * kind.slope(weight, model.n)
        return model.log_odds + np.log((1 - slope) / (1 + slope)) - 2 * weight * margin(weight) / model.n

    weights = SEARCHED * model.spread
    falling = np.flatnonzero(rise(weights) < 0)
    if not len(falling):
        return math.inf
    if falling[0] == 0:
        return 0.0
    found = float(brentq(rise, weights[falling[0] - 1], weights[falling[0]], xtol=1e-14, rtol=1e-15))
    return found / model.n if _beats_robust_feature(model, found, margin(found)) else math.inf


def _beats_robust_feature(model: FeatureModel, weight: float, margin: float) -> bool:
    """Tell whether accuracy is above p: more is won where x_1 is wrong than lost where it is right, in logarithms."""
    won, lost = (log_ndtr((sign * margin - weight) / model.spread) for sign in (1, -1))
    return bool(won - lost > model.log_odds)
