"""A faster frozen copy of a model: folded normalisation, other memory layouts, one precision."""

import copy
import math
from collections.abc import Callable
from itertools import chain
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.crafting.folding import CLOSE, ForwardTrace, close, fold, foldable, has_forward_hooks, separate_weights
from samat_mm.crafting.packed_convolution import PackedConvolution, packable
from samat_mm.model_state import frozen

Probe = Callable[[nn.Module, torch.memory_format], Tensor]


class FastCopy:
    """A copy of a model in evaluation mode without weight gradients; :meth:`sync` updates it to the model's weights.

    Convolutions whose output only goes into a batch normalisation absorb its scale and shift; a forward pass finds
    them. Each speed-up is checked, and undone if the output changes. Forward hooks on inner modules run in the copy as
    in the model.

    Args:
        model: the model to copy; it does not change.
        probe: function of a model and a memory format that runs a forward pass; its outputs are compared.
        dtype: type of the weights of convolutions and linear layers, for autocast in that type. Convolutions of the
            image stay in single precision: in bfloat16 a change of 1/255 is hardly more than the rounding of a pixel.

    Attributes:
        model: the copy.
        memory_format: memory format of its images.

    Raises:
        RuntimeError: if the model cannot be copied, or its copy computes something else.
    """

    def __init__(self, model: nn.Module, probe: Probe, dtype: torch.dtype) -> None:
        self.source, self._layout = model, _layout(model)
        self.memory_format = torch.contiguous_format
        with torch.no_grad(), frozen(model):
            expected = probe(model, self.memory_format)
            self.model = _copied(model)
            self._twins = dict(zip(self.model.modules(), model.modules(), strict=True))
            trace = ForwardTrace(model)
            with trace.watch(self.model):
                same = self._computes(expected, probe)
            if not same or trace.reaches_source:
                fault = 'still runs the model itself (is it compiled?)' if same else 'computes something else'
                raise RuntimeError(f'a copy of {type(model).__name__} {fault}')
            self._fuse(trace.pairs())
            if not self._computes(expected, probe):
                self._unfuse()
            self._lay_out(faster_layout(dtype, expected.device))
            if not self._computes(expected, probe):
                self._lay_out(torch.contiguous_format)
            if dtype != torch.float32:
                self._reduce_precision(trace.calls, dtype)
            with torch.autocast(expected.device.type, dtype=torch.bfloat16, enabled=dtype != torch.float32):
                if dtype != torch.float32 and not self._computes(expected, probe, tolerance=math.inf):
                    raise RuntimeError(f'a copy of {type(model).__name__} cannot run in {dtype}')
                self._pack(probe)

    @property
    def fused(self) -> int:
        """Number of batch normalisations folded into a convolution."""
        return len(self._fused)

    @property
    def is_outdated(self) -> bool:
        """Whether the model has other modules or tensor types than when it was copied, or a hook on a folded layer."""
        folded = chain(self._fused, self._fused.values())
        return self._layout != _layout(self.source) or any(has_forward_hooks(self._twins[module]) for module in folded)

    @torch.no_grad()
    def sync(self) -> None:
        """Copy the model's current weights, statistics and plain settings."""
        for ours, theirs in self._twins.items():
            vars(ours).update({name: value for name, value in vars(theirs).items() if _is_setting(name, value)})
            if ours in self._fused:
                fold(ours, theirs, self._twins[self._fused[ours]])
                continue
            for own, other in ((ours._parameters, theirs._parameters), (ours._buffers, theirs._buffers)):
                for name, value in own.items():
                    if value is not None:
                        value.copy_(other[name])  # type: ignore[arg-type]

    def _computes(self, expected: Tensor, probe: Probe, tolerance: float = CLOSE) -> bool:
        """Tell whether the copy's output matches the model's."""
        try:
            return close(probe(self.model, self.memory_format), expected, tolerance)
        except Exception:  # any error of a model that was not made for this
            return False

    def _fuse(self, pairs: dict[nn.Module, nn.Module]) -> None:
        self._fused: dict[Any, Any] = {
            convolution: norm for convolution, norm in pairs.items() if foldable(convolution, norm)
        }
        for convolution, norm in self._fused.items():
            separate_weights(convolution)
            vars(norm)['forward'] = _unchanged
        self.sync()

    def _unfuse(self) -> None:
        for convolution, norm in self._fused.items():
            convolution.bias = convolution.bias if self._twins[convolution].bias is not None else None
            del vars(norm)['forward']
        self._fused = {}
        self.sync()

    def _lay_out(self, memory_format: torch.memory_format) -> None:
        self.memory_format = memory_format
        for parameter in self.model.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=memory_format)

    def _pack(self, probe: Probe) -> None:
        convolutions = [module for module in self.model.modules() if packable(module)]
        if self.memory_format != torch.channels_last or not convolutions:
            return
        expected = probe(self.model, self.memory_format)
        for convolution in convolutions:
            vars(convolution)['forward'] = PackedConvolution(convolution)
        # Weights are packed at their second use.
        if not all(self._computes(expected, probe) for _ in range(2)):
            for convolution in convolutions:
                del vars(convolution)['forward']

    def _reduce_precision(self, calls: list[tuple[nn.Module, Tensor, Tensor]], dtype: torch.dtype) -> None:
        convolutions = [(module, given) for module, given, _ in calls if isinstance(module, nn.Conv2d)]
        stems = {module for module, given in convolutions if given is convolutions[0][1]}
        for module in self.model.modules():
            if module in stems:
                vars(module)['forward'] = MethodType(_in_single_precision, module)
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(dtype)


