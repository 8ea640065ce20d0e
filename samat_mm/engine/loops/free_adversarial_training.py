"""Free adversarial training: several optimizer steps on each batch, whose gradients move the images as well.

Every step is an iteration of the runner, and an epoch has one step per batch of the loader: ``max_iters``,
``max_epochs`` and the schedules of plain training stay as they are, and so does its cost. A pass over the data takes
``replays`` epochs; an epoch may end between two replays of a batch.

Source: Shafahi et al., Adversarial Training for Free!, NeurIPS 2019, algorithm 1; the defaults are theirs for CIFAR-10.
"""

from collections.abc import Mapping
from typing import Any

from mmengine.registry import HOOKS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from samat_mm.engine.hooks.free_perturbation_hook import FreePerturbationHook
from samat_mm.engine.loops.repeated_batches import DataPasses, RepeatedBatches
from samat_mm.errors import InputError

PLACE = 'free_adversarial_training'  # in the message hub, and so in checkpoints: where the current epoch began


class _FreeTraining:
    """The part of both loops: it registers the perturbation and keeps the number of replays."""

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        *,
        replays: int = 8,
        perturbation: Mapping[str, Any] | None = None,
        **schedule: Any,
    ) -> None:
        hook = _perturbation_hook(replays, perturbation)
        super().__init__(runner, dataloader, **schedule)  # type: ignore[call-arg]
        self.replays = replays
        runner.register_hook(hook)


@LOOPS.register_module()
class FreeIterBasedTrainLoop(_FreeTraining, IterBasedTrainLoop):
    """Free adversarial training by iterations.

    Args:
        runner: the runner that trains.
        dataloader: the training set.
        replays: number of optimizer steps on each batch, m of the paper.
        perturbation: arguments of :class:`FreePerturbationHook`, such as ``dict(norm='linf', eps='8/255')``.
        **schedule: ``max_iters`` and the other arguments of :class:`mmengine.runner.IterBasedTrainLoop`.

    Raises:
        ValueError: if a value is out of its range.
    """

    dataloader_iterator: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dataloader_iterator = RepeatedBatches(self.dataloader_iterator, self.replays)


@LOOPS.register_module()
class FreeEpochBasedTrainLoop(_FreeTraining, EpochBasedTrainLoop):
    """Free adversarial training by epochs; resumes in the middle of an epoch, too, unless epochs have another length.

    Args:
        runner: the runner that trains.
        dataloader: the training set.
        replays: number of optimizer steps on each batch, m of the paper.
        perturbation: arguments of :class:`FreePerturbationHook`, such as ``dict(norm='linf', eps='8/255')``.
        **schedule: ``max_epochs`` and the other arguments of :class:`mmengine.runner.EpochBasedTrainLoop`.

    Raises:
        ValueError: if a value is out of its range.
    """

    _batches: RepeatedBatches | None = None

    def run_epoch(self) -> None:
        """Take as many steps as the loader has batches."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        hub, done = self.runner.message_hub, 0
        place = {'epoch': self._epoch, 'steps': len(self.dataloader)}
        if self._batches is None:
            self._batches = RepeatedBatches(DataPasses(self.dataloader), self.replays)
            self._batches.skip_iter(self._iter)
            before = hub.get_info(PLACE, {})  # of the checkpoint
            if before == {**place, 'begun': before.get('begun')}:  # the same epoch, on as many processes
                done = self._iter - before['begun']
        hub.update_info(PLACE, {**place, 'begun': self._iter - done})
        for index in range(done, len(self.dataloader)):
            self.run_iter(index, next(self._batches))
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


def _perturbation_hook(replays: int, perturbation: Mapping[str, Any] | None) -> FreePerturbationHook:
    if not isinstance(perturbation, Mapping | None):
        raise InputError(
            f"perturbation must be a dict such as dict(norm='linf', eps='8/255'); got {perturbation!r}. Give it in "
            'train_cfg, or leave it out for the published values.'
        )
    return HOOKS.build(dict(type=FreePerturbationHook, replays=replays, **(perturbation or {})))
