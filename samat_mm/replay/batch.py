"""The samples of a preprocessed batch, in any form that a model takes."""

from typing import Any

from torch import Tensor

from samat_mm.errors import UnsupportedError


def batch_size(args: tuple, kwargs: dict[str, Any]) -> int:
    """Return the number of samples in the arguments of a model's forward.

    Raises:
        TypeError: if the arguments contain neither data samples nor a tensor.
    """
    samples = kwargs.get('data_samples')
    if isinstance(samples, (list, tuple)) and samples:
        return len(samples)
    for value in (*args, *kwargs.values()):
        if isinstance(value, (list, tuple)) and value and all(isinstance(v, Tensor) and v.ndim < 4 for v in value):
            return len(value)  # one image per sample
        tensor = _first_tensor(value)
        if tensor is not None:
            return len(tensor)
    raise UnsupportedError(f'a batch needs data samples or a tensor of inputs; got {[*args, *kwargs]}.')


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value if value.ndim else None
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return next((tensor for tensor in map(_first_tensor, entries) if tensor is not None), None)


Indices = Tensor | slice  # selected samples; a slice is known on the host and needs no copy to the device


def subset(args: tuple, kwargs: dict[str, Any], indices: Indices, samples: int) -> tuple[tuple, dict[str, Any]]:
    """Return the arguments of a forward with the given samples only, in the given order.

    Tensors whose first dimension is the batch are indexed, and lists with one entry per sample are filtered. Other
    containers are searched recursively; a list of batches (the views of a self-supervised model) counts as a container.

    Args:
        args: positional arguments for ``samples`` samples.
        kwargs: keyword arguments.
        indices: samples to keep, shape (M,) or a slice.
        samples: number of samples in the arguments.
    """
    return (
        tuple(_picked(value, indices, samples) for value in args),
        {key: _picked(value, indices, samples) for key, value in kwargs.items()},
    )


def _picked(value: Any, indices: Indices, samples: int) -> Any:
    if isinstance(value, Tensor):
        if not value.ndim or len(value) != samples:
            return value
        return value[indices if isinstance(indices, slice) else indices.to(value.device)]
    if isinstance(value, dict):
        return {key: _picked(entry, indices, samples) for key, entry in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) == samples and not _are_batches(value, samples):
        return list(value[indices]) if isinstance(indices, slice) else [value[index] for index in indices.tolist()]
    return type(value)(_picked(entry, indices, samples) for entry in value)


def _are_batches(entries: Any, samples: int) -> bool:
    return all(isinstance(entry, Tensor) and entry.ndim >= 4 and len(entry) == samples for entry in entries)
