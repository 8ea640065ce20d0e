"""The only code that touches an optimizer step: ascend, replay the forward, descend from there, come back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from mmengine.dist import all_reduce_params, get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from samat_mm.engine.optim_wrappers.roster import Entry
from samat_mm.engine.optim_wrappers.sample_passes import SamplePasses, cast
from samat_mm.engine.training_summary import ascent_summary
from samat_mm.errors import InputError, StepError
from samat_mm.models.replay import Replay
from samat_mm.models.state import buffers_kept, frozen_parameters_watched
from samat_mm.perturbations.checks import share, whole_number
from samat_mm.perturbations.weights.vectors import owning_their_memory


class SharpnessAwareMixin(SamplePasses):
    """Makes an MMEngine optimizer wrapper sharpness-aware.

    A step perturbs the weights along the gradient of the loss just computed, runs the same forward on the same
    preprocessed batch there, and gives the gradient found there to the optimizer, at the weights of before. The radius
    lives in ``param_groups`` as ``rho``: MMEngine's schedulers drive it (``type='LinearParamScheduler',
    param_name='rho'``), and a ``rho_mult``
    in ``paramwise_cfg`` scales it for a layer. A group whose rho is 0 takes no part in the ascent.

    With several processes each perturbs along the gradient of its own samples (m-sharpness), unless the method keeps
    a memory of gradients. With gradient accumulation every micro-batch has an ascent of its own. Clipping applies to
    the final gradient only. Running statistics come from the unperturbed forward only.

    Args:
        interval: perturb at every so many optimizer steps only.
        start_iter: number of optimizer steps without perturbation at the beginning.
        sync_ascent: average the ascent gradient over all processes, for one perturbation of the whole batch.
        same_dropout: give the second forward the random numbers of the first.
        ascent_dtype: 'bfloat16' runs the first forward and its backward in that precision, because only a direction is
            needed; the loss that is logged and the running statistics are then those of that forward.
        ascent_share: share of the batch that the first forward runs on (its first samples, at least two); the loss
            that is logged and the running statistics are then those of these samples.
        **kwargs: the perturbation, its parameters and those of the wrapped class.

    Raises:
        ValueError: if a parameter is out of its range or given twice.
    """

    def __init__(
        self,
        *args: Any,
        interval: int = 1,
        start_iter: int = 0,
        sync_ascent: bool = False,
        same_dropout: bool = False,
        ascent_dtype: str | None = None,
        ascent_share: float = 1.0,
        **kwargs: Any,
    ) -> None:
        whole_number(interval, 'interval')
        if isinstance(start_iter, bool) or not isinstance(start_iter, int) or start_iter < 0:
            raise InputError(f'start_iter must be a whole number of at least 0; got {start_iter!r}.')
        if ascent_dtype not in (None, 'bfloat16'):
            raise InputError(
                f"ascent_dtype must be 'bfloat16' or None, because float16 needs a loss scale; got {ascent_dtype!r}."
            )
        super().__init__(*args, **kwargs)
        method = self.perturbation
        if interval > 1 and method.interval > 1:
            raise InputError(f'{method!r} has an interval of its own; give it there, not to the wrapper as well.')
        if share(ascent_share, 'ascent_share') < 1 and method.selects_samples:
            raise InputError(
                f'{type(method).__name__} compares the losses of all samples, so that its first forward needs all of '
                f'them; got ascent_share={ascent_share}.'
            )
        if method.mixes and (ascent_share < 1 or ascent_dtype is not None):
            raise InputError(
                f'{type(method).__name__} mixes the first gradient into the descent, so that it must be that of all '
                'samples in full precision; leave ascent_share and ascent_dtype out.'
            )
        self.interval, self.start_iter = interval, start_iter
        self.sync_ascent = sync_ascent or method.synchronised
        self.ascent_dtype = None if ascent_dtype is None else torch.bfloat16
        self._replay = Replay(same_dropout, ascent_share, method.selects_samples)
        self._steps_to_watch = 3
        self.announced = False  # whether the log says what this does, see TrainingSummaryHook
        self._ascending: bool | None = None  # None: no forward has announced itself

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward of a training step, ready to be run again.

        Raises:
            TypeError: if the model's training step cannot be replayed.
        """
        self._prepare(model)
        with ExitStack() as stack:
            stack.enter_context(self._replay.capture(model) if self._ascending else self._replay.standby(model))
            if self._ascending and isinstance(model, DistributedDataParallel):
                stack.enter_context(model.no_sync())  # the first backward is local, see backward()
            stack.enter_context(super().optim_context(model))
            if self._ascending:
                stack.enter_context(cast(model, self.ascent_dtype))
            yield

    @torch.compiler.disable
    def _prepare(self, model: nn.Module) -> None:
        """Find out what this step needs."""
        self._announce()
        self._roster.read(model)
        self._ascending = self._needs_ascent()
        self._begin(mixing=self._is_scheduled() and self.perturbation.mixes and bool(self._movable()))

    def _announce(self) -> None:
        """Say what this does, where no hook has said it; only hooks of ours are known to perturb inputs."""
        if not self.announced:
            self.announced = True
            text = f'This training maximises its loss over weights by {ascent_summary(self)}'
            print_log(f'{text}, and over inputs by no hook of samat-mm.', logger='current')

    def _is_scheduled(self) -> bool:
        steps = self._inner_count // self._accumulative_counts - self.start_iter
        return steps >= 0 and steps % self.interval == 0

    def _needs_ascent(self) -> bool:
        steps = self._inner_count // self._accumulative_counts - self.start_iter
        return self._is_scheduled() and self.perturbation.is_due(steps // self.interval) and bool(self._movable())

    def _movable(self) -> list[Entry]:
        """Return the trained weights that the radius lets move."""
        return [entry for entry in self._roster.trained(self.optimizer) if entry.group['rho'] > 0]

    @torch.compiler.disable  # in a step that MMEngine compiles, the model is worth it and what surrounds it is not
    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Accumulate the gradient of the loss at the perturbed weights, which are back when this returns.

        The ascent gradient never enters ``.grad``, so that accumulation, clipping and attacks see descent gradients
        only.

        Args:
            loss: the loss of the first forward, divided for gradient accumulation.
            **kwargs: for ``Tensor.backward`` of the second pass.

        Raises:
            RuntimeError: if the step did not run exactly one loss forward.
        """
        ascending, self._ascending = self._ascending, None
        if ascending is None and self._needs_ascent():
            raise StepError(
                'a sharpness-aware step needs its loss forward inside optim_context before update_params, because it '
                'runs that forward again at the perturbed weights; there was none.'
            )
        if not ascending:
            super().backward(loss, **kwargs)
            return
        clean = dict(self._clean)
        try:
            weights, offsets = self._ascend(loss)
            model: Any = self._replay.model
            with buffers_kept(model), self._watched(model), self._displacement(weights, offsets):
                self._keep_for_the_step(weights, offsets)
                del offsets[:]  # frees the first gradient before the second forward needs the memory
                with super().optim_context(model):
                    perturbed_loss = self._replay(self._selected(model))
                super().backward(self.scale_loss(self._descent_loss(perturbed_loss)), **kwargs)
        except BaseException:
            self._clean = clean  # what failed is not mixed into the step
            raise
        finally:
            self._replay.clear()

    def _watched(self, model: nn.Module) -> Any:
        """Watch the second pass of the first few steps for what it must not change; every step would cost a copy."""
        if self._steps_to_watch == 0:
            return nullcontext()
        self._steps_to_watch -= 1
        return frozen_parameters_watched(model)

    def _ascend(self, loss: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the weights to move and by how much."""
        movable = {entry.name: entry for entry in self._movable()}
        chosen = set(
            self.perturbation.choose(
                {name: entry.weight for name, entry in movable.items()},
                {name: entry.owner for name, entry in movable.items()},
            )
        )
        entries = self._roster.trained(self.optimizer) if self.perturbation.mixes else list(movable.values())
        entries = [entry for entry in entries if self.perturbation.mixes or entry.name in chosen]
        if not entries:
            return [], []
        gradients = self._first_gradients(loss, [entry.weight for entry in entries])
        used = [(entry, gradient) for entry, gradient in zip(entries, gradients, strict=True) if gradient is not None]
        del gradients
        if not used or not self._is_usable([gradient for _, gradient in used]):
            return [], []
        self._remember_clean({entry.name: gradient for entry, gradient in used})
        used = [(entry, gradient) for entry, gradient in used if entry.name in chosen]
        directions = [gradient for _, gradient in used]
        weights = {entry.name: entry.weight for entry, _ in used}
        if self._feels_the_scale():
            torch._foreach_mul_(directions, 1 / float(self.scale_loss(torch.ones(()))))
        if self.perturbation.fisher_samples() > 0:
            self._add_fisher(weights, directions)
        offsets = self.perturbation.ascend(weights, directions) if used else []
        if used:
            torch._foreach_mul_(offsets, [self.perturbation.radius(entry.group) for entry, _ in used])
        return list(weights.values()), offsets

    def _first_gradients(self, loss: Tensor, weights: list[Tensor]) -> list[Tensor | None]:
        gradients = owning_their_memory(torch.autograd.grad(self._scaled(loss), weights, allow_unused=True))
        if self.sync_ascent or (self.perturbation.mixes and get_world_size() > 1):
            # Every process must have, and reduce, the same tensors.
            gradients = [
                torch.zeros_like(weight) if gradient is None else gradient
                for gradient, weight in zip(gradients, weights, strict=True)
            ]
        if self.sync_ascent:
            all_reduce_params(gradients, op='mean')
        return gradients

    def _descent_loss(self, loss: Tensor) -> Tensor:
        """Return what the second pass differentiates."""
        return loss
