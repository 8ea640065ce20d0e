"""Links of a chain that several methods share, or that one method adds to another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from samat_mm.perturbations.norms import NORMS, Norm
from samat_mm.perturbations.vectors import Rescaling
from samat_mm.perturbations.weights.parts import Memory, Transformation


def _not_rescaled(weights: Mapping[str, Tensor]) -> Rescaling:
    return lambda vectors: None


@dataclass(frozen=True)
class Steepest(Transformation):
    """The unit vector along which the linearised loss rises most, over all weights together.

    Args:
        rescaling: given the weights, returns what multiplies vectors by T, in place; the ball is that of ``e / T``.
        ball: of which norm.
    """

    rescaling: Callable[[Mapping[str, Tensor]], Rescaling] = _not_rescaled
    ball: Norm = field(default_factory=lambda: NORMS['l2'])

    def apply(self, weights: Mapping[str, Tensor], vectors: list[Tensor], memory: Memory) -> None:
        """Normalise."""
        self.ball.steepest_jointly(vectors, self.rescaling(weights))
