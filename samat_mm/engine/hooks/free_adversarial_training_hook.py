"""Free adversarial training: the gradient that trains the weights moves the images as well."""

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
from samat_mm.engine.training_summary import input_summary
from samat_mm.errors import InputError, StepError
from samat_mm.model_state import unwrapped
from samat_mm.perturbations.checks import one_of, whole_number
from samat_mm.perturbations.inputs.finite import check_gradient
from samat_mm.perturbations.norms import norm_named
from samat_mm.perturbations.norms.region import support_mask
from samat_mm.perturbations.units import parse_radius

CHECKPOINT_KEY = 'free_adversarial_training'


@HOOKS.register_module()
class FreeAdversarialTrainingHook(InputPerturbationHook):
    """Trains on every batch several times in a row, with a perturbation that each backward pass moves.

    ``d <- P(d + step_size * steepest(grad))`` with the gradient of the training loss itself, so that there is no pass
    beside those of training. The perturbation is carried over to the next batch, image by image of its rows, and saved
    in checkpoints; with several processes, a resumed run goes on from that of the first.

    An iteration of the loop is then ``replays`` steps of the optimizer: divide ``max_epochs`` or ``max_iters``, and the
    schedules, by ``replays`` for the cost of plain training. The loss of the last one is logged.

    Source: Shafahi et al., Adversarial Training for Free!, NeurIPS 2019, algorithm 1; step size and ``replays`` are
    theirs for CIFAR-10.

    Args:
        replays: how many times in a row a batch is trained on, m of the paper.
        norm: 'linf' or 'l2'.
        eps: radius in [0, 1] pixel units; a number or a string such as '8/255'.
        step_size: in the same units; ``eps`` by default.
        eps_scheduler: config of MMEngine's parameter schedulers, or of several, with ``param_name='eps'``: the step
            size follows the radius, which is logged as ``eps``.
        pixel_range: the numbers of the images that are the pixels 0 and 1; by default the config's, or 0 and 255.

    Raises:
        ValueError: if a value is out of its range.
    """

    # After the timer, which would take the steps before the last for the loading of data.
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
        """No: it follows the gradient of the training loss."""
        return False

    def full_radius(self) -> float:
        """Return the radius."""
        return self.eps

    def summary(self) -> str:
        """Return the parameters."""
        values = dict(replays=self.replays, norm=self.ball.name, eps=self.eps, step_size=self.step_size)
        return input_summary('FreeAdversarialTraining', values)

    def before_train(self, runner: Runner) -> None:
        """Listen to the forward of the model.

        Raises:
            ValueError: if the optimizer wrapper does not step once for each backward pass of the training loss.
        """
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, SharpnessAwareMixin) or getattr(wrapper, '_accumulative_counts', 1) > 1:
            raise InputError(
                'free adversarial training moves the images by the gradient of each step of the optimizer, so that a '
                'step must be one backward pass; use an OptimWrapper or AmpOptimWrapper without accumulative_counts, '
                'or AdversarialTrainingHook.'
            )
        if runner.iter == 0:  # loaded weights are a start, not a run to go on with
            self._carried = None
        super().before_train(runner)
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self._handles += [each.optimizer.register_step_pre_hook(self._see_step) for each in wrappers]

    def listen(self, model: nn.Module) -> list[RemovableHandle]:
        """Change the images that the model gets."""
        return [model.register_forward_pre_hook(self._perturb, with_kwargs=True)]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Train on the batch all but the last time, which is the loop's.

        Raises:
            TypeError: if the batch has no ``inputs``.
            FloatingPointError: if the gradient of the images is not finite in a step that the optimizer made.
        """
        super().before_train_iter(runner, batch_idx, data_batch)
        for _ in range(self.replays - 1):
            runner.model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
            self._ascend()
            self._raw_inputs = data_batch['inputs']

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Move the perturbation by the gradient of the last step; see :meth:`before_train_iter`."""
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
        space = self.pixel_space(unwrapped(model), kwargs)
        if space is None:
            return None
        self._support = support_mask(space.pixels, space.sizes)
        delta = self.ball.project(self._remembered(space.pixels), self.schedule.factor * self.eps)
        self._stepped = False
        self._delta = (delta if self._support is None else delta * self._support).requires_grad_()
        with torch.enable_grad():
            return args, {**kwargs, 'inputs': space.to_inputs((space.pixels + self._delta).clamp(0, 1))}

    def _remembered(self, pixels: Tensor) -> Tensor:
        """Return the rows of the perturbation for these images, zeros where images of this size are new."""
        carried = self._carried
        if carried is None or carried.shape[1:] != pixels.shape[1:] or len(carried) < len(pixels):
            carried = torch.zeros_like(pixels)
        self._carried = carried.to(pixels)
        return self._carried[: len(pixels)]

    def _see_step(self, optimizer: torch.optim.Optimizer, args: tuple, kwargs: dict[str, Any]) -> None:
        # A fused optimizer is called in any case, and told whether a gradient overflowed.
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
            return  # the loss scale was too large, for which the optimizer skipped its step, too
        check_gradient(grad)
        factor = self.schedule.factor
        moved = delta.detach() + factor * self.step_size * self.ball.steepest(grad)
        self._carried[: len(delta)] = self.ball.project(moved, factor * self.eps)
