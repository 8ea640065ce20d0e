"""The residual networks that He et al. designed for CIFAR."""

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.errors import InputError

_CHANNELS = (16, 32, 64)


@MODELS.register_module()
class CIFARResNet(BaseModule):
    """ResNet of depth 6n + 2 for 32x32 images: a 3x3 stem and three stages of n blocks with 16, 32 and 64 channels.

    He et al., "Deep residual learning for image recognition", 2016, section 4.2, with their parameter-free shortcuts
    (option A). The weights have the same names as in most public checkpoints.

    Args:
        depth: number of layers with weights, including the linear classifier.
        init_cfg: initial weights; by default those of He et al. (2015).

    Raises:
        ValueError: if the depth is not 6n + 2.
    """

    def __init__(self, depth: int = 20, init_cfg: dict | list[dict] | None = None) -> None:
        if depth < 8 or depth % 6 != 2:
            raise InputError(f'CIFARResNet has a depth of 6n + 2, such as 20, 32 or 56; got {depth}.')
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        self.conv1 = nn.Conv2d(3, _CHANNELS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_CHANNELS[0])
        blocks = (depth - 2) // 6
        self.layer1 = _stage(_CHANNELS[0], _CHANNELS[0], 1, blocks)
        self.layer2 = _stage(_CHANNELS[0], _CHANNELS[1], 2, blocks)
        self.layer3 = _stage(_CHANNELS[1], _CHANNELS[2], 2, blocks)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (N, 64, H / 4, W / 4) of normalised images (N, 3, H, W), in a tuple for mmpretrain."""
        x = F.relu(self.bn1(self.conv1(x)))
        return (self.layer3(self.layer2(self.layer1(x))),)


class _Block(nn.Module):
    """Two 3x3 convolutions with a parameter-free shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.added = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        """Return every other pixel, padded with zero channels on both sides (He et al. do not specify where)."""
        before = self.added // 2
        return F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))


def _stage(in_channels: int, channels: int, stride: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(
        _Block(in_channels, channels, stride), *(_Block(channels, channels, 1) for _ in range(blocks - 1))
    )
