"""Values that belong to the samples of a batch."""

import torch
from torch import Tensor


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Return values (N,) in a shape that goes with tensors (N, ...) like another one."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def choose(first: Tensor, ours: Tensor, others: Tensor) -> Tensor:
    """Return the rows of ``ours`` where ``first`` (N,) is true, and of ``others`` elsewhere."""
    return torch.where(per_sample(first, ours), ours, others)
