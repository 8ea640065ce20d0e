"""The loss scale of a sharpness-aware step, which may have none."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from samat_mm.perturbations.vectors import global_norm


class LossScale:
    """Scales the losses of all passes, and lets an overflow in any of them skip the whole step.

    The scaler sees an overflow in the pass of the descent. One in the ascent is handed on by making the loss of the
    descent NaN, whose gradient reaches every process, and all of them skip alike.

    Args:
        wrapper: optimizer wrapper; has a ``loss_scaler`` in mixed precision, as MMEngine's ``AmpOptimWrapper`` does.
    """

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._scaler = getattr(wrapper, 'loss_scaler', None) or torch.amp.GradScaler('cpu', enabled=False)
        self._overflow = False

    def begin(self) -> None:
        """Begin a step, and forget an overflow of the last one."""
        self._overflow = False

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss that a pass of the ascent differentiates."""
        return self._scaler.scale(loss)

    def factor(self) -> float:
        """Return the factor of that loss, 1 without a scaler."""
        return self._scaler.get_scale()

    def is_usable(self, gradients: list[Tensor]) -> bool:
        """Tell whether all processes have a finite gradient; without a scaler, any gradient is usable."""
        if self._scaler.is_enabled():
            usable = torch.isfinite(global_norm(gradients)).float()
            all_reduce(usable, op='min')  # or a memory would grow on some processes and not on others
            self._overflow = not bool(usable)
        return not self._overflow

    def is_descent_usable(self, gradients: list[Tensor]) -> bool:
        """Take the loss scale out of the gradients of the descent, and tell whether they can be mixed."""
        if not self._scaler.is_enabled():
            return True
        self._wrapper.unscale()
        return bool(torch.isfinite(global_norm(gradients)))

    def descent_loss(self, loss: Tensor) -> Tensor:
        """Return the loss that the pass of the descent differentiates: NaN after an overflow."""
        return loss * float('nan') if self._overflow else loss
