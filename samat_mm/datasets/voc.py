"""PASCAL VOC 2012 segmentation in mmseg's layout."""

from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import PascalVOCDataset

from samat_mm.datasets.folders import folder_of
from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.images import naming

IMAGES, LABELS, LISTS = 'JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'
AUGMENTED = 'trainaug'  # train and the images that SBD adds to it
AUGMENTED_LABELS = 'SegmentationClassAug'
AUGMENTED_LISTS = ('aug.txt', 'trainaug.txt', 'train_aug.txt')  # mmsegmentation's, with and without train; DeepLab's
NUM_CLASSES = len(PascalVOCDataset.METAINFO['classes'])


def read_names(path: Path) -> list[str]:
    """Return the names in an image list.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not text.
    """
    with naming('list', path):
        return path.read_text(encoding='utf-8').split()


def added_names(root: Path) -> list[str]:
    """Return the names that the augmented list adds to train, in its order; none is in val.

    Args:
        root: folder of the data set. Lines of the list are names, or paths of an image and its labels.

    Raises:
        FileNotFoundError: if the list, or the folder of the labels, is missing.
        OSError: if a list cannot be read.
        ValueError: if the list holds an image of val, adds nothing to train, or is not text.
    """
    paths = [root / LISTS / name for name in AUGMENTED_LISTS]
    path = next((path for path in paths if path.exists()), None)
    missing = [] if (root / AUGMENTED_LABELS).is_dir() else [AUGMENTED_LABELS]
    if path is None or missing:
        missing += [f'{LISTS}/{AUGMENTED_LISTS[0]} (or {" or ".join(AUGMENTED_LISTS[1:])})'] if path is None else []
        raise MissingFileError(
            f'the augmented list of PASCAL VOC 2012 was not found: {root} lacks {" and ".join(missing)}; get SBD '
            "(Hariharan et al., ICCV 2011) and convert it with mmsegmentation's "
            'tools/dataset_converters/voc_aug.py, which writes both.'
        )
    with naming('list', path):
        lines = path.read_text(encoding='utf-8').splitlines()
    listed = dict.fromkeys(PurePosixPath(line.split()[0]).stem for line in lines if line.strip())
    in_val = sorted(listed.keys() & set(read_names(root / LISTS / 'val.txt')))
    if in_val:
        raise InputError(
            f'list {path} names {len(in_val)} of the images that the model is tested on (val): '
            f'{", ".join(in_val[:3])}{", ..." if len(in_val) > 3 else ""}; take them out.'
        )
    train = set(read_names(root / LISTS / 'train.txt'))
    added = [name for name in listed if name not in train]
    if not added:
        raise InputError(f'list {path} adds no image to the {len(train):,} of train; restore it.')
    return added


@DATASETS.register_module()
class VOC2012Dataset(PascalVOCDataset):
    """mmseg's ``PascalVOCDataset``, with errors that name missing files instead of a failed assertion.

    Args:
        data_root: folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation``.
        split: name of the list in ``ImageSets/Segmentation``: 'train', 'val' or 'trainval'; or 'trainaug' for train
            with its own labels, followed by the images that SBD adds, with the labels in ``SegmentationClassAug``:
            10,582 in all, none of them in val. That list may be called aug.txt, trainaug.txt or train_aug.txt.
        kwargs: arguments of mmseg's ``BaseSegDataset`` (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        FileNotFoundError: if a folder or the list is missing.
        ValueError: if the list is empty or not text, or the augmented one holds an image of val.

    Source: M. Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 2015;
    B. Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011 (SBD).
    """

    def __init__(self, data_root: str = 'data/VOCdevkit/VOC2012', split: str = 'train', **kwargs: Any) -> None:
        root = folder_of(data_root, 'VOC2012Dataset')
        lists = ['train', 'val'] if split == AUGMENTED else [split]
        names, *others = (f'{LISTS}/{name}.txt' for name in lists)
        missing = [part for part in (IMAGES, LABELS, names, *others) if not (root / part).exists()]
        if missing:
            raise MissingFileError(
                f'PASCAL VOC 2012 was not found: {data_root} lacks {", ".join(missing)}; '
                'run `samat-mm prepare-data voc SOURCE`.'
            )
        if not read_names(root / names):
            raise InputError(f'list {root / names} does not name any image; restore it.')
        self.added = added_names(root) if split == AUGMENTED else []
        super().__init__(
            ann_file=names,
            data_root=data_root,
            data_prefix=dict(img_path=IMAGES, seg_map_path=LABELS),
            **kwargs,
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the images of the list, and those that the augmented list adds."""
        entries = super().load_data_list()
        images, labels = Path(self.data_prefix['img_path']), Path(str(self.data_root)) / AUGMENTED_LABELS
        return entries + [
            {
                **entries[0],
                'img_path': str(images / f'{name}.jpg'),
                'seg_map_path': str(labels / f'{name}.png'),
                'seg_fields': [],
            }
            for name in self.added
        ]
