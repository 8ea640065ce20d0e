"""Steps that adapt to the progress of a run, as APGD makes them in linf and l2."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from samat_mm.perturbations.rows import choose, per_sample

if TYPE_CHECKING:
    from samat_mm.perturbations.norms.region import Region

MOMENTUM = 0.75  # alpha of the paper: the share of the new step
RISES_WANTED = 0.75  # rho of the paper: the share of steps that must raise the loss

# From the images, their gradient and the loss that step sizes follow to the next images.
StepRule = Callable[[Tensor, Tensor, Tensor], Tensor]


class AdaptiveSteps:
    """The steps of one run of APGD.

    Args:
        region: where the iterates stay.
        steps: how many there will be.
    """

    last_images: Tensor
    last_loss: Tensor

    def __init__(self, region: 'Region', steps: int) -> None:
        self.region, self.checkpoints = region, checkpoints(steps)
        self.number = 0

    def __call__(self, images: Tensor, grad: Tensor, loss: Tensor) -> Tensor:
        """Return the next images.

        Args:
            images: the current iterate, shape (N, C, H, W).
            grad: the gradient of the objective there.
            loss: what the step size follows there, shape (N,), or (1,) for the whole batch.
        """
        if self.number == 0:
            self.size = torch.full_like(loss, 2 * self.region.radius)
            self.halved = torch.ones_like(loss, dtype=torch.bool)
            self.rises, self.interval = torch.zeros_like(loss), 0
            self.best, self.best_then = (images, grad, loss), loss
        else:
            self.rises, self.interval = self.rises + (loss > self.last_loss), self.interval + 1
            higher = loss > self.best[2]
            best_images, best_grad, best_loss = self.best
            self.best = (
                choose(higher, images, best_images),
                choose(higher, grad, best_grad),
                torch.where(higher, loss, best_loss),
            )
        # As in the authors' code, whose table of losses begins after the first step and is 0 before it.
        self.last_loss = loss if self.number > 0 else torch.zeros_like(loss)
        if self.number in self.checkpoints:
            images, grad = self._check(images, grad)
        new = self.region.step(images, grad, per_sample(self.size, images))
        if self.number > 0:
            new = self.region.project(images + MOMENTUM * (new - images) + (1 - MOMENTUM) * (images - self.last_images))
        self.last_images = images
        self.number += 1
        return new

    def _check(self, images: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Halve the steps that do not pay; their images go back to the best iterate."""
        stalled = self.rises <= RISES_WANTED * self.interval
        stalled |= ~self.halved & (self.best[2] <= self.best_then)
        self.size = torch.where(stalled, self.size / 2, self.size)
        self.halved, self.best_then = stalled, self.best[2]
        self.rises, self.interval = torch.zeros_like(self.rises), 0
        return choose(stalled, self.best[0], images), choose(stalled, self.best[1], grad)


def checkpoints(steps: int) -> frozenset[int]:
    """Return after which steps progress is judged: 22% of them, then intervals 3% shorter each time, down to 6%."""
    shortest, shrinkage = max(6 * steps // 100, 1), max(3 * steps // 100, 1)
    interval = max(22 * steps // 100, 1)
    found, position = set(), interval
    while position < steps:
        found.add(position)
        interval = max(interval - shrinkage, shortest)
        position += interval
    return frozenset(found)
