"""A norm, with everything that a search in its ball needs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from samat_mm.errors import InputError, UnsupportedError
from samat_mm.perturbations.units import describe_radius
from samat_mm.perturbations.vectors import Rescaling

if TYPE_CHECKING:
    from samat_mm.perturbations.norms.squares import Proposals

Box = tuple[float, float]  # the smallest and the largest value of a pixel

# From the images, their gradient and the loss that step sizes follow to the next images.
StepRule = Callable[[Tensor, Tensor, Tensor], Tensor]


class Norm(ABC):
    """A norm.

    Tensors of shape (N, ...) hold N independent perturbations; a radius is in their units (for images: pixels in
    [0, 1]). The abstract methods are enough for every attack by gradient steps; FAB also needs :meth:`to_hyperplane`,
    and Square :meth:`squares`.

    Attributes:
        name: the ``norm=`` of an attack.
        dense_step: default step size of SegPGD and CosPGD, in units of the radius.
        stages: the stages of an APGD run: radius in units of eps, and tenths of the steps.
        adaptive_steps: the class of APGD's steps, made from a region and the number of steps; None for its usual ones.
        restarts: AutoAttack's restarts of APGD on cross-entropy.
        targets: number of classes that AutoAttack's targeted APGD aims at.
    """

    name: ClassVar[str]
    dense_step: ClassVar[float] = 0.25
    stages: ClassVar[tuple[tuple[float, int], ...]] = ((1.0, 10),)
    adaptive_steps: ClassVar[type | None] = None
    restarts: ClassVar[int] = 1
    targets: ClassVar[int] = 9

    @abstractmethod
    def norm(self, delta: Tensor) -> Tensor:
        """Return the norm of each of the N perturbations, shape (N,)."""

    @abstractmethod
    def sample(self, shape: Sequence[int], radius: float, generator: torch.Generator) -> Tensor:
        """Draw one perturbation of ``shape`` uniformly from the ball, on the generator's device."""

    @abstractmethod
    def steepest(self, grad: Tensor) -> Tensor:
        """Return the direction of norm 1 along which the linearised loss rises most, per perturbation."""

    @abstractmethod
    def project(self, delta: Tensor, radius: float) -> Tensor:
        """Return the nearest point of the ball, per perturbation."""

    @abstractmethod
    def largest_radius(self, shape: Sequence[int] | None) -> float:
        """Return the largest distance of two images of this shape in [0, 1]; without a shape, of any two images."""

    def steepest_jointly(self, grads: list[Tensor], rescale: Rescaling) -> None:
        """Turn a gradient, in place, into the direction along which the linearised loss rises most.

        Args:
            grads: tensors that together form one long vector, such as the gradient of a model's weights.
            rescale: multiplies such a list, in place, by T; the ball bounds ``e / T``.
        """
        raise UnsupportedError(f'weights have no ascent in norm {self.name}; use l2 or linf.')

    def step(self, images: Tensor, grad: Tensor, length: float | Tensor, box: Box | None) -> Tensor:
        """Return images after a step of that length along the steepest direction, not yet projected."""
        return images + length * self.steepest(grad)

    def feasible(self, images: Tensor, centre: Tensor, radius: float, box: Box | None) -> Tensor:
        """Return images projected onto the ball around ``centre`` and then onto the box, if there is one."""
        inside = centre + self.project(images - centre, radius)
        return inside if box is None else inside.clamp(*box)

    def dual(self, grad: Tensor) -> Tensor:
        """Return the dual norm: by how much a perturbation of norm 1 can raise the linearised loss, shape (N,)."""
        return (grad * self.steepest(grad)).flatten(1).sum(1)

    def offset(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draw the direction of a random start of FAB, of any length."""
        return torch.randn(tuple(shape), generator=generator)

    def to_hyperplane(self, images: Tensor, normal: Tensor, rise: Tensor) -> Tensor:
        """Return the shortest ``d`` with ``<normal, d> = rise`` and ``images + d`` in [0, 1].

        Where the box leaves too little room, every coordinate moves as far as it can.

        Source: Croce & Hein, FAB, ICML 2020, section 2.2 and appendix A.

        Args:
            images: pixels (N, ...).
            normal: same shape as ``images``.
            rise: shape (N,).
        """
        raise UnsupportedError(f'FAB needs the way to a hyperplane, which norm {self.name} does not have; use APGD.')

    def squares(self, eps: float) -> 'Proposals':
        """Return the changes that the Square attack tries within this radius."""
        raise UnsupportedError(f'Square needs changes to try, which norm {self.name} does not have; use APGD.')

    def check_radius(self, radius: float, shape: Sequence[int] | None = None) -> None:
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
