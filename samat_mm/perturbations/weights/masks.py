"""Masks of zeros and ones that leave most of an ascent to the weights that matter."""

from collections.abc import Mapping

import torch
from torch import Tensor

from samat_mm.perturbations.weights.parts import Memory, Named, Weights


def apply_mask(weights: Weights, vectors: list[Tensor], memory: Memory) -> None:
    """Set the vectors to 0 where the mask in the memory is 0; without a mask they stay."""
    for name, vector in zip(weights, vectors, strict=True):
        if memory['mask']:
            mask = memory['mask'].get(name)
            vector.zero_() if mask is None else vector.mul_(mask.to(vector.device))


def draws(like: Named, memory: Memory) -> Named:
    """Return uniform random numbers of the shapes of tensors."""
    return {
        name: torch.rand(tensor.shape, generator=memory['numbers'].on(tensor.device), device=tensor.device)
        for name, tensor in like.items()
    }


def count(tensors: Named, portion: float) -> int:
    """Return the number of elements in that portion of all tensors, at least one."""
    return max(round(sum(tensor.numel() for tensor in tensors.values()) * portion), 1)


def largest(scores: Mapping[str, Tensor], number: int) -> Named:
    """Return boolean tensors that are true at exactly the ``number`` largest of all scores."""
    device = next(iter(scores.values())).device
    flat = torch.cat([score.flatten().to(device) for score in scores.values()])
    mask = torch.zeros(len(flat), dtype=torch.bool, device=device)
    mask.index_fill_(0, torch.topk(flat, number).indices, True)
    pieces = mask.split([score.numel() for score in scores.values()])
    return {
        name: piece.view(score.shape).to(score.device)
        for (name, score), piece in zip(scores.items(), pieces, strict=True)
    }
