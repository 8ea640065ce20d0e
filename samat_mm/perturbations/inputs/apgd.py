"""APGD: steps that halve where they no longer pay."""

import torch
from torch import Tensor

from samat_mm.perturbations.inputs.ascent import ProjectedAscent, StepRule
from samat_mm.perturbations.inputs.objectives import Objective, wrong_share
from samat_mm.perturbations.inputs.region import Region

MOMENTUM = 0.75  # alpha of the paper: the share of the new step
RISES_WANTED = 0.75  # rho of the paper: the share of steps that must raise the loss


class APGD(ProjectedAscent):
    """Projected ascent with momentum, whose step size is halved, image by image, where progress stalls.

    The first step is ``2 eps`` long. At each checkpoint, an image whose loss rose in at most 3/4 of the steps since the
    last one, or whose best loss did not rise at all although its step was not halved then, goes back to its best
    iterate and on with half the step. The loss followed is the objective's, or the plain cross-entropy for the
    pixel-wise ones. Of all iterates, the one with the most wrong labels is returned, the objective deciding between
    equals.

    Checkpoints, ties and the first check are those of the authors' code. There, the first step counts as a rise where
    the loss after it is above 0, whatever it was before: always with cross-entropy, and with the ratio of logits
    ('dlr') where the image is wrong by then.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, ICML 2020, algorithm 1.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: number of gradient steps; the checkpoints scale with it.
        random_start: start anywhere in the ball rather than at the image.
        restarts: number of random starts; the best result counts.
        objective: 'cross-entropy', 'model-loss', 'dlr' for classifiers, or for segmentors 'segpgd', 'cospgd',
            'masked-cross-entropy', 'balanced-masked-cross-entropy' or 'jensen-shannon'.
        goal: 'loss', or 'error' to leave out images of a classifier once it errs on them.
        seed: of the random starts.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self,
        norm: str = 'linf',
        eps: float | str = '8/255',
        steps: int = 100,
        random_start: bool = True,
        restarts: int = 1,
        objective: str | Objective = 'cross-entropy',
        goal: str = 'loss',
        seed: int = 0,
    ) -> None:
        super().__init__(norm, eps, steps, random_start, restarts, objective, goal, seed)

    def step_rule(self, region: Region, steps: int) -> StepRule:
        """Return steps that adapt to the loss."""
        return AdaptiveSteps(region, steps)

    def rank(self, loss: Tensor, output: Tensor, target: Tensor | None) -> Tensor:
        """Return the share of wrong labels first: a higher loss need not change a prediction."""
        keys = super().rank(loss, output, target)
        if self.objective.output != 'logits' or target is None:
            return keys
        wrong = wrong_share(output, target)
        return torch.stack([wrong, keys[:, -1].to(wrong)], dim=1)


class AdaptiveSteps:
    """The steps of one run of APGD.

    Args:
        region: where the iterates stay.
        steps: how many there will be.
    """

    last_images: Tensor
    last_loss: Tensor

    def __init__(self, region: Region, steps: int) -> None:
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
                _choose(higher, images, best_images),
                _choose(higher, grad, best_grad),
                torch.where(higher, loss, best_loss),
            )
        # As in the authors' code, whose table of losses begins after the first step and is 0 before it.
        self.last_loss = loss if self.number > 0 else torch.zeros_like(loss)
        if self.number in self.checkpoints:
            images, grad = self._check(images, grad)
        new = self.region.project(images + _rows(self.size, images) * self.region.steepest(grad))
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
        return _choose(stalled, self.best[0], images), _choose(stalled, self.best[1], grad)


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


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _choose(first: Tensor, ours: Tensor, others: Tensor) -> Tensor:
    """Return the rows of ``ours`` where ``first`` is true, and of ``others`` elsewhere."""
    return torch.where(_rows(first, ours), ours, others)
