"""FAB: the nearest point on the other side of a decision boundary, by repeated linearisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samat_mm.perturbations.checks import one_of, whole_number
from samat_mm.perturbations.inputs.classification import ClassificationAttack, ranked_rivals
from samat_mm.perturbations.inputs.finite import check_gradient
from samat_mm.perturbations.inputs.problem import Problem, Remaining
from samat_mm.perturbations.randomness import generator_for, noise_like
from samat_mm.perturbations.rows import choose, per_sample
from samat_mm.perturbations.units import Radius

OVERSHOOT, BACKWARD, ALPHA_MAX = 1.05, 0.9, 0.1
TARGETS = ('nearest', 'ranked')


@dataclass(frozen=True, repr=False)
class FAB(ClassificationAttack):
    """Fast adaptive boundary attack: a small perturbation that changes the class, kept if it lies in the ball.

    Each step linearises the differences of the logits, projects the iterate and the image onto the nearest boundary
    within the pixel box, and moves to a mixture of both that overshoots by 5 %; an iterate beyond the boundary goes
    back a tenth of the way to its image. Of the adversarial iterates the nearest is kept. An image without one in the
    ball is returned as it was. The first start is the image itself; only further restarts are random.

    Source: Croce & Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020
    (algorithm 1, with its alpha_max 0.1, eta 1.05, beta 0.9).

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: number of steps of each run. The paper's table uses 10, AutoAttack 100.
        restarts: runs per image (and target), each for the images that still resist.
        targets: 'nearest' linearises every boundary at every step (K backward passes); 'ranked' runs against the
            most probable other classes one after the other (one backward pass), as AutoAttack's FAB-T.
        classes: number of classes that 'ranked' aims at; 9 as in AutoAttack, or all others if there are fewer.
        seed: seed of the starts after the first.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    steps: int = 10
    restarts: int = 1
    targets: str = 'nearest'
    classes: int = 9
    seed: int = 0

    seeks_nearest = True

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.steps, 'steps')
        whole_number(self.restarts, 'restarts')
        one_of(self.targets, TARGETS, 'targets')
        whole_number(self.classes, 'classes')

    def find(self, problem: Problem) -> Tensor:
        """Return the nearest adversarial image within the ball, or the image itself."""
        result, left = problem.images.clone(), Remaining(problem)
        rivals = ranked_rivals(problem)[:, : self.classes].unbind(1) if self.targets == 'ranked' else [None]
        for rank, rival in enumerate(rivals):
            for restart in range(self.restarts):
                if not len(left):
                    return result
                aims = None if rival is None else rival[left.rows]
                found, distance = self._run(left.problem, aims, self._starts(left.problem, rank, restart))
                near = distance <= self.eps
                result[left.rows[near]] = found[near]
                left.drop(near)
        return result

    def _starts(self, problem: Problem, rank: int, restart: int) -> Tensor:
        def draw(shape: Sequence[int], number: int) -> Tensor:
            offset = self.ball.offset(shape, generator_for(self.seed, number, restart, rank))
            return offset / self.ball.norm(offset[None]) * self.eps / 2

        images = problem.images
        return images.clone() if restart == 0 else (images + noise_like(images, draw, problem.numbers)).clamp(0, 1)

    def _run(self, problem: Problem, aims: Tensor | None, iterate: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest adversarial iterates and their distances, infinite where there is none."""
        images, labels = problem.images, problem.target
        nearest, distance = images.clone(), torch.full_like(images[:, 0, 0, 0], torch.inf)
        for _ in range(self.steps):
            gap, normal = self._boundary(problem, iterate, aims)
            offset = (normal * (images - iterate)).flatten(1).sum(1)
            step = self.ball.to_hyperplane(iterate, normal, -gap)
            way = self.ball.to_hyperplane(images, normal, -gap - offset)
            lengths = [self.ball.norm(delta).clamp_min(1e-8) for delta in (step, way)]
            alpha = per_sample((lengths[0] / (lengths[0] + lengths[1])).clamp_max(ALPHA_MAX), images)
            iterate = ((iterate + OVERSHOOT * step) * (1 - alpha) + (images + OVERSHOOT * way) * alpha).clamp(0, 1)
            adversarial = problem.logits(iterate).argmax(1) != labels
            length = self.ball.norm(iterate - images)
            better = adversarial & (length < distance)
            nearest = choose(better, iterate, nearest)
            distance = torch.where(better, length, distance)
            iterate = choose(adversarial, images + (iterate - images) * BACKWARD, iterate)
        return nearest, distance

    def _boundary(self, problem: Problem, iterate: Tensor, aims: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the other class's lead (N,) and its gradient (N, C, H, W), for the boundary that is nearest."""
        labels = problem.target
        pixels = iterate.detach().requires_grad_()
        with torch.enable_grad():
            logits = problem.logits(pixels)
            own = logits.gather(1, labels[:, None])
            leads = (logits if aims is None else logits.gather(1, aims[:, None])) - own
        gap, normal = torch.zeros_like(iterate[:, 0, 0, 0]), torch.zeros_like(iterate)
        smallest, largest = torch.full_like(gap, torch.inf), []
        for column in range(leads.shape[1]):
            last = column == leads.shape[1] - 1
            only = torch.zeros_like(leads)
            only[:, column] = 1
            (grad,) = torch.autograd.grad(leads, pixels, only, retain_graph=not last)
            largest.append(grad.abs().amax())
            lead = leads[:, column].detach().to(gap)
            away = lead.abs() / (self.ball.dual(grad) + 1e-12)
            if aims is None:
                away = away.masked_fill(labels == column, torch.inf)
            closer = away < smallest
            smallest, gap = torch.where(closer, away, smallest), torch.where(closer, lead, gap)
            normal = choose(closer, grad, normal)
        check_gradient(torch.stack(largest))
        return gap, normal

    def describe(self) -> dict[str, Any]:
        """Return the parameters for reports; the number of classes only where they are aimed at one by one."""
        left_out = () if self.targets == 'ranked' else ('classes',)
        return {key: value for key, value in super().describe().items() if key not in left_out}
