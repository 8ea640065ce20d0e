"""A method at work: the value together with the memory of one training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from samat_mm.perturbations.weights.parts import (
    Memory,
    Mixing,
    Named,
    Parts,
    Schedule,
    Selection,
    Source,
    SquaredGradients,
    Transformation,
)
from samat_mm.perturbations.weights.random_numbers import RandomNumbers

if TYPE_CHECKING:
    from samat_mm.perturbations.weights.method import WeightPerturbation

Kind = TypeVar('Kind', Mixing, Schedule, Selection, Source)


class RunningMethod:
    """What a training loop asks a method, in the order of a step: choose, ascend, select, combine, correct.

    The second pass and the way back belong to the loop: :func:`perturbed_step` in plain torch,
    :class:`samat_mm.engine.optim_wrappers.SharpnessAwareMixin` in MMEngine.

    Args:
        method: the value; it is not changed.
    """

    def __init__(self, method: 'WeightPerturbation') -> None:
        self.method, self.needs = method, method.needs
        self._levels: list[tuple[Parts, Memory]] = [(level.parts, _fresh(level.parts)) for level in method.levels]
        self.source, self._source_memory = self._first(Source)  # type: ignore[type-abstract]
        self.mixing, self._mixing_memory = self._first(Mixing)  # type: ignore[type-abstract]
        self.selection, _ = self._first(Selection)  # type: ignore[type-abstract]
        schedule, self._schedule_memory = self._first(Schedule)
        self.schedule: Schedule = schedule or Schedule()
        self.ascents = max(parts.ascents for parts, _ in self._levels)
        self._beside: Named = {}

    def _first(self, kind: type[Kind]) -> tuple[Kind | None, Memory]:
        found = ((part, memory) for parts, memory in self._levels for part in parts.all() if isinstance(part, kind))
        return next(found, (None, {}))

    def _chain(self) -> Iterator[tuple[Transformation, Memory]]:
        """Give the transformations in their order: down to the innermost method, and out again."""
        yield from ((link, memory) for parts, memory in self._levels for link in parts.before)
        yield from ((link, memory) for parts, memory in reversed(self._levels) for link in parts.after)

    # Direction

    def choose(self, weights: Mapping[str, Tensor], owners: Mapping[str, nn.Module]) -> list[str]:
        """Return the names of the weights that move in this step, before any gradient is taken.

        Args:
            weights: the parameters that may move, by name.
            owners: the module that each of them belongs to.
        """
        for link, memory in self._chain():
            names = link.choose(weights, owners, memory)
            weights = {name: weights[name] for name in names}
        return list(weights)

    def ascend(self, weights: Mapping[str, Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the maximiser of the linearised loss over the ball of radius 1.

        Args:
            weights: the parameters to perturb, by name.
            grads: the gradient of the loss for each of them, in the same order; overwritten.

        Returns:
            One offset per weight. A zero gradient gives zero offsets, a non-finite one gives non-finite offsets.
        """
        vectors = list(grads)
        with torch.no_grad():
            for link, memory in self._chain():
                link.apply(weights, vectors, memory)
        return vectors

    def known_vectors(self, weights: Mapping[str, Tensor], optimizer: Optimizer) -> Named:
        """Return what the source has for these weights; :meth:`ascend` makes a direction of it."""
        return self.source.vectors(weights, optimizer, self._source_memory) if self.source else {}

    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor]) -> Tensor:
        """Return the indices of the samples that the second pass sees, see :meth:`Selection.select`."""
        if self.selection is None:
            return torch.arange(len(before), device=before.device)
        return self.selection.select(before, after)

    def _squares(self) -> Iterator[tuple[SquaredGradients, Memory]]:
        yield from ((link, memory) for link, memory in self._chain() if isinstance(link, SquaredGradients))

    def fisher_samples(self) -> int:
        """Return from how many more samples the method wants squared gradients, see :meth:`add_fisher`."""
        return max((link.wanted(memory) for link, memory in self._squares()), default=0)

    def add_fisher(self, weights: Mapping[str, Tensor], squares: Sequence[Tensor], samples: int) -> None:
        """Take squared per-sample gradients, summed over ``samples`` samples."""
        for link, memory in self._squares():
            if link.wanted(memory):
                link.learn(weights, list(squares), samples, memory)

    # Descent

    @property
    def reads_descent(self) -> bool:
        """Whether a step needs :meth:`combine`, or else the optimizer takes the last gradient as it is."""
        return self.mixing is not None or self.learns

    @property
    def learns(self) -> bool:
        """Whether the source remembers the gradient of each step, also of those without an ascent."""
        return self.source is not None and bool(self.source.memory())

    def combine(self, clean: Named, perturbed: Named | None) -> Named:
        """Return the gradient that the optimizer descends along; may overwrite the tensors it is given.

        Args:
            clean: gradient at the weights, by name; over all trained weights, not only those that move. Of a method
                with a source, the one gradient there is.
            perturbed: gradient at the perturbed weights; None in a step without an ascent.
        """
        if self.source is not None:
            self.source.learn(clean, self._source_memory)
        if self.mixing is None:
            return clean if perturbed is None else perturbed
        gradient, self._beside = self.mixing.mix(clean, perturbed, self._mixing_memory)
        return gradient

    def correct(self, weights: Mapping[str, Tensor], learning_rates: Mapping[str, float]) -> None:
        """Descend along what :meth:`combine` put beside the gradient, after the optimizer's step."""
        beside, self._beside = self._beside, {}
        with torch.no_grad():
            for name, term in beside.items():
                weights[name].sub_(term, alpha=learning_rates[name])

    # Schedule

    def is_due(self, step: int) -> bool:
        """Tell whether step number ``step`` needs an ascent."""
        return self.schedule.is_due(step, self._schedule_memory)

    def radius(self, group: Mapping[str, Any]) -> float:
        """Return the radius for a parameter group of the optimizer, whose ``rho`` schedulers drive."""
        return self.schedule.radius(group)

    # Memory

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, empty for methods without memory; a direction's is inside its method's."""
        state: dict[str, Any] = {}
        for _, memory in reversed(self._levels):
            state = {'direction': state} if state else {}
            for key, value in memory.items():
                state.update(value.state_dict() if isinstance(value, RandomNumbers) else {key: value})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`; what it does not hold begins anew."""
        for parts, memory in self._levels:
            fresh = _fresh(parts)
            for key, value in fresh.items():
                if isinstance(value, RandomNumbers):
                    value.load_state_dict(dict(state))
                elif isinstance(value, dict):
                    fresh[key] = {name: tensor.clone() for name, tensor in state.get(key, {}).items()}
                else:
                    fresh[key] = state.get(key, value)
            memory.update(fresh)
            state = state.get('direction', {})


def _fresh(parts: Parts) -> Memory:
    return {key: value for part in parts.all() for key, value in part.memory().items()}
