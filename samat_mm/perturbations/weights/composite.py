"""A method that takes its direction from another one and changes something else."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.perturbations.weights.base import Named, WeightPerturbation
from samat_mm.perturbations.weights.sam import SAM


class Composite(WeightPerturbation):
    """Hands every seam on to ``direction``; a method overrides those it is about.

    Args:
        rho: radius of the ball; None takes that of the direction.
        direction: the perturbation to build on, SAM if None; in a config ``direction=dict(type='ASAM')``.

    Raises:
        ValueError: if ``direction`` is no weight perturbation, if both mix gradients, of which there is one descent, or
            if the direction descends on other samples than it ascends on.
    """

    def __init__(self, rho: float | None, direction: WeightPerturbation | None) -> None:
        direction = SAM() if direction is None else direction
        if not isinstance(direction, WeightPerturbation):
            raise InputError(
                f"direction must be a weight perturbation, or its config such as dict(type='ASAM'); got {direction!r}."
            )
        if direction.mixes and type(self).combine is not Composite.combine:
            raise InputError(
                f'{type(self).__name__} and {type(direction).__name__} each mix the gradients of the two passes in a '
                'way of their own; use one of them.'
            )
        if direction.selects_samples and type(self).combine is not Composite.combine:
            raise InputError(
                f'{type(self).__name__} compares the gradients of both passes, which must be of the same samples, but '
                f'{type(direction).__name__} selects samples for the second; give it gamma=1.'
            )
        super().__init__(direction.rho if rho is None else rho)
        self.direction = direction
        self.scale_free = self.scale_free and direction.scale_free
        self.synchronised = self.synchronised or direction.synchronised
        self.selects_samples = self.selects_samples or direction.selects_samples
        self.mixes = self.mixes or direction.mixes
        self.interval = direction.interval
        self.corrects = self.corrects or direction.corrects
        self.steps_displaced = self.steps_displaced or direction.steps_displaced

    def choose(self, weights: Mapping[str, Tensor], owners: Mapping[str, nn.Module]) -> list[str]:
        """Choose the direction's weights."""
        return self.direction.choose(weights, owners)

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the direction's offsets."""
        return self.direction.ascend(weights, grads)

    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor]) -> Tensor:
        """Select the direction's samples."""
        return self.direction.select(before, after)

    def fisher_samples(self) -> int:
        """Return how many the direction wants."""
        return self.direction.fisher_samples()

    def add_fisher(self, weights: Mapping[str, Tensor], squares: Sequence[Tensor], samples: int) -> None:
        """Hand the squares on."""
        self.direction.add_fisher(weights, squares, samples)

    def combine(self, clean: Named, perturbed: Named | None) -> Named:
        """Combine as the direction does."""
        return self.direction.combine(clean, perturbed)

    def correct(self, weights: Mapping[str, Tensor], learning_rates: Mapping[str, float]) -> None:
        """Correct as the direction does."""
        self.direction.correct(weights, learning_rates)

    def is_due(self, step: int) -> bool:
        """Tell whether the direction is due."""
        return self.direction.is_due(step)

    def radius(self, group: Mapping[str, Any]) -> float:
        """Return the direction's radius."""
        return self.direction.radius(group)

    def state_dict(self) -> dict[str, Any]:
        """Return the direction's state; methods with a memory add theirs."""
        state = self.direction.state_dict()
        return {'direction': state} if state else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`."""
        self.direction.load_state_dict(state.get('direction', {}))
