"""What a loss scaler changes of a sharpness-aware step."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from samat_mm.perturbations.vectors import global_norm


class FullPrecision:
    """Nothing."""

    def begin(self) -> None:
        """Begin a step."""

    def scaled(self, loss: Tensor) -> Tensor:
        """Return what a pass of the ascent differentiates."""
        return loss

    def scale(self) -> float:
        """Return what that loss was multiplied by."""
        return 1.0

    def is_usable(self, gradients: list[Tensor]) -> bool:
        """Tell whether a gradient gives a direction."""
        return True

    def is_descent_usable(self, gradients: list[Tensor]) -> bool:
        """Tell whether the gradients about to be descended along can be mixed; without a loss scale afterwards."""
        return True

    def descent_loss(self, loss: Tensor) -> Tensor:
        """Return what the pass of the descent differentiates."""
        return loss


class LossScaled(FullPrecision):
    """An overflow in any pass must skip the whole step.

    In the pass of the descent the scaler sees it; one in the ascent is handed on by making the loss of the descent NaN,
    whose gradient reaches every process, so that all of them skip alike.

    Args:
        wrapper: has the scaler, as MMEngine's ``AmpOptimWrapper`` does.
    """

    def __init__(self, wrapper: Any) -> None:
        self._wrapper, self._overflow = wrapper, False

    def begin(self) -> None:
        """Forget an overflow of the step before."""
        self._overflow = False

    def scaled(self, loss: Tensor) -> Tensor:
        """Multiply."""
        return self._wrapper.loss_scaler.scale(loss)

    def scale(self) -> float:
        """Return the factor."""
        return self._wrapper.loss_scaler.get_scale()

    def is_usable(self, gradients: list[Tensor]) -> bool:
        """Tell whether all processes have a finite gradient."""
        usable = torch.isfinite(global_norm(gradients)).float()
        all_reduce(usable, op='min')  # or a memory would grow on some processes and not on others
        self._overflow = not bool(usable)
        return not self._overflow

    def is_descent_usable(self, gradients: list[Tensor]) -> bool:
        """Unscale, and tell whether all is finite."""
        self._wrapper.unscale()
        return bool(torch.isfinite(global_norm(gradients)))

    def descent_loss(self, loss: Tensor) -> Tensor:
        """Return the loss, or NaN after an overflow."""
        return loss * float('nan') if self._overflow else loss
