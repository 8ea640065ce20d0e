"""A method in use: its parts together with the memory of one training."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from samat_mm.perturbations.weights.parts import Memory, Named, Need, Parts, Source, Weights
from samat_mm.perturbations.weights.random_numbers import RandomNumbers


class RunningMethod:
    """Answers the questions of a training loop, in the order of a step: choose, ascend, select, combine, correct.

    The loop runs the second pass and brings the weights back: :func:`perturbed_step` in plain torch,
    :class:`samat_mm.engine.optim_wrappers.SharpnessAwareMixin` in MMEngine.

    Args:
        name: name of the method.
        rho: its radius.
        levels: its parts, those of the method that it builds on, and so on.
    """

    def __init__(self, name: str, rho: float, levels: Sequence[Parts]) -> None:
        self.name, self.rho = name, rho
        self._levels = [(parts, parts.memory()) for parts in levels]
        self.needs: frozenset[Need] = frozenset().union(*(parts.all_needs() for parts in levels))
        self.ascents = max(parts.ascents for parts in levels)
        down = [(link, memory) for parts, memory in self._levels for link in parts.before]
        self._chain = down + [(link, memory) for parts, memory in reversed(self._levels) for link in parts.after]
        self._squares = [(parts.squares, memory) for parts, memory in self._levels if parts.squares]
        source, self._source_memory = self._outermost('source')
        self.source: Source | None = source
        self._select, self._mix = self._function('select'), self._function('mix')
        self._is_due, self._radius = self._function('is_due'), self._function('radius')
        self._added_term: Named = {}

    def _outermost(self, slot: str) -> tuple[Any, Memory]:
        found = ((getattr(parts, slot), memory) for parts, memory in self._levels)
        return next(((part, memory) for part, memory in found if part is not None), (None, {}))

    def _function(self, slot: str) -> Callable | None:
        function, memory = self._outermost(slot)
        return None if function is None else partial(function, memory=memory)

    # Direction

    def choose(self, weights: Weights, owners: Mapping[str, nn.Module]) -> list[str]:
        """Return the names of the weights that move in this step, before any gradient is taken.

        Args:
            weights: the parameters that may move, by name.
            owners: the module that each of them belongs to.
        """
        for link, memory in self._chain:
            weights = {name: weights[name] for name in link.choose(weights, owners, memory)}
        return list(weights)

    @torch.no_grad()
    def ascend(self, weights: Weights, grads: Sequence[Tensor]) -> list[Tensor]:
        """Return the maximiser of the linearised loss over the ball of radius 1.

        Args:
            weights: the parameters to perturb, by name.
            grads: the gradient of the loss for each of them, in the same order; overwritten.

        Returns:
            One offset per weight. A zero gradient gives zero offsets, a non-finite one gives non-finite offsets.
        """
        vectors = list(grads)
        for link, memory in self._chain:
            link.apply(weights, vectors, memory)
        return vectors

    def known_vectors(self, weights: Weights, optimizer: Optimizer) -> Named:
        """Return the vectors that the source has for these weights; :meth:`ascend` turns them into a direction."""
        return self.source.vectors(weights, optimizer, self._source_memory) if self.source else {}

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Refuse an optimizer that lacks something for the source."""
        if self.source and self.source.check:
            self.source.check(optimizer)

    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor]) -> Tensor:
        """Return the indices of the samples that the second pass sees, see :class:`Parts`."""
        return self._select(before, after) if self._select else torch.arange(len(before), device=before.device)

    def fisher_samples(self) -> int:
        """Return the number of samples whose squared gradients are missing, see :meth:`add_fisher`."""
        return max((squares.wanted(memory) for squares, memory in self._squares), default=0)

    def add_fisher(self, weights: Weights, squares: Sequence[Tensor], samples: int) -> None:
        """Take squared per-sample gradients, summed over ``samples`` samples."""
        for part, memory in self._squares:
            if part.wanted(memory):
                part.learn(weights, list(squares), samples, memory)

    # Descent

    @property
    def mixes(self) -> bool:
        """Whether :meth:`combine` returns another gradient than that at the perturbed weights."""
        return self._mix is not None

    @property
    def learns(self) -> bool:
        """Whether the source remembers the gradient of every step, with or without an ascent."""
        return self.source is not None and self.source.learn is not None

    def combine(self, clean: Named, perturbed: Named | None) -> Named:
        """Return the gradient that the optimizer descends along; may overwrite the tensors it is given.

        Args:
            clean: gradient at the weights, by name, of all trained weights, not only those that move; for a method with
                a source, its only gradient.
            perturbed: gradient at the perturbed weights; None in a step without an ascent.
        """
        if self.source and self.source.learn:
            self.source.learn(clean, self._source_memory)
        if self._mix is None:
            return clean if perturbed is None else perturbed
        gradient, self._added_term = self._mix(clean, perturbed)
        return gradient

    def correct(self, weights: Weights, learning_rates: Mapping[str, float]) -> None:
        """Descend along the term that :meth:`combine` keeps from the optimizer, after its step."""
        added, self._added_term = self._added_term, {}
        with torch.no_grad():
            for name, term in added.items():
                weights[name].sub_(term, alpha=learning_rates[name])

    # Schedule

    @property
    def skips_steps(self) -> bool:
        """Whether some steps need no ascent."""
        return self._is_due is not None

    def is_due(self, step: int) -> bool:
        """Tell whether step number ``step`` needs an ascent."""
        return self._is_due is None or self._is_due(step)

    def radius(self, group: Mapping[str, Any]) -> float:
        """Return the radius for a parameter group of the optimizer, whose ``rho`` schedulers drive."""
        return self._radius(group) if self._radius else group['rho']

    # Memory

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, empty for methods without one; it contains the memory of the direction."""
        state: dict[str, Any] = {}
        for _, memory in reversed(self._levels):
            state = {'direction': state} if state else {}
            for key, value in memory.items():
                state.update(value.state_dict() if isinstance(value, RandomNumbers) else {key: value})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of :meth:`state_dict`; keys that it lacks begin anew."""
        for parts, memory in self._levels:
            memory.update(parts.memory())
            for key, value in memory.items():
                if isinstance(value, RandomNumbers):
                    value.load_state_dict(dict(state))
                else:
                    memory[key] = copy.deepcopy(state.get(key, value))
            state = state.get('direction', {})
