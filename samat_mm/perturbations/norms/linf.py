"""The largest absolute value."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.norms.base import Norm
from samat_mm.perturbations.norms.hyperplane import at_speed
from samat_mm.perturbations.norms.squares import Draw, Proposals, signs, window
from samat_mm.perturbations.vectors import Rescaling


class Linf(Norm):
    """The largest absolute value."""

    name = 'linf'
    dense_step = 0.01 / (8 / 255)  # CosPGD's supplement

    def norm(self, delta: Tensor) -> Tensor:
        """Return the largest absolute value of each perturbation, shape (N,)."""
        return delta.flatten(1).abs().amax(1)

    def dual(self, grad: Tensor) -> Tensor:
        """Return the sum of the absolute values of each gradient, shape (N,)."""
        return grad.flatten(1).abs().sum(1)

    def sample(self, shape: Sequence[int], radius: float, generator: torch.Generator) -> Tensor:
        """Draw each coordinate uniformly from [-radius, radius]."""
        return (torch.rand(tuple(shape), generator=generator) * 2 - 1) * radius

    def offset(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draw each coordinate uniformly."""
        return torch.rand(tuple(shape), generator=generator) - 0.5

    def steepest(self, grad: Tensor) -> Tensor:
        """Return the sign of the gradient."""
        return grad.sign()

    def steepest_jointly(self, grads: list[Tensor], rescale: Rescaling) -> None:
        """Write ``T sign(g)`` into ``grads``."""
        torch._foreach_sign_(grads)
        rescale(grads)

    def project(self, delta: Tensor, radius: float) -> Tensor:
        """Clamp each coordinate."""
        return delta.clamp(-radius, radius)

    def largest_radius(self, shape: Sequence[int] | None) -> float:
        """Return 1: no two pixels differ by more."""
        return 1.0

    def to_hyperplane(self, images: Tensor, normal: Tensor, rise: Tensor) -> Tensor:
        """Move all coordinates alike, as far as each has room."""
        return at_speed(torch.ones_like, images, normal, rise)

    def squares(self, eps: float) -> Proposals:
        """Return squares of one sign per channel."""
        return SignSquares(eps)


class SignSquares(Proposals):
    """Vertical stripes of ``+-eps`` first, then squares of one sign per channel."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def start(self, images: Tensor, draw: Draw) -> Tensor:
        """Return the images with stripes of the width of a pixel."""
        count, channels, _, width = images.shape
        stripes = signs(draw(channels * width))
        return (images + self.eps * stripes.reshape(count, channels, 1, width)).clamp(0, 1)

    def propose(self, images: Tensor, best: Tensor, share: float, draw: Draw) -> Tensor:
        """Return the best images with one square moved to a corner of the ball."""
        channels, height, width = images.shape[1:]
        side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
        draws = draw(2 + channels)  # the place and the signs
        rows, columns = window(draws[:, 0], height, side), window(draws[:, 1], width, side)
        inside = torch.zeros_like(images[:, :1])
        image = torch.arange(len(images), device=images.device)[:, None, None]
        inside[image, 0, rows[:, :, None], columns[:, None]] = 1
        moved = best + inside * (2 * self.eps * signs(draws[:, 2:]))[:, :, None, None]
        return torch.minimum(torch.maximum(moved, images - self.eps), images + self.eps).clamp(0, 1)
