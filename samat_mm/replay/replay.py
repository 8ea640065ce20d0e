"""Capture the loss forward of a training step, and run it again."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.model import BaseModel, MMDistributedDataParallel
from torch import Tensor, nn

from samat_mm.errors import StepError, UnsupportedError
from samat_mm.model_state import refuse_activation_checkpointing, unwrapped
from samat_mm.replay.batch import batch_size, subset
from samat_mm.replay.sample_losses import SampleLosses


class Replay:
    """The loss forward of the current training step.

    ``BaseModel.train_step`` preprocesses a batch, runs the forward inside ``optim_context`` and passes on a bare loss.
    During that time, a pre-hook on the model sees the *preprocessed* batch. So the second pass works with any
    unmodified model and does not repeat the augmentation.

    Args:
        same_dropout: use the random numbers of the first forward in the others.
        share: share of the batch for the first forward, which gets its first samples and at least two.
        sample_losses: keep the loss of each sample of the first forward in ``first_losses``.
    """

    def __init__(self, same_dropout: bool = False, share: float = 1.0, sample_losses: bool = False) -> None:
        self.same_dropout, self.share, self.sample_losses = same_dropout, share, sample_losses
        self.model: nn.Module | None = None
        self._recording = False
        self.first_losses: Tensor | None = None
        self.total: Tensor | None = None  # the total loss that belongs to the latest per-sample losses
        self._calls: list[tuple[tuple, dict[str, Any]]] = []
        self._random_state: list[tuple[str, Tensor]] = []

    @contextmanager
    def capture(self, model: nn.Module) -> Iterator[None]:
        """Record the loss forward that ``model`` runs inside the block.

        Raises:
            TypeError: if the model's training step cannot be replayed.
        """
        check_train_step(model)
        if self.same_dropout and any(hasattr(part, '_torchdynamo_orig_callable') for part in vars(model).values()):
            raise UnsupportedError(
                'same_dropout gives the second forward the random numbers of the first, but a compiled forward may '
                'draw them differently; leave out same_dropout, or `compile` in the config.'
            )
        self.clear()
        self.model, self._recording = model, True
        try:
            with self.standby(model):
                yield
        finally:
            self._recording = False

    @contextmanager
    def standby(self, model: nn.Module) -> Iterator[None]:
        """Register the capturing hooks for the forwards inside the block, without recording anything.

        A forward that is compiled without hooks does not run hooks that are added later.
        """
        watched = SampleLosses()
        with ExitStack() as stack:
            stack.callback(model.register_forward_pre_hook(self._record, with_kwargs=True).remove)
            if self.sample_losses:
                stack.enter_context(watched.watch(unwrapped(model)))
                keep = self._keep_losses(watched)
                stack.callback(model.register_forward_hook(keep, with_kwargs=True).remove)
            yield

    @torch.compiler.disable  # a compiled forward must not bake in the recorded values
    def _record(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
        if not self._recording or kwargs.get('mode') != 'loss':
            return None
        self._calls.append((args, kwargs))
        if self.same_dropout:
            self._random_state = [('cpu', torch.get_rng_state())]
            if torch.cuda.is_available():
                self._random_state.append(('cuda', torch.cuda.get_rng_state()))
        if self.share == 1:
            return None
        samples = batch_size(args, kwargs)
        count = max(math.ceil(self.share * samples - 1e-9), min(2, samples))
        return None if count == samples else subset(args, kwargs, slice(count), samples)

    def _keep_losses(self, watched: SampleLosses) -> Any:
        @torch.compiler.disable
        def keep(model: nn.Module, args: tuple, kwargs: dict[str, Any], losses: Any) -> None:
            if self._recording and kwargs.get('mode') == 'loss':
                total, _ = unwrapped(model).parse_losses(losses)
                self.total = total.detach()
                with torch.no_grad():
                    self.first_losses = watched.per_sample(losses, total, batch_size(args, kwargs))

        return keep

    def __call__(self, samples: Tensor | None = None) -> Tensor:
        """Run the captured forward again, on all samples or those given by index, and return its total loss.

        Raises:
            RuntimeError: if no loss forward was captured, or more than one.
        """
        losses = self._run(self.model, samples)
        return unwrapped(self.model).parse_losses(losses)[0]  # type: ignore[arg-type]

    def losses_of_samples(self) -> Tensor | None:
        """Run the captured forward again and return the loss of each sample, or None if it does not split."""
        model = unwrapped(self.model)  # type: ignore[arg-type]  # nothing here is for other processes
        watched = SampleLosses()
        with watched.watch(model):
            losses = self._run(model, None)
        total, _ = model.parse_losses(losses)
        self.total = total.detach()
        return watched.per_sample(losses, total, batch_size(*self._calls[0]))

    def _run(self, model: nn.Module | None, samples: Tensor | None) -> dict[str, Any]:
        if model is None or len(self._calls) != 1:
            raise StepError(
                'a sharpness-aware step needs exactly one loss forward inside optim_context before update_params, '
                f'because it runs that forward again at the perturbed weights; got {len(self._calls)}.'
            )
        args, kwargs = self._calls[0]
        if samples is not None:
            args, kwargs = subset(args, kwargs, samples, batch_size(args, kwargs))
        with ExitStack() as stack:
            if self.same_dropout:
                stack.enter_context(_random_state(self._random_state))
            return model(*args, **kwargs)

    def clear(self) -> None:
        """Forget the batch to free its memory before the optimizer steps."""
        self.first_losses = self.total = None
        self._calls.clear()
        self._random_state.clear()


@torch.compiler.disable
def check_train_step(model: nn.Module) -> None:
    """Refuse a model unless its training step is ``BaseModel.train_step``: one forward and one update.

    Raises:
        TypeError: naming the class and the remedy.
    """
    inner = unwrapped(model)
    expected = 'sharpness-aware training replays the one loss forward of mmengine.model.BaseModel.train_step'
    name = type(inner).__name__
    if not isinstance(inner, BaseModel):
        reason = 'has its own train_step' if hasattr(inner, 'train_step') else 'has no train_step'
        raise UnsupportedError(
            f'{expected}, but {name} is not a BaseModel and {reason}; derive it from BaseModel, or call it from one, '
            "with a forward(..., mode='loss') that returns a dict of losses. In a loop without MMEngine, "
            'perturb the weights with samat_mm.perturbations.weights.'
        )
    if type(inner).train_step is not BaseModel.train_step:
        raise UnsupportedError(
            f'{expected}, but {name} has its own train_step (as models with several optimizers do); use a plain '
            'OptimWrapper with it.'
        )
    refuse_activation_checkpointing(inner)
    if model is not inner and not _is_plain_distributed(model):
        raise UnsupportedError(
            f'sharpness-aware training works under MMDistributedDataParallel; got {type(model).__name__}, '
            'whose sharded or separate parameters cannot be perturbed together.'
        )


def _is_plain_distributed(model: Any) -> bool:
    return getattr(type(model), 'train_step', None) is MMDistributedDataParallel.train_step


@contextmanager
def _random_state(states: list[tuple[str, Tensor]]) -> Iterator[None]:
    devices = [torch.cuda.current_device()] if len(states) > 1 else []
    with torch.random.fork_rng(devices=devices):
        for device, state in states:
            torch.set_rng_state(state) if device == 'cpu' else torch.cuda.set_rng_state(state)
        yield
