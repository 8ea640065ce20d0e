"""SEA: an ensemble of APGD on complementary pixel-wise losses, from radii beyond the allowed one."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from samat_mm.perturbations.inputs.apgd import APGD
from samat_mm.perturbations.inputs.ascent import Plan
from samat_mm.perturbations.inputs.base import Attack
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives import balanced_by, objective_named
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.units import Radius

PLAN = ((2.0, 3), (1.5, 3), (1.0, 4))


@dataclass(frozen=True, repr=False)
class ShrinkingAPGD(APGD):
    """APGD in three stages, with radii of 2, 1.5 and 1 times ``eps`` and 3, 3 and 4 tenths of the steps.

    Source: Croce et al., Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models,
    ECCV 2024, section 3.5.
    """

    @property
    def plan(self) -> Plan:
        """The stages of a run."""
        return PLAN


@dataclass(frozen=True, repr=False)
class SEA(Attack):
    """The worst of three attacks per image: radius-shrinking APGD on each of three pixel-wise losses.

    The losses are balanced masked cross-entropy, masked cross-entropy and the Jensen-Shannon divergence; the iterate
    with the most wrong pixels wins. Scored over a data set this gives the worst case of the pixel accuracy, image by
    image (aAcc averaged over images, not over pixels, is the paper's number). The worst case of the mIoU needs the
    three results apart: :meth:`candidates`, and :func:`samat_mm.evaluation.worst_case_miou`.

    Source: Croce et al., Towards Reliable Evaluation and Fast Training of Robust Semantic Segmentation Models,
    ECCV 2024, section 3.6.

    Args:
        norm: 'linf', 'l2' or 'l1'; the paper has only linf.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        steps: number of gradient steps for each of the losses.
        random_start: start anywhere in the ball of ``2 eps`` rather than at the image.
        class_pixels: number of pixels of each class in the training set, in any unit, for the balanced loss; by
            default its weights come from the attacked image.
        seed: seed of the random starts, which are the same for each loss.

    Raises:
        ValueError: if a parameter is out of its range, or if the model is not a segmentor.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    steps: int = 300
    random_start: bool = True
    class_pixels: Any = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._settle(class_pixels=None if self.class_pixels is None else tuple(self.class_pixels))
        self._settle(objective=self.members[0].objective, eps=self.members[0].eps)

    @cached_property
    def members(self) -> tuple[APGD, ...]:
        """The attack on each loss."""
        losses = (balanced_by(self.class_pixels), *map(objective_named, ('masked-cross-entropy', 'jensen-shannon')))
        return tuple(
            ShrinkingAPGD(self.norm, self.eps, self.steps, self.random_start, objective=objective, seed=self.seed)
            for objective in losses
        )

    def search(self, problem: Problem) -> BestIterate:
        """Return the worst of the three, with its rank."""
        worst = BestIterate(problem.images.clone())
        for found in self.candidates(problem):
            worst.take(found)
        return worst

    def candidates(self, problem: Problem) -> Iterator[BestIterate]:
        """Yield the result of each loss, in the order of the class docstring, with its rank."""
        for member in self.members:
            yield member.search(problem)
