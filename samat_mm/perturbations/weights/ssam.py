"""SSAM: SAM under a mask that leaves most of the ascent to the weights that matter."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.checks import non_negative, share, whole_number
from samat_mm.perturbations.weights.base import Named, WeightPerturbation
from samat_mm.perturbations.weights.composite import Composite
from samat_mm.perturbations.weights.vectors import RandomNumbers

CIFAR_EPOCH = 391  # steps with batches of 128


class _SparseSAM(Composite):
    """``e = m * rho g / ||g||`` with a mask m of zeros and ones, made anew every ``update_interval`` ascents."""

    def __init__(
        self, rho: float | None, sparsity: float, update_interval: int, direction: WeightPerturbation | None
    ) -> None:
        super().__init__(rho, direction)
        if non_negative(sparsity, 'sparsity') >= 1:
            raise InputError(f'sparsity must be below 1, or no weight is perturbed; got {sparsity}.')
        self.sparsity = float(sparsity)
        self.update_interval = whole_number(update_interval, 'update_interval')
        self._mask: Named = {}
        self._ascents = 0

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the direction's offsets, 0 where the mask is 0."""
        self._update(weights, grads)
        self._ascents += 1
        offsets = super().ascend(weights, grads)
        for name, offset in zip(weights, offsets, strict=True):
            if self._mask:
                mask = self._mask.get(name)
                offset.zero_() if mask is None else offset.mul_(mask.to(offset.device))
        return offsets

    @abstractmethod
    def _update(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> None:
        """Make a new mask if it is time."""

    def _is_time(self) -> bool:
        return self._ascents % self.update_interval == 0

    def state_dict(self) -> dict[str, Any]:
        """Return the mask and the number of ascents."""
        return {**super().state_dict(), 'mask': self._mask, 'ascents': self._ascents}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state)
        self._mask, self._ascents = dict(state.get('mask', {})), state.get('ascents', 0)


class SSAMF(_SparseSAM):
    """Sparse SAM by Fisher information: ``e = m * rho g / ||g||``.

    The mask m is 1 for the ``1 - sparsity`` share of the weights with the largest sum of squared per-sample gradients
    (where the model's loss is no mean over samples, of squared gradients of batches). Until the first ``samples``
    samples are seen, it is 1 everywhere, so that the run begins as SAM.

    Source: Mi et al., Make Sharpness-Aware Minimization Stronger: A Sparsified Perturbation Approach, NeurIPS 2022.

    Args:
        rho: radius; None is that of the direction (0.05).
        sparsity: share of the weights that stay, 0.5 as published.
        samples: samples to sum over, 128 as published (up to 1024).
        update_interval: ascents from one mask to the next, by default an epoch of CIFAR with batches of 128.
        direction: the ascent under the mask, SAM as published.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    def __init__(
        self,
        rho: float | None = None,
        sparsity: float = 0.5,
        samples: int = 128,
        update_interval: int = CIFAR_EPOCH,
        direction: WeightPerturbation | None = None,
    ) -> None:
        super().__init__(rho, sparsity, update_interval, direction)
        self.samples = whole_number(samples, 'samples')
        self._wanted = self.samples
        self._fisher: Named = {}

    def fisher_samples(self) -> int:
        """Return how many more samples the next mask needs, 0 while the present one holds."""
        return max(self._wanted, super().fisher_samples())

    def add_fisher(self, weights: Mapping[str, Tensor], squares: Sequence[Tensor], samples: int) -> None:
        """Add squared per-sample gradients, and make the mask once there are enough."""
        super().add_fisher(weights, squares, samples)
        if not self._wanted:
            return
        for name, square in zip(weights, squares, strict=True):
            known = self._fisher.get(name)
            self._fisher[name] = square.clone() if known is None else known.to(square.device).add_(square)
        self._wanted = max(self._wanted - samples, 0)
        if not self._wanted:
            fisher, self._fisher = self._fisher, {}
            self._mask = _largest(fisher, _count(fisher, 1 - self.sparsity))

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the direction's offsets, 0 where the mask is 0, and ask for samples when it is time for a new one."""
        offsets = super().ascend(weights, grads)
        if self._is_time() and not self._wanted:
            self._wanted = self.samples
        return offsets

    def _update(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> None:
        """Leave the mask to :meth:`add_fisher`."""

    def state_dict(self) -> dict[str, Any]:
        """Return the mask, and the sums of one that is being made."""
        return {**super().state_dict(), 'wanted': self._wanted, 'fisher': self._fisher}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state)
        self._wanted = state.get('wanted', self.samples)
        self._fisher = {name: tensor.clone() for name, tensor in state.get('fisher', {}).items()}


