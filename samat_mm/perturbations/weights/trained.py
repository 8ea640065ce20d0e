"""The weights that an optimizer trains, by name and with the module that each belongs to, and their ascent."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from samat_mm.perturbations.weights.parts import Named
from samat_mm.perturbations.weights.running import RunningMethod


class TrainedWeight(NamedTuple):
    """A trained weight: its name, itself, its module and its parameter group."""

    name: str
    weight: Tensor
    owner: nn.Module
    group: dict[str, Any]


class TrainedWeights:
    """Looks up what an optimizer trains in the model that it trains."""

    def __init__(self) -> None:
        self._model: nn.Module | None = None
        self._places: dict[int, tuple[str, nn.Module]] = {}

    def read(self, model: nn.Module) -> None:
        """Note where each parameter of ``model`` stands."""
        if model is self._model:
            return
        self._model, self._places = model, {}
        for prefix, module in model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                self._places.setdefault(id(parameter), (f'{prefix}.{name}' if prefix else name, module))

    def of(self, optimizer: Optimizer) -> list[TrainedWeight]:
        """Return the weights that require gradients, in the order of the optimizer."""
        return [
            TrainedWeight(*self._place(weight), group)
            for group in optimizer.param_groups
            for weight in group['params']
            if weight.requires_grad
        ]

    def movable(self, optimizer: Optimizer) -> list[TrainedWeight]:
        """Return those that the radius lets move."""
        return [entry for entry in self.of(optimizer) if entry.group['rho'] > 0]

    def _place(self, weight: Tensor) -> tuple[str, Tensor, nn.Module]:
        name, owner = self._places.get(id(weight), (f'parameter {id(weight)} outside the model', nn.Module()))
        return name, weight, owner


def chosen(method: RunningMethod, entries: Sequence[TrainedWeight]) -> list[TrainedWeight]:
    """Return those that the method moves in this step."""
    names = set(method.choose(named(entries), {entry.name: entry.owner for entry in entries}))
    return [entry for entry in entries if entry.name in names]


def named(entries: Sequence[TrainedWeight]) -> Named:
    """Return the weights by name."""
    return {entry.name: entry.weight for entry in entries}


def offsets(method: RunningMethod, entries: Sequence[TrainedWeight], vectors: list[Tensor]) -> list[Tensor]:
    """Return how far each weight moves, made of a vector for each, which is overwritten."""
    if not entries:
        return []
    found = method.ascend(named(entries), vectors)
    torch._foreach_mul_(found, [method.radius(entry.group) for entry in entries])
    return found


def offsets_ahead(
    method: RunningMethod, movable: Sequence[TrainedWeight], optimizer: Optimizer
) -> tuple[list[TrainedWeight], list[Tensor]]:
    """Return what moves, and how far, by what the source of the method knows before the forward."""
    entries = chosen(method, movable)
    vectors = method.known_vectors(named(entries), optimizer)
    known = [entry for entry in entries if entry.name in vectors]
    return known, offsets(method, known, [vectors[entry.name] for entry in known])


def mix(method: RunningMethod, clean: Named, gradients: Named) -> None:
    """Write what the method makes of the gradients into those that the optimizer will take.

    Args:
        method: see :meth:`RunningMethod.combine`.
        clean: gradients at the weights, empty in a step without an ascent.
        gradients: what the weights hold.
    """
    combined = method.combine(clean, gradients) if clean else method.combine(gradients, None)
    with torch.no_grad():
        for name, gradient in gradients.items():
            if combined.get(name, gradient) is not gradient:
                gradient.copy_(combined[name])
