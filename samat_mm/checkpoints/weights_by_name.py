"""The weights in a checkpoint, by the names that the bare model gives them."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from samat_mm.errors import InputError

_COMPILED = re.compile(r'(^|(?<=\.))_orig_mod\.')  # torch.compile, around the model or a part of it
_WRAPPED = re.compile(r'^(module\.)+')  # DataParallel, DDP, averaged models
_COUNTERS = ('n_averaged', 'steps')  # what torch's and MMEngine's averaged models keep beside the weights


def bare_name(key: str) -> str:
    """Return the name of a weight without the prefixes that wrappers of a model add."""
    return _WRAPPED.sub('', _COMPILED.sub('', key))


def weights_by_name(checkpoint: Any, origin: str) -> dict[str, Tensor]:
    """Return the weights of a checkpoint: under ``state_dict``, or at the top.

    Under ``state_dict``, MMEngine keeps the averaged weights of a training with an ``EMAHook``.

    Args:
        checkpoint: what was loaded.
        origin: where it comes from, for errors.

    Raises:
        ValueError: if there are no weights in these places, or two of the same name.
    """
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else {}
    state = state if isinstance(state, Mapping) else {}
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f'{origin} holds no weights under "state_dict" or at the top{_places(checkpoint)}.')
    if all(key.startswith('module.') for key in tensors if key not in _COUNTERS):
        tensors = {key: value for key, value in tensors.items() if key not in _COUNTERS}
    named = {bare_name(key): value for key, value in tensors.items()}
    if len(named) < len(tensors):
        raise InputError(f'{origin} holds the weights of two models, with and without the prefix of a wrapper.')
    return named


def _places(checkpoint: Any) -> str:
    """Return in words where a file of another project keeps weights: which of them are wanted is not ours to guess."""
    if not isinstance(checkpoint, Mapping):
        return f', but a {type(checkpoint).__name__}'
    found = [
        f'{len(part)} under {key!r}'
        for key, part in checkpoint.items()
        if isinstance(part, Mapping) and part and all(isinstance(value, Tensor) for value in part.values())
    ]
    return f', but {" and ".join(found)}; save the ones you want in a file of their own' if found else ''
