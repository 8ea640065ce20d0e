"""The handwritten digits that scikit-learn ships: no download, no disk."""

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from samat_mm.errors import InputError

FULL_INK = 16.0  # scikit-learn's digits have values 0..16
TRAINING = 1297  # of 1,797; the rest are for testing. Blocks, because neighbours resemble each other.


@lru_cache(maxsize=1)
def handwriting() -> tuple[np.ndarray, np.ndarray]:
    """Return the digits, (1797, 8, 8) float32 with values 0..16, and their labels, (1797,) uint8.

    Source: ``sklearn.datasets.load_digits``, the test part of E. Alpaydin and C. Kaynak, Optical Recognition of
    Handwritten Digits, UCI Machine Learning Repository, 1998.
    """
    from sklearn.datasets import load_digits  # here, because the import takes a second

    digits = load_digits()
    return digits.images.astype(np.float32), digits.target.astype(np.uint8)


@DATASETS.register_module()
class HandwrittenDigits(BaseDataset):
    """Classification of handwritten digits: 1,297 training and 500 test images of 8x8 pixels and one channel.

    The pipeline finds the image (``img``, 8 x 8 x 1, uint8, 255 is full ink) and the label (``gt_label``), so
    ``[dict(type='PackInputs')]`` is enough. Do not flip: a mirrored digit is not a digit.

    Args:
        split: 'train' or 'test'.
        kwargs: Arguments of MMEngine's ``BaseDataset`` (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        ValueError: if the split is unknown.

    Example:
        >>> data = HandwrittenDigits(split='test')
        >>> len(data), data[0]['img'].shape, data[0]['gt_label']
        (500, (8, 8, 1), 0)
    """

    METAINFO: ClassVar[dict] = dict(classes=tuple('0123456789'))

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        if split not in ('train', 'test'):
            raise InputError(f"HandwrittenDigits: split must be 'train' or 'test'; got {split!r}.")
        self.split = split
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Return the image, the label and a name, 'digit-01297', of each digit."""
        images, labels = handwriting()
        numbers = range(TRAINING) if self.split == 'train' else range(TRAINING, len(images))
        pixels = np.rint(images * (255 / FULL_INK)).astype(np.uint8)[..., None]
        return [
            dict(img=pixels[number], gt_label=int(labels[number]), img_path=f'digit-{number:05d}') for number in numbers
        ]
