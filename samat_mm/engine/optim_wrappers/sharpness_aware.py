"""Makes MMEngine's optimizer wrappers sharpness-aware; `step.py` and its collaborators do the work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from samat_mm.engine.optim_wrappers.schedule import StepSchedule
from samat_mm.engine.optim_wrappers.settings import (
    build_perturbation,
    check_first_pass,
    tell_of_loaded_radius,
)
from samat_mm.engine.optim_wrappers.step import SharpnessAwareStep
from samat_mm.engine.training_summary import ascent_summary
from samat_mm.errors import InputError
from samat_mm.perturbations.weights import Need, WeightPerturbation
from samat_mm.perturbations.weights.trained import put_radius_into_groups
from samat_mm.replay.replay import Replay

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper as _Base
else:
    _Base = object


class SharpnessAwareMixin(_Base):
    """Makes an MMEngine optimizer wrapper sharpness-aware.

    A step perturbs the weights along the gradient of the loss just computed, runs the same forward on the same
    preprocessed batch there, and gives the gradient found there to the optimizer, at the original weights. A method
    that knows its direction beforehand (MSAM) runs its one forward at the perturbed weights. The radius lives in
    ``param_groups`` as ``rho``: MMEngine's schedulers drive it (``type='LinearParamScheduler', param_name='rho'``), and
    a ``rho_mult`` in ``paramwise_cfg`` scales it for a layer. A group whose rho is 0 takes no part in the ascent.

    With several processes each perturbs along the gradient of its own samples (m-sharpness), unless the method keeps
    a memory of gradients. With gradient accumulation every micro-batch has its own ascent. Clipping applies to the
    final gradient only. Running statistics come from the first forward of a step only.

    Args:
        perturbation: config or instance of a weight perturbation; its parameters may also be given directly.
        interval: optimizer steps from one that perturbs to the next.
        start_iter: number of optimizer steps without perturbation at the beginning.
        last: share of the training, at its end, that perturbs (0.1: the last tenth); None for all of it. Zhou et al.
            (Sharpness-Aware Minimization Efficiently Selects Flatter Minima Late in Training, ICLR 2025) find that a
            few last epochs are as good as a whole training.
        sync_ascent: average the ascent gradient over all processes, for one perturbation of the whole batch.
        same_dropout: give the second forward the random numbers of the first.
        ascent_dtype: 'bfloat16' runs the first forward and its backward in that precision, because only a direction is
            needed; the logged loss and the running statistics are those of that forward.
        ascent_share: share of the batch that the first forward runs on (its first samples, at least two); the logged
            loss and the running statistics are those of these samples.
        **kwargs: parameters of the perturbation and of the wrapped class.

    Raises:
        ValueError: if a parameter is out of its range or given twice.
    """

    default_perturbation: ClassVar[str]

    def __init__(
        self,
        *args: Any,
        perturbation: dict | WeightPerturbation | None = None,
        interval: int = 1,
        start_iter: int = 0,
        last: float | None = None,
        sync_ascent: bool = False,
        same_dropout: bool = False,
        ascent_dtype: str | None = None,
        ascent_share: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self.schedule = StepSchedule(interval, start_iter, last)
        self.perturbation = build_perturbation(self.default_perturbation, perturbation, kwargs)
        self.method = self.perturbation.start()
        check_first_pass(self.method, ascent_share, ascent_dtype)
        super().__init__(*args, **kwargs)
        self._give_radius()
        if interval > 1 and self.method.skips_steps:
            raise InputError(f'{self.perturbation!r} has its own interval; give it there, not to the wrapper too.')
        self.method.check_optimizer(self.optimizer)
        self.announced = False  # whether the log describes this method, see TrainingSummaryHook
        replay = Replay(same_dropout, ascent_share, Need.SAMPLE_LOSSES in self.method.needs)
        dtype = None if ascent_dtype is None else torch.bfloat16
        self._step = SharpnessAwareStep(self, replay, super().optim_context, sync_ascent, dtype)

    def _give_radius(self) -> None:
        put_radius_into_groups(self.perturbation.rho, self.optimizer)
        if self.base_param_settings is not None:
            self.base_param_settings.setdefault('rho', self.perturbation.rho)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward of a training step, at perturbed weights or ready to be run again.

        Raises:
            TypeError: if the model's training step cannot be replayed.
        """
        with self._step.around_forward(model):
            self._announce()
            yield

    @torch.compiler.disable
    def _announce(self) -> None:
        """Log a description of the method, unless a hook has; only our hooks are known to perturb inputs."""
        if not self.announced:
            self.announced = True
            text = f'This training maximises its loss over weights by {ascent_summary(self)}'
            print_log(f'{text}, and over inputs by no hook of samat-mm.', logger='current')

    @torch.compiler.disable  # in a step that MMEngine compiles, only the model is worth compiling
    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Accumulate the gradient of the loss at the perturbed weights, which are back when this returns.

        The ascent gradient never enters ``.grad``: accumulation, clipping and attacks see descent gradients only.

        Args:
            loss: the loss of the first forward, divided for gradient accumulation.
            **kwargs: for ``Tensor.backward`` of the last pass.

        Raises:
            RuntimeError: if the step did not run exactly one loss forward.
        """
        accumulate = super().backward
        self._step.backward(loss, lambda perturbed: accumulate(perturbed, **kwargs))

    @torch.compiler.disable
    def step(self, **kwargs: Any) -> None:
        """Step along the gradient that the method makes of both passes."""
        with self._step.around_optimizer_step(self._clip_grad if self.clip_grad_kwargs else None):
            super().step(**kwargs)

    def state_dict(self) -> dict:
        """Return the optimizer's state and the memory of the method."""
        self._step.bring_back()
        state, memory = super().state_dict(), self.method.state_dict()
        return {**state, 'perturbation': memory} if memory else state

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the optimizer's state; radius and memory too, if the checkpoint comes from a sharpness-aware run."""
        state_dict = dict(state_dict)
        memory = state_dict.pop('perturbation', {})
        super().load_state_dict(state_dict)
        self.method.load_state_dict(memory)
        self._give_radius()
        tell_of_loaded_radius(self.perturbation.rho, self.optimizer.param_groups)
