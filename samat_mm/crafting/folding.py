"""Fold batch normalisation in evaluation mode into the convolution before it."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

BatchNorm = nn.modules.batchnorm._BatchNorm
CLOSE = 5e-3  # relative to the largest value; reduced precision on GPUs (TF32) stays below


class ForwardTrace(TorchDispatchMode):
    """Records the inputs and outputs of convolutions and batch normalisations, and how often each output is used.

    Modules with forward hooks are left out, because folding would change the output that the hook receives.

    Args:
        source: the model whose copy is traced.

    Attributes:
        calls: module, input and output of each call, in order.
        reaches_source: whether the forward used a tensor of the source itself.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.calls: list[tuple[nn.Module, Tensor, Tensor]] = []
        self.reaches_source = False
        self._foreign = {id(tensor) for tensor in chain(source.parameters(), source.buffers())}
        self._uses: dict[int, int] = {}  # by tensor; `calls` keeps them alive

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Record the forward of ``model`` inside the block."""
        watched = [
            (module, module._forward_hooks)
            for module in model.modules()
            if isinstance(module, (nn.Conv2d, BatchNorm)) and not has_forward_hooks(module)
        ]
        try:
            for module, hooks in watched:
                module._forward_hooks = hooks.copy()  # the copy shares this dict with the model
                module.register_forward_hook(self._record)
            with self:
                yield
        finally:
            for module, hooks in watched:
                module._forward_hooks = hooks

    def _record(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        if args:
            self.calls.append((module, args[0], output))
            self._uses[id(output)] = 0

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Count the operations that use each output."""
        for value in tree_iter((args, kwargs)):
            if id(value) in self._uses:
                self._uses[id(value)] += 1
            self.reaches_source |= id(value) in self._foreign
        return func(*args, **(kwargs or {}))

    def pairs(self) -> dict[nn.Module, nn.Module]:
        """Return each convolution with the normalisation that is the only user of its outputs."""
        given: dict[nn.Module, set[int]] = {}
        taken: dict[nn.Module, set[int]] = {}
        for module, taking, giving in self.calls:
            if isinstance(module, BatchNorm):
                taken.setdefault(module, set()).add(id(taking))
            else:
                given.setdefault(module, set()).add(id(giving))
        takers = {frozenset(tensors): norm for norm, tensors in taken.items()}
        return {
            convolution: takers[frozenset(tensors)]
            for convolution, tensors in given.items()
            if frozenset(tensors) in takers and all(self._uses[tensor] == 1 for tensor in tensors)
        }


def has_forward_hooks(module: nn.Module) -> bool:
    """Tell whether a module has forward hooks."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


@torch.no_grad()
def foldable(convolution: Any, norm: Any) -> bool:
    """Tell whether a convolution can absorb a normalisation, by a trial with random weights and statistics.

    Their current values would not do: fresh or zero values hide, for instance, that a convolution standardises its
    weights.
    """
    if norm.running_mean is None or convolution._parameters.get('weight') is None:  # no statistics; made at each call
        return False
    convolution, norm = copy.deepcopy((convolution, norm))
    numbers = torch.Generator().manual_seed(0)
    for tensor in (*convolution.parameters(), *norm.parameters(), norm.running_mean, norm.running_var):
        tensor.copy_(torch.rand(tensor.shape, generator=numbers) + 0.5)
    sides = zip(convolution.kernel_size, convolution.dilation, strict=True)
    shape = [dilation * (size - 1) + 2 for size, dilation in sides]
    given = torch.randn(2, convolution.in_channels, *shape, generator=numbers).to(convolution.weight)
    folded = copy.deepcopy(convolution)
    separate_weights(folded)
    fold(folded, convolution, norm)
    try:
        return close(folded(given), norm(convolution(given)))
    except Exception:  # for example, a convolution that takes more arguments than features
        return False


def separate_weights(convolution: Any) -> None:
    """Replace the parameters by unshared frozen ones to fold into, with a bias."""
    weight = convolution.weight
    convolution.weight = nn.Parameter(torch.empty_like(weight), requires_grad=False)
    convolution.bias = nn.Parameter(weight.new_empty(convolution.out_channels), requires_grad=False)


def fold(folded: Any, convolution: Any, norm: Any) -> None:
    """Write weights into ``folded`` so that it computes ``norm(convolution(x))``."""
    factor = (norm.running_var + norm.eps).rsqrt()
    factor = factor if norm.weight is None else factor * norm.weight
    shift = 0 if convolution.bias is None else convolution.bias
    bias = (shift - norm.running_mean) * factor
    torch.mul(convolution.weight, factor.reshape(-1, 1, 1, 1), out=folded.weight)
    folded.bias.copy_(bias if norm.bias is None else bias + norm.bias)


def close(found: Tensor, expected: Tensor, tolerance: float = CLOSE) -> bool:
    """Tell whether two outputs agree up to rounding, relative to the largest value; NaN never agrees."""
    if found.shape != expected.shape or not expected.numel():
        return found.shape == expected.shape
    scale = max(float(expected.abs().amax()), 1e-6)
    return bool((found - expected).abs().amax() < tolerance * scale)
