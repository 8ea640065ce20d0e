"""The Euclidean norm."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.norms.base import Norm
from samat_mm.perturbations.norms.hyperplane import at_speed
from samat_mm.perturbations.norms.squares import Proposals, Windows
from samat_mm.perturbations.rows import per_sample
from samat_mm.perturbations.vectors import Rescaling, global_norm, row_norms, to_unit_length, unit_factor


class L2(Norm):
    """The Euclidean norm."""

    name = 'l2'
    dense_step = 0.1 / (64 / 255)  # CosPGD's supplement, and 0.2 at 128/255

    def norm(self, delta: Tensor) -> Tensor:
        """Return the Euclidean norm of each perturbation, shape (N,)."""
        return delta.flatten(1).norm(dim=1)

    def dual(self, grad: Tensor) -> Tensor:
        """Return the Euclidean norm of each gradient, shape (N,)."""
        return self.norm(grad)

    def sample(self, shape: Sequence[int], radius: float, generator: torch.Generator) -> Tensor:
        """Draw a uniform direction, and a length such that the volume is filled evenly."""
        direction = torch.randn(tuple(shape), generator=generator)
        length = torch.rand((), generator=generator) ** (1 / direction.numel())
        return direction / direction.norm() * length * radius

    def steepest(self, grad: Tensor) -> Tensor:
        """Return the gradient divided by its norm; a zero gradient stays zero."""
        norm = row_norms(grad)
        if norm.dtype != grad.dtype:
            # A power of two lifts the subnormal gradients of a saturated model, and changes no bit of the result.
            lift = torch.where(norm < 1e-30, 2.0**100, 1.0)
            norm, grad = norm * lift, grad * per_sample(lift, grad).to(grad.dtype)
        return grad * per_sample(unit_factor(norm, grad.dtype), grad).to(grad.dtype)

    def steepest_jointly(self, grads: list[Tensor], rescale: Rescaling) -> None:
        """Write ``T^2 g / ||T g||`` into ``grads``; a zero gradient stays zero."""
        rescale(grads)
        norm = global_norm(grads)  # of T g
        rescale(grads)
        to_unit_length(grads, norm)

    def project(self, delta: Tensor, radius: float) -> Tensor:
        """Shorten perturbations longer than ``radius``."""
        norm = self.norm(delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return delta * per_sample((radius / norm).clamp_max(1), delta)

    def largest_radius(self, shape: Sequence[int] | None) -> float:
        """Return the length of the diagonal of the pixel box."""
        return math.inf if shape is None else math.sqrt(math.prod(shape))

    def to_hyperplane(self, images: Tensor, normal: Tensor, rise: Tensor) -> Tensor:
        """Move each coordinate in proportion to the normal, as far as it has room."""
        return at_speed(lambda slope: slope, images, normal, rise)

    def squares(self, eps: float) -> Proposals:
        """Return windows between which length moves."""

        def at_radius(images: Tensor, delta: Tensor) -> Tensor:
            length = delta.square().sum((1, 2, 3), keepdim=True).sqrt()
            return (images + delta / (length + 1e-12) * eps).clamp(0, 1)

        return Windows(eps, 2, at_radius)
