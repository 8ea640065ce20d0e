"""What the Square attack tries next; each norm says what of it is its own."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from samat_mm.perturbations.randomness import RandomStreams


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
    def start(self, images: Tensor, streams: RandomStreams) -> Tensor:
        """Return the first images to ask the model about."""

    @abstractmethod
    def propose(self, images: Tensor, best: Tensor, side: int, draws: Tensor) -> Tensor:
        """Return the next images to ask the model about."""


class Windows(Proposals):
    """Concentric squares whose length moves from one window of the perturbation to another.

    Args:
        eps: the radius.
        power: of the norm: 1 or 2. This power of the length of parts adds up.
        fit: from images and a perturbation to images on the sphere, as far as the pixel box allows.
    """

    smallest = 3

    def __init__(self, eps: float, power: int, fit: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(eps)
        self.power, self.fit = power, fit

    def length(self, values: Tensor, axes: tuple[int, ...] = (1, 2, 3)) -> Tensor:
        """Return the norm over these axes, which stay."""
        return values.abs().pow(self.power).sum(axes, keepdim=True).pow(1 / self.power)

    def shape_side(self, side: int) -> int:
        """Return the next odd side: the pattern has a centre."""
        return side + 1 - side % 2

    def draws(self, images: Tensor) -> int:
        """Return 4 for two places, 1 for the orientation, and one sign per channel."""
        return 5 + images.shape[1]

    def start(self, images: Tensor, streams: RandomStreams) -> Tensor:
        """Return the images with a grid of patterns, five to a side."""
        count, channels, height, width = images.shape
        side = max(min(height, width) // 5, 1)
        delta = torch.zeros_like(images)
        for top in range((height % side) // 2, height - side + 1, side):
            for left in range((width % side) // 2, width - side + 1, side):
                draws = streams.take(torch.arange(count, device=images.device), 1 + channels)
                delta[:, :, top : top + side, left : left + side] = self._patterns(side, draws[:, 0], draws[:, 1:])
        return self.fit(images, delta)

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
                window(draws[:, place], height, side)[:, None, :, None],
                window(draws[:, place + 1], width, side)[:, None, None, :],
            )
            for place in (0, 2)
        )
        delta = best - images
        touched = torch.zeros_like(delta)
        touched[first] = touched[second] = 1
        unused = (self.eps**self.power - self.length(delta) ** self.power).clamp_min(0)
        old = delta[first]
        new = self._patterns(side, draws[:, 4], draws[:, 5:]) + old / (self.length(old, (2, 3)) + 1e-12)
        length = self.length(delta * touched, (2, 3)) ** self.power
        length = (unused / images.shape[1] + length).pow(1 / self.power)
        delta[second] = 0
        delta[first] = new / (self.length(new, (2, 3)) + 1e-12) * length
        return self.fit(images, delta)

    def _patterns(self, side: int, orientation: Tensor, draws: Tensor) -> Tensor:
        """Return patterns of norm 1, shape (N, C, side, side): a positive half and a negative one."""
        half = torch.cat([self._rings(side // 2, side), -self._rings(side - side // 2, side)]).to(draws)
        half = half / self.length(half, (0, 1))
        turned = torch.where((orientation > 0.5)[:, None, None], half.T, half)
        return turned[:, None] * signs(draws)[:, :, None, None]

    def _rings(self, height: int, width: int) -> Tensor:
        """Return rectangles around a centre, each by 1 / (rank + 1)^2 higher than the one around it; norm 1."""
        rings = torch.zeros(height, width)
        middle = (height // 2, width // 2)
        for rank in range(max(middle) + 1):
            top, left = max(middle[0] - rank, 0), max(middle[1] - rank, 0)
            rings[top : middle[0] + rank + 1, left : middle[1] + rank + 1] += 1 / (rank + 1) ** 2
        return rings / self.length(rings, (0, 1)).clamp_min(torch.finfo(rings.dtype).tiny)


def signs(draws: Tensor) -> Tensor:
    """Return -1 or 1 for draws in [0, 1)."""
    return torch.where(draws < 0.5, -1.0, 1.0).to(draws)


def window(draws: Tensor, extent: int, side: int) -> Tensor:
    """Return the coordinates of a window, shape (N, side); as in the authors' code the last place is never drawn."""
    first = (draws * (extent - side)).long().clamp_max(max(extent - side - 1, 0))
    return first[:, None] + torch.arange(side, device=draws.device)
