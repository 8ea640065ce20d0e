"""Wide residual networks, including the duality paper's WRN-28-10."""

from mmengine.registry import MODELS

from samat_mm.errors import InputError
from samat_mm.networks.preact_resnet import PreActivationStages


@MODELS.register_module()
class WideResNet(PreActivationStages):
    """Pre-activation ResNet for 32x32 images, few layers and many channels: 16k, 32k and 64k in three stages.

    Zagoruyko and Komodakis, "Wide residual networks", 2016.

    Args:
        depth: number of 3x3 convolutions, 1x1 convolutions and the linear classifier: 6n + 4.
        widen_factor: the authors' k, which multiplies the channels.
        dropout: probability of dropout between the convolutions of a block; the authors use 0.3.
        init_cfg: initial weights; by default those of He et al. (2015), as in the authors' code.

    Raises:
        ValueError: if the depth is not 6n + 4 or the factor is not positive.
    """

    def __init__(
        self,
        depth: int = 28,
        widen_factor: int = 10,
        dropout: float = 0.3,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if depth < 10 or depth % 6 != 4:
            raise InputError(f'WideResNet has a depth of 6n + 4, such as 16, 28 or 40; got {depth}.')
        if widen_factor < 1:
            raise InputError(f'widen_factor must be at least 1; got {widen_factor}.')
        channels = tuple(base * widen_factor for base in (16, 32, 64))
        super().__init__(16, channels, [(depth - 4) // 6] * 3, dropout, init_cfg)
