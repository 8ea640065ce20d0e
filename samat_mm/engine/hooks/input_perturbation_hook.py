"""The base of the hooks that perturb training inputs: the batch of the iteration and the current radius."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.utils.hooks import RemovableHandle

from samat_mm.engine.hooks.radius_schedule import RadiusSchedule
from samat_mm.engine.hooks.training_summary_hook import has_summary, log_summary
from samat_mm.engine.training_summary import Say, in_embedding_units, in_pixel_units, with_remarks
from samat_mm.errors import InputError, UnsupportedError
from samat_mm.pixels.embedding_space import EmbeddingSpace, embeds_tokens
from samat_mm.pixels.further_arguments import further_arguments, with_arguments
from samat_mm.pixels.input_space import InputSpace
from samat_mm.pixels.pixel_range import parse_range, stated_range
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.tasks import Task, task_of


class InputPerturbationHook(Hook, ABC):
    """Hooks into the loss forward of every training iteration.

    Args:
        eps_scheduler: config of MMEngine's parameter schedulers, or of several, with ``param_name='eps'``: the step
            size follows the radius, which is logged as ``eps``.
        pixel_range: values of the images that stand for the pixels 0 and 1; by default the config's, or 0 and 255.

    Raises:
        ValueError: if ``eps_scheduler`` is not such a config.
    """

    # Before any hook of the user's on the model's forward.
    priority = 'HIGH'

    def __init__(
        self, eps_scheduler: dict | Sequence[dict] | None = None, pixel_range: Sequence[float] | None = None
    ) -> None:
        self.schedule = RadiusSchedule(eps_scheduler)
        self.pixel_range = parse_range(pixel_range)
        self._task: Task | None = None
        self._handles: list[RemovableHandle] = []
        self._raw_inputs: Any = None
        self._first_index = 0

    @abstractmethod
    def full_radius(self) -> float:
        """Return the radius that the schedule scales, in [0, 1] pixel units, or in those of embeddings."""

    @property
    @abstractmethod
    def aims_at_logits(self) -> bool:
        """Whether the perturbation follows the model's logits rather than its own loss."""

    @abstractmethod
    def register_forward_hooks(self, model: nn.Module) -> list[RemovableHandle]:
        """Register forward hooks on the model that is trained, or its distributed wrapper, and return their handles."""

    def summary(self, say: Say) -> str:
        """Return how the hook maximises over inputs, by default its type; ``say`` writes radii."""
        return type(self).__name__

    def maximiser(self, model: nn.Module) -> str:
        """Return the summary and what schedules the radius, for the first line of the log of this model's training."""
        say = in_embedding_units if embeds_tokens(model) else in_pixel_units
        drivers = ' and '.join(str(config['type']) for config in self.schedule.configs)
        return with_remarks(self.summary(say), [f'eps by {drivers}' if drivers else ''])

    def before_train(self, runner: Runner) -> None:
        """Register the forward hooks.

        Raises:
            ValueError: if another hook perturbs the images, too.
        """
        found = [hook for hook in runner.hooks if isinstance(hook, InputPerturbationHook)]
        if len(found) > 1:
            raise InputError(
                f'{" and ".join(type(hook).__name__ for hook in found)} would each perturb the training images and '
                'undo the work of the other; keep one. An inherited one is in default_hooks: replace it there by '
                'adversarial_training=dict(_delete_=True, type=...) instead of adding another in custom_hooks. The '
                'loops of free adversarial training bring theirs: leave the other out by adversarial_training=None.'
            )
        if not has_summary(runner):
            log_summary(runner)
        self.pixel_range = stated_range(runner.cfg, self.pixel_range)
        if self.schedule.configs:
            self.schedule.start(runner, self.full_radius())
        self._handles = self.register_forward_hooks(runner.model)

    def after_train(self, runner: Runner) -> None:
        """Remove the forward hooks."""
        for handle in self._handles:
            handle.remove()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the batch for its first loss forward.

        Raises:
            TypeError: if the batch has no ``inputs``.
        """
        if not isinstance(data_batch, dict) or 'inputs' not in data_batch:
            raise UnsupportedError(
                "adversarial training expects batches {'inputs': images, 'data_samples': ...}; "
                f'got {type(data_batch).__name__}.'
            )
        self._raw_inputs = data_batch['inputs']
        # Unique for each image that this run ever draws, on every process.
        self._first_index = (runner.iter << 32) + (get_rank() << 20)
        if self.schedule.configs:
            runner.message_hub.update_scalar('train/eps', self.schedule.factor * self.full_radius())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Drop the batch, and step the schedule."""
        self._raw_inputs = None
        self.schedule.step(by_epoch=False)

    def after_train_epoch(self, runner: Runner) -> None:
        """Step the schedule by an epoch."""
        self.schedule.step(by_epoch=True)

    def input_space(self, model: nn.Module, kwargs: dict[str, Any]) -> InputSpace | None:
        """Return the batch of the iteration at its first loss forward, and None at every other forward.

        Args:
            model: the bare model.
            kwargs: the arguments of its forward.
        """
        if self._raw_inputs is None or kwargs.get('mode') != 'loss':
            return None
        raw_inputs, self._raw_inputs = self._raw_inputs, None
        inputs, samples = kwargs['inputs'].detach(), kwargs.get('data_samples') or []
        if self._task is None:
            self._task = task_of(model, samples)
            if self.aims_at_logits:
                whole = with_arguments(model, kwargs)
                self._task.check(whole, inputs, self._task.in_training_geometry(samples, inputs))
        if embeds_tokens(model) and not inputs.is_floating_point():
            return EmbeddingSpace(model, inputs, samples, further_arguments(kwargs), task=self._task)
        return PixelSpace(model, raw_inputs, inputs, samples, task=self._task, pixel_range=self.pixel_range)
