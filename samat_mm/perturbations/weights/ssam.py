"""SSAM: SAM under a mask that leaves most of the ascent to the weights that matter."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative, share, whole_number
from samat_mm.perturbations.weights.built_on import BuiltOn
from samat_mm.perturbations.weights.masks import apply_mask, count, draws, largest
from samat_mm.perturbations.weights.method import parameter
from samat_mm.perturbations.weights.parts import (
    Memory,
    Named,
    Need,
    Parts,
    SquaredGradients,
    Transformation,
    Weights,
)
from samat_mm.perturbations.weights.random_numbers import RandomNumbers

CIFAR_EPOCH = 391  # steps with batches of 128


def _sparsity(value: float, name: str) -> float:
    if non_negative(value, name) >= 1:
        raise InputError(f'sparsity must be below 1, or no weight is perturbed; got {value}.')
    return float(value)


@dataclass(frozen=True)
class SSAMF(BuiltOn):
    """Sparse SAM by Fisher information: ``e = m * rho g / ||g||``.

    The mask m is 1 for the ``1 - sparsity`` share of the weights with the largest sum of squared per-sample gradients
    (where the model's loss is not a mean over samples, of squared gradients of batches). Until the first ``samples``
    samples are seen, it is 1 everywhere, and the run begins as SAM.

    Source: Mi et al., Make Sharpness-Aware Minimization Stronger: A Sparsified Perturbation Approach, NeurIPS 2022.

    Args:
        rho: radius; None for the radius of the direction (0.05).
        sparsity: share of the weights that stay, 0.5 as published.
        samples: number of samples to sum over, 128 as published (up to 1024).
        update_interval: ascents from one mask to the next, by default an epoch of CIFAR with batches of 128.
        direction: the ascent under the mask, SAM as published.
    """

    sparsity: float = parameter(0.5, _sparsity)
    samples: int = parameter(128, whole_number)
    update_interval: int = parameter(CIFAR_EPOCH, whole_number)

    @cached_property
    def parts(self) -> Parts:
        """The mask."""
        return Parts(
            before=(Transformation(self.count_ascent),),
            after=(Transformation(apply_mask),),
            squares=SquaredGradients(lambda memory: memory['wanted'], self.learn),
            memory=lambda: {'mask': {}, 'ascents': 0, 'wanted': self.samples, 'fisher': {}},
        )

    def count_ascent(self, weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        """Count, and ask for samples when it is time for a new mask."""
        memory['ascents'] += 1
        if memory['ascents'] % self.update_interval == 0 and not memory['wanted']:
            memory['wanted'] = self.samples

    def learn(self, weights: Weights, squares: list[Tensor], samples: int, memory: Memory) -> None:
        """Add squared per-sample gradients, and make the mask once there are enough."""
        sums = memory['fisher']
        for name, square in zip(weights, squares, strict=True):
            known = sums.get(name)
            sums[name] = square.clone() if known is None else known.to(square.device).add_(square)
        memory['wanted'] = max(memory['wanted'] - samples, 0)
        if not memory['wanted']:
            memory['fisher'] = {}
            memory['mask'] = largest(sums, count(sums, 1 - self.sparsity))


@dataclass(frozen=True)
class SSAMD(BuiltOn):
    """Sparse SAM with a dynamic mask, ``e = m * rho g / ||g||``.

    The mask m begins at random; every update drops the share ``drop_rate`` of its weights, those with the smallest
    gradients, and grows the same number at random among the others.

    Source: Mi et al., Make Sharpness-Aware Minimization Stronger: A Sparsified Perturbation Approach, NeurIPS 2022.

    Args:
        rho: radius; None for the radius of the direction (0.05).
        sparsity: share of the weights that stay, 0.5 as published.
        drop_rate: share of the mask that an update changes, 0.5 as published.
        update_interval: ascents from one mask to the next, by default an epoch of CIFAR with batches of 128.
        decay_ascents: ascents over which drop_rate falls to 0 along half a cosine, as published over the whole
            training; None keeps it.
        seed: seed of the mask's random numbers, which are the same on all processes.
        direction: the ascent under the mask, SAM as published.
    """

    sparsity: float = parameter(0.5, _sparsity)
    drop_rate: float = parameter(0.5, share)
    update_interval: int = parameter(CIFAR_EPOCH, whole_number)
    decay_ascents: int | None = parameter(
        None, lambda value, name: None if value is None else whole_number(value, name)
    )
    seed: int = 0

    @cached_property
    def parts(self) -> Parts:
        """The mask."""
        return Parts(
            before=(Transformation(self.update_mask),),
            after=(Transformation(apply_mask),),
            memory=lambda: {'mask': {}, 'ascents': 0, 'numbers': RandomNumbers(self.seed)},
            needs=frozenset({Need.SHARED_ASCENT}),
        )

    def update_mask(self, weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
        """Make a new mask if it is time, and count."""
        gradients = dict(zip(weights, vectors, strict=True))
        new = {name: gradient for name, gradient in gradients.items() if name not in memory['mask']}
        if new:
            memory['mask'].update(largest(draws(new, memory), count(new, 1 - self.sparsity)))
        elif memory['ascents'] % self.update_interval == 0:
            self._drop_and_grow(gradients, memory)
        memory['ascents'] += 1

    def _drop_and_grow(self, gradients: Named, memory: Memory) -> None:
        masks = memory['mask']
        live = {name: masks[name].to(gradient.device) for name, gradient in gradients.items()}
        counts = [mask.sum() for mask in live.values()]
        alive = int(torch.stack([number.to(counts[0].device) for number in counts]).sum())  # one wait for the device
        dead = sum(mask.numel() for mask in live.values()) - alive
        dropped = min(int(alive * self._drop_share(memory['ascents'])), dead)
        kept = largest(
            {name: gradients[name].abs().masked_fill(~mask, -1) for name, mask in live.items()}, alive - dropped
        )
        drawn = draws(gradients, memory)
        grown = largest({name: drawn[name].masked_fill(mask, -1) for name, mask in live.items()}, dropped)
        masks.update({name: kept[name] | grown[name] for name in live})

    def _drop_share(self, ascents: int) -> float:
        if self.decay_ascents is None:
            return self.drop_rate
        return self.drop_rate * (1 + math.cos(math.pi * min(ascents / self.decay_ascents, 1.0))) / 2
