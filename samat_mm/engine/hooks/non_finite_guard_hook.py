"""Stop a run whose numbers have become NaN or infinite, with its last good checkpoint kept."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class NonFiniteGuardHook(Hook):
    """Raises as soon as the loss is not finite, and before weights that are not finite are saved.

    It runs ahead of the checkpoint hook, so that neither the ``last_checkpoint`` nor the best one is replaced.
    """

    priority = 'ABOVE_NORMAL'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check the loss.

        Raises:
            FloatingPointError: if it is NaN or infinite.
        """
        loss = (outputs or {}).get('loss')
        if isinstance(loss, torch.Tensor) and not bool(torch.isfinite(loss.detach()).all()):
            raise FloatingPointError(
                f'the loss is {float(loss)} at iteration {runner.iter + 1}; training stops, and the last good '
                f'checkpoint in {runner.work_dir} is kept. Lower the learning rate or the radius, or clip gradients.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights.

        Raises:
            FloatingPointError: if one is NaN or infinite.
        """
        for name, value in checkpoint.get('state_dict', {}).items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise FloatingPointError(
                    f'{name} is not finite at iteration {runner.iter}; this checkpoint is not written, and the last '
                    f'good one in {runner.work_dir} is kept.'
                )
