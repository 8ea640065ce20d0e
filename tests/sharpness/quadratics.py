"""Losses of which everything is known in closed form."""

import torch
from torch import Tensor

from samat_mm.sharpness import LossSurface


def symmetric(size: int, seed: int = 0) -> Tensor:
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return matrix + matrix.T


def quadratic(matrix: Tensor, seed: int = 1, shapes: tuple[tuple[int, ...], ...] = ()) -> LossSurface:
    """Return ``w' A w / 2`` at a random point, the weights in tensors of the given shapes."""
    numbers = torch.Generator().manual_seed(seed)
    weights = {
        f'weight{index}': torch.randn(shape, generator=numbers, dtype=matrix.dtype).requires_grad_()
        for index, shape in enumerate(shapes or ((len(matrix),),))
    }

    def loss() -> Tensor:
        vector = torch.cat([weight.reshape(-1) for weight in weights.values()])
        return vector @ matrix @ vector / 2

    return LossSurface(weights, [(1.0, loss)])


def point_of(surface: LossSurface) -> Tensor:
    return torch.cat([weight.detach().reshape(-1) for weight in surface.weights.values()])