class SSAMD(_SparseSAM):
    """Sparse SAM with a dynamic mask, ``e = m * rho g / ||g||``.

    The mask m begins at random; every update drops the share ``drop_rate`` of its weights, those with the smallest
    gradients, and grows as many at random among the others.

    Source: Mi et al., Make Sharpness-Aware Minimization Stronger: A Sparsified Perturbation Approach, NeurIPS 2022.

    Args:
        rho: radius; None is that of the direction (0.05).
        sparsity: share of the weights that stay, 0.5 as published.
        drop_rate: share of the mask that an update changes, 0.5 as published.
        update_interval: ascents from one mask to the next, by default an epoch of CIFAR with batches of 128.
        decay_ascents: ascents over which drop_rate falls to 0 along half a cosine, as published over the whole
            training; None keeps it.
        direction: the ascent under the mask, SAM as published.
        seed: of the mask's random numbers, which are the same on all processes.

    Raises:
        ValueError: if a parameter is out of its range.
    """

    synchronised = True

    def __init__(
        self,
        rho: float | None = None,
        sparsity: float = 0.5,
        drop_rate: float = 0.5,
        update_interval: int = CIFAR_EPOCH,
        decay_ascents: int | None = None,
        direction: WeightPerturbation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(rho, sparsity, update_interval, direction)
        self.drop_rate = share(drop_rate, 'drop_rate')
        self.decay_ascents = None if decay_ascents is None else whole_number(decay_ascents, 'decay_ascents')
        self.seed = seed
        self.numbers = RandomNumbers(seed)

    def _update(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> None:
        gradients = dict(zip(weights, grads, strict=True))
        new = {name: gradient for name, gradient in gradients.items() if name not in self._mask}
        if new:
            self._mask.update(_largest(self._scores(new), _count(new, 1 - self.sparsity)))
        elif self._is_time():
            self._drop_and_grow(gradients)

    def _drop_and_grow(self, gradients: Named) -> None:
        live = {name: self._mask[name].to(gradients[name].device) for name in gradients if name in self._mask}
        counts = [mask.sum() for mask in live.values()]
        alive = int(torch.stack([count.to(counts[0].device) for count in counts]).sum())  # one wait for the device
        dead = sum(mask.numel() for mask in live.values()) - alive
        dropped = min(int(alive * self._drop_share()), dead)
        kept = _largest(
            {name: gradients[name].abs().masked_fill(~mask, -1) for name, mask in live.items()}, alive - dropped
        )
        draws = self._scores({name: gradients[name] for name in live})
        grown = _largest({name: draws[name].masked_fill(mask, -1) for name, mask in live.items()}, dropped)
        self._mask.update({name: kept[name] | grown[name] for name in live})

    def _drop_share(self) -> float:
        if self.decay_ascents is None:
            return self.drop_rate
        passed = min(self._ascents / self.decay_ascents, 1.0)
        return self.drop_rate * (1 + math.cos(math.pi * passed)) / 2

    def _scores(self, like: Named) -> Named:
        return {
            name: torch.rand(tensor.shape, generator=self.numbers.on(tensor.device), device=tensor.device)
            for name, tensor in like.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the mask and the state of the random numbers."""
        return {**super().state_dict(), **self.numbers.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        super().load_state_dict(state)
        self.numbers.load_state_dict(state)


def _count(tensors: Mapping[str, Tensor], portion: float) -> int:
    return max(round(sum(tensor.numel() for tensor in tensors.values()) * portion), 1)


def _largest(scores: Mapping[str, Tensor], count: int) -> Named:
    """Return boolean tensors that are true at exactly the ``count`` largest of all scores."""
    device = next(iter(scores.values())).device
    flat = torch.cat([score.flatten().to(device) for score in scores.values()])
    mask = torch.zeros(len(flat), dtype=torch.bool, device=device)
    mask.index_fill_(0, torch.topk(flat, count).indices, True)
    pieces = mask.split([score.numel() for score in scores.values()])
    return {
        name: piece.view(score.shape).to(score.device)
        for (name, score), piece in zip(scores.items(), pieces, strict=True)
    }
