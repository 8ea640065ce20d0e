"""The base of every attack."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor

from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives import Objective
from samat_mm.perturbations.inputs.problem import Predict, Problem
from samat_mm.perturbations.norms import Norm, norm_named
from samat_mm.perturbations.norms.base import Box
from samat_mm.perturbations.norms.region import PIXELS
from samat_mm.perturbations.parametrized import Parametrized, SeededAttack
from samat_mm.perturbations.units import Radius, parse_radius


class Attack(SeededAttack, ABC):
    """One inner maximisation over the inputs, ``max ||d|| <= eps  L(x + d)``.

    A subclass is a frozen dataclass, whose fields are the parameters; one out of its range is refused with a ValueError
    when the attack is made. An attack never holds a model. It leaves the global random state, the modes of modules and
    every ``.grad`` as it found them, and with the same seed it gives the same images.

    Attributes:
        objective: the loss to drive up; ``objective.output`` names the output that ``predict`` has to return.
        norm: name of the norm.
        eps: the radius.
        seed: the random numbers of image i come from (seed, i) alone, whatever the batch.
        seeks_nearest: whether it looks for the smallest perturbation that makes the model err, so that the length of
            what it found is an estimate of the distance to the nearest error.
    """

    objective: Objective
    norm: str | None
    eps: Radius
    seeks_nearest: bool = False

    def __call__(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        box: Box | None = PIXELS,
    ) -> Tensor:
        """Return adversarial images: pixels in the box, of the shape of ``inputs``.

        Args: as for :class:`Problem`.

        Raises:
            ValueError: if inputs lie outside the box or do not fit the target.
        """
        return self.search(Problem(predict, inputs, target, indices, sizes, box)).images

    @abstractmethod
    def search(self, problem: Problem) -> BestIterate:
        """Return the best images found, with their ranks where the attack compares iterates."""

    def at(self, radius: float) -> Self:
        """Return the attack at another radius; steps whose length is in its units change in proportion.

        Raises:
            ValueError: if the radius is out of its range.
        """
        return self.replace(eps=radius)

    @property
    def stops_at_errors(self) -> bool:
        """Whether an image of a classifier is done once the model errs on it."""
        return self.objective.output == 'logits' and getattr(self, 'goal', 'loss') == 'error'

    @property
    def ball(self) -> Norm:
        """The norm; the largest absolute value where nothing is bounded."""
        return norm_named(self.norm or 'linf')

    @staticmethod
    def _plain(value: Any) -> Any:
        return value.name if isinstance(value, Objective) else Parametrized._plain(value)

    def _settle_ball(self) -> None:
        """Read the radius.

        Raises:
            ValueError: if the norm is unknown or the radius is out of its range.
        """
        ball = norm_named(str(self.norm))
        self._settle(eps=parse_radius(self.eps, 'eps'))
        ball.check_radius(self.eps)
