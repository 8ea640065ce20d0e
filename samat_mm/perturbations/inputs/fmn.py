"""FMN: the nearest error, by steps within a ball whose radius adapts to each image."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative, share, whole_number
from samat_mm.perturbations.inputs.classification import ClassificationAttack, margins
from samat_mm.perturbations.inputs.finite import FiniteWatch
from samat_mm.perturbations.inputs.problem import Problem, one_row_each
from samat_mm.perturbations.norms import norm_named
from samat_mm.perturbations.rows import choose, per_sample
from samat_mm.perturbations.units import Radius

LAST_ALPHA, LAST_GAMMA = 0.01, 0.001  # the last step as a share of the first one, and the last change of the radius


@dataclass(frozen=True, repr=False)
class FMN(ClassificationAttack):
    """Fast minimum-norm attack: a small perturbation that changes the class, kept if it lies in the ball.

    Each step goes down the margin (the label's logit less the largest other one) by ``alpha``, in Euclidean length
    whatever the norm, and is projected onto a ball of the image's own radius, and then onto the pixel box. Until the
    first error the radius is the distance at which the linearised margin is 0, and a share ``gamma`` more: without it,
    an iterate may come to rest on a boundary that it never crosses. From then on the radius shrinks by ``gamma`` after
    an error, never above the distance of the nearest one, and grows by ``gamma`` otherwise. Along a cosine, ``alpha``
    falls to a hundredth and ``gamma`` to 0.001. Of the adversarial iterates, the last one too, the nearest is kept. An
    image without one within ``eps`` is returned as it was; ``eps`` does not change the search.

    Source: Pintor et al., Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints, NeurIPS 2021
    (algorithm 1, untargeted, started at the image; there the first radius has no such surplus).

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units, within which an error counts; a number or a string such as '8/255'.
        steps: number of steps.
        alpha: Euclidean length of the first step, in [0, 1] pixel units.
        gamma: share by which the radius changes after the first step.
        seed: without effect, because nothing is random.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    steps: int = 100
    alpha: float = 1.0
    gamma: float = 0.05
    seed: int = 0

    seeks_nearest = True

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.steps, 'steps')
        if non_negative(self.alpha, 'alpha') == 0:
            raise InputError('alpha must be greater than 0; got 0, with which no step moves the image.')
        share(self.gamma, 'gamma')

    def find(self, problem: Problem) -> Tensor:
        """Return the nearest adversarial image within ``eps``, or the image itself."""
        images, watch = problem.images, FiniteWatch()
        iterate, nearest = images, images
        radius = torch.zeros_like(images[:, 0, 0, 0])
        distance = torch.full_like(radius, torch.inf)
        for step in range(1, self.steps + 1):
            margin, adversarial, grad = _margin(problem, iterate, watch)
            length = self.ball.norm(iterate - images)
            nearest, distance = _nearer(adversarial, iterate, length, nearest, distance)
            gamma = annealed(self.gamma, LAST_GAMMA, step, self.steps)
            linearised = length + margin / (self.ball.dual(grad) + 1e-12)
            larger = torch.where(distance.isfinite(), radius, linearised) * (1 + gamma)
            radius = torch.where(adversarial, torch.minimum(radius * (1 - gamma), distance), larger)
            alpha = annealed(self.alpha, self.alpha * LAST_ALPHA, step, self.steps)
            moved = iterate - images - alpha * norm_named('l2').steepest(grad)
            iterate = (images + self._projected(moved, radius)).clamp(0, 1)
        logits = problem.output(iterate)
        watch.note(logits)
        watch.check()
        adversarial = logits.argmax(1) != problem.target
        nearest, distance = _nearer(adversarial, iterate, self.ball.norm(iterate - images), nearest, distance)
        return choose(distance <= self.eps, nearest, images)

    def _projected(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Return the nearest points of balls of these radii (N,): the ball of radius 1, in units of the radius."""
        unit = per_sample(radius.clamp_min(1e-8), delta)
        return self.ball.project(delta / unit, 1.0) * unit


def annealed(first: float, last: float, step: int, steps: int) -> float:
    """Return the value of a step (from 1) on a half cosine from ``first`` to ``last``; equation 7 of the paper."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def _margin(problem: Problem, iterate: Tensor, watch: FiniteWatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the margins (N,), which images the model gets wrong (N,), and the gradient of the margins."""
    pixels = iterate.detach().requires_grad_()
    with torch.enable_grad():
        logits = one_row_each(problem.output(pixels), pixels)
        margin = margins(logits, problem.target)
        (grad,) = torch.autograd.grad(margin.sum(), pixels)
    watch.note(logits, grad)
    return margin.detach().to(iterate), logits.argmax(1) != problem.target, grad.nan_to_num(0, 0, 0)


def _nearer(
    adversarial: Tensor, iterate: Tensor, length: Tensor, nearest: Tensor, distance: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the nearest adversarial iterates so far and their distances."""
    better = adversarial & (length < distance)
    return choose(better, iterate, nearest), torch.where(better, length, distance)
