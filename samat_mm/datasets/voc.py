"""PASCAL VOC 2012 segmentation in mmseg's layout."""

from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import PascalVOCDataset

from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.images import naming

IMAGES, LABELS, LISTS = 'JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'
NUM_CLASSES = len(PascalVOCDataset.METAINFO['classes'])


def read_names(path: Path) -> list[str]:
    """Return the names in an image list.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not text.
    """
    with naming('list', path):
        return path.read_text(encoding='utf-8').split()


@DATASETS.register_module()
class VOC2012Dataset(PascalVOCDataset):
    """mmseg's ``PascalVOCDataset``, with errors that name missing files instead of a failed assertion.

    Args:
        data_root: folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation``.
        split: name of the list in ``ImageSets/Segmentation``: 'train', 'val' or 'trainval'.
        kwargs: arguments of mmseg's ``BaseSegDataset`` (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        FileNotFoundError: if a folder or the list is missing.
        ValueError: if the list is empty or not text.

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
        if not read_names(Path(data_root) / names):
            raise InputError(f'list {Path(data_root) / names} does not name any image; restore it.')
        super().__init__(
            ann_file=names,
            data_root=data_root,
            data_prefix=dict(img_path=IMAGES, seg_map_path=LABELS),
            **kwargs,
        )
