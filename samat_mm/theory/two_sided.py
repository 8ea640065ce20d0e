"""SAM that looks on both sides of the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.optim import Optimizer

from samat_mm.perturbations.checks import whole_number
from samat_mm.perturbations.weights import SAM, Displacement, Parts, Source, WeightPerturbation, steepest
from samat_mm.perturbations.weights.method import parameter
from samat_mm.perturbations.weights.parts import Memory, Named, Weights


@dataclass(frozen=True)
class TwoSidedSAM(WeightPerturbation):
    """SAM whose ascents start along the gradient and against it; the end with the higher loss is taken.

    Near a minimum the loss has a maximum on either side of the ball, and SAM's ascents, however many, go to the one to
    which the gradient points. That is the lower one wherever the minimum lies between the weights and the higher one.
    Costs ``2 steps + 4`` passes, ``2 steps + 2`` of them with a gradient.

    Args:
        rho: radius.
        loss_fn: runs the forward and returns the loss at the current weights.
        steps: number of gradients of each ascent after its start.
    """

    rho: float
    loss_fn: Callable[[], Tensor]
    steps: int = parameter(1, whole_number)

    @cached_property
    def parts(self) -> Parts:
        """The better of two ascents as the source of the direction."""
        return Parts(source=Source(self.higher_end), before=(steepest(),))

    def higher_end(self, weights: Weights, optimizer: Optimizer, memory: Memory) -> Named:
        """Return the offset of each weight at the end with the higher loss."""
        towards = SAM(self.rho).ascend(weights, self._gradient(weights))
        ends = [self._climb(weights, [sign * self.rho * part for part in towards]) for sign in (1, -1)]
        return dict(zip(weights, max(ends, key=lambda end: end[0])[1], strict=True))

    def _climb(self, weights: Weights, offsets: list[Tensor]) -> tuple[float, list[Tensor]]:
        displacement, tensors = Displacement(), list(weights.values())
        with displacement(tensors, offsets):
            for _ in range(self.steps):
                offsets = [self.rho * part for part in SAM(self.rho).ascend(weights, self._gradient(weights))]
                displacement.move(tensors, offsets)
            with torch.no_grad():
                return float(self.loss_fn()), offsets

    def _gradient(self, weights: Weights) -> list[Tensor]:
        return list(torch.autograd.grad(self.loss_fn(), list(weights.values())))
