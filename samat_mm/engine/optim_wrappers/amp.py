"""MMEngine's mixed precision without its check for a GPU."""

from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS

from samat_mm.errors import InputError


@OPTIM_WRAPPERS.register_module()
class AnyDeviceAmpOptimWrapper(AmpOptimWrapper):
    """MMEngine's ``AmpOptimWrapper``, also on a CPU.

    Args:
        loss_scale: 'dynamic', a fixed number, or the arguments of ``torch.amp.GradScaler``.
        dtype: 'bfloat16', 'float16' (accelerators only), or None for the device's own choice.
        **kwargs: for ``OptimWrapper``.

    Raises:
        ValueError: if the device cannot autocast to ``dtype`` or a value is of the wrong kind.
    """

    def __init__(
        self, loss_scale: str | float | dict = 'dynamic', dtype: str | torch.dtype | None = None, **kwargs: Any
    ) -> None:
        device = torch.device(get_device()).type
        self.cast_dtype = _cast_dtype(dtype, device)
        self._scale_update_param = loss_scale if isinstance(loss_scale, float) else None
        if loss_scale == 'dynamic':
            options: dict[str, Any] = {}
        elif isinstance(loss_scale, float):
            options = {'init_scale': loss_scale}
        elif isinstance(loss_scale, dict):
            options = dict(loss_scale)
        else:
            raise InputError(f"loss_scale must be 'dynamic', a float or a dict; got {loss_scale!r}.")
        self.loss_scaler = torch.amp.GradScaler(device, **options)
        self._is_unscaled = False
        OptimWrapper.__init__(self, **kwargs)  # AmpOptimWrapper.__init__ insists on an accelerator

    def unscale(self) -> None:
        """Take the loss scale out of the gradients, at most once per step."""
        if not self._is_unscaled:
            self.loss_scaler.unscale_(self.optimizer)
            self._is_unscaled = True

    def step(self, **kwargs: Any) -> None:
        """Step, unless a gradient overflowed; clip the gradients before it without their loss scale."""
        if self.clip_grad_kwargs:
            self.unscale()
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self._scale_update_param)
        self._is_unscaled = False


def _cast_dtype(dtype: str | torch.dtype | None, device: str) -> torch.dtype | None:
    chosen = getattr(torch, dtype, dtype) if isinstance(dtype, str) else dtype
    known = [None, torch.bfloat16] if device == 'cpu' else [None, torch.bfloat16, torch.float16]
    if chosen not in known:
        raise InputError(
            f'dtype must be one of {", ".join(str(entry).removeprefix("torch.") for entry in known)} on {device}; '
            f'got {dtype!r}.'
        )
    return chosen
