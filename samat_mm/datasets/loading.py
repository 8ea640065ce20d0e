"""Load images and labels, with errors that name a bad file.

The loaders of mmcv and mmseg report a damaged file as ``cannot identify image file <_io.BytesIO object>`` or as an
assertion in OpenCV, and pass any label value on to the loss.
"""

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.registry import TRANSFORMS
from mmseg.datasets.transforms import LoadAnnotations

from samat_mm.errors import InputError
from samat_mm.files.images import check_file, naming

IGNORED = 255  # mmseg's label of pixels that are neither trained nor scored


def list_names(folder: Path, suffix: str) -> set[str]:
    """Return the names, without the suffix, of the files in a folder; hidden files (``._1.jpg``) are skipped."""
    return {path.name.removesuffix(suffix) for path in folder.glob(f'[!.]*{suffix}')}


def check_labels(labels: np.ndarray, num_classes: int, path: Any) -> None:
    """Check that every label is a class or ignored.

    Args:
        labels: (H, W), with 255 where ignored.
        num_classes: classes are 0 .. num_classes - 1.
        path: the file, for the error.

    Raises:
        ValueError: if another value occurs, or there is more than one channel.
    """
    if labels.ndim != 2:
        raise InputError(f'labels {path} have the shape {labels.shape}, but must be one number per pixel (H, W).')
    bad = [int(value) for value in np.unique(labels) if not 0 <= value < num_classes and value != IGNORED]
    if bad:
        raise InputError(
            f'labels {path} hold {bad[:8]}, but must be 0..{num_classes - 1} or {IGNORED} (ignored); repair the file.'
        )


@TRANSFORMS.register_module()
class CheckedLoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile``, with errors that name the file."""

    def transform(self, results: dict) -> dict | None:
        """Load the image at ``img_path``; raises OSError or ValueError."""
        check_file('image', results['img_path'])
        with naming('image', results['img_path']):
            return super().transform(results)


@TRANSFORMS.register_module()
class CheckedLoadAnnotations(LoadAnnotations):
    """mmseg's ``LoadAnnotations``, with errors that name the file."""

    def transform(self, results: dict) -> dict:
        """Load the labels at ``seg_map_path``; raises OSError or ValueError."""
        check_file('labels', results['seg_map_path'])
        with naming('labels', results['seg_map_path']):
            return super().transform(results)


@TRANSFORMS.register_module()
class CheckLabels(BaseTransform):
    """Check ``gt_seg_map`` in any mmseg pipeline; goes after ``LoadAnnotations``.

    Args:
        num_classes: number of classes; every label must be below it, or 255.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def transform(self, results: dict) -> dict:
        """Return the results unchanged, or raise ValueError with the file and the wrong values or size."""
        labels, path = results['gt_seg_map'], results.get('seg_map_path')
        check_labels(labels, self.num_classes, path)
        # The image may be resized before its labels are loaded, as in tests: then they have its size on disk.
        sizes = [tuple(results[key][:2]) for key in ('ori_shape', 'img_shape') if key in results]
        if sizes and labels.shape not in sizes:
            raise InputError(
                f'labels {path} are {labels.shape} (rows, columns), but the image is {sizes[0]}; repair the file.'
            )
        return results
