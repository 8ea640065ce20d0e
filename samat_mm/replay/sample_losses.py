"""The loss of each sample, for models that return the mean over a batch."""

import copy
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = 1e-3  # relative; a forward in reduced precision adds up in another order


class SampleLosses:
    """Records one loss forward of a model and splits its loss into the losses of the samples.

    Every loss module (mmsegmentation's, mmpretrain's and torch's, all of which have a ``reduction``) that the forward
    calls is called again without reduction. The result per sample is scaled to average to the model's own loss. This
    works for any average factor, with ignored pixels, class weights, several losses and auxiliary heads. Loss values
    of shape (N, ...), which the model returns without reduction, count as they are.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[nn.Module, tuple, dict[str, Any], Tensor]] = []

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Record the calls of the loss modules of ``model`` inside the block."""
        self._calls.clear()
        handles = [
            module.register_forward_hook(self._record, with_kwargs=True) for module in _outermost_loss_modules(model)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.compiler.disable  # a compiled forward must not bake in the recorded values
    def _record(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 0:
            self._calls.append((module, args, kwargs, output.detach().clone()))  # heads add to it in place

    def per_sample(self, losses: dict[str, Any], total: Tensor, samples: int) -> Tensor | None:
        """Return the loss of each sample, shape (samples,), or None if the model's loss does not split into these.

        The result is differentiable unless gradients are disabled.

        Args:
            losses: output of the recorded forward.
            total: the total loss that the model computes from it.
            samples: number of samples in the batch.
        """
        whole = [piece.reshape(samples, -1).mean(1) for piece in _already_per_sample(losses, samples)]
        calls, self._calls = self._calls, []
        pieces = [(value, _unreduced(module, args, kwargs)) for module, args, kwargs, value in calls]
        split = [
            _scaled(value, piece.reshape(samples, -1).sum(1))
            for value, piece in pieces
            if piece.shape[:1] == (samples,) and piece.numel()
        ]
        if not whole and not split:
            return None
        per_sample = torch.stack(whole + split).sum(0)
        both = per_sample.detach().mean().float(), total.detach().float().to(per_sample.device)
        mean, expected = torch.stack(both).tolist()  # waits for the device once
        return per_sample if math.isclose(mean, expected, rel_tol=TOLERANCE) else None


def _outermost_loss_modules(model: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for module in model.modules():  # parents precede their children
        if module not in inside and isinstance(getattr(module, 'reduction', None), str):
            found.append(module)
            inside.update(module.modules())
    return found


def _unreduced(module: Any, args: tuple, kwargs: dict[str, Any]) -> Tensor:
    if 'reduction_override' in inspect.signature(module.forward).parameters:
        return module.forward(*args, **{**kwargs, 'reduction_override': 'none'})
    bare = copy.copy(module)
    bare.reduction = 'none'
    return bare.forward(*args, **kwargs)


def _already_per_sample(losses: dict[str, Any], samples: int) -> list[Tensor]:
    entries = [value for name, value in losses.items() if 'loss' in name]
    tensors = [tensor for entry in entries for tensor in (entry if isinstance(entry, (list, tuple)) else [entry])]
    return [tensor for tensor in tensors if tensor.ndim > 0 and len(tensor) == samples]


def _scaled(value: Tensor, sums: Tensor) -> Tensor:
    """Scale the sums of the samples so that they average to the value of the whole batch."""
    total = sums.detach().sum()
    factor = torch.where(total == 0, torch.zeros_like(total), len(sums) * value.detach() / total)
    return sums * factor
