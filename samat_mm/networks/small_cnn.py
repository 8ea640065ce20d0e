"""A plain convolutional network for images of a few pixels."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class SmallCNN(BaseModule):
    """3x3 convolutions, each followed by batch normalisation and ReLU; the resolution halves where the width changes.

    With the default channels it has 65 thousand weights and trains on 8x8 digits in seconds on a CPU.

    Args:
        in_channels: Channels of the images.
        channels: Channels of each convolution.
        init_cfg: Initial weights; by default those of He et al. (2015).
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (32, 32, 64, 64),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        self.layers = nn.Sequential()
        previous = in_channels
        for position, width in enumerate(channels):
            stride = 2 if position > 0 and width != previous else 1
            self.layers.append(
                nn.Sequential(
                    nn.Conv2d(previous, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
                )
            )
            previous = width

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (N, C, h, w) of normalised images (N, in_channels, H, W), in a tuple for mmpretrain."""
        return (self.layers(x),)
