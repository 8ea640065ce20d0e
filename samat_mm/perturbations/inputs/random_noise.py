"""Random perturbations: what every attack must beat."""

from collections.abc import Sequence

from samat_mm.perturbations.inputs.ascent import ProjectedAscent, StepRule
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.oracle import Oracle
from samat_mm.perturbations.inputs.region import Region


class RandomNoise(ProjectedAscent):
    """The worst of several random perturbations of full length: corners of the linf ball, points of the l2 sphere.

    It needs no gradient, so a model on which it does better than a gradient attack hides its gradients.

    Args:
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        draws: number of perturbations for each image.
        seed: of the perturbations.
    """

    def __init__(self, norm: str = 'linf', eps: float | str = '8/255', draws: int = 10, seed: int = 0) -> None:
        super().__init__(norm, eps, steps=1, restarts=draws, seed=seed)

    def run(self, oracle: Oracle, region: Region, indices: Sequence[int], restart: int, best: BestIterate) -> None:
        """Offer one perturbation of each image."""
        noise = self.start(region, indices, restart) - region.inputs
        images = region.project(region.inputs + self.eps * region.steepest(noise))
        best.offer(oracle.value(images, 0, 1), images)

    def step_rule(self, region: Region, steps: int) -> StepRule:
        """Return steps that stay where they are."""
        return lambda images, grad, _: images

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        return {
            'type': type(self).__name__,
            'norm': self.ball.name,
            'eps': self.eps,
            'draws': self.restarts,
            'seed': self.seed,
        }
