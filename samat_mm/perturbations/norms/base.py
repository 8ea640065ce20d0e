"""What a norm supplies to the searches in its ball."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from samat_mm.errors import InputError, UnsupportedError
from samat_mm.perturbations.norms.adaptive import AdaptiveSteps, StepRule
from samat_mm.perturbations.units import describe_radius
from samat_mm.perturbations.vectors import Rescaling

if TYPE_CHECKING:
    from samat_mm.perturbations.norms.region import Region
    from samat_mm.perturbations.norms.squares import Proposals

Box = tuple[float, float]


class Norm(ABC):
    """A norm, and what searches in its ball do there.

    Tensors of shape (N, ...) hold N independent perturbations; a radius is in their units (for images: pixels in
    [0, 1]). The abstract methods are enough for every attack by gradient steps; FAB and Square need
    :meth:`to_hyperplane` with :meth:`dual`, and :meth:`squares`.

    Attributes:
        name: what ``norm=`` of an attack calls it.
        dense_step: the step of SegPGD and CosPGD, in units of the radius.
        stages: of a run of APGD: the radius in units of eps, and tenths of the steps.
        restarts: of AutoAttack's APGD on cross-entropy.
        targets: how many classes AutoAttack's targeted APGD aims at.
    """

    name: ClassVar[str]
    dense_step: ClassVar[float] = 0.25
    stages: ClassVar[tuple[tuple[float, int], ...]] = ((1.0, 10),)
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

    def steepest_jointly(self, grads: list[Tensor], rescale: Rescaling) -> None:
        """Turn a gradient, in place, into the direction along which the linearised loss rises most.

        Args:
            grads: tensors that are one long vector together, as the gradient of the weights of a model is.
            rescale: multiplies such a list, in place, by T; the ball is that of ``e / T``.
        """
        raise UnsupportedError(f'weights have no ascent in norm {self.name}; use l2 or linf.')

    @abstractmethod
    def largest_radius(self, shape: Sequence[int] | None) -> float:
        """Return the norm of the longest difference of two images with pixels in [0, 1].

        Args:
            shape: of an image; None where it is not known, for a bound that holds for every image.
        """

    def step(self, images: Tensor, grad: Tensor, length: float | Tensor, box: Box | None) -> Tensor:
        """Return images moved by a step of that length along the steepest direction; what follows projects them."""
        return images + length * self.steepest(grad)

    def feasible(self, images: Tensor, centre: Tensor, radius: float, box: Box | None) -> Tensor:
        """Return images projected onto the ball around ``centre`` and then onto the box, if there is one."""
        inside = centre + self.project(images - centre, radius)
        return inside if box is None else inside.clamp(*box)

    def adaptive_steps(self, region: 'Region', steps: int) -> StepRule:
        """Return the steps of one run of APGD."""
        return AdaptiveSteps(region, steps)

    def offset(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """Draw the direction of FAB's random starts, of any length."""
        return torch.rand(tuple(shape), generator=generator) - 0.5

    def dual(self, grad: Tensor) -> Tensor:
        """Return the dual norm: by how much a perturbation of norm 1 can raise the linearised loss, shape (N,)."""
        return (grad * self.steepest(grad)).flatten(1).sum(1)

    def to_hyperplane(self, images: Tensor, normal: Tensor, rise: Tensor) -> Tensor:
        """Return the shortest ``d`` with ``<normal, d> = rise`` and ``images + d`` in [0, 1].

        Where the box leaves too little, every coordinate moves as far as it can.

        Source: Croce & Hein, FAB, ICML 2020, section 2.2 and appendix A.

        Args:
            images: pixels (N, ...).
            normal: shape of ``images``.
            rise: shape (N,).
        """
        raise UnsupportedError(f'FAB needs the way to a hyperplane, which norm {self.name} does not have; use APGD.')

    def squares(self, eps: float) -> 'Proposals':
        """Return what the Square attack tries within this radius."""
        raise UnsupportedError(f'Square needs changes to try, which norm {self.name} does not have; use APGD.')

    def check_radius(self, radius: float, shape: Sequence[int] | None = None) -> None:
        """Refuse a radius that covers every image of ``shape``, which was surely meant in 1/255.

        Raises:
            ValueError: if ``radius`` exceeds the diameter of the pixel box.
        """
        largest = self.largest_radius(shape)
        if radius > largest:
            raise InputError(
                f'eps must be in [0, 1] pixel units, so at most {largest:g} for {self.name}'
                f'{f" on images of shape {tuple(shape)}" if shape else ""}; got {radius:g}. {describe_radius(radius)}'
            )
