"""Where an attack may go: the ball around each image, within the pixel box, outside the padding."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.ball import NormBall
from samat_mm.perturbations.device import extremes, moved
from samat_mm.perturbations.inputs.base import generator_for


class Region:
    """The feasible images around a batch.

    Args:
        inputs: pixels (N, C, H, W) in [0, 1].
        ball: the norm.
        radius: in [0, 1] pixel units.
        sizes: (height, width) of each image within its top left corner; None for the whole image.

    Raises:
        ValueError: if inputs are no pixels in [0, 1], or there is not one size per image.
    """

    def __init__(
        self, inputs: Tensor, ball: NormBall, radius: float, sizes: Sequence[tuple[int, int]] | None = None
    ) -> None:
        check_pixels(inputs)
        self.inputs, self.ball, self.radius = inputs, ball, radius
        self.sizes = [(inputs.shape[2], inputs.shape[3])] * len(inputs) if sizes is None else sizes
        self._support = support_mask(inputs, self.sizes)

    def scaled(self, factor: float) -> 'Region':
        """Return the region of another radius, ``factor`` times this one."""
        other = copy.copy(self)  # whose images are known to be pixels
        other.radius = factor * self.radius
        return other

    def project(self, images: Tensor) -> Tensor:
        """Return images projected onto the ball and then onto the pixel box."""
        return (self.inputs + self.ball.project(images - self.inputs, self.radius)).clamp(0, 1)

    def steepest(self, grad: Tensor) -> Tensor:
        """Return the unit-norm direction of steepest ascent, in which padding has no part."""
        return self.ball.steepest(grad if self._support is None else grad * self._support)

    def random_images(self, seed: int, indices: Sequence[int], restart: int) -> Tensor:
        """Return a random feasible image for each, which depends on the seed, its number and the restart alone."""
        noise = self.noise(
            lambda shape, index: self.ball.sample(shape, self.radius, generator_for(seed, index, restart)), indices
        )
        return self.project(self.inputs + noise)

    def noise(self, draw: Callable[[Sequence[int], int], Tensor], indices: Sequence[int]) -> Tensor:
        """Return what is drawn for each image on the CPU, 0 in padding, in the type and on the device of the images.

        Args:
            draw: from a shape and the number of the image to a tensor.
            indices: the number of each image.
        """
        noise = torch.zeros(self.inputs.shape)
        for row, index, (height, width) in zip(noise, indices, self.sizes, strict=True):
            row[:, :height, :width] = draw((len(row), height, width), index)
        return moved(noise, self.inputs)


def check_pixels(inputs: Tensor) -> None:
    """Refuse images that are not pixels in [0, 1].

    Raises:
        ValueError: if the tensor is no batch of images, or a pixel lies outside [0, 1] or is not finite.
    """
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise InputError(
            f'inputs must be floating point pixels of shape (N, C, H, W); got {inputs.dtype} {tuple(inputs.shape)}.'
        )
    lowest, highest = extremes(inputs) if inputs.numel() else (0.0, 1.0)
    if not (lowest >= 0 and highest <= 1):
        raise InputError(
            f'inputs must be pixels in [0, 1]; got values in [{lowest:g}, {highest:g}]. '
            'Put the normalisation into predict, and divide 8-bit images by 255.'
        )


def support_mask(inputs: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor | None:
    """Return 1 where an image is and 0 where padding is, shape (N, 1, H, W); None if nothing is padded."""
    whole = tuple(inputs.shape[2:])
    if all(tuple(size) == whole for size in sizes):
        return None
    mask = inputs.new_zeros(len(inputs), 1, *whole)
    for row, (height, width) in zip(mask, sizes, strict=True):
        row[:, :height, :width] = 1
    return mask
