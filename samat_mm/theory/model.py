"""The paper's model of a robust feature among non-robust ones."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from scipy.special import ndtr
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative, share, whole_number
from samat_mm.perturbations.randomness import generator_for


class Data(NamedTuple):
    """Samples: inputs (N, n + 1), the robust feature first, and labels of -1 or 1, shape (N,), in double precision."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class FeatureModel:
    """A label y of -1 or 1, one robust feature and n non-robust ones.

    ``x_1`` is y with probability p and -y otherwise; ``x_2 .. x_(n+1)`` are independent, normal with mean ``eta y`` and
    variance 1. A linear classifier predicts ``sgn(w x)``. Its robust feature weight is
    ``W_R = w_1 / (w_2 + .. + w_(n+1))``, with ``w_2 = .. = w_(n+1) = 1`` thus ``w_1 / n``.

    Source: section 4.1 and equations 6 and 7 of the duality paper, after Tsipras et al., Robustness May Be at Odds with
    Accuracy, ICLR 2019.

    Example:
        >>> round(float(FeatureModel(p=0.9, eta=0.1, n=100).error(0.0)), 4)
        0.1587

    Args:
        p: accuracy of the robust feature.
        eta: mean of a non-robust feature, in its standard deviations.
        n: number of non-robust features.

    Raises:
        ValueError: if p is not above 0.5 and below 1, eta not above 0, or n not a whole number of at least 1.
    """

    p: float
    eta: float
    n: int

    def __post_init__(self) -> None:
        if isinstance(self.p, bool) or not isinstance(self.p, (int, float)) or not 0.5 < self.p < 1:
            raise InputError(
                'p, the accuracy of the robust feature, must be above 0.5, where it would say nothing about the label, '
                f'and below 1, where no other feature would be needed; got {self.p!r}.'
            )
        if non_negative(self.eta, 'eta') == 0:
            raise InputError('eta, the mean of a non-robust feature, must be above 0; got 0.')
        whole_number(self.n, 'n')

    @property
    def log_odds(self) -> float:
        """``ln p - ln(1 - p)``."""
        return math.log(self.p) - math.log1p(-self.p)

    @property
    def weight(self) -> float:
        """``w*``, the best w_1 for standard accuracy when the other weights are 1."""
        return self.log_odds / (2 * self.eta)

    @property
    def spread(self) -> float:
        """Standard deviation of the sum of the non-robust features."""
        return math.sqrt(self.n)

    def error(self, weight: Any, shift: Any = 0.0) -> Any:
        """Return the probability of a wrong prediction, ``1 - u(w_1)``, when the other weights are 1.

        Args:
            weight: w_1, a number or an array.
            shift: what an attack takes from the margin ``y w x``, likewise.
        """
        mean = self.eta * self.n - shift
        right, wrong = (ndtr(-(sign * weight + mean) / self.spread) for sign in (1, -1))
        return self.p * right + (1 - self.p) * wrong

    def sample(self, count: int, seed: int, drawn: float = 1.0) -> Data:
        """Draw samples.

        Args:
            count: number of samples.
            seed: seed of the random numbers.
            drawn: share of the variance of each non-robust feature that is drawn; the rest is left to whoever
                integrates over it.

        Raises:
            ValueError: if ``count`` is not a whole number of at least 1, or ``drawn`` not a share.
        """
        whole_number(count, 'count')
        share(drawn, 'drawn')
        generator = generator_for(seed)
        labels, right = torch.rand(2, count, generator=generator, dtype=torch.float64)
        labels = torch.where(labels < 0.5, -1.0, 1.0).double()
        robust = torch.where(right < self.p, labels, -labels)
        noise = torch.randn(count, self.n, generator=generator, dtype=torch.float64)
        others = self.eta * labels[:, None] + math.sqrt(drawn) * noise
        return Data(torch.cat([robust[:, None], others], 1), labels)
