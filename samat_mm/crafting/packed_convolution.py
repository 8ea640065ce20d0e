"""Convolutions on x86 processors that keep their weights in the order of the kernels.

oneDNN reorders the weights of a convolution at each forward and at each gradient. With few and small images this takes
up to a third of the time of a DeepLabv3 in bfloat16. A frozen copy has the same weights for all steps of an attack, so
one reordering is enough.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from samat_mm.crafting.folding import close, has_forward_hooks

LAST, mkldnn = torch.channels_last, torch.ops.mkldnn


class PackedConvolution:
    """The forward of a frozen convolution with stride 1, with copies of the weights in the order of the kernels.

    Weights are reordered at their second use after a change, because an attack of one step would not gain from it.

    Args:
        convolution: the convolution; its weights may change in place.
    """

    def __init__(self, convolution: Any) -> None:
        self.convolution = convolution
        self._geometry = list(convolution.padding), [1, 1], list(convolution.dilation)
        self._version, self._uses = -1, 0
        self._forward_weight: Tensor | None = None
        self._backward_weight: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """Return the convolution of features of shape (N, C, H, W)."""
        weight = self.convolution.weight
        if weight._version != self._version:
            self._version, self._uses, self._forward_weight, self._backward_weight = weight._version, 0, None, None
        self._uses += 1
        if self._uses == 1 or features.ndim != 4 or _dtype_of_convolutions(features) != weight.dtype:
            return type(self.convolution).forward(self.convolution, features)
        return _Packed.apply(features.to(weight.dtype), self)

    def forward(self, features: Tensor) -> Tensor:
        """Return the output."""
        weight, bias = self.convolution.weight, self.convolution.bias
        padding, stride, dilation = self._geometry
        features = features.contiguous(memory_format=LAST)
        if self._forward_weight is None:
            self._forward_weight = mkldnn._reorder_convolution_weight(
                weight, padding, stride, dilation, 1, features.shape
            )
        return mkldnn._convolution_pointwise(
            features, self._forward_weight, bias, padding, stride, dilation, 1, 'none', [], ''
        )

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient of the features from the gradient of the output, by a transposed convolution."""
        padding, stride, dilation = self._geometry
        gradient, none = gradient.contiguous(memory_format=LAST), [0, 0]
        if self._backward_weight is None:
            self._backward_weight = mkldnn._reorder_convolution_transpose_weight(
                self.convolution.weight, padding, none, stride, dilation, 1, gradient.shape
            )
        return mkldnn._convolution_transpose_pointwise(
            gradient, self._backward_weight, None, padding, none, stride, dilation, 1, 'none', [], ''
        )


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, packed: PackedConvolution) -> Tensor:
        ctx.packed = packed
        return packed.forward(features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.packed.backward(gradient), None


def _dtype_of_convolutions(features: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else features.dtype


def packable(convolution: nn.Module) -> bool:
    """Tell whether packing applies to a convolution and reproduces its output and gradient, by a trial."""
    if not isinstance(convolution, nn.Conv2d) or not _is_plain(convolution):
        return False
    numbers = torch.Generator().manual_seed(0)
    features = torch.randn(2, convolution.in_channels, *_sides(convolution), generator=numbers)
    features = features.to(convolution.weight).contiguous(memory_format=LAST)
    packed = PackedConvolution(convolution)
    try:
        with torch.enable_grad(), torch.autocast('cpu', enabled=False):
            features.requires_grad_()
            results = [forward(features) for forward in (convolution, lambda x: _Packed.apply(x, packed))]
            weights = torch.randn(results[0].shape, generator=numbers).to(features)
            gradients = [torch.autograd.grad(result, features, weights)[0] for result in results]
        return close(results[1].detach(), results[0].detach()) and close(gradients[1], gradients[0])
    except (RuntimeError, AttributeError):  # a build or processor without these kernels
        return False


def _is_plain(convolution: nn.Conv2d) -> bool:
    kind, weight = type(convolution), convolution._parameters.get('weight')
    return (
        torch.backends.cpu.get_cpu_capability().startswith('AVX')
        and kind.forward is nn.Conv2d.forward
        and kind._conv_forward is nn.Conv2d._conv_forward
        and 'forward' not in vars(convolution)
        and not has_forward_hooks(convolution)
        and weight is not None
        and not weight.is_inference()  # inference tensors do not track changes
        and weight.device.type == 'cpu'
        and weight.dtype in (torch.float32, torch.bfloat16)
        and convolution.stride == (1, 1)
        and convolution.groups == 1
        and isinstance(convolution.padding, tuple)
        and convolution.padding_mode == 'zeros'
    )


def _sides(convolution: nn.Conv2d) -> list[int]:
    """Return the image sides for which the output has at least two pixels in both directions."""
    geometry: Any = zip(convolution.kernel_size, convolution.dilation, convolution.padding, strict=True)
    return [max(dilation * (size - 1) - 2 * padding, 0) + 2 for size, dilation, padding in geometry]
