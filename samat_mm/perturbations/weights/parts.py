"""The parts of a sharpness-aware method, and what each of them needs of the step it takes part in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Named = dict[str, Tensor]
Memory = dict[str, Any]


class Need(Enum):
    """What a part needs of a step beyond the gradient that the descent takes anyway."""

    CLEAN_GRADIENT = 'the gradient at the weights, kept until the optimizer steps'
    UNSCALED_GRADIENT = 'the gradient without the factor of a loss scaler'
    SHARED_ASCENT = 'the same, averaged gradient on all processes'
    SAMPLE_LOSSES = 'the loss of each sample'
    SAMPLE_GRADIENTS = 'the squared gradients of single samples'
    CLIPPED_APART = 'each of the two gradients clipped by itself'
    STEP_PERTURBED = 'the step of the optimizer at the perturbed weights'


class Part:
    """Anything that fills a slot of a method: a frozen value, whose memory is handed to it at every call."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def memory(self) -> Memory:
        """Return the memory at the beginning of a training: what checkpoints hold."""
        return {}


class Transformation(Part):
    """A link in the chain that makes a direction out of a gradient."""

    def choose(self, weights: Mapping[str, Tensor], owners: Mapping[str, nn.Module], memory: Memory) -> list[str]:
        """Return the names of the weights that may move in this step, before a gradient is taken."""
        return list(weights)

    def apply(self, weights: Mapping[str, Tensor], vectors: list[Tensor], memory: Memory) -> None:
        """Change the vectors, one for each weight and in the same order, in place."""


class SquaredGradients(Transformation, ABC):
    """A transformation that learns from the squared gradients of single samples."""

    needs = frozenset({Need.SAMPLE_GRADIENTS})

    @abstractmethod
    def wanted(self, memory: Memory) -> int:
        """Return from how many more samples it wants them."""

    @abstractmethod
    def learn(self, weights: Mapping[str, Tensor], squares: list[Tensor], samples: int, memory: Memory) -> None:
        """Take squared gradients, summed over ``samples`` samples."""


class Source(Part, ABC):
    """Where a direction comes from that is known before the forward, so that no pass is spent on it."""

    def check(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer that does not give what this needs."""

    @abstractmethod
    def vectors(self, weights: Mapping[str, Tensor], optimizer: Optimizer, memory: Memory) -> Named:
        """Return a vector for each weight that has one, in tensors that may be overwritten."""

    def learn(self, gradients: Named, memory: Memory) -> None:
        """Take the gradient that the optimizer steps along, before it is clipped."""


class Selection(Part, ABC):
    """Which samples the descent sees."""

    needs = frozenset({Need.SAMPLE_LOSSES})

    @abstractmethod
    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor]) -> Tensor:
        """Return the indices of the samples.

        Args:
            before: loss of each sample at the weights, shape (N,).
            after: gives the same at the perturbed weights, by a forward in the precision asked for (None: as it is).
        """


class Mixing(Part, ABC):
    """What the descent makes of the gradients at the weights and at the perturbed weights."""

    needs = frozenset({Need.CLEAN_GRADIENT})

    @abstractmethod
    def mix(self, clean: Named, perturbed: Named | None, memory: Memory) -> tuple[Named, Named]:
        """Return the gradient for the optimizer, and a term that descends beside it with the plain learning rate.

        Args:
            clean: gradient at the weights, by name; over all trained weights, not only those that move.
            perturbed: gradient at the perturbed weights; None in a step without an ascent. Both may be overwritten.
            memory: of this part.
        """


class Schedule(Part):
    """Which steps ascend, and how far."""

    interval: int = 1

    def is_due(self, step: int, memory: Memory) -> bool:
        """Tell whether step number ``step`` needs an ascent."""
        return True

    def radius(self, group: Mapping[str, Any]) -> float:
        """Return the radius for a parameter group of the optimizer, whose ``rho`` schedulers drive."""
        return group['rho']


class StepPerturbed(Part):
    """The optimizer steps at the perturbed weights, which come back only after it."""

    needs = frozenset({Need.STEP_PERTURBED, Need.SHARED_ASCENT})


@dataclass(frozen=True)
class Parts:
    """The slots of a method; an empty one is filled by the method that it builds on, or else as SAM does.

    Args:
        before: transformations of the gradient, ahead of those of the method that this one builds on.
        after: transformations behind them.
        source: where the direction comes from; None for the gradient of a pass at the weights.
        ascents: how many times the direction is taken, each time from where the last one led.
        selection: which samples the descent sees; None for all.
        mixing: of the two gradients; None for the one at the perturbed weights.
        schedule: which steps ascend and how far; None for every step, by ``rho``.
        step: where the optimizer steps; None for the weights themselves.
    """

    before: tuple[Transformation, ...] = ()
    after: tuple[Transformation, ...] = ()
    source: Source | None = None
    ascents: int = 1
    selection: Selection | None = None
    mixing: Mixing | None = None
    schedule: Schedule | None = None
    step: StepPerturbed | None = None

    def all(self) -> list[Part]:
        """Return the parts that there are."""
        slots = (self.source, self.selection, self.mixing, self.schedule, self.step)
        return [*self.before, *self.after, *(part for part in slots if part is not None)]
