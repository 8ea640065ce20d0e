"""The function that attacks differentiate: pixels in [0, 1], then everything the model does to them."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn

from samat_mm.errors import UnsupportedError
from samat_mm.pixels.input_space import InputSpace
from samat_mm.pixels.pixel_range import (
    TOLERANCE,
    WIDE_TOLERANCE,
    Range,
    check_range,
    image_range,
    pixel_statistics,
)
from samat_mm.tasks import Task


class PixelSpace(InputSpace):
    """A preprocessed batch as pixels in [0, 1], and the model as a function of these pixels.

    The model's input is affine in the pixels, so a change of pixels is added to the input that the preprocessor
    produced: unchanged pixels give exactly that input. Padding has no pixels and does not change. Channels are in the
    order of the model's input.

    Args:
        model: the bare model (not its distributed wrapper).
        raw_inputs: the images before preprocessing, a batch or a list of (C, H, W).
        inputs: the same images after preprocessing, shape (N, C, H, W).
        samples: their preprocessed data samples.
        task: the model's task; by default derived from the samples and the model's head.
        pixel_range: the image values of pixels 0 and 1; by default 0 and 255, or 0 and 1 if the images are in that
            range.

    Raises:
        ValueError: if the images are not in that range.
    """

    def __init__(
        self,
        model: nn.Module,
        raw_inputs: Sequence[Tensor] | Tensor,
        inputs: Tensor,
        samples: Sequence[Any],
        *,
        task: Task | None = None,
        pixel_range: Range | None = None,
    ) -> None:
        super().__init__(model, inputs, samples, task)
        self.sizes = image_sizes(raw_inputs, inputs)
        self.range = image_range(model, raw_inputs, pixel_range)
        self.mean, self.std = pixel_statistics(model, inputs, self.range)
        pixels = torch.zeros_like(inputs)
        for row, image, (height, width) in zip(pixels, inputs, self.sizes, strict=True):
            row[:, :height, :width] = (image * self.std + self.mean)[:, :height, :width]
        check_range(pixels, raw_inputs, self.range, TOLERANCE if pixel_range is None else WIDE_TOLERANCE)
        self.pixels = pixels.clamp_(0, 1)

    @property
    def is_bgr(self) -> bool:
        """Whether the channels of the pixels are blue, green, red, as mmsegmentation and mmdetection load images."""
        preprocessor: Any = getattr(self.model, 'data_preprocessor', None)
        return isinstance(preprocessor, ImgDataPreprocessor) and not preprocessor._channel_conversion

    def to_inputs(self, pixels: Tensor) -> Tensor:
        """Return the model's input for changed pixels, shape (N, C, H, W)."""
        return self.inputs + (pixels - self.pixels) / self.std

    def arguments(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return the model's input for changed pixels."""
        return {'inputs': self.to_inputs(pixels)}


def image_sizes(raw_inputs: Sequence[Tensor] | Tensor, inputs: Tensor) -> list[tuple[int, int]]:
    """Return (height, width) of each image within the top left corner of its input.

    Raises:
        TypeError: if an input is not an image.
    """
    other = next((image for image in raw_inputs if image.ndim < 3), None)
    if other is not None:
        raise UnsupportedError(
            f'an attack on pixels needs images (C, H, W); got an input of shape {tuple(other.shape)}. Test sentences '
            'with the TextAttackTestLoop and an attack on words, such as pso; training perturbs the embeddings of a '
            'model that has embed.'
        )
    return [(min(image.shape[-2], inputs.shape[-2]), min(image.shape[-1], inputs.shape[-1])) for image in raw_inputs]
