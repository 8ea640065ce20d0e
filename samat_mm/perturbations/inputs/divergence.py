"""The inner maximisation of TRADES: away from the prediction of the clean image, whatever its label."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs.base import Attack, Predict, generator_for
from samat_mm.perturbations.inputs.objectives.kullback_leibler import KullbackLeibler
from samat_mm.perturbations.inputs.pgd import PGD
from samat_mm.perturbations.inputs.region import Region

OFFSET = 0.001  # standard deviation of the published start, in [0, 1] pixel units


class DivergenceAttack(Attack):
    """PGD that drives up ``KL(p(x) || p(x + d))``.

    The divergence has no gradient at the image itself. Without a random start in the ball, the start is the image with
    a small Gaussian offset, as published.

    Source: Zhang et al., ICML 2019, algorithm 1.

    Args:
        attack: what makes the steps; with its default objective, which the divergence takes the place of.

    Raises:
        ValueError: if the attack is another one.
    """

    def __init__(self, attack: Attack) -> None:
        if not isinstance(attack, PGD) or attack.objective.name != 'cross-entropy' or attack.goal != 'loss':
            raise InputError(
                'TRADES maximises the divergence from the clean output, by PGD without an objective or a goal of its '
                f'own; got {attack!r}.'
            )
        self.attack, self.objective, self.seed = attack, attack.objective, attack.seed

    def __call__(
        self,
        predict: Predict,
        inputs: Tensor,
        target: Tensor | None,
        *,
        indices: Sequence[int] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Return adversarial images; see :meth:`Attack.__call__`."""
        attack = copy.copy(self.attack)
        with torch.no_grad():
            attack.objective = KullbackLeibler(predict(inputs))
        if not attack.random_start:
            attack.start = self._near_the_image  # type: ignore[method-assign]
        return attack(predict, inputs, target, indices=indices, sizes=sizes)

    def _near_the_image(self, region: Region, indices: Sequence[int], restart: int) -> Tensor:
        noise = region.noise(
            lambda shape, index: torch.randn(tuple(shape), generator=generator_for(self.seed, index, restart)), indices
        )
        return region.project(region.inputs + OFFSET * noise)

    def describe(self) -> dict[str, str | float | int | bool]:
        """Return the parameters for reports, in plain types."""
        return {**self.attack.describe(), 'objective': KullbackLeibler.name}
