"""Scenes of handwritten digits: a segmentation data set without downloads or files."""

from typing import Any, ClassVar

import cv2
import numpy as np
from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from samat_mm.datasets.handwriting import FULL_INK, handwriting
from samat_mm.errors import InputError

# The handwriting in scikit-learn's order. Blocks instead of every fifth digit: neighbours resemble each other, so
# interleaving would leak (a nearest-neighbour classifier scores 98.6 % interleaved and 96.7 % on this split).
HANDWRITING = {'train': range(0, 1437), 'val': range(1437, 1797)}

# Large bright digits on dark ground, so a small network learns them within minutes on a CPU.
SMALLEST, LARGEST = 36, 56  # height of a digit in pixels, in an image of 96
FEWEST, MOST = 2, 4  # digits in a scene
ATTEMPTS = 20  # to find free space for a digit before the scene leaves it out
INK_CONTRAST = 90  # least difference in lightness (0..255) between the ink and the ground's mean


@DATASETS.register_module()
class DigitScenes(BaseSegDataset):
    """Scenes of several coloured handwritten digits on textured ground, with a label per pixel.

    The handwriting is the 1,797 digits of 8x8 pixels that scikit-learn ships; train and val use different ones. Scene
    ``i`` depends only on ``(seed, split, i)`` and is drawn on access. The pipeline receives a loaded image
    (``img``, H x W x 3, BGR, uint8) and loaded labels (``gt_seg_map``, H x W, uint8: 0 is background, d + 1 is digit
    d), so ``[dict(type='PackSegInputs')]`` is enough. Do not flip: a mirrored digit is not a digit.

    Args:
        split: 'train' or 'val'.
        length: number of scenes.
        image_size: height and width in pixels; the digits scale with it.
        seed: seed of the scenes; the handwriting stays the same.
        kwargs: arguments of mmseg's ``BaseSegDataset`` (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        ValueError: if the split is unknown, or a number is too small.

    Source: ``sklearn.datasets.load_digits``, the test part of E. Alpaydin and C. Kaynak, Optical Recognition of
    Handwritten Digits, UCI Machine Learning Repository, 1998.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=('background', *'0123456789'),
        palette=[
            [38, 38, 48],
            [230, 85, 75],
            [245, 150, 65],
            [245, 205, 85],
            [160, 205, 85],
            [75, 175, 110],
            [70, 190, 190],
            [75, 140, 220],
            [115, 105, 215],
            [180, 105, 205],
            [240, 135, 175],
        ],
    )

    def __init__(
        self, split: str = 'train', length: int = 1000, image_size: int = 96, seed: int = 0, **kwargs: Any
    ) -> None:
        if split not in tuple(HANDWRITING):
            raise InputError(f"DigitScenes: split must be 'train' or 'val', got {split!r}.")
        for name, value, least in (('length', length, 1), ('image_size', image_size, 32), ('seed', seed, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f'DigitScenes: {name} must be a whole number, at least {least}; got {value!r}.')
        self.split = split
        self.length = length
        self.image_size = image_size
        self.seed = seed
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Name the scenes: 'digits-val-00012' takes the place of an image path."""
        return [dict(img_path=f'digits-{self.split}-{index:05d}', scene=index) for index in range(self.length)]

    def prepare_data(self, idx: int) -> Any:
        """Draw a scene and run the pipeline on it."""
        info = self.get_data_info(idx)
        image, labels, _ = self.draw(info['scene'])
        info.update(
            img=image,
            gt_seg_map=labels,
            img_shape=labels.shape,
            ori_shape=labels.shape,
            seg_fields=['gt_seg_map'],
            label_map=self.label_map,
            reduce_zero_label=False,
        )
        return self.pipeline(info)

    def draw(self, scene: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """Draw one scene.

        Args:
            scene: number of the scene.

        Returns:
            The image (H x W x 3, BGR, uint8), the labels (H x W, uint8), and the indices of its digits in scikit-learn.
        """
        rng = np.random.default_rng([self.seed, list(HANDWRITING).index(self.split), scene])
        size = self.image_size
        image = _ground(rng, size)
        lightness = _lightness(image.mean(axis=(0, 1)))
        labels = np.zeros((size, size), np.uint8)
        digits, shows = handwriting()
        numbers = HANDWRITING[self.split]
        used = []
        for _ in range(rng.integers(FEWEST, MOST + 1)):
            index = int(rng.integers(numbers.start, numbers.stop))
            ink = _write(digits[index], rng, size)
            colour = _ink_colour(rng, lightness)
            height, width = ink.shape
            for _ in range(ATTEMPTS):
                top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
                place = np.s_[top : top + height, left : left + width]
                if not labels[place][ink > 0].any():
                    image[place] += ink[..., None] * (colour - image[place])
                    labels[place][ink > 0.5] = shows[index] + 1
                    used.append(index)
                    break
        image += rng.normal(0, 2, image.shape).astype(np.float32)  # grain, so ink is not a flat colour either
        return np.clip(image, 0, 255).astype(np.uint8), labels, used


def _ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return ground of (size, size, 3) BGR float32: two related colours mixed in blotches, with a fine texture."""
    hue, saturation, value = rng.uniform(0, 180), rng.uniform(60, 170), rng.uniform(45, 95)
    pair = [_from_hsv(hue + shift, saturation, value + lighter) for shift, lighter in ((0, -20), (25, 20))]
    coarse = cv2.resize(rng.random((4, 4), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.normal(0, 7, (size // 3, size // 3)).astype(np.float32), (size, size))
    mixture = coarse[..., None]
    return pair[0] * (1 - mixture) + pair[1] * mixture + fine[..., None]


def _write(digit: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Return one digit, enlarged, slightly rotated and slanted: its ink in [0, 1], cropped to the inked area."""
    height = rng.integers(SMALLEST, LARGEST + 1) * size / 96
    scale = height / 8
    angle, slant, stretch = np.deg2rad(rng.uniform(-8, 8)), rng.uniform(-0.1, 0.1), rng.uniform(0.85, 1.1)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = scale * np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, slant], [0, 1]])
    canvas = min(size, int(height * 1.5))
    shift = canvas / 2 - 0.5 - turn @ np.array([3.5, 3.5])  # centre to centre
    grown = cv2.warpAffine(digit, np.column_stack([turn, shift]), (canvas, canvas), flags=cv2.INTER_CUBIC)
    ink = np.clip((grown / FULL_INK - 0.28) / 0.2, 0, 1)  # a narrow ramp: smooth edges, solid strokes
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _ink_colour(rng: np.random.Generator, ground: float) -> np.ndarray:
    """Return a random BGR colour that is far lighter than the ground."""
    while True:
        colour = _from_hsv(rng.uniform(0, 180), rng.uniform(30, 200), rng.uniform(200, 255))
        if _lightness(colour) - ground >= INK_CONTRAST:
            return colour


def _from_hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Convert OpenCV's HSV (0..180, 0..255, 0..255) to BGR float32."""
    pixel = np.array([[[hue % 180, saturation, np.clip(value, 0, 255)]]]).astype(np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)


def _lightness(bgr: np.ndarray) -> float:
    """Return the luma (ITU-R BT.601) of a BGR colour, 0..255."""
    return float(bgr @ np.array([0.114, 0.587, 0.299], np.float32))
