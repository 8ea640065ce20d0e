"""The best iterate of each image."""

import torch
from torch import Tensor

from samat_mm.perturbations.rows import choose


class BestIterate:
    """Keeps, image by image, the iterate that ranks highest so far.

    Args:
        images: the images to hold at first.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.rank: Tensor | None = None

    def offer(self, rank: Tensor, images: Tensor) -> None:
        """Take the images that rank higher than the held ones.

        Args:
            rank: shape (N, keys), or (1, keys) for the whole batch; a later key decides where the earlier are equal.
                NaN for an image that was not scored and is not to be taken.
            images: shape (N, C, H, W).
        """
        if self.rank is None:
            self.rank = torch.full_like(rank, -torch.inf)
        higher = ranks_higher(rank, self.rank)
        self.rank = torch.where(higher[:, None], rank, self.rank)
        self.images = choose(higher, images, self.images)

    def take(self, other: 'BestIterate') -> None:
        """Take the images of another one that rank higher."""
        if other.rank is not None:
            self.offer(other.rank, other.images)


def ranks_higher(first: Tensor, second: Tensor) -> Tensor:
    """Return where the first of two ranks (N, keys) is higher, shape (N,); never where it has a NaN."""
    higher = torch.zeros_like(first[:, 0], dtype=torch.bool)
    equal = ~first.isnan().any(1)
    for ours, theirs in zip(first.unbind(1), second.unbind(1), strict=True):
        higher |= equal & (ours > theirs)
        equal &= ours == theirs
    return higher
