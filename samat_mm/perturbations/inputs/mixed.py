"""Two predicts for one ascent: a fast one for its early steps, and the exact one for the last."""

import math
from dataclasses import dataclass

from torch import Tensor

from samat_mm.perturbations.inputs.problem import Predict, restricted

EXACT_SHARE = 0.2  # of the steps


@dataclass(frozen=True)
class MixedPredict:
    """A ``predict`` that leaves early steps to a faster one with nearly the same results.

    The last fifth of the steps of a run, at least one, and everything that is not a step asks ``exact``.

    Args:
        exact: the predict that the attack is to be strong against.
        early: the fast one, in bfloat16 for instance.
    """

    exact: Predict
    early: Predict

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the exact output."""
        return self.exact(pixels)

    def at(self, step: int, steps: int) -> Predict:
        """Return the predict of step ``step`` (from 0) of ``steps``."""
        return self.early if step < steps - math.ceil(EXACT_SHARE * steps) else self

    def subset(self, rows: Tensor) -> 'MixedPredict':
        """Return the two for some images of the batch (indices, shape (n,))."""
        return MixedPredict(restricted(self.exact, rows), restricted(self.early, rows))
