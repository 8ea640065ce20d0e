"""Where an attack may go: the ball around each image, within the pixel box, outside the padding."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.device import extremes, moved
from samat_mm.perturbations.norms.base import Box, Norm
from samat_mm.perturbations.randomness import generator_for

PIXELS: Box = (0.0, 1.0)


class Region:
    """The feasible images around a batch.

    Args:
        inputs: pixels (N, C, H, W) in the box; of any shape (N, ...) without a box.
        norm: of the ball.
        radius: in the units of the inputs.
        sizes: (height, width) of each image within its top left corner; None for the whole image.
        box: the smallest and the largest value of a pixel; None for inputs that are not pixels.

    Raises:
        ValueError: if inputs are no pixels in the box, or there is not one size per image.
    """

    def __init__(
        self,
        inputs: Tensor,
        norm: Norm,
        radius: float,
        sizes: Sequence[tuple[int, int]] | None = None,
        box: Box | None = PIXELS,
    ) -> None:
        if box is not None:
            check_pixels(inputs, box)
        self.inputs, self.norm, self.radius, self.sizes, self.box = inputs, norm, radius, sizes, box
        self._support = None if sizes is None else support_mask(inputs, sizes)

    def scaled(self, factor: float) -> 'Region':
        """Return the region of another radius, ``factor`` times this one."""
        other = copy.copy(self)  # whose images are known to be pixels
        other.radius = factor * self.radius
        return other

    def project(self, images: Tensor) -> Tensor:
        """Return images projected onto the ball and the box."""
        return self.norm.feasible(images, self.inputs, self.radius, self.box)

    def inside(self, grad: Tensor) -> Tensor:
        """Return a gradient that is 0 in padding."""
        return grad if self._support is None else grad * self._support

    def step(self, images: Tensor, grad: Tensor, length: float | Tensor) -> Tensor:
        """Return the feasible images after a step of that length along the steepest ascent."""
        return self.project(self.norm.step(images, self.inside(grad), length, self.box))

    def coordinates(self) -> Tensor:
        """Return how many numbers of each image are not padding, shape (N,)."""
        if self._support is None:
            return self.inputs.new_full((len(self.inputs),), self.inputs[0].numel())
        return self._support.flatten(1).sum(1) * self.inputs.shape[1]

    def random_images(self, seed: int, indices: Sequence[int], restart: int) -> Tensor:
        """Return a random feasible image for each, which depends on the seed, its number and the restart alone."""
        noise = self.noise(
            lambda shape, index: self.norm.sample(shape, self.radius, generator_for(seed, index, restart)), indices
        )
        return self.project(self.inputs + noise)

    def noise(self, draw: Callable[[Sequence[int], int], Tensor], indices: Sequence[int]) -> Tensor:
        """Return what is drawn for each image on the CPU, 0 in padding, in the type and on the device of the images.

        Args:
            draw: from a shape and the number of the image to a tensor.
            indices: the number of each image.
        """
        noise = torch.zeros(self.inputs.shape)
        for position, (row, index) in enumerate(zip(noise, indices, strict=True)):
            part = row if self.sizes is None else row[:, : self.sizes[position][0], : self.sizes[position][1]]
            part.copy_(draw(part.shape, index))
        return moved(noise, self.inputs)


def check_pixels(inputs: Tensor, box: Box = PIXELS) -> None:
    """Refuse images that are not pixels in the box.

    Raises:
        ValueError: if the tensor is no batch of images, or a pixel lies outside the box or is not finite.
    """
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise InputError(
            f'inputs must be floating point pixels of shape (N, C, H, W); got {inputs.dtype} {tuple(inputs.shape)}.'
        )
    lowest, highest = extremes(inputs) if inputs.numel() else box
    if not (lowest >= box[0] and highest <= box[1]):
        raise InputError(
            f'inputs must be pixels in [{box[0]:g}, {box[1]:g}]; got values in [{lowest:g}, {highest:g}]. '
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
