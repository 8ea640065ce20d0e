"""A frozen copy of a model that computes the same faster: normalisation folded in, channels last, one precision."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm
CLOSE = 5e-3  # relative to the largest output; reduced precision on GPUs (TF32) stays below, a wrong fusion does not


class FastCopy:
    """A copy of a model in evaluation mode without gradients for its weights, kept in step by :meth:`sync`.

    Convolutions whose output goes into a batch normalisation and nowhere else take over its scale and shift. Which ones
    these are is seen in a forward, and each is checked: what does not give the same is left as it is.

    Args:
        model: what is copied; it is not touched.
        probe: a forward of whichever model it is given, which returns an output to compare.
        dtype: of the weights of convolutions and linear layers, for autocast in that type. The first convolution
            stays in single precision: in bfloat16 a change of 1/255 is hardly more than the rounding of a pixel.

    Raises:
        RuntimeError: if the model cannot be copied, or its copy computes something else.
    """

    def __init__(self, model: nn.Module, probe: Callable[[nn.Module], Tensor], dtype: torch.dtype) -> None:
        self.source = model
        with torch.no_grad():
            expected = probe(model)
            self.model = _copied(model)
            calls = _watched(self.model, probe)
            self._twins = dict(zip(self.model.modules(), model.modules(), strict=True))
            self._fused = self._fuse(calls)
            if not _close(probe(self.model), expected):
                self.model = _copied(model)
                self._twins = dict(zip(self.model.modules(), model.modules(), strict=True))
                self._fused = {}
                if not _close(probe(self.model), expected):
                    raise RuntimeError(f'a copy of {type(model).__name__} does not compute what the model computes')
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if dtype != torch.float32:
            self._reduce_precision(calls, dtype)

    @property
    def fused(self) -> int:
        """How many batch normalisations are folded into a convolution."""
        return len(self._fused)

    @torch.no_grad()
    def sync(self) -> None:
        """Take over the weights and statistics that the model has now."""
        for ours, theirs in self._twins.items():
            if ours in self._fused:
                _fold(ours, theirs, self._twins[self._fused[ours]])
                continue
            for own, other in ((ours._parameters, theirs._parameters), (ours._buffers, theirs._buffers)):
                for name, value in own.items():
                    if value is not None:
                        value.copy_(other[name])  # type: ignore[arg-type]

    def _fuse(self, calls: list[tuple[nn.Module, Tensor, Tensor]]) -> dict[nn.Module, nn.Module]:
        """Fold what can be, and return the normalisation that each convolution has taken in."""
        normalised: dict[nn.Module, set[nn.Module | None]] = {}
        feeding: dict[nn.Module, set[nn.Module | None]] = {}
        made = {id(output): module for module, _, output in calls if isinstance(module, nn.Conv2d)}
        for module, given, _ in calls:
            if isinstance(module, BatchNorm):
                feeding.setdefault(module, set()).add(made.get(id(given)))
                normalised.setdefault(made.get(id(given)), set()).add(module)  # type: ignore[arg-type]
            else:
                normalised.setdefault(module, set())
        parents = {child: (parent, name) for parent in self.model.modules() for name, child in parent.named_children()}
        fused: dict[nn.Module, nn.Module] = {}
        for convolution, norms in normalised.items():
            if len(norms) != 1 or convolution is None:
                continue
            (norm,) = norms
            if norm is None or feeding[norm] != {convolution} or not _foldable(convolution, norm):
                continue
            if _folds(convolution, norm, self._twins[convolution], self._twins[norm]):
                fused[convolution] = norm
                parent, name = parents[norm]
                setattr(parent, name, nn.Identity())
        return fused

    def _reduce_precision(self, calls: list[tuple[nn.Module, Tensor, Tensor]], dtype: torch.dtype) -> None:
        convolutions = [module for module, _, _ in calls if isinstance(module, nn.Conv2d)]
        stem = convolutions[0] if convolutions else None
        for module in self.model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module is not stem:
                module.to(dtype)
        if stem is not None:
            plain = type(stem).forward

            def in_single_precision(pixels: Tensor) -> Tensor:
                with torch.autocast(pixels.device.type, enabled=False):
                    return plain(stem, pixels.float())

            stem.__dict__['forward'] = in_single_precision


def _copied(model: nn.Module) -> nn.Module:
    """Return a frozen copy; hooks are shared, for they may belong to objects that cannot be copied."""
    shared = {
        id(hooks): hooks
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    }
    try:
        copied = copy.deepcopy(model, shared)
    except (RuntimeError, TypeError, copy.Error) as error:
        raise RuntimeError(f'{type(model).__name__} cannot be copied: {error}') from error
    for module in copied.modules():
        module.training = False
    return copied.requires_grad_(False)


def _watched(model: nn.Module, probe: Callable[[nn.Module], Tensor]) -> list[tuple[nn.Module, Tensor, Tensor]]:
    """Return which convolutions and normalisations a forward calls, in order, with input and output."""
    calls: list[tuple[nn.Module, Tensor, Tensor]] = []
    watched = [module for module in model.modules() if isinstance(module, (nn.Conv2d, BatchNorm))]
    shared = [(module, module._forward_hooks) for module in watched]
    for module in watched:  # a dictionary of its own for the time of the probe
        module._forward_hooks = module._forward_hooks.copy()
        module.register_forward_hook(lambda module, args, output: calls.append((module, args[0], output)))
    try:
        probe(model)
    finally:
        for module, hooks in shared:
            module._forward_hooks = hooks
    return calls


def _foldable(convolution: nn.Module, norm: nn.Module) -> bool:
    return (
        isinstance(norm, BatchNorm)
        and norm.running_mean is not None
        and 'weight' in convolution._parameters  # not made anew at each call, as weight normalisation does
    )


def _fold(convolution: Any, source: Any, norm: Any) -> None:
    """Give a convolution the weights of ``source`` followed by the normalisation."""
    factor = (norm.running_var + norm.eps).rsqrt()
    factor = factor if norm.weight is None else factor * norm.weight
    shift = 0 if source.bias is None else source.bias
    bias = (shift - norm.running_mean) * factor
    convolution.weight.copy_(source.weight * factor.reshape(-1, 1, 1, 1))
    convolution.bias.copy_(bias if norm.bias is None else bias + norm.bias)


def _folds(convolution: Any, norm: nn.Module, source: Any, statistics: Any) -> bool:
    """Fold, and tell whether the convolution now gives what both gave; otherwise it is as before."""
    kernel, dilation, channels = convolution.kernel_size, convolution.dilation, convolution.in_channels
    shape = [dilate * (size - 1) + 2 for size, dilate in zip(kernel, dilation, strict=True)]
    numbers = torch.Generator().manual_seed(0)
    given = torch.randn(2, channels, *shape, generator=numbers).to(convolution.weight)
    expected = norm(convolution(given))
    before = convolution.bias
    if before is None:
        convolution.bias = nn.Parameter(torch.zeros_like(statistics.running_mean), requires_grad=False)
    _fold(convolution, source, statistics)
    if _close(convolution(given), expected):
        return True
    convolution.weight.copy_(source.weight)
    if before is None:
        convolution.bias = None
    else:
        convolution.bias.copy_(source.bias)
    return False


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    scale = float(expected.abs().amax()) if expected.numel() else 0.0
    return bool((found - expected).abs().amax() <= CLOSE * max(scale, 1e-6)) if expected.numel() else True
