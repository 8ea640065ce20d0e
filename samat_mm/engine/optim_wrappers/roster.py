"""The trained weights of a model, by name and with the module that each belongs to."""

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from samat_mm.models.replay import unwrapped


class Entry(NamedTuple):
    """A trained weight: its name, itself, its module and its parameter group."""

    name: str
    weight: Tensor
    owner: nn.Module
    group: dict[str, Any]


class Roster:
    """Looks up what an optimizer trains in the model that it trains."""

    def __init__(self) -> None:
        self._model: nn.Module | None = None
        self._places: dict[int, tuple[str, nn.Module]] = {}

    def read(self, model: nn.Module) -> None:
        """Note where each parameter of ``model`` stands."""
        inner = unwrapped(model)
        if inner is self._model:
            return
        self._model, self._places = inner, {}
        for prefix, module in inner.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                self._places.setdefault(id(parameter), (f'{prefix}.{name}' if prefix else name, module))

    def trained(self, optimizer: Optimizer) -> list[Entry]:
        """Return the weights that require gradients, in the order of the optimizer."""
        return [
            Entry(*self._place(weight), group)
            for group in optimizer.param_groups
            for weight in group['params']
            if weight.requires_grad
        ]

    def _place(self, weight: Tensor) -> tuple[str, Tensor, nn.Module]:
        name, owner = self._places.get(id(weight), (f'parameter {id(weight)} outside the model', nn.Module()))
        return name, weight, owner
