"""Robust metrics next to the clean ones, in the same pass over the validation or test set."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from samat_mm.crafting.crafting import Crafting
from samat_mm.engine.pictures import add_picture
from samat_mm.errors import InputError
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.evaluation.metric_copies import evaluator_for
from samat_mm.evaluation.progress import progress_by_attack
from samat_mm.files.outputs import file_name
from samat_mm.model_state import refuse_augmented, unwrapped
from samat_mm.perturbations.inputs import Attack
from samat_mm.pixels.pixel_range import parse_range, stated_range
from samat_mm.presets import image_attacks
from samat_mm.tasks import Task, task_of
from samat_mm.visualization.panels import in_two_rows, panel_rows, save_panels
from samat_mm.visualization.strips import compose


@HOOKS.register_module()
class AttackEvaluationHook(Hook):
    """Evaluates the model under attacks whenever it is validated or tested.

    Each attack is scored by the model's own ``predict`` and by the metrics configured for the loop, whose names get
    the attack's as a prefix: ``pgd-linf/mIoU``. The random start of an image depends on its number in the data set,
    so neither the batch size nor the number of processes changes an adversarial image.

    Args:
        attacks: presets ('pgd-linf') or configs, which may carry a ``name``; or attacks by name.
        interval: number of validations from one attack to the next; between them robust metrics are NaN (early stopping
            needs ``check_finite=False`` then). Tests are always attacked.
        show_dir: folder for one picture per image and attack.
        craft_dtype: precision of the attacks, 'float32', 'bfloat16' or 'mixed'; scores are always the model's own.
        pixel_range: values of the images that stand for the pixels 0 and 1; by default the config's, or 0 and 255.
        pictures: number of images, the first of the data set, whose pictures the visualizer's backends (TensorBoard,
            MLflow, ...) get at each validation, one per attack; of several processes, those that the first one sees.

    Raises:
        ValueError: if an attack is unknown or given twice, ``interval`` is below 1 or ``pictures`` below 0, or the
            precision is another one.
    """

    # Ahead of the hooks that log (RuntimeInfoHook, VERY_HIGH), save the best checkpoint or stop early by the metrics.
    priority = 'HIGHEST'

    def __init__(
        self,
        attacks: Sequence[str | dict] | Mapping[str, Attack],
        interval: int = 1,
        show_dir: str | None = None,
        craft_dtype: str | None = None,
        pixel_range: Sequence[float] | None = None,
        pictures: int = 0,
    ) -> None:
        if interval < 1:
            raise InputError(f'interval must be at least 1; got {interval}.')
        if pictures < 0:
            raise InputError(f'pictures must be a number of images, 0 or more; got {pictures}.')
        Crafting.check(craft_dtype)
        self.attacks = image_attacks(attacks)
        self.interval, self.craft_dtype, self.pixel_range = interval, craft_dtype, parse_range(pixel_range)
        self.show_dir, self.pictures = Path(show_dir) if show_dir else None, pictures
        self._evaluators: dict[str, Evaluator] = {}
        self._numbers: list[list[int]] = []
        self._results: dict[str, dict[str, Any]] = {}
        self._task: Task | None = None
        self._batch: Any = None
        self._crafting: Any = None
        self._shown = ExitStack()
        self._advance: Callable[[str, int], None]

    def before_val_epoch(self, runner: Runner) -> None:
        """Prepare the attacks, at every ``interval``-th validation."""
        if (validation_number(runner) - 1) % self.interval == 0:
            self._prepare(runner, runner.val_loop)

    def before_test_epoch(self, runner: Runner) -> None:
        """Prepare the attacks."""
        self._prepare(runner, runner.test_loop)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the batch as the data set gave it: the model writes its predictions into it."""
        self._batch = copy.deepcopy(data_batch) if self._evaluators else None

    before_test_iter = before_val_iter

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Attack the batch and score the predictions."""
        if not self._evaluators:
            return
        batch, numbers = self._attacked_batch(unwrapped(runner.model)), self._numbers[batch_idx]
        for name, evaluator in self._evaluators.items():
            pixels = self._crafting.attack(batch.space, batch.task.fitted(self.attacks[name]), numbers)
            attacked = batch.predict(pixels)
            evaluator.process(data_samples=attacked, data_batch=self._batch)
            self._show(runner, name, numbers, (batch.space, pixels, outputs, attacked, evaluator.dataset_meta or {}))
            self._advance(name, len(numbers))
        if batch_idx == len(self._numbers) - 1:  # before the clean metrics, whose files are then the last to be written
            self._evaluate(runner)

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Add the robust metrics to ``metrics``."""
        if not self._results:  # a process without images takes part in the collection of results
            self._evaluate(runner)
        for name, results in self._results.items():
            if metrics is not None:
                metrics.update({f'{name}/{key}': value for key, value in results.items()})
        if metrics and not self._evaluators:  # save_best and early stopping look for them at every validation
            metrics.update({f'{name}/{key}': float('nan') for name in self.attacks for key in list(metrics)})
        self._evaluators, self._results = {}, {}
        self._batch, self._crafting, self._task = None, None, None

    after_test_epoch = after_val_epoch

    def _show(self, runner: Runner, name: str, numbers: list[int], attacked: tuple[Any, ...]) -> None:
        """Draw the images under an attack, for files and for the visualizer, as far as they are asked for."""
        if self.show_dir is not None:
            save_panels(self.show_dir / file_name(name), numbers, *attacked)
        if min(numbers) < self.pictures:
            for number, row in zip(numbers, panel_rows(*attacked), strict=True):
                if number < self.pictures:
                    picture, _ = compose(in_two_rows(*row))
                    add_picture(runner, f'{name}/{number:06d}', np.asarray(picture))

    def _evaluate(self, runner: Runner) -> None:
        self._shown.close()
        for name, evaluator in self._evaluators.items():
            runner.logger.info(f'Under attack: {name}')
            self._results[name] = evaluator.evaluate(self._size)

    def _attacked_batch(self, model: nn.Module) -> AttackedBatch:
        """Return the batch; of the first one, check that the attacked logits are those the model decides by."""
        batch = AttackedBatch(model, self._batch, self._fp16, task=self._task, pixel_range=self._pixel_range)
        if self._task is None:
            metrics = next(iter(self._evaluators.values())).metrics
            batch.task = self._task = task_of(model, batch.data['data_samples'], metrics)
            if any(self._task.fitted(attack).objective.output == 'logits' for attack in self.attacks.values()):
                self._task.check(model, batch.data['inputs'], batch.data['data_samples'])
        return batch

    def _prepare(self, runner: Runner, loop: Any) -> None:
        refuse_augmented(unwrapped(runner.model))
        loader: DataLoader = loop.dataloader
        self._pixel_range = stated_range(runner.cfg, self.pixel_range)
        self._fp16, self._crafting = loop.fp16, Crafting(unwrapped(runner.model), self.craft_dtype)
        self._evaluators = {name: evaluator_for(name, loop.evaluator) for name in self.attacks}
        self._numbers, self._size = sample_numbers(loader), len(loader.dataset)  # type: ignore[arg-type]
        images = dict.fromkeys(self.attacks, sum(map(len, self._numbers)))
        self._shown.close()  # left over from a validation that failed
        self._advance = self._shown.enter_context(progress_by_attack(images, runner.logger))


def validation_number(runner: Runner) -> int:
    """Return which validation of the training this is, from 1, also after a resume; 1 outside training."""
    loop = runner._train_loop
    if not isinstance(loop, BaseLoop):
        return 1
    done = loop.epoch if isinstance(loop, EpochBasedTrainLoop) else loop.iter
    return max(1, done // loop.val_interval)


def sample_numbers(loader: DataLoader) -> list[list[int]]:
    """Return, batch by batch, the number in the data set of each image that this process will see.

    MMEngine's samplers give the same order whenever they are asked. Without a batch sampler the numbers follow from the
    position, dealt out to the processes in turn.
    """
    if loader.batch_sampler is not None:
        return [list(batch) for batch in islice(iter(loader.batch_sampler), len(loader))]
    size = loader.batch_size or 1
    return [
        [(batch * size + row) * get_world_size() + get_rank() for row in range(size)] for batch in range(len(loader))
    ]
