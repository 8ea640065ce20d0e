"""The region of an attack: the ball around each image, within the pixel box, without the padding."""

import copy
from collections.abc import Sequence

from torch import Tensor

from samat_mm.errors import InputError
from samat_mm.perturbations.device import extremes
from samat_mm.perturbations.norms.base import Box, Norm
from samat_mm.perturbations.randomness import generator_for, noise_like

PIXELS: Box = (0.0, 1.0)


class Region:
    """The feasible images around a batch.

    Args:
        inputs: pixels (N, C, H, W) in the box; of any shape (N, ...) without a box.
        norm: norm of the ball.
        radius: radius of the ball, in the units of the inputs.
        sizes: (height, width) of each image within its top left corner; None for the whole image.
        box: the smallest and the largest value of a pixel; None for inputs that are not pixels.

    Raises:
        ValueError: if inputs are not pixels in the box.
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
        other = copy.copy(self)  # the images are known to be pixels
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
        """Return the number of values of each image that are not padding, shape (N,)."""
        if self._support is None:
            return self.inputs.new_full((len(self.inputs),), self.inputs[0].numel())
        return self._support.flatten(1).sum(1) * self.inputs.shape[1]

    def random_images(self, seed: int, indices: Sequence[int], restart: int) -> Tensor:
        """Return random feasible images, each of which depends only on the seed, its number and the restart."""

        def draw(shape: Sequence[int], index: int) -> Tensor:
            return self.norm.sample(shape, self.radius, generator_for(seed, index, restart))

        return self.project(self.inputs + noise_like(self.inputs, draw, indices, self.sizes))


def check_pixels(inputs: Tensor, box: Box = PIXELS) -> None:
    """Refuse images that are not pixels in the box.

    Raises:
        ValueError: if the tensor is not a batch of images, or a pixel lies outside the box or is not finite.
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
    """Return 1 in images and 0 in their padding, shape (N, 1, H, W); None if nothing is padded."""
    whole = tuple(inputs.shape[2:])
    if all(tuple(size) == whole for size in sizes):
        return None
    mask = inputs.new_zeros(len(inputs), 1, *whole)
    for row, (height, width) in zip(mask, sizes, strict=True):
        row[:, :height, :width] = 1
    return mask
