"""Spatially transformed adversarial examples: pixels are moved, not recoloured."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import one_of, whole_number
from samat_mm.perturbations.inputs.classification import OptionallyBoundedAttack, margins
from samat_mm.perturbations.inputs.finite import check_gradient
from samat_mm.perturbations.inputs.flow import roughness, warp
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.rows import choose
from samat_mm.perturbations.units import Radius, parse_radius

FORMS = ('bounded', 'original')


@dataclass(frozen=True, repr=False)
class StAdv(OptionallyBoundedAttack):
    """Moves every pixel by a small vector, its flow, such that the class changes.

    Two forms are in use, which are not comparable:

    - 'bounded', the duality paper's: no component of the flow exceeds ``bound`` in units of a grid that spans the image
      from -1 to 1; ``steps`` of Adam drive ``margin + weight * ||flow||_2`` down, where the margin is never cut off
      (kappa infinite). Of all iterates the one with the smallest margin is returned.
    - 'original', Xiao et al.'s: the flow, in pixels, is not bounded; L-BFGS drives ``max(margin, 0) + weight *
      roughness`` down, where the roughness sums the differences between the flows of neighbouring pixels. Of all
      iterates on which the model errs, the one with the smallest roughness is returned. It runs image by image, for its
      line search.

    The margin is the label's logit less the largest other one. An image that no iterate improves on is returned as it
    was. As published, no norm bounds the difference of pixels; with ``norm`` and ``eps`` the warped images are
    projected onto that ball before the model sees them.

    Source: Xiao et al., Spatially Transformed Adversarial Examples, ICLR 2018 (equations 1 to 5, weight 0.05); the
    bounded form as in the duality paper's evaluation.

    Args:
        form: 'bounded' or 'original'.
        steps: steps of Adam (10 by default), or the most iterations of L-BFGS (100 by default).
        step_size: Adam's learning rate, in grid units; 1e-3 by default. Not for 'original'.
        bound: largest component of the flow in grid units; '1/255' by default. Not for 'original'.
        weight: weight of the flow's norm or roughness.
        norm: 'linf' (the default), 'l2' or 'l1', in which ``eps`` bounds the difference of pixels.
        eps: radius in [0, 1] pixel units; None for no bound.
        seed: without effect, because nothing is random.
    """

    form: str = 'bounded'
    steps: Any = None
    step_size: Radius = None
    bound: Radius = None
    weight: Radius = 0.05
    norm: str | None = None
    eps: Radius = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        bounded = one_of(self.form, FORMS, 'form') == 'bounded'
        steps = (10 if bounded else 100) if self.steps is None else whole_number(self.steps, 'steps')
        if not bounded and not self.step_size is self.bound is None:
            raise InputError("step_size and bound belong to form='bounded'; the original form has neither.")
        if bounded:
            step_size = 1e-3 if self.step_size is None else parse_radius(self.step_size, 'step_size')
            bound = parse_radius('1/255' if self.bound is None else self.bound, 'bound')
            self._settle(step_size=step_size, bound=bound)
        self._settle(steps=steps, weight=parse_radius(self.weight, 'weight'))

    def moves_nothing(self) -> bool:
        """Return whether no flow or no change is allowed."""
        return super().moves_nothing() or (self.form == 'bounded' and self.bound == 0)

    def find(self, problem: Problem) -> Tensor:
        """Return the best warped images."""
        if self.form == 'bounded':
            return self._bounded(problem)
        return torch.cat([self._original(problem.subset([row])) for row in range(len(problem.images))])

    def _bounded(self, problem: Problem) -> Tensor:
        images, labels = problem.images, problem.target
        best, smallest = images.clone(), margins(problem.logits(images), labels)
        flow = images.new_zeros(len(images), *images.shape[2:], 2).requires_grad_()
        adam = torch.optim.Adam([flow], lr=self.step_size)
        for step in range(self.steps + 1):
            with torch.enable_grad():
                warped = self.within(warp(images, flow), images)
                margin = margins(problem.logits(warped), labels)
                loss = margin + self.weight * _length(flow)
                if step > 0:  # the first is the image itself, up to rounding
                    better = margin.detach() < smallest
                    smallest = torch.where(better, margin.detach(), smallest)
                    best = choose(better, warped.detach(), best)
                if step == self.steps:
                    break
                (flow.grad,) = torch.autograd.grad(loss.sum(), flow)
                check_gradient(flow.grad)
            adam.step()
            flow.clamp_(-self.bound, self.bound)
        return best

    def _original(self, problem: Problem) -> Tensor:
        image, label = problem.images, problem.target
        height, width = image.shape[2:]
        per_pixel = 2 / (torch.tensor([width, height], device=image.device).to(image) - 1).clamp_min(1)
        flow = image.new_zeros(1, height, width, 2).requires_grad_()
        smoothest, best, smallest, nearest = float('inf'), None, float(margins(problem.logits(image), label)), image
        lbfgs = torch.optim.LBFGS([flow], max_iter=self.steps, line_search_fn='strong_wolfe')

        def closure() -> Tensor:
            nonlocal smoothest, best, smallest, nearest
            with torch.enable_grad():
                warped = self.within(warp(image, flow * per_pixel), image)
                margin, rough = margins(problem.logits(warped), label), roughness(flow)
                loss = (margin.clamp_min(0) + self.weight * rough).sum()
                (flow.grad,) = torch.autograd.grad(loss, flow)
                check_gradient(flow.grad)
            reached, price = margin.item(), rough.item()
            if reached < 0 and price < smoothest:
                smoothest, best = price, warped.detach()
            if reached < smallest and bool(flow.any()):
                smallest, nearest = reached, warped.detach()
            return loss.detach()

        lbfgs.step(closure)
        return nearest if best is None else best


def _length(flow: Tensor) -> Tensor:
    """Return the Euclidean norm of each flow, with the gradient 0 at 0."""
    return torch.linalg.vector_norm(flow.flatten(1), dim=1)
