"""SAM: the steepest ascent in the Euclidean ball."""

from dataclasses import dataclass
from functools import cached_property

from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.weights.method import WeightPerturbation, parameter
from samat_mm.perturbations.weights.parts import Parts
from samat_mm.perturbations.weights.transformations import steepest


@dataclass(frozen=True)
class SAM(WeightPerturbation):
    """Sharpness-aware minimisation, ``e = rho g / ||g||`` over all weights together.

    With several ``steps``, ``e_k = rho g(w + e_(k-1)) / ||g(w + e_(k-1))||`` from ``e_0 = 0``: each takes the gradient
    where the last one led and goes to the maximiser of that linearisation in the ball around w. Every e_k is on the
    ball, so nothing needs to be projected. On a linear loss all are equal, on a convex one none is lower than the one
    before. Each step costs a forward and a backward pass.

    Source: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021, equation 2.

    Args:
        rho: radius, 0.05 as published.
        steps: number of gradients that find the perturbation, 1 as published.
    """

    rho: float = 0.05
    steps: int = parameter(1, whole_number)

    @cached_property
    def parts(self) -> Parts:
        """The steepest direction."""
        return Parts(before=(steepest(),), ascents=self.steps)
