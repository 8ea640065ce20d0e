"""The perturbation of free adversarial training: the gradient that trains the weights moves the images as well."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from samat_mm.engine.hooks.input_perturbation_hook import InputPerturbationHook
from samat_mm.engine.optim_wrappers.sharpness_aware import SharpnessAwareMixin
from samat_mm.engine.training_summary import Say, input_summary
from samat_mm.errors import InputError, StepError, UnsupportedError
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.checks import one_of, whole_number
from samat_mm.perturbations.inputs.finite import check_gradient
from samat_mm.perturbations.norms import norm_named
from samat_mm.perturbations.norms.region import support_mask
from samat_mm.perturbations.units import parse_radius
from samat_mm.pixels.pixel_space import PixelSpace

CHECKPOINT_KEY = 'free_adversarial_training'


class FreePerturbationHook(InputPerturbationHook):
    """Perturbs every batch, and moves the perturbation by the gradient of each training step.

    ``d <- P(d + step_size * steepest(grad))`` with the gradient of the training loss itself, so no pass is added to
    those of training. The perturbation carries over from batch to batch, row by row, and is saved in checkpoints; with
    several processes, a resumed run continues from the perturbation of the first. The loops of
    :mod:`samat_mm.engine.loops.free_adversarial_training` build the hook and repeat the batches.

    Args:
        replays: how many steps the loop takes on each batch, for the log.
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; ``eps`` by default.
        eps_scheduler: config of MMEngine's parameter schedulers, or of several, with ``param_name='eps'``: the step
            size follows the radius, which is logged as ``eps``.
        pixel_range: values of the images that stand for the pixels 0 and 1; by default the config's, or 0 and 255.

    Raises:
        ValueError: if a value is out of its range.
    """

    # After NonFiniteGuardHook, which says more about a loss that is not finite, and before checkpoints are saved.
    priority = 'BELOW_NORMAL'

    def __init__(
        self,
        replays: int = 8,
        norm: str = 'linf',
        eps: float | str = '8/255',
        step_size: float | str | None = None,
        eps_scheduler: dict | Sequence[dict] | None = None,
        pixel_range: Sequence[float] | None = None,
    ) -> None:
        super().__init__(eps_scheduler, pixel_range)
        self.replays = whole_number(replays, 'replays')
        self.ball = norm_named(one_of(norm, ['linf', 'l2'], 'norm'))  # the steepest l1 step moves one coordinate
        self.eps = parse_radius(eps, 'eps')
        self.step_size = self.eps if step_size is None else parse_radius(step_size, 'step_size')
        if self.eps > 0 and self.step_size == 0:
            raise InputError('step_size must be greater than 0; got 0, with which no step moves the image.')
        self.ball.check_radius(self.eps)
        self._carried: Tensor | None = None
        self._delta: Tensor | None = None
        self._support: Tensor | None = None
        self._stepped: bool | Tensor = False

    @property
    def aims_at_logits(self) -> bool:
        """False: the perturbation follows the gradient of the training loss."""
        return False

    def full_radius(self) -> float:
        """Return the radius."""
        return self.eps

    def summary(self, say: Say) -> str:
        """Return the parameters."""
        values = dict(replays=self.replays, norm=self.ball.name, eps=self.eps, step_size=self.step_size)
        return input_summary('FreeAdversarialTraining', values, say)

    def before_train(self, runner: Runner) -> None:
        """Register the forward hooks, and one for the steps of the optimizer.

        Raises:
            ValueError: if the optimizer wrapper does not step once for each backward pass of the training loss.
        """
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, SharpnessAwareMixin) or getattr(wrapper, '_accumulative_counts', 1) > 1:
            raise InputError(
                'free adversarial training moves the images by the gradient of each optimizer step, which must be one '
                'backward pass; use an OptimWrapper or AmpOptimWrapper without accumulative_counts, or '
                'AdversarialTrainingHook.'
            )
        if runner.iter == 0:  # loaded weights start a new run
            self._carried = None
        super().before_train(runner)
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self._handles += [each.optimizer.register_step_pre_hook(self._see_step) for each in wrappers]

    def register_forward_hooks(self, model: nn.Module) -> list[RemovableHandle]:
        """Register the hook that perturbs the input."""
        return [model.register_forward_pre_hook(self._perturb, with_kwargs=True)]

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Move the perturbation.

        Raises:
            FloatingPointError: if the gradient of the images is not finite in a step that the optimizer took.
        """
        self._ascend()
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the perturbation, shape (N, C, H, W), in [0, 1] pixel units."""
        checkpoint[CHECKPOINT_KEY] = None if self._carried is None else self._carried.cpu()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Load the perturbation."""
        self._carried = checkpoint.get(CHECKPOINT_KEY)

    @torch.compiler.disable
    def _perturb(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        space = self.input_space(unwrapped(model), kwargs)
        if space is None:
            return None
        if not isinstance(space, PixelSpace):
            raise UnsupportedError(
                f'free adversarial training moves images, and {type(space.model).__name__} takes tokens; use '
                'AdversarialTrainingHook.'
            )
        self._support = support_mask(space.pixels, space.sizes)
        delta = self.ball.project(self._rows_for(space.pixels), self.schedule.factor * self.eps)
        self._stepped = False
        self._delta = (delta if self._support is None else delta * self._support).requires_grad_()
        with torch.enable_grad():
            return args, {**kwargs, 'inputs': space.to_inputs((space.pixels + self._delta).clamp(0, 1))}

    def _rows_for(self, pixels: Tensor) -> Tensor:
        """Return the rows of the perturbation for these images, zeros where images of this size are new."""
        carried = self._carried
        if carried is None or carried.shape[1:] != pixels.shape[1:] or len(carried) < len(pixels):
            carried = torch.zeros_like(pixels)
        self._carried = carried.to(pixels)
        return self._carried[: len(pixels)]

    def _see_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict[str, Any]) -> None:
        # A fused optimizer is always called, and gets `found_inf` where a gradient overflowed.
        found_inf: Tensor | None = getattr(optimizer, 'found_inf', None)
        self._stepped = found_inf is None or found_inf == 0

    def _ascend(self) -> None:
        delta, self._delta = self._delta, None
        if delta is None or delta.grad is None or self._carried is None:
            raise StepError(
                'free adversarial training needs one loss forward and one backward pass in every train_step, for the '
                'gradient with respect to the images; there was none.'
            )
        grad = delta.grad if self._support is None else delta.grad * self._support
        if not self._stepped and not bool(torch.isfinite(grad).all()):
            return  # the loss scale was too large, so the optimizer skipped its step as well
        check_gradient(grad)
        factor = self.schedule.factor
        moved = delta.detach() + factor * self.step_size * self.ball.steepest(grad)
        self._carried[: len(delta)] = self.ball.project(moved, factor * self.eps)


@HOOKS.register_module(name='FreeAdversarialTrainingHook')
def _refuse_former_hook(**_: Any) -> None:
    """Refuse a config from before free adversarial training was a loop, whose schedules counted batches.

    Raises:
        ValueError: always.
    """
    raise InputError(
        "FreeAdversarialTrainingHook is now a training loop: remove the hook and set train_cfg=dict(type='"
        "FreeIterBasedTrainLoop', max_iters=..., replays=8, perturbation=dict(eps='8/255')), or "
        'FreeEpochBasedTrainLoop with max_epochs, where max_iters, max_epochs and all schedules count optimizer steps.'
    )
