"""Make a resumed run continue as if it had never stopped."""

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class ReproducibleResumeHook(Hook):
    """Seeds every generator at every iteration from (seed, iteration, rank).

    MMEngine's checkpoints hold no random state, so augmentation and dropout of a resumed run differ from those of an
    uninterrupted one. Here the number of an iteration determines its random numbers, and the number of a batch those of
    its augmentation (one batch serves several iterations in free adversarial training), so a run that was killed and
    resumed ends with the same weights, bit for bit on a CPU. Data must be loaded in the training process
    (``num_workers=0``): the state of loader workers is out of reach.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Seed the loading of the first batch."""
        # The loader draws a seed for its workers when it starts; not from the numbers that augmentation will use.
        runner.train_dataloader.generator = torch.Generator().manual_seed(runner.seed or 0)
        if runner.iter > 0 and runner.train_dataloader.num_workers > 0:
            runner.logger.warning(
                'resumed with num_workers > 0: the augmentation of the loader workers starts anew, so the weights will '
                'differ from those of an uninterrupted run; only num_workers=0 resumes to the same bits.'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the loading of the first batch of an epoch."""
        self._seed_loading(runner, runner.iter)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the forward."""
        self._seed(runner, runner.iter, 'step')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Seed the loading of the next batch."""
        self._seed_loading(runner, runner.iter + 1)

    def after_val(self, runner: Runner) -> None:
        """Seed the loading of the next batch again: starting a validation loader draws random numbers."""
        self._seed_loading(runner, runner.iter)

    def _seed_loading(self, runner: Runner, iteration: int) -> None:
        self._seed(runner, iteration // getattr(runner.train_loop, 'replays', 1), 'load')

    def _seed(self, runner: Runner, number: int, phase: str) -> None:
        source = random.Random(f'{runner.seed}/{number}/{get_rank()}/{phase}')
        random.seed(source.getrandbits(64))
        np.random.seed(source.getrandbits(32))
        torch.manual_seed(source.getrandbits(63))