def faster_layout(dtype: torch.dtype, device: torch.device) -> torch.memory_format:
    """Return the memory format in which convolutions of this type are faster on this device.

    It is channels last, which oneDNN and tensor cores work in. Without TF32, convolutions in float32 do not use tensor
    cores, and a copy in channels last kept an H200 busy longer than the model itself did: docs/results/benchmarks.md.
    """
    without_tensor_cores = device.type == 'cuda' and dtype == torch.float32 and not torch.backends.cudnn.allow_tf32
    return torch.contiguous_format if without_tensor_cores else torch.channels_last


def _copied(model: nn.Module) -> nn.Module:
    """Return a frozen copy that shares the hooks, because hooks may belong to objects that cannot be copied."""
    name = type(model).__name__
    hooks = {id(value): value for module in model.modules() for key, value in vars(module).items() if 'hooks' in key}
    try:
        copied = copy.deepcopy(model, hooks)
    except Exception as error:  # any error of an attribute that was not made for this
        raise RuntimeError(f'{name} cannot be copied: {error}') from error
    if len(list(copied.modules())) != len(list(model.modules())) or _memory(copied) & _memory(model):
        raise RuntimeError(f'{name} cannot be copied: its own __deepcopy__ leaves out modules or shares weights')
    for module in copied.modules():
        module.training = False
    return copied.requires_grad_(False)


def _memory(model: nn.Module) -> set[Any]:
    """Return the identities of modules with tensors, and of their memory."""
    owners = {module for module in model.modules() if module._parameters or module._buffers}
    tensors = chain(model.parameters(), model.buffers())
    return owners | {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.numel()}


def _layout(model: nn.Module) -> list[tuple]:
    """Return the properties that a copy must share with a model to stay in sync."""
    return [
        (module, name, None if tensor is None else (tensor.shape, tensor.dtype, tensor.device))
        for module in model.modules()
        for name, tensor in chain([('', None)], module._parameters.items(), module._buffers.items())
    ]


def _is_setting(name: str, value: Any) -> bool:
    return name != 'training' and isinstance(value, (bool, int, float, str))


def _unchanged(features: Tensor) -> Tensor:
    return features


def _in_single_precision(self: nn.Module, pixels: Tensor) -> Tensor:
    with torch.autocast(pixels.device.type, enabled=False):
        return type(self).forward(self, pixels.float())
