"""Random numbers for many queries at once, of which each image has its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from samat_mm.perturbations.device import moved

AHEAD = 1 << 12  # numbers per image that are drawn at once: a call per image and query would cost more than the model


class Uniforms:
    """A stream of numbers in [0, 1) for each image, of which all images that are still asked for take equally many.

    Args:
        generators: one per image, on the CPU.
        images: on whose device and in whose type the numbers are needed.
    """

    def __init__(self, generators: Sequence[torch.Generator], images: Tensor) -> None:
        self.generators, self.images = list(generators), images
        self.drawn, self.position = images.new_empty(len(self.generators), 0), 0

    def take(self, rows: Tensor, count: int) -> Tensor:
        """Return the next ``count`` numbers of each of these images, shape (len(rows), count).

        Args:
            rows: indices of images, shape (n,). One that was left out once must not be asked for again.
            count: how many numbers.
        """
        if self.position + count > self.drawn.shape[1]:
            self._draw(rows, max(count, AHEAD))
        taken = self.drawn[rows, self.position : self.position + count]
        self.position += count
        return taken

    def _draw(self, rows: Tensor, count: int) -> None:
        """Draw ``count`` more numbers for each of these images; what is left comes first."""
        fresh = torch.zeros(len(self.generators), count)
        for row in rows.tolist():
            torch.rand(count, generator=self.generators[row], out=fresh[row])
        self.drawn = torch.cat([self.drawn[:, self.position :], moved(fresh, self.images)], dim=1)
        self.position = 0
