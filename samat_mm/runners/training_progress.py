"""The progress of a training on the terminal."""

import time
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from samat_mm.engine.hooks.training_summary_hook import summary_of
from samat_mm.runners.console import announce

LINES = 10  # of a training whose output is not a terminal
PAUSE = 0.2  # seconds between two changes of the bar


class TrainingProgress(Hook):
    """Prints what is trained, a bar with the loss and the remaining time, the metrics, and the last checkpoint.

    Where the output is no terminal, lines at every tenth of the training replace the bar.

    Args:
        console: where to print.
    """

    priority = 'VERY_LOW'

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.start, self.first, self.shown = time.monotonic(), 0, 0.0

    def before_train(self, runner: Runner) -> None:
        """Print what is trained, and how."""
        data = {'to train on': runner.train_dataloader}
        if runner.val_loop is not None:
            data['to validate'] = runner.val_dataloader
        announce(self.console, runner, data, method=summary_of(runner))
        if runner.iter:
            done = f'{runner.iter:,} of {runner.max_iters:,} iterations'
            self.console.print(f'Resumes from {runner._load_from}, after {done}.', markup=False)
        self.start, self.first = time.monotonic(), runner.iter
        self._show(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Advance."""
        done, total = runner.iter + 1, runner.max_iters
        if self.bar is not None and time.monotonic() - self.shown > PAUSE:
            self.shown = time.monotonic()
            self.bar.update(self.bar.task_ids[0], completed=done, loss=_loss(outputs))
        elif not self.console.is_terminal and done * LINES // total > (done - 1) * LINES // total:
            left = (time.monotonic() - self.start) / (done - self.first) * (total - done)
            self.console.print(f'{done:,} of {total:,} iterations, {_loss(outputs)}, {_time(left)} left')

    def before_val(self, runner: Runner) -> None:
        """Leave the terminal to the validation."""
        self.hide()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Print the metrics."""
        numbers = {name: np.asarray(value).item() for name, value in (metrics or {}).items() if _is_number(value)}
        said = ', '.join(f'{name} {value:.4g}' for name, value in numbers.items())
        self.console.print(f'After {runner.iter:,} iterations: {said or "no metrics"}.')

    def after_val(self, runner: Runner) -> None:
        """Show the bar again."""
        self._show(runner)

    def after_train(self, runner: Runner) -> None:
        """Print where the checkpoint is."""
        self.hide()
        last = runner.message_hub.runtime_info.get('last_ckpt')
        self.console.print('No checkpoint was written.' if last is None else f'Checkpoint: {last}')

    def _show(self, runner: Runner) -> None:
        if self.console.quiet or not self.console.is_terminal or runner.iter >= runner.max_iters:
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[loss]}'))
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, *times, console=self.console, transient=True)
        self.bar.add_task('', total=runner.max_iters, completed=runner.iter, loss='')
        self.bar.start()

    def hide(self) -> None:
        """Leave the terminal."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _loss(outputs: dict[str, Any] | None) -> str:
    loss = (outputs or {}).get('loss')
    return f'loss {loss.item():.4f}' if isinstance(loss, torch.Tensor) and loss.numel() == 1 else ''


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    return isinstance(value, (int, float)) or (isinstance(value, np.ndarray) and value.size == 1)
