"""One sharpness-aware training step: its forward, its backward and its optimizer step."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.engine.optim_wrappers.ascent import Ascent, without_synchronisation
from samat_mm.engine.optim_wrappers.descent import Descent
from samat_mm.engine.optim_wrappers.loss_scale import LossScale
from samat_mm.engine.optim_wrappers.samples import SamplePasses, cast
from samat_mm.errors import StepError
from samat_mm.model_state import buffers_kept, frozen_parameters_watched, unwrapped
from samat_mm.perturbations.weights import Displacement
from samat_mm.perturbations.weights.passes import known_ascent
from samat_mm.perturbations.weights.trained import (
    Places,
    TrainedWeight,
    movable,
    places_of,
    put_radius_into_groups,
    tensors,
    trained_weights,
)
from samat_mm.replay.replay import Replay


class SharpnessAwareStep:
    """Perturbs the weights for the pass of the descent, and brings them back.

    Args:
        wrapper: has the optimizer and counts its steps, the method, and the schedule of the steps that perturb.
        replay: of the forward.
        forward: the context in which the wrapped class runs a forward of a model.
        sync: average the gradients of the ascent over all processes.
        dtype: precision of the first pass; None leaves it as it is.
    """

    def __init__(
        self,
        wrapper: Any,
        replay: Replay,
        forward: Callable[[nn.Module], AbstractContextManager],
        sync: bool,
        dtype: torch.dtype | None,
    ) -> None:
        self.wrapper, self.method, self.replay = wrapper, wrapper.method, replay
        self.forward, self.dtype = forward, dtype
        self.displacement, self.loss_scale = Displacement(), LossScale(wrapper)
        self.samples = SamplePasses(self.method, replay, self.loss_scale, forward)
        self.ascent = Ascent(self.method, self.loss_scale, self.samples, sync)
        self.descent = Descent(self.method, self.loss_scale, self.displacement)
        self._held = ExitStack()  # the displacement of a forward that runs at perturbed weights
        self._steps_to_watch = 3
        self._ascending: bool | None = None  # None: no forward has announced itself
        self._model: nn.Module | None = None
        self._places: Places = {}

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
        put_radius_into_groups(self.method.rho, self.wrapper.optimizer)  # a group may have been added
        if unwrapped(model) is not self._model:
            self._model = unwrapped(model)
            self._places = places_of(self._model)
        trained = self._trained()
        mixes = self.method.learns or (self.method.mixes and self._position() is not None)
        self.descent.begin(
            first=self.wrapper._inner_count % self.wrapper._accumulative_counts == 0,
            mixes=mixes and bool(movable(trained)),
        )
        self.loss_scale.begin()
        self._ascending = self._needs_ascent()
        if self._ascending and self.method.source is not None:
            self._displace(*known_ascent(self.method, trained, self.wrapper.optimizer), self._held)

    def _trained(self) -> list[TrainedWeight]:
        return trained_weights(self.wrapper.optimizer, self._places)

    def _position(self) -> int | None:
        """Return the number of this step among those that may perturb."""
        counts = self.wrapper._accumulative_counts
        steps = -(-self.wrapper._max_counts // counts)
        return self.wrapper.schedule.position(self.wrapper._inner_count // counts, steps)

    def _needs_ascent(self) -> bool:
        position = self._position()
        return position is not None and self.method.is_due(position) and bool(movable(self._trained()))

    def _displace(self, entries: list[TrainedWeight], offsets: list[Tensor], until: ExitStack) -> None:
        """Displace the weights until a stack is closed."""
        until.enter_context(self.displacement(tensors(entries), offsets))
        self.descent.keep_place(tensors(entries), offsets)
        del offsets[:]  # frees the first gradient before the next forward needs the memory

    def _move(self, entries: list[TrainedWeight], offsets: list[Tensor]) -> None:
        """Move weights that are displaced to other offsets."""
        self.displacement.move(tensors(entries), offsets)
        self.descent.keep_place(tensors(entries), offsets)

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
        with ExitStack() as stack:
            stack.callback(self.replay.clear)
            model: Any = self.replay.model
            stack.enter_context(buffers_kept(model))
            stack.enter_context(self._watched(model))
            part = float(self.wrapper.scale_loss(torch.ones(())))
            moving, offsets, clean = self.ascent.first(loss, part, self._trained())
            self._displace(moving, offsets, stack)
            self.ascent.further(model, moving, self._move)
            with self.forward(model):
                perturbed_loss = self.replay(self.samples.selected(model))
            accumulate(self.wrapper.scale_loss(self.loss_scale.descent_loss(perturbed_loss)))
        self.descent.add_clean(clean)

    def around_optimizer_step(self, clip: Callable[[], None] | None) -> AbstractContextManager[None]:
        """Return a context for the optimizer's step, see :meth:`Descent.step`."""
        return self.descent.step(self._trained(), clip)

    def _watched(self, model: nn.Module) -> Any:
        """Watch the second pass of the first few steps for changes of frozen weights; every step would cost a copy."""
        if self._steps_to_watch == 0:
            return nullcontext()
        self._steps_to_watch -= 1
        return frozen_parameters_watched(model)
