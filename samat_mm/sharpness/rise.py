"""The rise of the loss in a ball around the weights, which sharpness-aware minimisation reduces."""

from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.weights import WeightPerturbation
from samat_mm.sharpness.surface import LossSurface


def loss_rises(surface: LossSurface, perturbation: WeightPerturbation, steps: int) -> list[float]:
    """Climb ``max L(w + e) - L(w)`` over the ball of a weight perturbation and return the rise after each step.

    The first entry is at the point to which SAM or ASAM moves the weights; the largest entry is the best lower bound on
    the worst case. The steps are those of Frank and Wolfe (An algorithm for quadratic programming, Naval Research
    Logistics Quarterly 1956), ``e <- (1 - s) e + s rho ascend(w, grad L(w + e))`` with ``s = 2 / (k + 2)``. They only
    need the maximiser of the linearised loss, which a weight perturbation is, and no projection, so they work in any
    of its balls. The ball belongs to the starting weights throughout.

    Args:
        surface: the loss; its weights are the centre of the ball.
        perturbation: defines the ball and its radius ``rho``.
        steps: number of steps, with one gradient each.

    Returns:
        ``steps`` rises, in units of the loss.

    Raises:
        ValueError: if ``steps`` is below 1.
    """
    if steps < 1:
        raise InputError(f'steps must be at least 1; got {steps}.')
    centre = _centre(surface)
    offsets = [torch.zeros_like(weight) for weight in centre.values()]
    start, gradient = surface.value_and_gradient()
    rises = []
    for step in range(steps):
        share = 2 / (step + 2)
        direction = perturbation.ascend(centre, gradient)
        torch._foreach_mul_(offsets, 1 - share)
        torch._foreach_add_(offsets, direction, alpha=share * perturbation.rho)
        with surface.displaced(offsets):
            if step + 1 < steps:
                reached, gradient = surface.value_and_gradient()
            else:
                reached = surface.value()
        rises.append(reached - start)
    return rises


def one_step_rises(surface: LossSurface, perturbation: WeightPerturbation, radii: Sequence[float]) -> list[float]:
    """Return the rise of the loss at the one-step point of each radius, from one gradient.

    Args:
        surface: the loss.
        perturbation: defines the direction; its own radius is not used.
        radii: radii in the units of the perturbation.
    """
    start, gradient = surface.value_and_gradient()
    direction = perturbation.ascend(_centre(surface), gradient)
    rises = []
    for radius in radii:
        with surface.displaced(list(torch._foreach_mul(direction, radius))):
            rises.append(surface.value() - start)
    return rises


def _centre(surface: LossSurface) -> dict[str, Tensor]:
    # Views: whenever a direction is requested, the weights are at their starting point.
    return {name: weight.detach() for name, weight in surface.weights.items()}
