"""PASCAL VOC 2012 segmentation in mmseg's layout."""

from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import PascalVOCDataset

from samat_mm.errors import MissingFileError

IMAGES, LABELS, LISTS = 'JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'
NUM_CLASSES = len(PascalVOCDataset.METAINFO['classes'])


@DATASETS.register_module()
class VOC2012Dataset(PascalVOCDataset):
    """mmseg's ``PascalVOCDataset``, which says what is missing instead of failing an assertion.

    Args:
        data_root: folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation``.
        split: name of the list in ``ImageSets/Segmentation``: 'train', 'val' or 'trainval'.
        kwargs: what mmseg's ``BaseSegDataset`` takes (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        FileNotFoundError: if a folder or the list is missing.

    Source: M. Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 2015.
    """

    def __init__(self, data_root: str = 'data/VOCdevkit/VOC2012', split: str = 'train', **kwargs: Any) -> None:
        names = f'{LISTS}/{split}.txt'
        missing = [part for part in (IMAGES, LABELS, names) if not (Path(data_root) / part).exists()]
        if missing:
            raise MissingFileError(
                f'PASCAL VOC 2012 was not found: {data_root} lacks {", ".join(missing)}; '
                'run `python tools/prepare_data.py voc SOURCE`.'
            )
        super().__init__(
            ann_file=names,
            data_root=data_root,
            data_prefix=dict(img_path=IMAGES, seg_map_path=LABELS),
            **kwargs,
        )
