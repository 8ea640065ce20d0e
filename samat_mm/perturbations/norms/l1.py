"""The sum of absolute values: sparse steps, and a projection onto the ball and the pixel box at once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from samat_mm.perturbations.norms.base import Box, Norm
from samat_mm.perturbations.norms.hyperplane import sides
from samat_mm.perturbations.norms.region import PIXELS, Region
from samat_mm.perturbations.norms.squares import Proposals, Windows
from samat_mm.perturbations.rows import choose, per_sample

LARGEST_SHARE = 0.2  # of the coordinates that move in the first steps


class SparseSteps:
    """The steps of one run of l1-APGD: the sign of a share of the coordinates, which follows the best iterate.

    A step moves, by ``radius`` in sum, two thirds of the number of coordinates that the start has changed, at most a
    fifth of all; a fifth from the original itself. Every 25th of the run, the best iterate takes the place of the start
    in this count, without the limit. If it has changed less than 95 % of the coordinates of the count before, the
    search continues from it with the full step; otherwise the step is divided by 1.5, down to a tenth.

    Source: Croce and Hein 2021, algorithm 1 and the authors' code.

    Args:
        region: the region of the iterates.
        steps: the number of steps.
    """

    best: tuple[Tensor, ...]  # images, gradients and losses

    def __init__(self, region: Region, steps: int) -> None:
        self.region, self.interval, self.number = region, max(steps * 4 // 100, 1), 0
        self.coordinates = region.coordinates()

    def __call__(self, images: Tensor, grad: Tensor, loss: Tensor) -> Tensor:
        """Return the next images."""
        if self.number == 0:
            changed = self._changed(images)
            self.changed = torch.where(changed > 0, changed, self.coordinates)
            self.share = (self.changed / self.coordinates / 1.5).clamp_max(LARGEST_SHARE)
            self.size = torch.full_like(self.coordinates, self.region.radius)
            self.best = images, grad, loss
        else:
            higher = loss > self.best[2]
            self.best = tuple(choose(higher, *both) for both in zip((images, grad, loss), self.best, strict=True))
            if self.number % self.interval == 0:
                images, grad = self._check(images, grad)
        self.number += 1
        direction = self._sparse(grad).sign()
        moves = per_sample(self.size / direction.flatten(1).abs().sum(1).clamp_min(1), grad) * direction
        return self.region.project(images + moves)

    def _check(self, images: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        changed = self._changed(self.best[0])
        sparser = changed < 0.95 * self.changed
        smaller = (self.size / 1.5).clamp_min(self.region.radius / 10)
        self.size = torch.where(sparser, self.region.radius, smaller)
        self.share, self.changed = changed / self.coordinates / 1.5, changed
        return choose(sparser, self.best[0], images), choose(sparser, self.best[1], grad)

    def _changed(self, images: Tensor) -> Tensor:
        """Return how many coordinates differ from those of the original, shape (N,)."""
        return (images != self.region.inputs).flatten(1).sum(1).to(self.coordinates)

    def _sparse(self, grad: Tensor) -> Tensor:
        """Return the gradient of the coordinates that move, 0 elsewhere; padding has none."""
        grad = self.region.inside(grad)
        kept = (self.share * self.coordinates).ceil().clamp_min(1).long()
        steepness = grad.flatten(1).abs().sort(dim=1, descending=True).values
        return grad * (grad.abs() >= per_sample(steepness.gather(1, kept[:, None] - 1), grad))


class L1(Norm):
    """The sum of the absolute values, over all pixels and channels.

    Source: Croce and Hein, Mind the box: l1-APGD for sparse adversarial attacks on image classifiers, ICML 2021.
    """

    name = 'l1'
    stages = ((3.0, 3), (2.0, 3), (1.0, 4))
    restarts, targets = 5, 5
    adaptive_steps = SparseSteps

    def norm(self, delta: Tensor) -> Tensor:
        """Return the sum of the absolute values of each perturbation, shape (N,)."""
        return delta.flatten(1).abs().sum(1)

    def dual(self, grad: Tensor) -> Tensor:
        """Return the largest absolute value of each gradient, shape (N,)."""
        return grad.flatten(1).abs().amax(1)

    def sample(self, shape: Sequence[int], radius: float, generator: torch.Generator) -> Tensor:
        """Draw exponential lengths, one more than coordinates, whose shares fill the simplex evenly; and signs."""
        count = math.prod(shape)
        lengths = -torch.rand(count + 1, generator=generator).clamp_min(torch.finfo(torch.float32).tiny).log()
        signs = torch.randint(2, (count,), generator=generator) * 2 - 1
        return (signs * lengths[:-1] / lengths.sum() * radius).reshape(tuple(shape))

    def steepest(self, grad: Tensor) -> Tensor:
        """Return the sign of the largest coordinate of the gradient, the first of several, and 0 elsewhere."""
        largest = grad.flatten(1).abs().argmax(1, keepdim=True)
        flat = torch.zeros_like(grad.flatten(1)).scatter_(1, largest, grad.flatten(1).gather(1, largest).sign())
        return flat.reshape(grad.shape)

    def project(self, delta: Tensor, radius: float) -> Tensor:
        """Shorten every coordinate by the same amount, at most to 0."""
        return _shortened(delta, torch.full_like(delta, torch.inf), radius)

    def largest_radius(self, shape: Sequence[int] | None) -> float:
        """Return the number of coordinates."""
        return math.inf if shape is None else float(math.prod(shape))

    def step(self, images: Tensor, grad: Tensor, length: float | Tensor, box: Box | None) -> Tensor:
        """Move the coordinates of the largest gradient, each up to the box, until the length is used up."""
        if box is None:
            return super().step(images, grad, length, box)
        slope, room = grad.flatten(1), _room(images, grad, box).flatten(1)
        budget = torch.as_tensor(length).to(room).reshape(-1, 1).expand(len(room), 1)
        moves = _filled(slope.abs(), room, torch.ones_like(room), budget)
        return images + (slope.sign() * moves).reshape(images.shape)

    def feasible(self, images: Tensor, centre: Tensor, radius: float, box: Box | None) -> Tensor:
        """Return the nearest images that are both in the ball around ``centre`` and in the box."""
        if box is None:
            return super().feasible(images, centre, radius, box)
        delta = images - centre
        return (centre + _shortened(delta, _room(centre, delta, box), radius)).clamp(*box)  # against rounding

    def to_hyperplane(self, images: Tensor, normal: Tensor, rise: Tensor) -> Tensor:
        """Move the coordinates of the largest slope, each up to the box, until the hyperplane is reached."""
        towards, slope, room, needed = sides(images, normal, rise)
        return (towards * _filled(slope, room, slope, needed)).reshape(images.shape)

    def squares(self, eps: float) -> Proposals:
        """Return windows between which length moves."""
        return Windows(eps, 1, lambda images, delta: self.feasible(images + delta, images, eps, PIXELS))


def _room(images: Tensor, direction: Tensor, box: Box) -> Tensor:
    """Return how far each coordinate may move in its direction."""
    return torch.where(direction > 0, box[1] - images, images - box[0]) * (direction != 0)


def _filled(slope: Tensor, room: Tensor, price: Tensor, budget: Tensor) -> Tensor:
    """Return how far each coordinate moves, (N, D), where the steepest come first until the budget (N, 1) is spent."""
    order = slope.argsort(dim=1, descending=True, stable=True)
    costs = (room * price).gather(1, order).double()
    paid = torch.minimum((budget - costs.cumsum(1) + costs).clamp_min(0), costs)
    spent = torch.zeros_like(costs).scatter_(1, order, paid)
    return torch.minimum((spent / price.clamp_min(torch.finfo(price.dtype).tiny)).to(room), room)


def _shortened(delta: Tensor, room: Tensor, radius: float) -> Tensor:
    """Return ``sign(delta) * clamp(|delta| - t, 0, room)`` for the smallest ``t >= 0`` whose sum is in the radius.

    As ``t`` falls, coordinate i starts to move at ``|delta_i|`` and stops at ``|delta_i| - room_i``. The sum is linear
    between these points; sorted, they give the root exactly.
    """
    length, most = delta.flatten(1).abs().double(), room.flatten(1).double()
    count = length.shape[1]
    points, order = torch.cat([length, (length - most).clamp_min(0)], dim=1).sort(dim=1, descending=True)
    moving = torch.where(order < count, 1, -1).cumsum(1)
    below = F.pad(points[:, 1:], (0, 1))
    total = (moving * (points - below)).cumsum(1)  # at t = below
    first = (total < radius).sum(1, keepdim=True).clamp_max(2 * count - 1)
    excess = (total.gather(1, first) - radius).clamp_min(0)
    t = below.gather(1, first) + excess / moving.gather(1, first).clamp_min(1)
    short = torch.minimum((length - t).clamp_min(0), most).to(delta)
    return delta.sign() * short.reshape(delta.shape)
