"""The state of a model: the bare model itself, and running it without leaving a trace in it."""

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

    Modes and ``requires_grad`` come back one by one, so that a backbone kept in evaluation mode or a frozen stage is
    found as it was.
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
                f'{name or type(module).__name__} has with_cp=True, and reentrant activation checkpointing gives no '
                'gradients but by a full backward; set with_cp=False.'
            )


def refuse_augmented(model: nn.Module) -> None:
    """Refuse test-time augmentation, whose predictions are of several inputs for each image.

    Raises:
        ValueError: naming the class.
    """
    if isinstance(model, BaseTTAModel):
        raise InputError(
            f'{type(model).__name__} averages over augmented copies of each image, and attacks and reports are of one '
            'input per image; test without test-time augmentation, with the model and the pipeline of plain tests.'
        )


@contextmanager
def buffers_aside(model: nn.Module) -> Iterator[None]:
    """Let the block work on copies of the buffers, which are left as they are.

    Unlike :func:`buffers_kept` this changes nothing in place, so that forwards before and inside the block can share a
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
    """Refuse a block that changes a parameter which is not trained, and take the change back.

    Raises:
        RuntimeError: naming one. The forward of a model with a momentum encoder does this, and one more forward than
            training takes would do it once more.
    """
    # By value: MMEngine's averaged models write through .data, which leaves no trace in the version counter.
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
            'encoder?); a forward beside that of plain training would change it once more. Use a plain OptimWrapper '
            'with this model, and do not measure its sharpness.'
        )
