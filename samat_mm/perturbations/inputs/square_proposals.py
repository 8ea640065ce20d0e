"""What the Square attack tries next, in linf and in l2."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from samat_mm.perturbations.inputs.uniforms import Uniforms


class Proposals(ABC):
    """How the perturbation starts and changes; ``eps`` is the radius of the ball."""

    smallest: int

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def side(self, share: float, images: Tensor) -> int:
        """Return the side of a square that covers this share of the image, cut to fit a narrow image."""
        height, width = images.shape[2:]
        side = max(round(math.sqrt(share * height * width)), self.smallest)
        return min(self.shape_side(side), height, width)

    def shape_side(self, side: int) -> int:
        """Return the side that the change can have."""
        return side

    @abstractmethod
    def draws(self, images: Tensor) -> int:
        """Return how many random numbers a query takes."""

    @abstractmethod
    def start(self, images: Tensor, uniforms: Uniforms) -> Tensor:
        """Return the first images to ask the model about."""

    @abstractmethod
    def propose(self, images: Tensor, best: Tensor, side: int, draws: Tensor) -> Tensor:
        """Return the next images to ask the model about."""


class LinfProposals(Proposals):
    """Vertical stripes of ``+-eps`` first, then squares of one sign per channel."""

    smallest = 1

    def draws(self, images: Tensor) -> int:
        """Return 2 for the place and one sign per channel."""
        return 2 + images.shape[1]

    def start(self, images: Tensor, uniforms: Uniforms) -> Tensor:
        """Return the images with stripes of the width of a pixel."""
        count, channels, _, width = images.shape
        stripes = _signs(uniforms.take(torch.arange(count, device=images.device), channels * width)).reshape(
            count, channels, 1, width
        )
        return (images + self.eps * stripes).clamp(0, 1)

    def propose(self, images: Tensor, best: Tensor, side: int, draws: Tensor) -> Tensor:
        """Return the best images with one square moved to a corner of the ball."""
        height, width = images.shape[2:]
        rows, columns = _window(draws[:, 0], height, side), _window(draws[:, 1], width, side)
        inside = torch.zeros_like(images[:, :1])
        inside[
            torch.arange(len(images), device=images.device)[:, None, None], 0, rows[:, :, None], columns[:, None]
        ] = 1
        moved = best + inside * (2 * self.eps * _signs(draws[:, 2:]))[:, :, None, None]
        return torch.minimum(torch.maximum(moved, images - self.eps), images + self.eps).clamp(0, 1)


class L2Proposals(Proposals):
    """Concentric squares whose length moves from one window of the perturbation to another."""

    smallest = 3

    def shape_side(self, side: int) -> int:
        """Return the next odd side: the pattern has a centre."""
        return side + 1 - side % 2

    def draws(self, images: Tensor) -> int:
        """Return 4 for two places, 1 for the orientation, and one sign per channel."""
        return 5 + images.shape[1]

    def start(self, images: Tensor, uniforms: Uniforms) -> Tensor:
        """Return the images with a grid of patterns, five to a side."""
        count, channels, height, width = images.shape
        side = max(min(height, width) // 5, 1)
        delta = torch.zeros_like(images)
        for top in range((height % side) // 2, height - side + 1, side):
            for left in range((width % side) // 2, width - side + 1, side):
                draws = uniforms.take(torch.arange(count, device=images.device), 1 + channels)
                delta[:, :, top : top + side, left : left + side] = _patterns(side, draws[:, 0], draws[:, 1:])
        return self._at_radius(images, delta)

    def propose(self, images: Tensor, best: Tensor, side: int, draws: Tensor) -> Tensor:
        """Return the best images with the length of two windows, and what was unused, in the first of them.

        Each channel keeps its own length and takes an equal share of what was unused.
        """
        height, width = images.shape[2:]
        image = torch.arange(len(images), device=images.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        first, second = (
            (
                image,
                channel,
                _window(draws[:, place], height, side)[:, None, :, None],
                _window(draws[:, place + 1], width, side)[:, None, None, :],
            )
            for place in (0, 2)
        )
        delta = best - images
        touched = torch.zeros_like(delta)
        touched[first] = touched[second] = 1
        unused = (self.eps**2 - _length(delta) ** 2).clamp_min(0)
        old = delta[first]
        new = _patterns(side, draws[:, 4], draws[:, 5:]) + old / (_length(old, (2, 3)) + 1e-12)
        length = (unused / images.shape[1] + _length(delta * touched, (2, 3)) ** 2).sqrt()
        delta[second] = 0
        delta[first] = new / (_length(new, (2, 3)) + 1e-12) * length
        return self._at_radius(images, delta)

    def _at_radius(self, images: Tensor, delta: Tensor) -> Tensor:
        return (images + delta / (_length(delta) + 1e-12) * self.eps).clamp(0, 1)


PROPOSALS: dict[str, type[Proposals]] = {'linf': LinfProposals, 'l2': L2Proposals}


def _signs(draws: Tensor) -> Tensor:
    return torch.where(draws < 0.5, -1.0, 1.0).to(draws)


def _window(draws: Tensor, extent: int, side: int) -> Tensor:
    """Return the coordinates of a window, shape (N, side); as in the authors' code the last place is never drawn."""
    first = (draws * (extent - side)).long().clamp_max(max(extent - side - 1, 0))
    return first[:, None] + torch.arange(side, device=draws.device)


def _length(values: Tensor, axes: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    return values.square().sum(axes, keepdim=True).sqrt()


def _patterns(side: int, orientation: Tensor, signs: Tensor) -> Tensor:
    """Return patterns of unit length, shape (N, C, side, side): a positive half and a negative one."""
    half = torch.cat([_rings(side // 2, side), -_rings(side - side // 2, side)]).to(signs)
    half = half / half.square().sum().sqrt()
    turned = torch.where((orientation > 0.5)[:, None, None], half.T, half)
    return turned[:, None] * _signs(signs)[:, :, None, None]


def _rings(height: int, width: int) -> Tensor:
    """Return rectangles around a centre, each by 1 / (rank + 1)^2 higher than the one around it; unit length."""
    rings = torch.zeros(height, width)
    middle = (height // 2, width // 2)
    for rank in range(max(middle) + 1):
        top, left = max(middle[0] - rank, 0), max(middle[1] - rank, 0)
        rings[top : middle[0] + rank + 1, left : middle[1] + rank + 1] += 1 / (rank + 1) ** 2
    return rings / rings.square().sum().sqrt().clamp_min(torch.finfo(rings.dtype).tiny)
