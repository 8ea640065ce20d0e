"""One sharpness-aware training step: what its forward, its backward and its optimizer step become."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.engine.optim_wrappers.ascent import Ascent, without_synchronisation
from samat_mm.engine.optim_wrappers.descent import Descent
from samat_mm.engine.optim_wrappers.precision import FullPrecision, LossScaled
from samat_mm.engine.optim_wrappers.samples import SamplePasses, cast
from samat_mm.engine.optim_wrappers.schedule import StepSchedule
from samat_mm.errors import StepError
from samat_mm.model_state import buffers_kept, frozen_parameters_watched, unwrapped
from samat_mm.perturbations.weights import Displacement, RunningMethod
from samat_mm.perturbations.weights.trained import TrainedWeight, TrainedWeights, offsets_ahead
from samat_mm.replay.replay import Replay


class SharpnessAwareStep:
    """Perturbs the weights for the pass that the descent comes from, and brings them back.

    Args:
        wrapper: has the optimizer and counts its steps.
        method: what perturbs.
        schedule: when.
        replay: of the forward.
        forward: the context in which the wrapped class runs a forward of a model.
        sync: average the gradients of the ascent over all processes.
        dtype: precision of the first pass; None leaves it as it is.
    """

    def __init__(
        self,
        wrapper: Any,
        method: RunningMethod,
        schedule: StepSchedule,
        replay: Replay,
        forward: Callable[[nn.Module], AbstractContextManager],
        sync: bool,
        dtype: torch.dtype | None,
    ) -> None:
        self.wrapper, self.method, self.schedule, self.replay = wrapper, method, schedule, replay
        self.weights, self.displacement = TrainedWeights(), Displacement()
        scaler = getattr(wrapper, 'loss_scaler', None)
        self.precision = LossScaled(wrapper) if scaler is not None and scaler.is_enabled() else FullPrecision()
        self.samples = SamplePasses(method, replay, self.precision, forward)
        self.ascent = Ascent(method, self.precision, self.samples, sync)
        self.descent = Descent(method, self.precision, self.displacement)
        self.forward, self.dtype = forward, dtype
        self._held = ExitStack()  # the displacement of a forward that runs at perturbed weights
        self._steps_to_watch = 3
        self._ascending: bool | None = None  # None: no forward has announced itself

    def bring_back(self) -> None:
        """Bring back weights that were perturbed for a forward whose backward never came."""
        self._held.close()

    @contextmanager
    def around_forward(self, model: nn.Module) -> Iterator[None]:
        """Run the forward of a training step, at perturbed weights or ready to be run again.

        Raises:
            TypeError: if the model's training step cannot be replayed.
        """
        self._begin(model)
        replays = self._ascending and self.method.source is None
        try:
            with ExitStack() as stack:
                stack.enter_context(self.replay.capture(model) if replays else self.replay.standby(model))
                if replays:
                    stack.enter_context(without_synchronisation(model))  # the first backward is local, see backward()
                stack.enter_context(self.forward(model))
                if replays:
                    stack.enter_context(cast(model, self.dtype))
                yield
        except BaseException:
            self.bring_back()
            raise

    @torch.compiler.disable
    def _begin(self, model: nn.Module) -> None:
        self.bring_back()
        self.weights.read(unwrapped(model))
        movable = self.weights.movable(self.wrapper.optimizer)
        mixes = self.method.mixing is not None and self._position() is not None
        self.descent.begin(
            first=self.wrapper._inner_count % self.wrapper._accumulative_counts == 0,
            reads=bool(movable) and (mixes or self.method.learns),
        )
        self.precision.begin()
        self._ascending = self._needs_ascent()
        if self._ascending and self.method.source is not None:
            self._displace(*offsets_ahead(self.method, movable, self.wrapper.optimizer), self._held)

    def _position(self) -> int | None:
        """Return the number of this step among those that may perturb."""
        counts = self.wrapper._accumulative_counts
        return self.schedule.position(self.wrapper._inner_count // counts, -(-self.wrapper._max_counts // counts))

    def _needs_ascent(self) -> bool:
        position = self._position()
        due = position is not None and self.method.is_due(position)
        return due and bool(self.weights.movable(self.wrapper.optimizer))

    def _displace(self, entries: list[TrainedWeight], offsets: list[Tensor], until: ExitStack) -> None:
        """Displace the weights until a stack is closed."""
        weights = [entry.weight for entry in entries]
        until.enter_context(self.displacement(weights, offsets))
        self.descent.keep_place(weights, offsets)
        del offsets[:]  # frees the first gradient before the next forward needs the memory

    def backward(self, loss: Tensor, accumulate: Callable[[Tensor], None]) -> None:
        """Accumulate the gradient of the loss at the perturbed weights, which are back when this returns.

        Args:
            loss: of the forward, divided for gradient accumulation.
            accumulate: adds the gradient of a loss to ``.grad``.

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
                accumulate(loss)
                return
        with self.descent.undone_on_failure(), ExitStack() as stack:
            stack.callback(self.replay.clear)
            model: Any = self.replay.model
            stack.enter_context(buffers_kept(model))
            stack.enter_context(self._watched(model))
            moving = self._ascend(loss, stack)
            self.ascent.further(model, moving, self.displacement)
            with self.forward(model):
                perturbed_loss = self.replay(self.samples.selected(model))
            accumulate(self.wrapper.scale_loss(self.precision.descent_loss(perturbed_loss)))

    def _ascend(self, loss: Tensor, until: ExitStack) -> list[TrainedWeight]:
        """Displace the weights along the gradient of a loss, and return those that move."""
        optimizer, part = self.wrapper.optimizer, float(self.wrapper.scale_loss(torch.ones(())))
        trained, movable = self.weights.of(optimizer), self.weights.movable(optimizer)
        moving, offsets = self.ascent.first(loss, part, trained, movable, self.descent.keep_clean)
        self._displace(moving, offsets, until)
        return moving

    def around_optimizer_step(self, clip: Callable[[], None] | None) -> AbstractContextManager[None]:
        """Return a context for the optimizer's step, see :meth:`Descent.step`."""
        return self.descent.step(self.weights.of(self.wrapper.optimizer), clip)

    def _watched(self, model: nn.Module) -> Any:
        """Watch the second pass of the first few steps for what it must not change; every step would cost a copy."""
        if self._steps_to_watch == 0:
            return nullcontext()
        self._steps_to_watch -= 1
        return frozen_parameters_watched(model)
