"""Every iterate of PGD, where training uses all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.base import Attack
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.pgd import PGD
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.inputs.scoring import Scoring
from samat_mm.perturbations.norms.region import Region
from samat_mm.perturbations.randomness import generator_for, noise_like


@dataclass(frozen=True, repr=False)
class Iterates(Attack):
    """The ``K = steps`` points on which FreeLB trains: a start in the ball, and the results of ``K - 1`` steps of PGD.

    The start is ``U(-eps, eps) / sqrt(n)`` in each of the n coordinates of a sample, so that its length is about
    ``eps / sqrt(3)``; without a random start it is the sample itself.

    Source: C. Zhu et al., FreeLB: Enhanced Adversarial Training for Natural Language Understanding, ICLR 2020,
    algorithm 1. (Its last step moves the perturbation once more, and nothing uses the result.)

    Args:
        attack: a PGD in the norm 'l2' with its default objective and goal, and one start.

    Raises:
        ValueError: if it is another attack.
    """

    attack: Any

    def __post_init__(self) -> None:
        attack = self.attack
        if not isinstance(attack, PGD) or (attack.norm, attack.goal, attack.restarts) != ('l2', 'loss', 1):
            raise InputError(
                "FreeLB trains on the iterates of one run of PGD in the norm 'l2', with the goal 'loss'; "
                f'got {attack!r}.'
            )
        self._settle(objective=attack.objective, norm=attack.norm, eps=attack.eps, seed=attack.seed)

    def at(self, radius: float) -> 'Iterates':
        """Return the attack at another radius."""
        return Iterates(self.attack.at(radius))

    def search(self, problem: Problem) -> BestIterate:
        """Return the points, shape (K N, ...): all samples at the start, then all of them after the first step ..."""
        steps, objective = self.attack.steps, self.objective
        region = Region(problem.images, self.ball, self.eps, problem.sizes, problem.box)
        points = [self._start(region, problem.numbers) if self.attack.random_start else region.inputs]
        scoring = Scoring(problem, objective, objective.rank)
        with torch.enable_grad():
            for step in range(steps - 1):
                _, grad = scoring.gradient(points[-1], step, steps)
                points.append(region.step(points[-1], grad, self.attack.step_size))
        scoring.watch.check()
        return BestIterate(torch.cat(points))

    def _start(self, region: Region, numbers: Sequence[int]) -> Tensor:
        def draw(shape: Sequence[int], index: int) -> Tensor:
            uniform = 2 * torch.rand(tuple(shape), generator=generator_for(self.seed, index, 0)) - 1
            return self.eps / math.sqrt(max(1, uniform.numel())) * uniform

        return region.project(region.inputs + noise_like(region.inputs, draw, numbers, region.sizes))

    def describe(self) -> dict[str, Any]:
        """Return the parameters for reports, in plain types."""
        return self.attack.describe()
