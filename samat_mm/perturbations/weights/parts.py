"""The parts of a sharpness-aware method: functions, one for each slot of a training step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Named = dict[str, Tensor]
Weights = Mapping[str, Tensor]
Memory = dict[str, Any]


class Need(Enum):
    """What a method needs of a step beyond the gradient that the descent takes anyway."""

    CLEAN_GRADIENT = 'the gradient at the weights, kept until the optimizer steps'
    UNSCALED_GRADIENT = 'the gradient without the factor of a loss scaler'
    SHARED_ASCENT = 'the same, averaged gradient on all processes'
    SAMPLE_LOSSES = 'the loss of each sample'
    SAMPLE_GRADIENTS = 'the squared gradients of single samples'
    CLIPPED_APART = 'each of the two gradients clipped by itself'
    STEP_PERTURBED = 'the step of the optimizer at the perturbed weights'


def _all(weights: Weights, owners: Mapping[str, nn.Module], memory: Memory) -> list[str]:
    return list(weights)


def _unchanged(weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
    pass


@dataclass(frozen=True)
class Transformation:
    """A link in the chain that turns a gradient into a direction.

    Args:
        apply: ``(weights, vectors, memory)`` changes the vectors, one per weight and in the same order, in place.
        choose: ``(weights, owners, memory)`` returns the names of the weights that may move in this step, before a
            gradient is taken; ``owners`` are the modules that they belong to.
    """

    apply: Callable[[Weights, list[Tensor], Memory], None] = _unchanged
    choose: Callable[[Weights, Mapping[str, nn.Module], Memory], list[str]] = _all


@dataclass(frozen=True)
class Source:
    """A direction that is known before the forward and costs no pass.

    Args:
        vectors: ``(weights, optimizer, memory)`` returns a vector for each weight that has one, in tensors that may be
            overwritten.
        check: ``(optimizer)`` refuses an optimizer that lacks something for it.
        learn: ``(gradients, memory)`` takes the gradient of every step, before it is clipped.
    """

    vectors: Callable[[Weights, Optimizer, Memory], Named]
    check: Callable[[Optimizer], None] | None = None
    learn: Callable[[Named, Memory], None] | None = None


@dataclass(frozen=True)
class SquaredGradients:
    """A use of the squared gradients of single samples.

    Args:
        wanted: ``(memory)`` returns the number of samples still missing.
        learn: ``(weights, squares, samples, memory)`` takes squares summed over ``samples`` samples.
    """

    wanted: Callable[[Memory], int]
    learn: Callable[[Weights, list[Tensor], int, Memory], None]


@dataclass(frozen=True)
class Parts:
    """The slots of a method; an empty one is filled by the method that it builds on, or else as SAM does.

    The functions of a method share one memory, a dict that is handed to each as ``memory``.

    Args:
        before: transformations of the gradient, ahead of those of the method that this one builds on.
        after: transformations behind them.
        source: where the direction comes from; None for the gradient of a pass at the weights.
        ascents: number of times that the direction is taken, each time from where the last one led.
        squares: use of the squared gradients of single samples.
        select: ``(before, after, memory)`` returns the indices of the samples that the descent sees. ``before`` is the
            loss of each sample at the weights, shape (N,), and ``after(dtype)`` that at the perturbed weights, by a
            forward in that precision (None: as it is).
        mix: ``(clean, perturbed, memory)`` returns the gradient for the optimizer, and a term that descends along with
            it by the plain learning rate. ``clean`` is the gradient of all trained weights, ``perturbed`` that at the
            perturbed weights, None in a step without an ascent; both may be overwritten.
        is_due: ``(step, memory)`` tells whether a step needs an ascent.
        radius: ``(group, memory)`` returns the radius for a parameter group of the optimizer.
        memory: returns the memory at the beginning of a training; checkpoints hold it.
        needs: needs of the functions that do not follow from the slots.
    """

    before: tuple[Transformation, ...] = ()
    after: tuple[Transformation, ...] = ()
    source: Source | None = None
    ascents: int = 1
    squares: SquaredGradients | None = None
    select: Callable[[Tensor, Callable[[torch.dtype | None], Tensor], Memory], Tensor] | None = None
    mix: Callable[[Named, Named | None, Memory], tuple[Named, Named]] | None = None
    is_due: Callable[[int, Memory], bool] | None = None
    radius: Callable[[Mapping[str, Any], Memory], float] | None = None
    memory: Callable[[], Memory] = dict
    needs: frozenset[Need] = frozenset()

    def all_needs(self) -> frozenset[Need]:
        """Return ``needs`` and the needs that follow from the slots."""
        slots = {
            Need.CLEAN_GRADIENT: self.mix,
            Need.SAMPLE_LOSSES: self.select,
            Need.SAMPLE_GRADIENTS: self.squares,
        }
        return self.needs | {need for need, part in slots.items() if part is not None}
