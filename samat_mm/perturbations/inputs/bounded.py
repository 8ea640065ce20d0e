"""Attacks on classifiers that stay within a norm ball."""

from torch import Tensor

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
