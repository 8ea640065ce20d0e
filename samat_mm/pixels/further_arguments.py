"""A model whose forward gets more of a batch than inputs, data samples and mode."""

from collections.abc import Mapping
from typing import Any

from torch import nn

USUAL = {'inputs', 'data_samples', 'mode'}


class WithArguments(nn.Module):
    """A model whose forward always gets the same further arguments, such as the mask of a batch of sentences.

    Args:
        model: the bare model.
        further: the arguments by name.
    """

    def __init__(self, model: nn.Module, further: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.further = model, dict(further)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Return the output of the model, without running its forward hooks."""
        return self.model.forward(inputs, data_samples, mode=mode, **self.further)


def further_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a forward that are neither inputs nor data samples nor mode."""
    return {name: value for name, value in given.items() if name not in USUAL}


def with_arguments(model: nn.Module, given: Mapping[str, Any]) -> nn.Module:
    """Return the model as a function of inputs, data samples and mode alone.

    Args:
        model: the bare model.
        given: arguments of its forward by name; if it has only these three, the model itself is returned.
    """
    further = further_arguments(given)
    return WithArguments(model, further) if further else model
