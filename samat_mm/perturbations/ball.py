"""Norm balls: the one thing that weight and input perturbations share.

Both inner maximisations of the paper maximise a loss over a ball, weights over ``||e|| <= rho`` (SAM) and inputs over
``||d|| <= eps`` (AT). A norm supplies four functions and the loops need to know nothing else about it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.units import describe_radius
from samat_mm.perturbations.vectors import Rescaling, global_norm, to_unit_length


class NormBall(ABC):
    """The set of perturbations of at most a given norm.

    Tensors of shape (N, ...) hold N independent perturbations; ``radius`` is a number in their units (for images:
    pixels in [0, 1]).
    """

    name: str

    @abstractmethod
    def norm(self, delta: Tensor) -> Tensor:
        """Return the norm of each of the N perturbations, shape (N,)."""

    @abstractmethod
    def sample(self, shape: Sequence[int], radius: float, generator: torch.Generator) -> Tensor:
        """Draw one perturbation of ``shape`` uniformly from the ball, on the generator's device."""

    @abstractmethod
    def steepest(self, grad: Tensor) -> Tensor:
        """Return the unit-norm direction along which the linearised loss rises most, per perturbation."""

    @abstractmethod
    def steepest_jointly(self, grads: list[Tensor], rescale: Rescaling) -> None:
        """Turn a gradient, in place, into the direction along which the linearised loss rises most.

        Args:
            grads: tensors that are one long vector together, as the gradient of the weights of a model is.
            rescale: multiplies such a list, in place, by T; the ball is that of ``e / T``.
        """

    @abstractmethod
    def project(self, delta: Tensor, radius: float) -> Tensor:
        """Return the nearest point of the ball, per perturbation."""

    @abstractmethod
    def largest_radius(self, shape: Sequence[int]) -> float:
        """Return the norm of the longest difference of two images of ``shape`` with pixels in [0, 1]."""

    def check_radius(self, radius: float, shape: Sequence[int]) -> None:
        """Refuse a radius that covers every image of ``shape``: it was surely meant in 1/255.

        Raises:
            ValueError: if ``radius`` exceeds the diameter of the pixel box.
        """
        largest = self.largest_radius(shape)
        if radius > largest:
            raise InputError(
                f'eps must be in [0, 1] pixel units, so at most {largest:g} for {self.name}'
                f'{f" on images of shape {tuple(shape)}" if shape else ""}; got {radius:g}. {describe_radius(radius)}'
            )


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


class Linf(NormBall):
    """The largest absolute value."""

    name = 'linf'

    def norm(self, delta: Tensor) -> Tensor:
        """Return the largest absolute value of each perturbation, shape (N,)."""
        return delta.flatten(1).abs().amax(1)

    def sample(self, shape: Sequence[int], radius: float, generator: torch.Generator) -> Tensor:
        """Draw each coordinate uniformly from [-radius, radius]."""
        return (torch.rand(tuple(shape), generator=generator) * 2 - 1) * radius

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

    def largest_radius(self, shape: Sequence[int]) -> float:
        """Return 1: no two pixels differ by more."""
        return 1.0


class L2(NormBall):
    """The Euclidean norm."""

    name = 'l2'

    def norm(self, delta: Tensor) -> Tensor:
        """Return the Euclidean norm of each perturbation, shape (N,)."""
        return delta.flatten(1).norm(dim=1)

    def sample(self, shape: Sequence[int], radius: float, generator: torch.Generator) -> Tensor:
        """Draw a uniform direction, and a length such that the volume is filled evenly."""
        direction = torch.randn(tuple(shape), generator=generator)
        length = torch.rand((), generator=generator) ** (1 / direction.numel())
        return direction / direction.norm() * length * radius

    def steepest(self, grad: Tensor) -> Tensor:
        """Return the gradient divided by its norm; a zero gradient stays zero."""
        tiny = torch.finfo(grad.dtype).tiny
        # Scaled to 1 first: the squares of a saturated model's gradient are zero in single precision.
        grad = grad / _per_sample(grad.flatten(1).abs().amax(1).clamp_min(tiny), grad)
        return grad / _per_sample(self.norm(grad).clamp_min(tiny), grad)

    def steepest_jointly(self, grads: list[Tensor], rescale: Rescaling) -> None:
        """Write ``T^2 g / ||T g||`` into ``grads``; a zero gradient stays zero."""
        rescale(grads)
        norm = global_norm(grads)  # of T g
        rescale(grads)
        to_unit_length(grads, norm)

    def project(self, delta: Tensor, radius: float) -> Tensor:
        """Shorten what is longer than ``radius``."""
        norm = self.norm(delta).clamp_min(torch.finfo(delta.dtype).tiny)
        return delta * _per_sample((radius / norm).clamp_max(1), delta)

    def largest_radius(self, shape: Sequence[int]) -> float:
        """Return the length of the diagonal of the pixel box."""
        return math.sqrt(math.prod(shape))


NORM_BALLS: dict[str, NormBall] = {ball.name: ball for ball in (Linf(), L2())}


def norm_ball(name: str) -> NormBall:
    """Return the ball of that name.

    Raises:
        ValueError: if the norm is unknown; the message lists the known ones.
    """
    if name not in NORM_BALLS:
        raise InputError(f'norm must be one of {", ".join(NORM_BALLS)}; got {name!r}.')
    return NORM_BALLS[name]
