"""The range of a data set's images that corresponds to pixels 0 and 1."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samat_mm.errors import InputError
from samat_mm.perturbations.device import extremes

Range = tuple[float, float]
TOLERANCE = 0.02  # in pixels: resizing in floating point overshoots the range by a few levels
WIDE_TOLERANCE = 0.5  # if the range is stated


def parse_range(value: Any) -> Range | None:
    """Return a stated range as (low, high), or None if the range is left to the images.

    Raises:
        ValueError: unless it is a pair of finite numbers in rising order.
    """
    if value is None:
        return None
    numbers = value if isinstance(value, (tuple, list)) and len(value) == 2 else ()
    if not numbers or not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise InputError(
            f'pixel_range must be two numbers such as (0, 10000), the lowest and the highest; got {value!r}.'
        )
    low, high = map(float, numbers)
    if low >= high:
        raise InputError(f'pixel_range must rise, as in (0, 10000); got {value!r}.')
    return low, high


def stated_range(config: Any, own: Any = None) -> Range | None:
    """Return the range given to a hook or loop, else the ``pixel_range`` of the config; None if neither is set."""
    return parse_range((config or {}).get('pixel_range') if own is None else own)


def image_range(model: nn.Module, raw_inputs: Sequence[Tensor] | Tensor, stated: Range | None) -> Range:
    """Return the image values that correspond to pixels 0 and 1.

    OpenMMLab's images are in 0..255, and the mean and std of a data preprocessor are in the units of its input. If
    these statistics do not exceed 1, the images are in [0, 1]. Without statistics, the type of the images decides.

    Args:
        model: the bare model.
        raw_inputs: the images before preprocessing, a batch or a list of (C, H, W).
        stated: the range, if it is stated.

    Raises:
        ValueError: if neither the type of the images nor a stated range determines it.
    """
    if stated is not None:
        return stated
    statistics = _normalisation(model)
    largest = float(torch.maximum(*(value.max() for value in statistics))) if statistics else 0.0
    eight_bit = all(image.dtype == torch.uint8 for image in raw_inputs)
    if not eight_bit and not all(image.is_floating_point() for image in raw_inputs):
        raise InputError(
            f'an attack needs images in a known range, which only 8-bit and floating-point types determine; these are '
            f'{raw_inputs[0].dtype}. State the range in the config: pixel_range=(0, 65535), for instance.'
        )
    return (0.0, 255.0) if eight_bit or largest > 1 else (0.0, 1.0)


def pixel_statistics(model: nn.Module, inputs: Tensor, numbers: Range) -> tuple[Tensor, Tensor]:
    """Return mean and std, shape (C, 1, 1) or (1, 1, 1), with ``input = (pixel - mean) / std``.

    Args:
        model: the bare model.
        inputs: the model's inputs, shape (N, C, H, W).
        numbers: the image values of pixels 0 and 1.
    """
    mean, std = _normalisation(model) or (inputs.new_zeros(1, 1, 1), inputs.new_ones(1, 1, 1))
    low, high = numbers
    return (mean.to(inputs) - low) / (high - low), std.to(inputs) / (high - low)


def is_normalised(model: nn.Module) -> bool:
    """Tell whether the data preprocessor subtracts a mean and divides by a standard deviation."""
    return _normalisation(model) is not None


def check_range(pixels: Tensor, raw_inputs: Sequence[Tensor] | Tensor, numbers: Range, tolerance: float) -> None:
    """Refuse pixels outside [0, 1], up to a tolerance.

    Args:
        pixels: pixels of a batch, shape (N, C, H, W).
        raw_inputs: the images before preprocessing.
        numbers: the image values taken as pixels 0 and 1.
        tolerance: how far pixels may lie outside [0, 1].

    Raises:
        ValueError: with the range of the images and the remedy.
    """
    lowest, highest = extremes(pixels) if pixels.numel() else (0.0, 1.0)
    if not (lowest > -tolerance and highest < 1 + tolerance):
        lowest, highest = (
            pick(float(getattr(image, name)()) for image in raw_inputs) for pick, name in ((min, 'min'), (max, 'max'))
        )
        raise InputError(
            f'an attack needs images in a known range; their type and the data preprocessor imply '
            f'{numbers[0]:g}..{numbers[1]:g}, but these reach from {lowest:g} to {highest:g} before the preprocessor. '
            'If the pipeline normalises them (as mmcv.Normalize does), move the normalisation into data_preprocessor; '
            'if they are in other units, state their range in the config: pixel_range=(0, 10000), for instance.'
        )


def _normalisation(model: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return mean and std of the data preprocessor, or None if it does not normalise."""
    preprocessor: Any = getattr(model, 'data_preprocessor', None)
    enabled = getattr(preprocessor, '_enable_normalize', False)
    return (preprocessor.mean, preprocessor.std) if enabled else None
