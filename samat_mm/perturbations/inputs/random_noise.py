"""Random perturbations, which every attack must beat."""

from dataclasses import dataclass

from torch import Tensor

from samat_mm.perturbations.inputs.ascent import ProjectedAscent
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives import CrossEntropy
from samat_mm.perturbations.inputs.scoring import Scoring
from samat_mm.perturbations.norms.base import StepRule
from samat_mm.perturbations.norms.region import Region
from samat_mm.perturbations.units import Radius


@dataclass(frozen=True, repr=False)
class RandomNoise(ProjectedAscent):
    """The worst of several random perturbations of full length: corners of the linf ball, points of the l2 sphere.

    It needs no gradient, so a model on which it does better than a gradient attack hides its gradients.

    Args:
        norm: 'linf', 'l2' or 'l1'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        draws: number of perturbations for each image.
        seed: seed of the perturbations.
    """

    norm: str = 'linf'
    eps: Radius = '8/255'
    draws: int = 10
    seed: int = 0

    objective, goal, steps, random_start = CrossEntropy(), 'loss', 1, True

    @property
    def restarts(self) -> int:  # type: ignore[override]
        """One for each perturbation."""
        return self.draws

    def run(self, scoring: Scoring, region: Region, start: Tensor, best: BestIterate) -> None:
        """Offer one perturbation of each image."""
        images = region.step(region.inputs, start - region.inputs, self.eps)
        best.offer(scoring.value(images, 0, 1), images)

    def step_rule(self, region: Region, steps: int) -> StepRule:
        """Return steps that stay where they are."""
        return lambda images, grad, _: images
