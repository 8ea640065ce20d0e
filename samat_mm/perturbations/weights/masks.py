"""Masks of zeros and ones that leave most of an ascent to the weights that matter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from samat_mm.perturbations.weights.parts import Memory, Named, Need, SquaredGradients, Transformation
from samat_mm.perturbations.weights.random_numbers import RandomNumbers


@dataclass(frozen=True)
class Masked(Transformation):
    """Sets offsets to 0 where the mask in the memory is 0; without a mask all stay."""

    def apply(self, weights: Mapping[str, Tensor], vectors: list[Tensor], memory: Memory) -> None:
        """Multiply."""
        for name, vector in zip(weights, vectors, strict=True):
            if memory['mask']:
                mask = memory['mask'].get(name)
                vector.zero_() if mask is None else vector.mul_(mask.to(vector.device))


@dataclass(frozen=True)
class FisherMask(SquaredGradients):
    """Makes the mask of the largest sums of squared gradients, from new samples every ``interval`` ascents."""

    sparsity: float
    samples: int
    interval: int

    def memory(self) -> Memory:
        """Return no mask, and the samples that it takes to make one."""
        return {'mask': {}, 'ascents': 0, 'wanted': self.samples, 'fisher': {}}

    def wanted(self, memory: Memory) -> int:
        """Return how many more samples the next mask needs, 0 while the present one holds."""
        return memory['wanted']

    def learn(self, weights: Mapping[str, Tensor], squares: list[Tensor], samples: int, memory: Memory) -> None:
        """Add squared per-sample gradients, and make the mask once there are enough."""
        sums = memory['fisher']
        for name, square in zip(weights, squares, strict=True):
            known = sums.get(name)
            sums[name] = square.clone() if known is None else known.to(square.device).add_(square)
        memory['wanted'] = max(memory['wanted'] - samples, 0)
        if not memory['wanted']:
            memory['fisher'] = {}
            memory['mask'] = largest(sums, count(sums, 1 - self.sparsity))

    def apply(self, weights: Mapping[str, Tensor], vectors: list[Tensor], memory: Memory) -> None:
        """Count, and ask for samples when it is time for a new mask."""
        memory['ascents'] += 1
        if memory['ascents'] % self.interval == 0 and not memory['wanted']:
            memory['wanted'] = self.samples


@dataclass(frozen=True)
class DynamicMask(Transformation):
    """Makes a mask at random; then drops its smallest gradients and grows elsewhere, every ``interval`` ascents."""

    sparsity: float
    drop_rate: float
    interval: int
    decay_ascents: int | None
    seed: int

    needs = frozenset({Need.SHARED_ASCENT})

    def memory(self) -> Memory:
        """Return no mask."""
        return {'mask': {}, 'ascents': 0, 'numbers': RandomNumbers(self.seed)}

    def apply(self, weights: Mapping[str, Tensor], vectors: list[Tensor], memory: Memory) -> None:
        """Make a new mask if it is time, and count."""
        gradients = dict(zip(weights, vectors, strict=True))
        new = {name: gradient for name, gradient in gradients.items() if name not in memory['mask']}
        if new:
            memory['mask'].update(largest(_draws(new, memory), count(new, 1 - self.sparsity)))
        elif memory['ascents'] % self.interval == 0:
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
        draws = _draws(gradients, memory)
        grown = largest({name: draws[name].masked_fill(mask, -1) for name, mask in live.items()}, dropped)
        masks.update({name: kept[name] | grown[name] for name in live})

    def _drop_share(self, ascents: int) -> float:
        if self.decay_ascents is None:
            return self.drop_rate
        return self.drop_rate * (1 + math.cos(math.pi * min(ascents / self.decay_ascents, 1.0))) / 2


def _draws(like: Named, memory: Memory) -> Named:
    return {
        name: torch.rand(tensor.shape, generator=memory['numbers'].on(tensor.device), device=tensor.device)
        for name, tensor in like.items()
    }


def count(tensors: Mapping[str, Tensor], portion: float) -> int:
    """Return how many elements that portion of all tensors is, at least one."""
    return max(round(sum(tensor.numel() for tensor in tensors.values()) * portion), 1)


def largest(scores: Mapping[str, Tensor], number: int) -> Named:
    """Return boolean tensors that are true at exactly the ``number`` largest of all scores."""
    device = next(iter(scores.values())).device
    flat = torch.cat([score.flatten().to(device) for score in scores.values()])
    mask = torch.zeros(len(flat), dtype=torch.bool, device=device)
    mask.index_fill_(0, torch.topk(flat, number).indices, True)
    pieces = mask.split([score.numel() for score in scores.values()])
    return {
        name: piece.view(score.shape).to(score.device)
        for (name, score), piece in zip(scores.items(), pieces, strict=True)
    }
