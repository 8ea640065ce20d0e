"""Which numbers of a data set are the pixels 0 and 1."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.perturbations.device import extremes

Range = tuple[float, float]
TOLERANCE = 0.02  # in pixels: resizing in floating point goes a few levels beyond the range
WIDE_TOLERANCE = 0.5  # where the range is stated


def parse_range(value: Any) -> Range | None:
    """Return a stated range as (low, high); None, for which the images tell their range themselves, stays None.

    Raises:
        ValueError: if it is no pair of finite numbers in rising order.
    """
    if value is None:
        return None
    numbers = value if isinstance(value, (tuple, list)) and len(value) == 2 else ()
    if not numbers or not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise InputError(
            f'pixel_range must be two numbers such as (0, 10000), the least and the greatest; got {value!r}.'
        )
    low, high = map(float, numbers)
    if low >= high:
        raise InputError(f'pixel_range must rise, as in (0, 10000); got {value!r}.')
    return low, high


def stated_range(config: Any, own: Any = None) -> Range | None:
    """Return the range that a hook or loop is given, or else the ``pixel_range`` of the config; None for neither."""
    return parse_range((config or {}).get('pixel_range') if own is None else own)


def image_range(model: nn.Module, raw_inputs: Sequence[Tensor] | Tensor, stated: Range | None) -> Range:
    """Return the numbers of the images that are the pixels 0 and 1.

    OpenMMLab's images are in 0..255, and the mean and std of a data preprocessor are in the units of the images it
    gets. Statistics that do not exceed 1 show that these are in [0, 1] already; without any, the type of the images has
    to tell.

    Args:
        model: the bare model.
        raw_inputs: the images before preprocessing, a batch or a list of (C, H, W).
        stated: the range, where it is stated.

    Raises:
        ValueError: if the images are of a type that tells no range, and it is not stated.
    """
    if stated is not None:
        return stated
    statistics = _normalisation(model)
    largest = float(torch.maximum(*(value.max() for value in statistics))) if statistics else 0.0
    eight_bit = all(image.dtype == torch.uint8 for image in raw_inputs)
    if not eight_bit and not all(image.is_floating_point() for image in raw_inputs):
        raise InputError(
            f'an attack needs images in a known range, and only 8 bits and floating point tell it; these are '
            f'{raw_inputs[0].dtype}. State it in the config: pixel_range=(0, 65535), for instance.'
        )
    return (0.0, 255.0) if eight_bit or largest > 1 else (0.0, 1.0)


def pixel_statistics(model: nn.Module, inputs: Tensor, numbers: Range) -> tuple[Tensor, Tensor]:
    """Return mean and std, shape (C, 1, 1) or (1, 1, 1), with ``input = (pixel - mean) / std``.

    Args:
        model: the bare model.
        inputs: of the model, shape (N, C, H, W).
        numbers: of the images that are the pixels 0 and 1.
    """
    mean, std = _normalisation(model) or (inputs.new_zeros(1, 1, 1), inputs.new_ones(1, 1, 1))
    low, high = numbers
    return (mean.to(inputs) - low) / (high - low), std.to(inputs) / (high - low)


def check_range(pixels: Tensor, raw_inputs: Sequence[Tensor] | Tensor, numbers: Range, tolerance: float) -> None:
    """Refuse pixels that are not about in [0, 1].

    Args:
        pixels: of a batch, shape (N, C, H, W).
        raw_inputs: the images before preprocessing.
        numbers: that were taken for the pixels 0 and 1.
        tolerance: how far pixels may lie beyond [0, 1].

    Raises:
        ValueError: with the range of the images, and what to do.
    """
    lowest, highest = extremes(pixels) if pixels.numel() else (0.0, 1.0)
    if not (lowest > -tolerance and highest < 1 + tolerance):
        lowest, highest = (
            pick(float(getattr(image, name)()) for image in raw_inputs) for pick, name in ((min, 'min'), (max, 'max'))
        )
        raise InputError(
            f'an attack needs images in a known range, which by their type and the data preprocessor would be '
            f'{numbers[0]:g}..{numbers[1]:g}; these reach from {lowest:g} to {highest:g} before the data preprocessor. '
            'If the pipeline normalises them (as mmcv.Normalize does), move the normalisation into data_preprocessor; '
            'if they are in other units, state their range in the config: pixel_range=(0, 10000), for instance.'
        )


def _normalisation(model: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return mean and std of the data preprocessor, where it normalises."""
    preprocessor: Any = getattr(model, 'data_preprocessor', None)
    enabled = getattr(preprocessor, '_enable_normalize', False)
    return (preprocessor.mean, preprocessor.std) if enabled else None
