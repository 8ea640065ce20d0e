"""Displace weights and bring them back exactly."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Displacement:
    """Adds offsets to weights for the length of a ``with`` block and puts the very same bits back after it.

    Subtracting the offsets again would not: ``fl(fl(w + e) - e)`` differs from ``w``. One buffer of the size of the
    weights is kept and reused at every step.
    """

    def __init__(self) -> None:
        self._saved: dict[int, Tensor] = {}

    @contextmanager
    def __call__(self, weights: list[Tensor], offsets: list[Tensor]) -> Iterator[None]:
        """Displace ``weights`` by ``offsets`` inside the block, also when it raises.

        The tensors keep their identity, storage and memory format. The block no longer needs ``offsets``.
        """
        saved = [self._buffer(weight) for weight in weights]
        _copy(weights, to=saved)
        try:
            _add(offsets, to=weights)
            yield
        finally:
            _copy(saved, to=weights)

    def move(self, weights: list[Tensor], offsets: list[Tensor]) -> None:
        """Displace by other offsets instead, inside a block that displaced the same weights."""
        _copy([self._saved[id(weight)] for weight in weights], to=weights)
        _add(offsets, to=weights)

    @contextmanager
    def kept_changes(self, weights: list[Tensor], offsets: list[Tensor]) -> Iterator[None]:
        """Displace ``weights`` inside the block, and afterwards keep the change that the block itself made to them.

        A block that changes nothing leaves the values as they were.
        """
        with self(weights, offsets):
            displaced = [weight.detach().clone() for weight in weights]
            yield
            changes = torch._foreach_sub([weight.detach() for weight in weights], displaced) if weights else ()
        _add(list(changes), to=weights)

    def _buffer(self, weight: Tensor) -> Tensor:
        buffer = self._saved.get(id(weight))
        if buffer is None or (buffer.shape, buffer.dtype, buffer.device) != (weight.shape, weight.dtype, weight.device):
            buffer = self._saved[id(weight)] = torch.empty_like(weight)
        return buffer


@torch.no_grad()
def _copy(source: list[Tensor], to: list[Tensor]) -> None:
    if to:
        torch._foreach_copy_(to, source)


@torch.no_grad()
def _add(terms: list[Tensor], to: list[Tensor]) -> None:
    if to:
        torch._foreach_add_(to, terms)


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Put every buffer back after the block, to the bit.

    A second forward in training mode then normalises by its batch as the first did, but leaves the running statistics
    of the first, whichever normalisation layer, counter or queue keeps them.
    """
    kept = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, saved in kept:
                buffer.copy_(saved)
                module._buffers[name] = buffer
