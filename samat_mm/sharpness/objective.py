"""The loss whose sharpness is measured: an MMEngine model's training loss on fixed batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError, UnsupportedError
from samat_mm.model_state import buffers_kept, frozen_parameters_watched, refuse_activation_checkpointing
from samat_mm.replay.batch import batch_size
from samat_mm.sharpness.random_numbers import seeded_generators
from samat_mm.sharpness.surface import LossSurface


def prepare(model: nn.Module, batches: Sequence[Any], seed: int = 0) -> list[dict[str, Any]]:
    """Preprocess batches as in a training step, on the model's device.

    Args:
        model: the bare model (not its distributed wrapper).
        batches: batches from a data loader; preprocessing may modify them.
        seed: seed of batch augmentation such as mixup.

    Raises:
        TypeError: if a batch has no ``inputs``.
    """
    with seeded_generators(seed), torch.no_grad():
        prepared = [model.data_preprocessor(batch, True) for batch in batches]  # type: ignore[operator]
    for batch in prepared:
        if not isinstance(batch, dict) or 'inputs' not in batch:
            raise UnsupportedError(
                "sharpness is measured on batches {'inputs': images, 'data_samples': ...}; "
                f'got {type(batch).__name__}.'
            )
    return prepared


def sample_count(batches: Sequence[dict[str, Any]]) -> int:
    """Return the number of samples in preprocessed batches."""
    return sum(batch_size((), batch) for batch in batches)


@contextmanager
def loss_surface(
    model: nn.Module, batches: Sequence[dict[str, Any]], on_pass: Callable[[], None] = lambda: None
) -> Iterator[LossSurface]:
    """Yield the model's training loss as a function of its trainable parameters.

    The loss is the one that the model's training step differentiates, averaged over the batches with their numbers of
    samples as weights. Modules without children (normalisation, dropout, stochastic depth) are in evaluation mode, so
    the loss depends only on the weights. The other modules stay in training mode, because some segmentors compute the
    outputs for their loss only there. Remaining randomness, such as dropout inside attention, gets the same numbers at
    every evaluation.

    After the block, weights, buffers, modes, ``requires_grad``, ``.grad`` and random state are as before.

    Args:
        model: the bare model (not its distributed wrapper).
        batches: from :func:`prepare`.
        on_pass: see :class:`LossSurface`.

    Raises:
        ValueError: if nothing is trainable, or the model recomputes activations (``with_cp=True``).
        RuntimeError: if the forward changes parameters that are not trained.
    """
    refuse_activation_checkpointing(model)
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    samples = sample_count(batches)
    terms = [
        (batch_size((), batch) / samples, partial(_batch_loss, model, batch, number))
        for number, batch in enumerate(batches)
    ]
    with buffers_kept(model), frozen_parameters_watched(model), _leaves_in_evaluation_mode(model):
        yield LossSurface(weights, terms, on_pass)


def _batch_loss(model: nn.Module, batch: dict[str, Any], number: int) -> Tensor:
    # Bypass the hooks of the outermost module, because training hooks must not see a measurement.
    with seeded_generators(number):
        loss, _ = model.parse_losses(model.forward(**batch, mode='loss'))  # type: ignore[operator]
    if not isinstance(loss, Tensor) or (torch.is_grad_enabled() and not loss.requires_grad):
        raise InputError(
            f'{type(model).__name__} has no training loss that depends on its trainable parameters, so its '
            'sharpness cannot be measured.'
        )
    return loss


@contextmanager
def _leaves_in_evaluation_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = next(module.children(), None) is not None
        yield
    finally:
        for module, training in modes:
            module.training = training
