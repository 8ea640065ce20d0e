"""The function that the duality paper's released code for segmentation attacks: stretched images, not normalised.

Its PGD (SAM_segmentation/utils/attack.py of github.com/weizeming/SAM_AT) differentiates ``model(s + d)``, but its test
scores ``model(normalise(s + d))``, where s is the image stretched to its own minimum..maximum. The network that is
attacked never saw such inputs, and a radius on s is not one on the pixels.
"""

import copy

from torch import Tensor

from samat_mm.pixels.pixel_range import is_normalised
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.pixels.views import Back


def unnormalised(space: PixelSpace) -> tuple[PixelSpace, Back]:
    """Return a batch as that code attacks it, and the way back to its pixels.

    For an image x with the extremes low and high, over all channels and without padding, the attack sees
    ``s = (x - low) / span`` with ``span = high - low``, or 1 for an image of one value. Its radius and its box [0, 1]
    apply to s, and the network gets ``s + d`` itself. The adversarial pixels are ``low + span (s + d) = x + span d``.
    Padding stays as it is. A model that does not normalise its images gets ``s + d`` in their units.

    Args:
        space: a batch of segmentation images.
    """
    stretched, inputs, spans = space.pixels.clone(), space.inputs.clone(), space.pixels.new_ones(len(space.pixels))
    normalised = is_normalised(space.model)
    mean = space.mean.new_zeros(1, 1, 1) if normalised else space.mean
    std = space.std.new_ones(1, 1, 1) if normalised else space.std
    for row, (height, width) in enumerate(space.sizes):
        image = stretched[row, :, :height, :width]
        low, high = image.aminmax()
        spans[row] = (high - low).where(high > low, 1)
        image.sub_(low).div_(spans[row])
        inputs[row, :, :height, :width] = (image - mean) / std
    seen = copy.copy(space)
    seen.inputs, seen.pixels, seen.mean, seen.std = inputs, stretched, mean, std

    def to_pixels(pixels: Tensor) -> Tensor:
        return (space.pixels + spans.view(-1, 1, 1, 1) * (pixels - stretched)).clamp(0, 1)

    return seen, to_pixels
