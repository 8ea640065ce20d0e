"""A training of the table: MMEngine's ``train_step`` with a registered optimizer wrapper, epoch by epoch.

This replaces the Runner's loop. On a fast GPU, a step of this network takes a few milliseconds, less than a data loader
takes to decode, augment and move 128 images. So the images are on the device, and the loss is read once per epoch.
"""

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from cifar10.images import Split, training_batch
from cifar10.settings import Settings
from samat_mm.compat import load_checkpoint_file
from samat_mm.errors import NonFiniteError

LEARNING_RATE, MILESTONES, FACTOR = 0.1, (0.75, 0.9), 0.1  # as in the paper's 100 epochs
OPTIMIZER = {'type': 'SGD', 'lr': LEARNING_RATE, 'momentum': 0.9, 'weight_decay': 5e-4}
WARM_UP = 2  # untimed steps


def learning_rate(step: int, steps: int) -> float:
    """Return the rate of a step, counted from 0: divided by 10 at 75 and at 90 % of all steps."""
    return LEARNING_RATE * FACTOR ** sum(step >= share * steps for share in MILESTONES)


@dataclass
class Progress:
    """The progress of a training: the mean loss and the seconds of each epoch."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Training:
    """A model, its optimizer wrapper, and their progress.

    Args:
        settings: settings of the run.
        wrapper: config of the optimizer wrapper, without its optimizer and precision.
        split: the training images, on the device.
    """

    def __init__(self, settings: Settings, wrapper: dict[str, Any], split: Split) -> None:
        self.settings, self.split, self.progress = settings, split, Progress()
        torch.backends.cudnn.benchmark = settings.device == 'cuda'  # batches have one size, except an epoch's last
        torch.manual_seed(settings.seed)
        config = Config.fromfile(settings.model)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            self.model = MODELS.build({**config.model, 'data_preprocessor': config.data_preprocessor})
            self.model.init_weights()
            self.model.to(settings.device).to(memory_format=torch.channels_last).train()
            # bfloat16 has the exponents of float32, so it needs no loss scale, whose check would wait for the device.
            precision = {'dtype': 'bfloat16', 'loss_scale': {'enabled': False}}
            self.wrapper = build_optim_wrapper(self.model, ConfigDict({**wrapper, **precision, 'optimizer': OPTIMIZER}))
        self.generator = torch.Generator(settings.device)

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self.progress.losses)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch; the last one may have fewer images."""
        return math.ceil(len(self.split) / self.settings.batch)

    def run_epoch(self, epochs: int) -> None:
        """Train the next of ``epochs`` epochs.

        All randomness of an epoch follows from the seed and the epoch's number, so a training can continue after an
        epoch without the state of generators.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        start, first = time.perf_counter(), self.epochs * self.steps_per_epoch
        total = torch.zeros((), device=self.settings.device)
        for index, (batch, size) in enumerate(self._batches(self.epochs)):
            self._set_rate(learning_rate(first + index, epochs * self.steps_per_epoch))
            total += self.model.train_step(batch, self.wrapper)['loss'].detach() * size
        loss = float(total) / len(self.split)  # waits for the device
        if not math.isfinite(loss):
            raise NonFiniteError(f'the loss of epoch {self.epochs + 1} is {loss}, so the weights are meaningless.')
        self.progress.losses.append(loss)
        self.progress.seconds.append(time.perf_counter() - start)

    def seconds_per_step(self, all_are_ready: Callable[[], None], seconds: float) -> float:
        """Take steps for ``seconds`` and return the time per step; the weights are useless afterwards.

        Args:
            all_are_ready: returns when the other trainings on this device are also ready to be timed.
            seconds: duration; at least one step is taken.
        """
        batches = itertools.chain.from_iterable(self._batches(epoch) for epoch in itertools.count())
        self._take(batches, WARM_UP)
        all_are_ready()
        start, steps, passed = time.perf_counter(), 0, 0.0
        while passed < seconds:
            count = max(1, int(steps * (seconds - passed) / passed)) if steps else 1
            self._take(batches, count)
            steps, passed = steps + count, time.perf_counter() - start
        return passed / steps

    def _take(self, batches: Iterator[tuple[dict[str, Any], int]], count: int) -> None:
        """Train on ``count`` batches, and wait for the device."""
        for batch, _ in itertools.islice(batches, count):
            loss = self.model.train_step(batch, self.wrapper)['loss']
        float(loss)

    def _batches(self, epoch: int) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield the batches of an epoch in random order, each with its number of images."""
        torch.manual_seed(self.settings.seed + (epoch << 32))
        self.generator.manual_seed(self.settings.seed + (epoch << 32))
        order = torch.randperm(len(self.split), generator=self.generator, device=self.settings.device)
        for numbers in order.split(self.settings.batch):
            yield training_batch(self.split, numbers, self.generator), len(numbers)

    def _set_rate(self, rate: float) -> None:
        for group in self.wrapper.optimizer.param_groups:
            group['lr'] = rate

    def save(self, path: Path) -> None:
        """Write the state of the training; the file is complete at any moment."""
        state = {
            'state_dict': self.model.state_dict(),
            'optimizer': self.wrapper.state_dict(),
            'meta': {'epoch': self.epochs, **vars(self.progress)},
        }
        unfinished = path.with_name(f'.{path.name}.unfinished')
        torch.save(state, unfinished)
        os.replace(unfinished, path)

    def load(self, path: Path) -> None:
        """Continue from the saved state, if there is one.

        Raises:
            ValueError: if the file is damaged.
        """
        if not path.exists():
            return
        state: dict[str, Any] = load_checkpoint_file(path, map_location=self.settings.device)
        self.model.load_state_dict(state['state_dict'])
        self.wrapper.load_state_dict(state['optimizer'])
        self.progress = Progress(state['meta']['losses'], state['meta']['seconds'])
