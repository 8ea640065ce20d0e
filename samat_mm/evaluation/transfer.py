"""Attacks whose images are made on one model, the surrogate, and scored by another."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.crafting.crafting import Crafting
from samat_mm.errors import InputError
from samat_mm.evaluation.attacked_batch import AttackedBatch
from samat_mm.model_state import refuse_augmented, unwrapped
from samat_mm.perturbations.inputs import Attack
from samat_mm.pixels.on_surrogate import OnSurrogate
from samat_mm.tasks import Task, Undecided, task_of
from samat_mm.tasks.base import without_goal
from samat_mm.tasks.decisions import final_head

SAME_PIXEL = 1e-4  # rounding, in [0, 1] pixel units
HEADS = ('decode_head', 'head')  # of mmsegmentation's and mmpretrain's models


def on_surrogate(crafting: Crafting, surrogate: nn.Module, task: Task) -> Crafting:
    """Return how attacks run on a surrogate, by the same protocol and in the same precision.

    Args:
        crafting: how they run on the model itself.
        surrogate: a bare model.
        task: its task on the data set.
    """
    return Crafting(surrogate, crafting.dtype, (OnSurrogate(surrogate, task), *crafting.views))


def checked_surrogate(
    crafting: Crafting, surrogate: nn.Module, batch: AttackedBatch, metrics: Iterable[Any]
) -> Crafting:
    """Return how attacks run on a surrogate that fits the model; see :func:`on_surrogate`.

    Args:
        crafting: how they run on the model itself.
        surrogate: the surrogate, which is moved to the device of the images.
        batch: an image of the test, in front of the model.
        metrics: the metrics of the test.

    Raises:
        ValueError: if the surrogate has another task, another number of classes or other inputs.
    """
    surrogate = unwrapped(surrogate)
    refuse_augmented(surrogate)
    surrogate.to(batch.data['inputs'].device)
    _refuse_other_head(surrogate, batch.model)
    own = AttackedBatch(surrogate, batch.raw)
    own.task = task_of(surrogate, own.data['data_samples'], metrics)
    if type(own.task) is not type(batch.task):
        raise InputError(
            f'the surrogate is of the task {type(own.task).__name__} and the model of {type(batch.task).__name__}; '
            'give a surrogate that was trained for the same.'
        )
    found = on_surrogate(crafting, surrogate, own.task)
    _refuse_other_inputs(own, batch)
    if not isinstance(batch.task, Undecided):
        _refuse_other_classes(own, batch)
    return found


def to_the_end(attack: Attack) -> Attack:
    """Return the attack as it runs on a surrogate: to its last step, as the surrogate's first error is not the model's.

    An attack that drives a classifier to another class, such as FAB, knows no other end and stays as it is.
    """
    return without_goal(attack)


def _refuse_other_head(surrogate: nn.Module, model: nn.Module) -> None:
    for name in HEADS:
        if final_head(model, name) is not None and final_head(surrogate, name) is None:
            raise InputError(
                f'the surrogate must have the task of the model, but the {type(surrogate).__name__} has no {name}, as '
                f'the {type(model).__name__} has; give a surrogate that was trained for the same.'
            )


def _refuse_other_inputs(own: AttackedBatch, batch: AttackedBatch) -> None:
    """Refuse a surrogate whose data preprocessor does more than normalise, as far as one image shows."""
    space, _ = OnSurrogate(own.model, own.task)(batch.space)
    theirs, ours = (tuple(inputs.shape[1:]) for inputs in (own.data['inputs'], space.inputs))
    if theirs != ours:
        raise InputError(
            f'the surrogate must get the same pixels as the model, but its data preprocessor makes inputs of '
            f'{_size(theirs)} from an image of which that of the model makes {_size(ours)}; give both the same size '
            'and padding.'
        )
    change = float(((own.data['inputs'] - space.inputs) * space.std).abs().max())
    if change > SAME_PIXEL:
        raise InputError(
            f'the surrogate must get the same pixels as the model, up to mean, std and the order of channels, but its '
            f'data preprocessor changes them by up to {change:.3g} of their range; give both the same padding, and '
            'images that both leave as they are.'
        )


def _refuse_other_classes(own: AttackedBatch, batch: AttackedBatch) -> None:
    """Refuse a surrogate with other classes, or whose logits are not what it decides by."""
    theirs, ours = (_logits(each).shape[1] for each in (own, batch))
    if theirs != ours:
        raise InputError(
            f'the surrogate must have the classes of the model, but it has {theirs} and the model {ours}; give a '
            'surrogate that was trained on the same classes.'
        )


def _logits(batch: AttackedBatch) -> Tensor:
    with torch.no_grad():
        return batch.task.compared(batch.model, batch.data['inputs'], batch.data['data_samples'])[1]


def _size(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape))
