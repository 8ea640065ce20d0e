"""The loss along random directions, scaled to the filters of the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.sharpness.surface import LossSurface

LANDSCAPES = {'none': 0, '1d': 1, '2d': 2}  # number of dimensions by option
POINTS = 21


@dataclass(frozen=True)
class Landscape:
    """Losses on a regular grid around the weights.

    Attributes:
        positions: coordinates along each direction, in filter norms; the weights are at 0.
        losses: shape (P,), or (P, P) with the first direction first.
    """

    positions: Tensor
    losses: Tensor

    def line(self) -> 'Landscape':
        """Return the line along the first direction, through the weights."""
        return self if self.losses.ndim == 1 else Landscape(self.positions, self.losses[:, len(self.positions) // 2])


def filter_normalised_direction(weights: Mapping[str, Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return a random direction in which each filter has the norm of the same filter of the weights.

    Source: Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section 4. A filter produces one
    output: a slice along the first axis. Biases and the weights of normalisation layers (one axis) do not move.

    Args:
        weights: weights by name.
        generator: generator of the Gaussian numbers, on the CPU.
    """
    direction = []
    for weight in weights.values():
        part = torch.randn(weight.shape, generator=generator).to(weight)
        if weight.ndim < 2:
            part.zero_()
        else:
            axes = tuple(range(1, weight.ndim))
            lengths = torch.linalg.vector_norm(weight.detach(), dim=axes, keepdim=True)
            part *= lengths / torch.linalg.vector_norm(part, dim=axes, keepdim=True)
        direction.append(part)
    return direction


def loss_landscape(
    surface: LossSurface, dimensions: int, points: int = POINTS, span: float = 1.0, seed: int = 0
) -> Landscape:
    """Compute the loss on a grid along random filter-normalised directions.

    With the same seed, models of the same architecture get the same directions up to the norms of their filters, and a
    plane has the same first direction as a line.

    Args:
        surface: the loss.
        dimensions: 1 for a line, 2 for a plane.
        points: number of points along each direction, odd to include the weights.
        span: extent of the grid on either side, in filter norms.
        seed: seed of the directions.

    Raises:
        ValueError: unless there are 1 or 2 dimensions, and ``points`` is odd and at least 3.
    """
    if dimensions not in (1, 2):
        raise InputError(f'a landscape has 1 or 2 dimensions; got {dimensions}.')
    if points < 3 or points % 2 == 0:
        raise InputError(f'points must be odd and at least 3, to include the weights; got {points}.')
    numbers = torch.Generator().manual_seed(seed)
    directions = [filter_normalised_direction(surface.weights, numbers) for _ in range(dimensions)]
    positions = span * torch.linspace(-1, 1, points, dtype=torch.float64)
    positions[points // 2] = 0
    losses = []
    for coordinates in product(positions.tolist(), repeat=dimensions):
        offsets = [torch.zeros_like(part) for part in directions[0]]
        for coordinate, direction in zip(coordinates, directions, strict=True):
            torch._foreach_add_(offsets, direction, alpha=coordinate)
        with surface.displaced(offsets):
            losses.append(surface.value())
    return Landscape(positions, torch.tensor(losses, dtype=torch.float64).reshape((points,) * dimensions))
