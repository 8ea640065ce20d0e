"""Tiny ImageNet in the layout it is distributed in."""

from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from samat_mm.datasets.folders import folder_of
from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.images import naming

ANNOTATIONS, IDS, WORDS = 'val/val_annotations.txt', 'wnids.txt', 'words.txt'


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """200 classes of ImageNet, 64x64 pixels: 500 training and 50 validation images per class.

    Reads ``train/WNID/images/*.JPEG`` and ``val/images/*.JPEG`` with ``val/val_annotations.txt``; no file needs to be
    moved. Classes are numbered in the order of their WordNet ids, and named by ``words.txt`` where that is present. The
    pipeline finds ``img_path`` and ``gt_label``.

    Args:
        data_root: Folder that holds ``train`` and ``val``, ``tiny-imagenet-200`` of the archive.
        split: 'train' or 'val'. The labels of the test images were never published.
        kwargs: Arguments of MMEngine's ``BaseDataset`` (``pipeline``, ``indices``, ``test_mode`` ...).

    Raises:
        FileNotFoundError: if a folder or the list of labels is missing.
        ValueError: if the split is unknown, a class has no images, or the list of labels has a wrong line.

    Source: Y. Le and X. Yang, Tiny ImageNet Visual Recognition Challenge, 2015.
    """

    def __init__(self, data_root: str = 'data/tiny-imagenet-200', split: str = 'train', **kwargs: Any) -> None:
        if split not in ('train', 'val'):
            raise InputError(f"TinyImageNet: split must be 'train' or 'val'; got {split!r}.")
        root = folder_of(data_root, 'TinyImageNet')
        needed = ['train'] if split == 'train' else ['train', 'val/images', ANNOTATIONS]
        missing = [part for part in needed if not (root / part).exists()]
        if missing:
            raise MissingFileError(
                f'Tiny ImageNet was not found: {data_root} lacks {", ".join(missing)}; give the '
                'folder tiny-imagenet-200 that tiny-imagenet-200.zip unpacks to.'
            )
        self.split = split
        self.ids = _class_ids(root)
        metainfo = {'classes': _class_names(root, self.ids), **(kwargs.pop('metainfo', None) or {})}
        super().__init__(data_root=data_root, metainfo=metainfo, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return the path and the label of each image, in the order of the paths."""
        root = Path(self.data_root)
        found = _training_images(root, self.ids) if self.split == 'train' else _validation_images(root, self.ids)
        return [dict(img_path=str(path), gt_label=label) for path, label in found]


def _class_ids(root: Path) -> list[str]:
    """Return the WordNet ids of the classes, sorted.

    The folders of the training images are the classes; a ``wnids.txt`` must name the same ones. Hidden files
    (``._1.JPEG``) and folders are skipped.
    """
    folders = sorted(path.name for path in (root / 'train').glob('[!.]*') if path.is_dir())
    if not folders:
        raise InputError(f'TinyImageNet: {root / "train"} has no folder of a class; unpack the archive again.')
    if (root / IDS).exists():
        listed = sorted(_lines(root / IDS))
        if listed != folders:
            differing = sorted(set(listed) ^ set(folders))
            raise InputError(
                f'TinyImageNet: {root / IDS} names {len(listed)} classes, and {root / "train"} has {len(folders)} '
                f'folders; they differ in {", ".join(differing[:3])}. Unpack the archive again.'
            )
    return folders


def _class_names(root: Path, ids: list[str]) -> tuple[str, ...]:
    """Return the first word for each class, or its id."""
    if not (root / WORDS).exists():
        return tuple(ids)
    words = dict(line.split('\t', 1) for line in _lines(root / WORDS) if '\t' in line)
    return tuple(words.get(name, name).split(',')[0].strip() for name in ids)


def _training_images(root: Path, ids: list[str]) -> list[tuple[Path, int]]:
    found = []
    for label, name in enumerate(ids):
        images = sorted((root / 'train' / name / 'images').glob('[!.]*.JPEG'))
        if not images:
            raise InputError(f'TinyImageNet: {root / "train" / name / "images"} has no .JPEG file; unpack it again.')
        found += [(path, label) for path in images]
    return found


def _validation_images(root: Path, ids: list[str]) -> list[tuple[Path, int]]:
    numbers = {name: label for label, name in enumerate(ids)}
    found = []
    for number, line in enumerate(_lines(root / ANNOTATIONS), 1):
        fields = line.split('\t')
        if len(fields) < 2 or fields[1] not in numbers:
            raise InputError(
                f'TinyImageNet: line {number} of {root / ANNOTATIONS} must be an image and a class of '
                f'{root / "train"}, separated by a tab; got {line[:60]!r}.'
            )
        found.append((root / 'val/images' / fields[0], numbers[fields[1]]))
    return sorted(found)


def _lines(path: Path) -> list[str]:
    with naming('list', path):
        return [line for line in path.read_text(encoding='utf-8').splitlines() if line.strip()]
