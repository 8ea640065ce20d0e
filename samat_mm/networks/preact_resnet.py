"""Pre-activation residual networks, including the duality paper's PRN-18."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.errors import InputError

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class PreActivationStages(BaseModule):
    """A 3x3 stem without normalisation, stages of pre-activation blocks, and a final normalisation.

    Every stage but the first halves the resolution.

    Args:
        stem_channels: channels of the stem.
        channels: channels of each stage.
        blocks: number of blocks of each stage.
        dropout: probability of dropout between the convolutions of a block.
        init_cfg: initial weights; by default those of He et al. (2015).
    """

    def __init__(
        self,
        stem_channels: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        dropout: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        # If the stem were a child next to `norm`, OpenMMLab's fuse_conv_bn, which goes by the order of children, would
        # fuse the two.
        self.layers = nn.Sequential(nn.Conv2d(3, stem_channels, 3, padding=1, bias=False))
        previous = stem_channels
        for number, (width, count) in enumerate(zip(channels, blocks, strict=True)):
            stage = nn.Sequential()
            for index in range(count):
                stride = 2 if number > 0 and index == 0 else 1
                stage.append(PreActivationBlock(previous, width, stride, dropout))
                previous = width
            self.layers.append(stage)
        self.norm = nn.BatchNorm2d(previous)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the features (N, C, h, w) of normalised images (N, 3, H, W), in a tuple for mmpretrain."""
        return (F.relu(self.norm(self.layers(x))),)


class PreActivationBlock(nn.Module):
    """Normalisation, ReLU and 3x3 convolution, twice, with a shortcut.

    The shortcut is the identity, or a 1x1 convolution of the pre-activated input if the shape changes.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: stride of the first convolution.
        dropout: probability of dropout before the second convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        changes = stride != 1 or in_channels != channels
        self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H / stride, W / stride) for (N, in_channels, H, W)."""
        activated = F.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        residual = F.relu(self.bn2(self.conv1(activated)))
        return shortcut + self.conv2(self.dropout(residual))


@MODELS.register_module()
class PreActResNet(PreActivationStages):
    """Pre-activation ResNet for 32x32 images: four stages with 64, 128, 256 and 512 channels.

    He et al., "Identity mappings in deep residual networks", 2016, with the stem and stages that the literature on
    adversarial training, including the duality paper (PRN-18), uses for CIFAR.

    Args:
        depth: 18 or 34.
        init_cfg: initial weights; by default those of He et al. (2015).

    Raises:
        ValueError: if the depth is neither.
    """

    def __init__(self, depth: int = 18, init_cfg: dict | list[dict] | None = None) -> None:
        if depth not in _BLOCKS:
            raise InputError(f'PreActResNet has a depth of {" or ".join(map(str, _BLOCKS))}; got {depth}.')
        super().__init__(64, (64, 128, 256, 512), _BLOCKS[depth], init_cfg=init_cfg)
