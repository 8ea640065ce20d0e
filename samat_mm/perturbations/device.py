"""Between host and device: numbers that go there without a wait, and those that come back in a single one."""

from collections.abc import Sequence

import torch
from torch import Tensor


def moved(values: Tensor, like: Tensor) -> Tensor:
    """Return values of the CPU in the type and on the device of ``like``, without waiting for what the device does."""
    return (values.pin_memory() if like.is_cuda else values).to(like, non_blocking=True)


def extremes(values: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest value, NaN where there is one, in one wait for the device."""
    lowest, highest = torch.stack(torch.aminmax(values.detach())).tolist()
    return lowest, highest


def row_indices(rows: Sequence[int], like: Tensor) -> Tensor:
    """Return indices on the device of ``like``, without waiting for it."""
    return moved(torch.tensor(rows, dtype=torch.long), like.new_empty(0, dtype=torch.long))
