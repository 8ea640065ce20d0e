"""The direction of steepest ascent, which most methods share."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from samat_mm.perturbations.norms import NORMS, Norm
from samat_mm.perturbations.weights.parts import Memory, Transformation, Weights


def _not_rescaled(weights: Weights, vectors: list[Tensor]) -> None:
    pass


def steepest(
    rescale: Callable[[Weights, list[Tensor]], None] = _not_rescaled, ball: Norm = NORMS['l2']
) -> Transformation:
    """Return the unit vector along which the linearised loss rises most, over all weights together.

    Args:
        rescale: given the weights, multiplies vectors by T, in place; ``e / T`` is in the ball.
        ball: norm of the ball.
    """

    def apply(weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        ball.steepest_jointly(vectors, partial(rescale, weights))

    return Transformation(apply)
