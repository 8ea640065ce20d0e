"""Random numbers: one stream per image, whatever its batch, and global states left as they were."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from samat_mm.perturbations.device import moved

AHEAD = 1 << 12  # numbers per image that are drawn at once: a call per image and query would cost more than the model


def generator_for(*key: int) -> torch.Generator:
    """Return a generator whose stream depends on the numbers of ``key`` alone (a CPU one, alike on every device)."""
    return torch.Generator().manual_seed(random.Random('/'.join(map(str, key))).getrandbits(63))


def noise_like(
    images: Tensor,
    draw: Callable[[Sequence[int], int], Tensor],
    numbers: Sequence[int],
    sizes: Sequence[tuple[int, int]] | None = None,
) -> Tensor:
    """Return noise drawn on the CPU image by image, 0 in padding, in the type and on the device of the images.

    Args:
        images: shape (N, ...).
        draw: from a shape and the number of the image to a tensor.
        numbers: the number of each image.
        sizes: (height, width) of each image within its top left corner; None for the whole image.
    """
    noise = torch.zeros(images.shape)
    for position, (row, number) in enumerate(zip(noise, numbers, strict=True)):
        part = row if sizes is None else row[:, : sizes[position][0], : sizes[position][1]]
        part.copy_(draw(part.shape, number))
    return moved(noise, images)


class RandomStreams:
    """A stream of numbers in [0, 1) for each image; all images still in use take equally many numbers.

    Args:
        generators: one per image, on the CPU.
        images: tensor with the device and the type of the numbers.
    """

    def __init__(self, generators: Sequence[torch.Generator], images: Tensor) -> None:
        self.generators, self.images = list(generators), images
        self.drawn, self.position = images.new_empty(len(self.generators), 0), 0

    def take(self, rows: Tensor, count: int) -> Tensor:
        """Return the next ``count`` numbers of each of these images, shape (len(rows), count).

        Args:
            rows: indices of images, shape (n,). An image left out once must not come back.
            count: number of numbers.
        """
        if self.position + count > self.drawn.shape[1]:
            self._draw(rows, max(count, AHEAD))
        taken = self.drawn[rows, self.position : self.position + count]
        self.position += count
        return taken

    def _draw(self, rows: Tensor, count: int) -> None:
        """Draw ``count`` more numbers for each of these images; unused numbers come first."""
        fresh = torch.zeros(len(self.generators), count)
        for row in rows.tolist():
            torch.rand(count, generator=self.generators[row], out=fresh[row])
        self.drawn = torch.cat([self.drawn[:, self.position :], moved(fresh, self.images)], dim=1)
        self.position = 0


@contextmanager
def isolated_randomness(device: torch.device) -> Iterator[None]:
    """Restore the global random states of torch, NumPy and Python after the block."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == 'cuda' else []):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
