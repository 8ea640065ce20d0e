"""Checks that tell robustness from an attack that does not work: the attacks that they need.

Carlini et al., On Evaluating Adversarial Robustness, 2019, list the properties to check: an attack of radius 0 does
nothing, a larger radius or more steps never help the model, a radius without bounds breaks it, and no black-box attack
beats one that sees gradients. Where one fails, gradients are masked or the attack is too weak.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import FGSM, PGD, Attack, Square
from samat_mm.perturbations.inputs.random_noise import RandomNoise
from samat_mm.tasks import Classification, Task
from samat_mm.tasks.base import without_goal

RADII = (0.5, 1.0, 2.0, 4.0)  # in units of the attack's own
LARGE, GREY = 64.0, 0.5  # half the range of pixels lets every image be grey
WEIGHT_NOISE = 0.1  # of a surrogate, in units of the root mean square of each weight tensor
PREFIX = 'sanity/'  # of the names of the attacks, to tell them from those that a user asked for
ZERO, BIG, SQUARE, TRANSFER, NOISE = (
    f'{PREFIX}{name}' for name in ('eps=0', 'large eps', 'square', 'transfer', 'noise')
)


@dataclass(frozen=True)
class SanityChecks:
    """The attacks that are run to check another one; :func:`samat_mm.evaluation.verdicts_of` judges their results.

    Attributes:
        attack: the white-box attack that is checked: PGD, SegPGD or CosPGD.
        queries: number of queries of Square, which is compared with it.
        draws: number of random perturbations, of which the worst is compared with it.

    Raises:
        ValueError: if the attack has no radius to vary.
    """

    attack: PGD
    queries: int = 500
    draws: int = 10

    def __post_init__(self) -> None:
        attack = self.attack
        if not isinstance(attack, PGD) or isinstance(attack, FGSM) or attack.eps == 0:
            raise InputError(
                f'the sanity checks vary the radius and the steps of PGD, SegPGD or CosPGD; got {attack!r}. '
                'Name one of them first, pgd-linf for instance.'
            )
        object.__setattr__(self, 'attack', without_goal(attack))

    @classmethod
    def of(cls, attacks: Mapping[str, Attack], **numbers: int) -> 'SanityChecks':
        """Return the checks of the first PGD, SegPGD or CosPGD among attacks, with these ``queries`` and ``draws``.

        Raises:
            ValueError: if there is none with a radius to vary.
        """
        first, *_ = given = list[Any](attacks.values())
        if not all(isinstance(attack, Attack) for attack in given):
            raise InputError('the sanity checks vary the radius of an attack on images; leave --sanity out for words.')
        return cls(next((attack for attack in given if isinstance(attack, PGD)), first), **numbers)

    @property
    def steps(self) -> list[int]:
        """The numbers of steps that are compared."""
        return sorted({1, max(2, self.attack.steps // 2), self.attack.steps, 2 * self.attack.steps})

    @property
    def large(self) -> float:
        """The radius that has to break any model, in [0, 1] pixel units."""
        return max(self.attack.eps, min(LARGE * self.attack.eps, self._largest))

    @property
    def _largest(self) -> float:
        return GREY * self.attack.ball.largest_radius(None)

    def surrogates(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the models on which some of the attacks are made in the place of ``model``, by name of the attack."""
        return {TRANSFER: surrogate(model)}

    def attacks(self, task: Task) -> dict[str, Attack]:
        """Return the attacks to run on a model with this task, by name; see :meth:`surrogates`."""
        attack, norm, eps = self.attack, self.attack.norm, self.attack.eps
        found: dict[str, Attack] = {ZERO: attack.at(0.0)}
        found |= {at_radius(factor): attack.at(factor * eps) for factor in RADII if self._fits(factor)}
        found |= {after_steps(steps): attack.replace(steps=steps) for steps in self.steps if steps != self.attack.steps}
        found[BIG] = attack.at(self.large).replace(steps=2 * attack.steps)
        found[NOISE] = RandomNoise(norm, eps, self.draws, self.attack.seed)
        found[TRANSFER] = attack
        if isinstance(task, Classification):
            found[SQUARE] = Square(norm, eps, self.queries, seed=self.attack.seed)
        return found

    def _fits(self, factor: float) -> bool:
        return factor <= 1 or factor * self.attack.eps <= self._largest


def surrogate(model: nn.Module, seed: int = 0) -> nn.Module:
    """Return a copy of a model with noise on its weights, a tenth of their root mean square: near, but not the same."""
    other, numbers = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in other.parameters():
            if weight.ndim > 1:
                noise = torch.randn(weight.shape, generator=numbers).to(weight)
                weight.add_(WEIGHT_NOISE * weight.square().mean().sqrt() * noise)
    return other


def at_radius(factor: float) -> str:
    """Return the name of the attack at a multiple of its radius."""
    return f'{PREFIX}{factor:g} eps'


def after_steps(steps: int) -> str:
    """Return the name of the attack with another number of steps."""
    return f'{PREFIX}{steps} steps'
