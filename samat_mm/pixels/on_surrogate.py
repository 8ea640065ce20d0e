"""A batch as another model would get it from its own data preprocessor."""

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from samat_mm.pixels.pixel_range import pixel_statistics
from samat_mm.pixels.pixel_space import PixelSpace
from samat_mm.pixels.views import Back
from samat_mm.tasks import Task


@dataclass(frozen=True)
class OnSurrogate:
    """The same pixels in front of a surrogate: normalised by its mean and std, in its order of channels.

    Padding has the values that the scored model gives it.

    Attributes:
        model: the surrogate, a bare model.
        task: its task on the data set.
    """

    model: nn.Module
    task: Task

    def __call__(self, space: PixelSpace) -> tuple[PixelSpace, Back]:
        """Return a batch as the surrogate sees it, and the way back to the order of channels of the scored model."""
        three = space.inputs.shape[1] == 3
        swapped = three and _swaps_channels(self.model) != _swaps_channels(space.model)

        def arranged(values: Tensor) -> Tensor:
            return values.flip(-3) if swapped else values

        mean, std = pixel_statistics(self.model, space.inputs, space.range)
        # Exactly 1 and 0 for equal statistics, so that the surrogate's inputs are then the model's to the last bit.
        factor, shift = arranged(space.std) / std, (arranged(space.mean) - mean) / std
        inputs = arranged(space.inputs).clone()
        for row, (height, width) in zip(inputs, space.sizes, strict=True):
            row[:, :height, :width] = row[:, :height, :width] * factor + shift
        seen = copy.copy(space)
        seen.model, seen.task, seen.mean, seen.std = self.model, self.task, mean, std
        seen.inputs, seen.pixels = inputs, arranged(space.pixels)
        return seen, arranged


def _swaps_channels(model: nn.Module) -> bool:
    """Tell whether the data preprocessor of MMEngine, or of mmpretrain, turns blue, green, red around."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    return any(bool(getattr(preprocessor, name, False)) for name in ('_channel_conversion', 'to_rgb'))
