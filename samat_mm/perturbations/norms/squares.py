"""The changes that the Square attack tries; a norm chooses among them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

Draw = Callable[[int], Tensor]  # the next random numbers in [0, 1) of each image, from their count n to (N, n)


class Proposals(ABC):
    """How the perturbation of each image starts and changes."""

    @abstractmethod
    def start(self, images: Tensor, draw: Draw) -> Tensor:
        """Return the first images to ask the model about."""

    @abstractmethod
    def propose(self, images: Tensor, best: Tensor, share: float, draw: Draw) -> Tensor:
        """Return the next images to ask the model about.

        Args:
            images: the originals, shape (N, C, H, W).
            best: the best images so far.
            share: share of the image that a square covers.
            draw: source of random numbers.
        """


class Windows(Proposals):
    """Concentric squares whose length moves from one window of the perturbation to another.

    Args:
        eps: the radius.
        power: 1 or 2, the power of lengths that adds up over the parts of a perturbation.
        fit: from images and a perturbation to images on the sphere, as far as the pixel box allows.
    """

    def __init__(self, eps: float, power: int, fit: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.eps, self.power, self.fit = eps, power, fit

    def start(self, images: Tensor, draw: Draw) -> Tensor:
        """Return the images with a grid of patterns, five to a side."""
        height, width = images.shape[2:]
        side = max(min(height, width) // 5, 1)
        delta = torch.zeros_like(images)
        for top in range((height % side) // 2, height - side + 1, side):
            for left in range((width % side) // 2, width - side + 1, side):
                patterns = self._patterns(side, draw(1 + images.shape[1]))
                delta[:, :, top : top + side, left : left + side] = patterns
        return self.fit(images, delta)

    def propose(self, images: Tensor, best: Tensor, share: float, draw: Draw) -> Tensor:
        """Return the best images with the length of two windows, and all unused length, in the first of them.

        Each channel keeps its own length and takes an equal share of the unused length.
        """
        channels, height, width = images.shape[1:]
        side = max(round(math.sqrt(share * height * width)), 3)
        side = min(side + 1 - side % 2, height, width)  # odd: the pattern has a centre
        draws = draw(5 + channels)  # two places, the orientation and the signs
        every = torch.arange(len(images), device=images.device)[:, None, None, None]
        channel = torch.arange(channels, device=images.device)[None, :, None, None]
        first, second = (
            (
                every,
                channel,
                window(draws[:, place], height, side)[:, None, :, None],
                window(draws[:, place + 1], width, side)[:, None, None, :],
            )
            for place in (0, 2)
        )
        delta = best - images
        touched = torch.zeros_like(delta)
        touched[first] = touched[second] = 1
        unused = (self.eps**self.power - self._length(delta) ** self.power).clamp_min(0)
        old = delta[first]
        new = self._patterns(side, draws[:, 4:]) + old / (self._length(old, (2, 3)) + 1e-12)
        length = self._length(delta * touched, (2, 3)) ** self.power
        length = (unused / channels + length).pow(1 / self.power)
        delta[second] = 0
        delta[first] = new / (self._length(new, (2, 3)) + 1e-12) * length
        return self.fit(images, delta)

    def _length(self, values: Tensor, axes: tuple[int, ...] = (1, 2, 3)) -> Tensor:
        """Return the norm over these axes, which stay."""
        return values.abs().pow(self.power).sum(axes, keepdim=True).pow(1 / self.power)

    def _patterns(self, side: int, draws: Tensor) -> Tensor:
        """Return patterns of norm 1, shape (N, C, side, side): a positive half and a negative one.

        Args:
            side: their size.
            draws: the orientation and the sign of each channel, shape (N, 1 + C).
        """
        half = torch.cat([self._rings(side // 2, side), -self._rings(side - side // 2, side)]).to(draws)
        half = half / self._length(half, (0, 1))
        turned = torch.where((draws[:, 0] > 0.5)[:, None, None], half.T, half)
        return turned[:, None] * signs(draws[:, 1:])[:, :, None, None]

    def _rings(self, height: int, width: int) -> Tensor:
        """Return rectangles around a centre, each by 1 / (rank + 1)^2 higher than the one around it; norm 1."""
        rings = torch.zeros(height, width)
        middle = (height // 2, width // 2)
        for rank in range(max(middle) + 1):
            top, left = max(middle[0] - rank, 0), max(middle[1] - rank, 0)
            rings[top : middle[0] + rank + 1, left : middle[1] + rank + 1] += 1 / (rank + 1) ** 2
        return rings / self._length(rings, (0, 1)).clamp_min(torch.finfo(rings.dtype).tiny)


def signs(draws: Tensor) -> Tensor:
    """Return -1 or 1 for draws in [0, 1)."""
    return torch.where(draws < 0.5, -1.0, 1.0).to(draws)


def window(draws: Tensor, extent: int, side: int) -> Tensor:
    """Return the coordinates of a window, shape (N, side); as in the authors' code the last place is never drawn."""
    first = (draws * (extent - side)).long().clamp_max(max(extent - side - 1, 0))
    return first[:, None] + torch.arange(side, device=draws.device)
