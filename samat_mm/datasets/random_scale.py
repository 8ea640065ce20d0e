"""Scale augmentation relative to each image's own size."""

import numpy as np
from mmcv.transforms import BaseTransform, Resize
from mmcv.transforms.utils import cache_randomness
from mmengine.registry import TRANSFORMS

from samat_mm.errors import InputError


@TRANSFORMS.register_module()
class RandomScale(BaseTransform):
    """Scale image and labels by one random factor of their own size.

    ``RandomResize`` with a ``ratio_range`` instead scales a fixed size, to which it brings every image.

    Args:
        ratio_range: smallest and largest factor; factors are uniform in between.

    Raises:
        ValueError: unless 0 < smallest <= largest.

    Source: L.-C. Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017 (0.5 to 2.0).
    """

    def __init__(self, ratio_range: tuple[float, float]) -> None:
        least, greatest = ratio_range
        if not 0 < least <= greatest:
            raise InputError(f'RandomScale: ratio_range must be (smallest, largest) above 0, got {ratio_range}.')
        self.ratio_range = (least, greatest)

    @cache_randomness
    def _draw(self) -> float:
        return float(np.random.uniform(*self.ratio_range))

    def transform(self, results: dict) -> dict:
        """Scale ``img`` (bilinear) and ``gt_seg_map`` (nearest)."""
        return Resize(scale_factor=self._draw()).transform(results)
