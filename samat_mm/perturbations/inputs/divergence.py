"""The inner maximisation of TRADES: away from the prediction of the clean image, whatever its label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.base import Attack
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives.kullback_leibler import KullbackLeibler
from samat_mm.perturbations.inputs.pgd import PGD
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.norms.region import Region
from samat_mm.perturbations.randomness import generator_for, noise_like

OFFSET = 0.001  # standard deviation of the published start, in [0, 1] pixel units


@dataclass(frozen=True, repr=False)
class DivergenceAttack(Attack):
    """PGD that drives up ``KL(p(x) || p(x + d))``.

    The divergence has no gradient at the image itself. Without a random start in the ball, the start is the image with
    a small Gaussian offset, as published.

    Source: Zhang et al., ICML 2019, algorithm 1.

    Args:
        attack: a PGD with its default objective, which the divergence replaces.

    Raises:
        ValueError: if it is another attack.
    """

    attack: Any

    def __post_init__(self) -> None:
        attack = self.attack
        if not isinstance(attack, PGD) or attack.objective.name != 'cross-entropy' or attack.goal != 'loss':
            raise InputError(
                'TRADES maximises the divergence from the clean output, by PGD with the default objective and goal; '
                f'got {attack!r}.'
            )
        self._settle(objective=attack.objective, norm=attack.norm, eps=attack.eps, seed=attack.seed)

    def at(self, radius: float) -> 'DivergenceAttack':
        """Return the attack at another radius."""
        return DivergenceAttack(self.attack.at(radius))

    def search(self, problem: Problem) -> BestIterate:
        """Return adversarial images with their ranks."""
        with torch.no_grad():
            objective = KullbackLeibler(problem.output(problem.images))
        start = None if self.attack.random_start else self._near_the_image
        return self.attack.search(problem, objective=objective, start=start)

    def _near_the_image(self, region: Region, numbers: Sequence[int], restart: int) -> Tensor:
        def draw(shape: Sequence[int], index: int) -> Tensor:
            return torch.randn(tuple(shape), generator=generator_for(self.seed, index, restart))

        return region.project(region.inputs + OFFSET * noise_like(region.inputs, draw, numbers, region.sizes))

    def describe(self) -> dict[str, Any]:
        """Return the parameters for reports, in plain types."""
        return {**self.attack.describe(), 'objective': KullbackLeibler.name}
