"""The one place where a method meets MMEngine's optimizer wrappers; the work is done by the modules beside this one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from samat_mm.engine.optim_wrappers.ascent import Ascent, without_synchronisation
from samat_mm.engine.optim_wrappers.descent import Descent
from samat_mm.engine.optim_wrappers.precision import FullPrecision, LossScaled
from samat_mm.engine.optim_wrappers.samples import SamplePasses, cast
from samat_mm.engine.optim_wrappers.schedule import StepSchedule
from samat_mm.engine.optim_wrappers.settings import (
    build_perturbation,
    check_first_pass,
    put_radius_into_groups,
    tell_of_loaded_radius,
)
from samat_mm.engine.training_summary import ascent_summary
from samat_mm.errors import InputError, StepError
from samat_mm.models.replay import Replay, unwrapped
from samat_mm.models.state import buffers_kept, frozen_parameters_watched
from samat_mm.perturbations.weights import Displacement, Need, WeightPerturbation
from samat_mm.perturbations.weights.trained import TrainedWeight, TrainedWeights, offsets_ahead

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper as _Base
else:
    _Base = object


class SharpnessAwareMixin(_Base):
    """Makes an MMEngine optimizer wrapper sharpness-aware.

    A step perturbs the weights along the gradient of the loss just computed, runs the same forward on the same
    preprocessed batch there, and gives the gradient found there to the optimizer, at the weights of before. A method
    that knows its direction beforehand (MSAM) runs its one forward at the perturbed weights. The radius
    lives in ``param_groups`` as ``rho``: MMEngine's schedulers drive it (``type='LinearParamScheduler',
    param_name='rho'``), and a ``rho_mult`` in ``paramwise_cfg`` scales it for a layer. A group whose rho is 0 takes no
    part in the ascent.

    With several processes each perturbs along the gradient of its own samples (m-sharpness), unless the method keeps
    a memory of gradients. With gradient accumulation every micro-batch has an ascent of its own. Clipping applies to
    the final gradient only. Running statistics come from the first forward of a step only.

    Args:
        perturbation: config or instance of a weight perturbation; its parameters may also be given directly.
        interval: optimizer steps from one that perturbs to the next.
        start_iter: number of optimizer steps without perturbation at the beginning.
        last: share of the training, at its end, that perturbs (0.1: the last tenth); None for all of it. Zhou et al.
            (Sharpness-Aware Minimization Efficiently Selects Flatter Minima Late in Training, ICLR 2025) find that a
            few last epochs do what a whole training does.
        sync_ascent: average the ascent gradient over all processes, for one perturbation of the whole batch.
        same_dropout: give the second forward the random numbers of the first.
        ascent_dtype: 'bfloat16' runs the first forward and its backward in that precision, because only a direction is
            needed; the loss that is logged and the running statistics are then those of that forward.
        ascent_share: share of the batch that the first forward runs on (its first samples, at least two); the loss
            that is logged and the running statistics are then those of these samples.
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
        check_first_pass(self.perturbation, ascent_share, ascent_dtype)
        super().__init__(*args, **kwargs)
        put_radius_into_groups(self.perturbation.rho, self.optimizer, self.base_param_settings)
        self.method = method = self.perturbation.start()
        if interval > 1 and method.schedule.interval > 1:
            raise InputError(f'{method.method!r} has an interval of its own; give it there, not to the wrapper too.')
        if method.source is not None:
            method.source.check(self.optimizer)
        self.announced = False  # whether the log says what this does, see TrainingSummaryHook
        self._ascent_dtype = None if ascent_dtype is None else torch.bfloat16
        self._steps_to_watch = 3
        self._ascending: bool | None = None  # None: no forward has announced itself
        self._held = ExitStack()  # the displacement of a forward that runs at perturbed weights
        self._weights, self._displacement = TrainedWeights(), Displacement()
        self._precision = LossScaled(self) if hasattr(self, 'loss_scaler') else FullPrecision()
        self._replay = Replay(same_dropout, ascent_share, Need.SAMPLE_LOSSES in method.needs)
        self._samples = SamplePasses(method, self._replay, self._precision, super().optim_context)
        self._ascent = Ascent(method, self._precision, self._samples, sync_ascent)
        self._descent = Descent(method, self._precision, self._displacement)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward of a training step, ready to be run again.

        Raises:
            TypeError: if the model's training step cannot be replayed.
        """
        self._prepare(model)
        replays = self._ascending and self.method.source is None
        try:
            with ExitStack() as stack:
                stack.enter_context(self._replay.capture(model) if replays else self._replay.standby(model))
                if replays:
                    stack.enter_context(without_synchronisation(model))  # the first backward is local, see backward()
                stack.enter_context(super().optim_context(model))
                if replays:
                    stack.enter_context(cast(model, self._ascent_dtype))
                yield
        except BaseException:
            self._held.close()
            raise

    @torch.compiler.disable
    def _prepare(self, model: nn.Module) -> None:
        """Find out what this step needs, and perturb if the direction is known."""
        self._held.close()
        if not self.announced:  # by a hook; only hooks of ours are known to perturb inputs
            self.announced = True
            text = f'This training maximises its loss over weights by {ascent_summary(self)}'
            print_log(f'{text}, and over inputs by no hook of samat-mm.', logger='current')
        self._weights.read(unwrapped(model))
        movable = self._weights.movable(self.optimizer)
        mixes = self.method.mixing is not None and self._position() is not None
        self._descent.begin(
            first=self._inner_count % self._accumulative_counts == 0,
            reads=bool(movable) and (mixes or self.method.learns),
        )
        self._precision.begin()
        self._ascending = self._needs_ascent()
        if self._ascending and self.method.source is not None:
            self._displace(*offsets_ahead(self.method, movable, self.optimizer), self._held)

    def _position(self) -> int | None:
        """Return the number of this step among those that may perturb."""
        steps = -(-self._max_counts // self._accumulative_counts)
        return self.schedule.position(self._inner_count // self._accumulative_counts, steps)

    def _needs_ascent(self) -> bool:
        position = self._position()
        return position is not None and self.method.is_due(position) and bool(self._weights.movable(self.optimizer))

    def _displace(self, entries: list[TrainedWeight], offsets: list[Tensor], until: ExitStack) -> None:
        """Displace the weights until a stack is closed."""
        weights = [entry.weight for entry in entries]
        until.enter_context(self._displacement(weights, offsets))
        self._descent.keep_place(weights, offsets)
        del offsets[:]  # frees the first gradient before the next forward needs the memory

    @torch.compiler.disable  # in a step that MMEngine compiles, the model is worth it and what surrounds it is not
    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Accumulate the gradient of the loss at the perturbed weights, which are back when this returns.

        The ascent gradient never enters ``.grad``, so that accumulation, clipping and attacks see descent gradients
        only.

        Args:
            loss: the loss of the first forward, divided for gradient accumulation.
            **kwargs: for ``Tensor.backward`` of the last pass.

        Raises:
            RuntimeError: if the step did not run exactly one loss forward.
        """
        ascending, self._ascending = self._ascending, None
        if ascending is None and self._needs_ascent():
            raise StepError(
                'a sharpness-aware step needs its loss forward inside optim_context before update_params, because it '
                'runs that forward again at the perturbed weights; there was none.'
            )
        with self._held:
            if not ascending or self.method.source is not None:
                super().backward(loss, **kwargs)
                return
        with self._descent.undone_on_failure(), ExitStack() as stack:
            stack.callback(self._replay.clear)
            model: Any = self._replay.model
            stack.enter_context(buffers_kept(model))
            stack.enter_context(self._watched(model))
            part = float(self.scale_loss(torch.ones(())))
            trained, movable = self._weights.of(self.optimizer), self._weights.movable(self.optimizer)
            moving, far = self._ascent.first(loss, part, trained, movable, self._descent.keep_clean)
            self._displace(moving, far, stack)
            self._ascent.further(model, moving, self._displacement)
            with super().optim_context(model):
                perturbed_loss = self._replay(self._samples.selected(model))
            super().backward(self.scale_loss(self._precision.descent_loss(perturbed_loss)), **kwargs)

    @torch.compiler.disable
    def step(self, **kwargs: Any) -> None:
        """Step along the gradient that the method makes of those of both passes."""
        trained = self._weights.of(self.optimizer)
        with self._descent.step(trained, self._clip_grad if self.clip_grad_kwargs else None):
            super().step(**kwargs)

    def _watched(self, model: nn.Module) -> Any:
        """Watch the second pass of the first few steps for what it must not change; every step would cost a copy."""
        if self._steps_to_watch == 0:
            return nullcontext()
        self._steps_to_watch -= 1
        return frozen_parameters_watched(model)

    def state_dict(self) -> dict:
        """Return the optimizer's state and the memory of the method."""
        self._held.close()
        state, memory = super().state_dict(), self.method.state_dict()
        return {**state, 'perturbation': memory} if memory else state

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the optimizer's state; radius and memory too, if the checkpoint comes from a sharpness-aware run."""
        state_dict = dict(state_dict)
        memory = state_dict.pop('perturbation', {})
        super().load_state_dict(state_dict)
        self.method.load_state_dict(memory)
        put_radius_into_groups(self.perturbation.rho, self.optimizer, self.base_param_settings)
        tell_of_loaded_radius(self.perturbation.rho, self.optimizer.param_groups)
