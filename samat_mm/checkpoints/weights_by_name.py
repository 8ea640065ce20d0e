"""Read the weights of a checkpoint by their names in the bare model."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from samat_mm.errors import InputError

_COMPILED = re.compile(r'(^|(?<=\.))_orig_mod\.')  # torch.compile, around the model or a part of it
_WRAPPED = re.compile(r'^(module\.)+')  # DataParallel, DDP, averaged models
_COUNTERS = ('n_averaged', 'steps')  # extra buffers in the averaged models of torch and MMEngine


def bare_name(key: str) -> str:
    """Return the name of a weight without the prefixes of model wrappers."""
    return _WRAPPED.sub('', _COMPILED.sub('', key))


def weights_by_name(checkpoint: Any, origin: str) -> dict[str, Tensor]:
    """Return the weights of a checkpoint: under ``state_dict``, or at the top.

    With an ``EMAHook``, MMEngine saves the averaged weights under ``state_dict``.

    Args:
        checkpoint: the loaded object.
        origin: source of the checkpoint, for errors.

    Raises:
        ValueError: if neither place has weights, or two weights have the same name.
    """
    state = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, Mapping) else {}
    state = state if isinstance(state, Mapping) else {}
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f'{origin} has no weights under "state_dict" or at the top{_places(checkpoint)}.')
    if all(key.startswith('module.') for key in tensors if key not in _COUNTERS):
        tensors = {key: value for key, value in tensors.items() if key not in _COUNTERS}
    named = {bare_name(key): value for key, value in tensors.items()}
    if len(named) < len(tensors):
        raise InputError(f'{origin} has the weights of two models, with and without the prefix of a wrapper.')
    return named


def _places(checkpoint: Any) -> str:
    """Describe where another project's file keeps its weights; the user has to choose among them."""
    if not isinstance(checkpoint, Mapping):
        return f', but a {type(checkpoint).__name__}'
    found = [
        f'{len(part)} under {key!r}'
        for key, part in checkpoint.items()
        if isinstance(part, Mapping) and part and all(isinstance(value, Tensor) for value in part.values())
    ]
    return f', but {" and ".join(found)}; save the ones you want in a separate file' if found else ''
