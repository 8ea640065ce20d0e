"""The confidence of a model: the mean of the largest probability, and the scale of the logits that gives it."""

import math

import torch
from torch import Tensor

LARGEST = 1e3  # scale; the smallest is its inverse
HALVINGS = 40
BLOCK = 1 << 22  # logits in double precision at a time


def scale_for(logits: Tensor, confidence: float, counted: Tensor | None = None) -> Tensor:
    """Return the factor of each image's logits that gives it a mean largest probability of ``confidence``.

    The mean rises with the factor, so bisection of the factor's logarithm finds it. Where no factor in [1e-3, 1e3]
    does, the nearer end; where no label counts, 1.

    Args:
        logits: shape (N, K) or (N, K, ...).
        confidence: above 1 / K and below 1.
        counted: which labels count, shape (N, ...); None for all.

    Returns:
        shape (N,), in at least single precision.
    """
    counted = torch.ones_like(logits[:, 0], dtype=torch.bool) if counted is None else counted
    size = max(1, BLOCK // max(1, logits[0].numel()))
    parts = [
        _bisected(logits[start : start + size].double(), confidence, counted[start : start + size])
        for start in range(0, len(logits), size)
    ]
    return torch.cat(parts).to(torch.promote_types(logits.dtype, torch.float32))


def mean_confidence(logits: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of the largest softmax probability over the labels that count, shape (N,); NaN without any.

    Args:
        logits: shape (N, K, ...).
        counted: shape (N, ...).
    """
    largest = (logits - logits.amax(1, keepdim=True)).exp().sum(1).reciprocal()
    total, labels = (values.reshape(len(logits), -1).sum(1) for values in (largest * counted, counted))
    return total / labels


def _bisected(logits: Tensor, confidence: float, counted: Tensor) -> Tensor:
    high = torch.full_like(logits.flatten(1)[:, 0], math.log(LARGEST))
    low = -high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        scaled = logits * middle.exp().reshape(-1, *[1] * (logits.ndim - 1))
        below = mean_confidence(scaled, counted) < confidence
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.where(counted.reshape(len(logits), -1).any(1), ((low + high) / 2).exp(), 1.0)
