"""The weights that an optimizer trains, by name and with the module that each belongs to."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from samat_mm.errors import InputError
from samat_mm.perturbations.weights.parts import Named

Places = dict[int, tuple[str, nn.Module]]


class TrainedWeight(NamedTuple):
    """A trained weight: its name, itself, its module and its parameter group."""

    name: str
    weight: Tensor
    owner: nn.Module
    group: dict[str, Any]


def places_of(model: nn.Module) -> Places:
    """Return the name and the module of each parameter of a model, by the identity of the parameter."""
    places: Places = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            places.setdefault(id(parameter), (f'{prefix}.{name}' if prefix else name, module))
    return places


def put_radius_into_groups(rho: float, optimizer: Optimizer) -> None:
    """Give each parameter group its radius, where it has none; schedulers drive it there.

    Raises:
        ValueError: if the optimizer has a parameter rho itself.
    """
    if 'rho' in optimizer.defaults:
        raise InputError(
            f'{type(optimizer).__name__} has its own parameter rho, which the radius in param_groups would '
            'overwrite; use another optimizer.'
        )
    for group in optimizer.param_groups:
        group.setdefault('rho', rho * group.get('rho_mult', 1))


def trained_weights(optimizer: Optimizer, places: Places) -> list[TrainedWeight]:
    """Return the weights that require gradients, in the order of the optimizer."""
    entries = []
    for group in optimizer.param_groups:
        for weight in group['params']:
            if weight.requires_grad:
                name, owner = places.get(id(weight), (f'parameter {id(weight)} outside the model', nn.Module()))
                entries.append(TrainedWeight(name, weight, owner, group))
    return entries


def movable(entries: Sequence[TrainedWeight]) -> list[TrainedWeight]:
    """Return the entries with a radius above 0."""
    return [entry for entry in entries if entry.group['rho'] > 0]


def named(entries: Sequence[TrainedWeight]) -> Named:
    """Return the weights by name."""
    return {entry.name: entry.weight for entry in entries}


def tensors(entries: Sequence[TrainedWeight]) -> list[Tensor]:
    """Return the weights."""
    return [entry.weight for entry in entries]
