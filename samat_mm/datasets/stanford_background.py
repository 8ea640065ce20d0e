"""Stanford Background: 715 outdoor scenes with eight region classes."""

import hashlib
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import DATASETS, TRANSFORMS
from mmseg.datasets import BaseSegDataset

from samat_mm.datasets.folders import folder_of
from samat_mm.datasets.loading import IGNORED, list_names
from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.images import naming

CLASSES = ('sky', 'tree', 'road', 'grass', 'water', 'building', 'mountain', 'foreground')
UNKNOWN = -1
FOLDS = 5
SPLIT_SEED = 0
LONGEST_NUMBER = 25  # bytes per number from numpy's savetxt; the published files take 2 or 3


def names_in_folds(names: Iterable[str]) -> list[list[str]]:
    """Split image names into five folds.

    The names are ordered by the SHA-256 of ``'0:NAME'`` and cut into five equal runs. This shuffle depends only on the
    names, not on the file system or the version of Python or numpy.

    Args:
        names: distinct names without suffix; 715 names give folds of 143.

    Returns:
        The five folds, each sorted.
    """
    shuffled = sorted(names, key=lambda name: hashlib.sha256(f'{SPLIT_SEED}:{name}'.encode()).digest())
    cuts = [len(shuffled) * fold // FOLDS for fold in range(FOLDS + 1)]
    return [sorted(shuffled[start:stop]) for start, stop in pairwise(cuts)]


def read_regions(path: str | Path, shape: tuple[int, int]) -> np.ndarray:
    """Read the labels of one image.

    Args:
        path: an ``ID.regions.txt``: one line of numbers per row of pixels, -1 for unknown.
        shape: height and width of the image.

    Returns:
        (H, W) uint8, with 255 for unknown.

    Raises:
        FileNotFoundError: if the file does not exist.
        OSError: if it cannot be read.
        ValueError: if it is not a matrix of whole numbers, does not have the size of its image, or has values outside
            -1..7.
    """
    most = LONGEST_NUMBER * (shape[0] + 1) * (shape[1] + 1)
    if os.path.exists(path) and not (os.path.isfile(path) and os.path.getsize(path) <= most):
        raise InputError(
            f'labels {path} are a device, or far too long for an image of {tuple(shape)}; replace the file.'
        )
    with naming('labels', path):
        regions = np.loadtxt(path, dtype=np.int64, ndmin=2)  # 1.7 ms; parsed in C since numpy 1.23
    if regions.shape != tuple(shape):
        raise InputError(f'labels {path} are {regions.shape} (rows, columns), but the image is {tuple(shape)}.')
    if regions.min() < UNKNOWN or regions.max() >= len(CLASSES):
        bad = [int(value) for value in np.unique(regions) if not UNKNOWN <= value < len(CLASSES)]
        raise InputError(f'labels {path} hold {bad[:8]}, but must be -1..{len(CLASSES) - 1}; repair the file.')
    return np.where(regions == UNKNOWN, IGNORED, regions).astype(np.uint8)


@TRANSFORMS.register_module()
class LoadRegions(BaseTransform):
    """Load the ``ID.regions.txt`` at ``seg_map_path`` as ``gt_seg_map``; goes after the image is loaded."""

    def transform(self, results: dict) -> dict:
        """Add ``gt_seg_map`` (H x W, uint8); raises FileNotFoundError or ValueError, see :func:`read_regions`."""
        labels = read_regions(results['seg_map_path'], results['ori_shape'][:2])
        if results.get('label_map'):  # a subset of the classes was requested
            mapping = np.arange(IGNORED + 1, dtype=np.uint8)
            mapping[list(results['label_map'])] = list(results['label_map'].values())
            labels = mapping[labels]
        results['gt_seg_map'] = labels
        results['seg_fields'].append('gt_seg_map')
        return results


@DATASETS.register_module()
class StanfordBackgroundDataset(BaseSegDataset):
    """The Stanford Background data set, read as published.

    The data set has no official split. Ours comes from :func:`names_in_folds`: the fifth fold is val (143 images), the
    others are train (572). ``fold`` selects another fold for val, for the authors' five-fold protocol.

    Args:
        data_root: folder with ``images/ID.jpg`` and ``labels/ID.regions.txt``.
        split: 'train' or 'val'.
        fold: 0 to 4, the fold for val; None is the same as 4.
        kwargs: arguments of mmseg's ``BaseSegDataset`` (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        FileNotFoundError: if the folder, an image or its labels are missing.
        ValueError: if ``split`` or ``fold`` is unknown.

    Source: S. Gould, R. Fulton, D. Koller, Decomposing a Scene into Geometric and Semantically Consistent Regions,
    ICCV 2009.
    """

    METAINFO: ClassVar[dict] = dict(
        classes=CLASSES,
        palette=[
            [128, 190, 235],
            [60, 140, 70],
            [120, 120, 130],
            [165, 205, 95],
            [45, 95, 175],
            [200, 125, 85],
            [150, 105, 165],
            [235, 195, 75],
        ],
    )

    def __init__(
        self,
        data_root: str = 'data/stanford_background',
        split: str = 'train',
        fold: int | None = None,
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'val'):
            raise InputError(f"StanfordBackgroundDataset: split must be 'train' or 'val', got {split!r}.")
        if fold not in (None, *range(FOLDS)):
            raise InputError(f'StanfordBackgroundDataset: fold must be None or 0..{FOLDS - 1}, got {fold!r}.')
        folder_of(data_root, 'StanfordBackgroundDataset')
        self.split = split
        self.fold = FOLDS - 1 if fold is None else fold
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Pair the images of the split with their labels."""
        images, labels = Path(self.data_root) / 'images', Path(self.data_root) / 'labels'
        names = list_names(images, '.jpg')
        if not names or not labels.is_dir():
            raise MissingFileError(
                f'Stanford Background was not found: expected images/*.jpg and labels/*.regions.txt in '
                f'{self.data_root}; run `samat-mm prepare-data stanford SOURCE`.'
            )
        unlabelled = sorted(names - list_names(labels, '.regions.txt'))
        if unlabelled:
            raise MissingFileError(
                f'{len(unlabelled)} images of {self.data_root} have no labels/ID.regions.txt: {unlabelled[:3]}; '
                'run `samat-mm prepare-data stanford SOURCE` again.'
            )
        folds = names_in_folds(names)
        val = set(folds[self.fold])
        chosen = val if self.split == 'val' else names - val
        return [
            dict(
                img_path=str(images / f'{name}.jpg'),
                seg_map_path=str(labels / f'{name}.regions.txt'),
                label_map=self.label_map,
                reduce_zero_label=False,
                seg_fields=[],
            )
            for name in sorted(chosen)
        ]
