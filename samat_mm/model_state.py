"""Access to the bare model, and ways to run a model without changing its state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from samat_mm.errors import InputError, StepError
from samat_mm.perturbations.weights.displacement import buffers_kept

__all__ = [
    'buffers_aside',
    'buffers_kept',
    'frozen',
    'frozen_parameters_watched',
    'refuse_activation_checkpointing',
    'refuse_augmented',
    'unwrapped',
]


def unwrapped(model: nn.Module) -> Any:
    """Return the model inside a distributed wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode and freeze every parameter inside the block.

    Modes and ``requires_grad`` are restored one by one, so a backbone kept in evaluation mode or a frozen stage stays
    as it was.
    """
    modes = [(module, module.training) for module in model.modules()]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for module, _ in modes:
            module.training = False
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in trainable:
            parameter.requires_grad_(True)


def refuse_activation_checkpointing(model: nn.Module) -> None:
    """Refuse models that recompute activations, as OpenMMLab's ``with_cp=True`` does: the gradients would be wrong.

    Raises:
        ValueError: naming a module.
    """
    for name, module in model.named_modules():
        if getattr(module, 'with_cp', False):
            raise InputError(
                f'{name or type(module).__name__} has with_cp=True, and reentrant activation checkpointing only gives '
                'gradients in a full backward; set with_cp=False.'
            )


def refuse_augmented(model: nn.Module) -> None:
    """Refuse test-time augmentation, whose predictions combine several inputs per image.

    Raises:
        ValueError: naming the class.
    """
    if isinstance(model, BaseTTAModel):
        raise InputError(
            f'{type(model).__name__} averages over augmented copies of each image, but attacks and reports need one '
            'input per image; test without test-time augmentation, with the model and the pipeline of plain tests.'
        )


@contextmanager
def buffers_aside(model: nn.Module) -> Iterator[None]:
    """Run the block on copies of the buffers; the buffers themselves do not change.

    Unlike :func:`buffers_kept`, this changes nothing in place, so forwards before and inside the block can share a
    backward pass after it.
    """
    kept = [
        (module, name, buffer) for module in model.modules() for name, buffer in module.named_buffers(recurse=False)
    ]
    try:
        for module, name, buffer in kept:
            module._buffers[name] = buffer.detach().clone()
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


@contextmanager
def frozen_parameters_watched(model: nn.Module) -> Iterator[None]:
    """Undo and refuse changes of untrained parameters inside the block.

    Raises:
        RuntimeError: naming a changed parameter. The forward of a model with a momentum encoder changes one, and an
            extra forward would change it once more.
    """
    # By value: MMEngine's averaged models write through .data, which does not update the version counter.
    saved = [
        (name, value, value.detach().clone()) for name, value in model.named_parameters() if not value.requires_grad
    ]
    changed: list[str] = []
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value, before in saved:
                if not torch.equal(value, before):
                    changed.append(name)
                    value.copy_(before)
    if changed:
        raise StepError(
            f'the forward of {type(model).__name__} changes {changed[0]}, a parameter that is not trained (a momentum '
            'encoder?); an extra forward would change it once more. Use a plain OptimWrapper '
            'with this model, and do not measure its sharpness.'
        )
