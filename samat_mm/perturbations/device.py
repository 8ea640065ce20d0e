"""Between host and device: values that go there without a wait, and values that come back in a single wait."""

from collections.abc import Sequence

import torch
from torch import Tensor


def moved(values: Tensor, like: Tensor) -> Tensor:
    """Return values of the CPU in the type and on the device of ``like``, without waiting for the device."""
    return (values.pin_memory() if like.is_cuda else values).to(like, non_blocking=True)


def extremes(values: Tensor) -> tuple[float, float]:
    """Return the smallest and the largest value, NaN where there is one, in one wait for the device."""
    lowest, highest = torch.stack(torch.aminmax(values.detach())).tolist()
    return lowest, highest


def true_rows(mask: Tensor) -> list[int]:
    """Return the indices of the true entries of a mask (N,), in one wait."""
    return [row for row, value in enumerate(mask.tolist()) if value]


def row_indices(rows: Sequence[int], like: Tensor) -> Tensor:
    """Return indices on the device of ``like``, without waiting for it."""
    return moved(torch.tensor(rows, dtype=torch.long), like.new_empty(0, dtype=torch.long))
