"""Stop a run whose numbers have become NaN or infinite, with its last good checkpoint kept."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from samat_mm.errors import NonFiniteError


@HOOKS.register_module()
class NonFiniteGuardHook(Hook):
    """Raises as soon as the loss or a weight is not finite.

    It runs ahead of the checkpoint hook, so that neither the ``last_checkpoint`` nor the best one is replaced, and no
    older one removed.
    """

    priority = 'ABOVE_NORMAL'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check the loss, and the weights and statistics that it left.

        Raises:
            FloatingPointError: if a number is NaN or infinite.
        """
        loss = (outputs or {}).get('loss')
        if isinstance(loss, torch.Tensor) and not bool(torch.isfinite(loss.detach()).all()):
            self._stop(runner, f'the loss is {float(loss.detach())}')
        named = [*runner.model.named_parameters(), *runner.model.named_buffers()]
        floating = [(name, value.detach()) for name, value in named if value.is_floating_point() and value.numel()]
        norms = torch._foreach_norm([value for _, value in floating])  # quick, and never finite where a value is not
        if not bool(torch.isfinite(torch.stack([norm.float() for norm in norms])).all()):
            for name, value in floating:
                if not bool(torch.isfinite(value).all()):
                    self._stop(runner, f'{name} is not finite')

    def _stop(self, runner: Runner, reason: str) -> None:
        raise NonFiniteError(
            f'{reason} at iteration {runner.iter + 1}; training stops, and the last good checkpoint in '
            f'{runner.work_dir} is kept. Lower the learning rate or the radius, or clip gradients.'
        )
