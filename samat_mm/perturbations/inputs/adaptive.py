"""The steps of APGD in linf and l2, which adapt to the progress of a run."""

import torch
from torch import Tensor

from samat_mm.perturbations.norms.region import Region
from samat_mm.perturbations.rows import choose, per_sample

MOMENTUM = 0.75  # alpha of the paper: the share of the new step
RISES_WANTED = 0.75  # rho of the paper: the share of steps that must raise the loss


class AdaptiveSteps:
    """The steps of one run of APGD.

    Args:
        region: the region of the iterates.
        steps: the number of steps.
    """

    last_images: Tensor
    last_loss: Tensor
    best: tuple[Tensor, ...]  # images, gradients and losses

    def __init__(self, region: Region, steps: int) -> None:
        self.region, self.checkpoints = region, checkpoints(steps)
        self.number = 0

    def __call__(self, images: Tensor, grad: Tensor, loss: Tensor) -> Tensor:
        """Return the next images.

        Args:
            images: the current iterate, shape (N, C, H, W).
            grad: the gradient of the objective there.
            loss: the loss there that step sizes follow, shape (N,), or (1,) for the whole batch.
        """
        if self.number == 0:
            self.size = torch.full_like(loss, 2 * self.region.radius)
            self.halved = torch.ones_like(loss, dtype=torch.bool)
            self.rises, self.interval = torch.zeros_like(loss), 0
            self.best, self.best_then = (images, grad, loss), loss
        else:
            self.rises, self.interval = self.rises + (loss > self.last_loss), self.interval + 1
            higher = loss > self.best[2]
            self.best = tuple(choose(higher, *both) for both in zip((images, grad, loss), self.best, strict=True))
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
        """Halve the steps that do not pay; their images return to the best iterate."""
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
