"""Attacks on classifiers within a norm ball, and those that may be given one."""

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.ball import norm_ball
from samat_mm.perturbations.inputs.classification import ClassificationAttack
from samat_mm.perturbations.units import parse_radius


class BoundedAttack(ClassificationAttack):
    """An attack on classifiers with a norm and a radius.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.

    Raises:
        ValueError: if the norm is unknown or the radius is out of its range.
    """

    def __init__(self, norm: str, eps: float | str) -> None:
        self.ball = norm_ball(norm)
        self.eps = parse_radius(eps, 'eps')
        if norm == 'linf':
            self.ball.check_radius(self.eps, ())

    def check_images(self, inputs: Tensor) -> None:
        """Refuse a radius that covers every image of this shape.

        Raises:
            ValueError: if ``eps`` exceeds the diameter of the pixel box.
        """
        self.ball.check_radius(self.eps, inputs.shape[1:])

    def moves_nothing(self) -> bool:
        """Return whether the ball is a point."""
        return self.eps == 0


class OptionallyBoundedAttack(BoundedAttack):
    """An attack that is published without a norm ball, and may be given one.

    With a radius, the images that it tries are projected onto the ball, so that what is scored during the search is
    what comes out. Without one it is unbounded: the linf ball of radius 1 holds every image.

    Args:
        norm: 'linf' or 'l2'; 'linf' where only ``eps`` is given.
        eps: radius in [0, 1] pixel units; None for no bound.

    Raises:
        ValueError: if there is a norm without a radius, or one is out of its range.
    """

    def __init__(self, norm: str | None, eps: float | str | None) -> None:
        if norm is not None and eps is None:
            raise InputError(f'norm={norm!r} needs a radius; give eps too, or neither for an attack without a bound.')
        self.bounded = eps is not None
        super().__init__(norm or 'linf', 1.0 if eps is None else eps)

    def within(self, candidates: Tensor, images: Tensor) -> Tensor:
        """Return the candidates projected onto the ball around their images, and as they are if there is none."""
        if not self.bounded:
            return candidates
        return (images + self.ball.project(candidates - images, self.eps)).clamp(0, 1)

    def describe_ball(self) -> dict[str, str | float | int | bool]:
        """Return the norm and the radius where they are given."""
        return {'norm': self.ball.name, 'eps': self.eps} if self.bounded else {}
