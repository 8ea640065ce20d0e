"""CIFAR-10 from jpeg files in one .npz: decoded once, stored and augmented on the device."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from PIL import Image
from torch import Tensor

from samat_mm.errors import InputError, MissingFileError
from samat_mm.files.images import UNDECODABLE

SIDE, PADDING = 32, 4
CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')


@dataclass(frozen=True)
class Split:
    """Images (N, 32, 32, 3) in uint8, and labels (N,) in int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> 'Split':
        """Return the same on a device."""
        return Split(self.images.to(device), self.labels.to(device))


def read_split(path: str | Path, name: str, most: int | None = None) -> Split:
    """Read and decode the images of a split.

    Args:
        path: an .npz file, in which image i of the split 'train' is the jpeg file
            ``train_bytes[train_offsets[i]:train_offsets[i + 1]]``, with the label ``train_labels[i]``.
        name: 'train' or 'test'.
        most: number of images to take from the start.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not such a file, or an image cannot be decoded.
    """
    content, offsets, labels = _arrays(path, name)
    count = len(labels) if most is None else min(most, len(labels))
    images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    for number in range(count):
        jpeg = content[offsets[number] : offsets[number + 1]].tobytes()
        images[number] = _decoded(jpeg, f'{name} image {number} of {path}')
    return Split(torch.from_numpy(images), torch.from_numpy(labels[:count].astype(np.int64)))


def _arrays(path: str | Path, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bytes, offsets and labels of a split."""
    keys = [f'{name}_{part}' for part in ('bytes', 'offsets', 'labels')]
    if not Path(path).is_file():
        raise MissingFileError(f'the data {path} is not a file; give the .npz with the jpeg images of CIFAR-10.')
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content, offsets, labels = (arrays[key] for key in keys)
    except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip('\'"').partition('\n')[0]
        raise InputError(f'the data {path} needs to be an .npz with {", ".join(keys)} ({reason}).') from error
    whole = len(offsets) == len(labels) + 1 and offsets[-1] <= len(content)
    if not (whole and len(labels) and 0 <= labels.min() <= labels.max() < len(CLASSES)):
        raise InputError(
            f'the {name} images of {path} need labels of 0 to 9, an offset more than labels and all their bytes; got '
            f'{len(labels)} labels, {len(offsets)} offsets and {len(content)} bytes.'
        )
    return content, offsets, labels


def _decoded(jpeg: bytes, which: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            pixels = np.asarray(image.convert('RGB'))
    except UNDECODABLE as error:
        raise InputError(f'{which} cannot be decoded; replace the file.') from error
    if pixels.shape != (SIDE, SIDE, 3):
        raise InputError(f'{which} must have {SIDE} x {SIDE} pixels; it has {pixels.shape[1]} x {pixels.shape[0]}.')
    return pixels


def augmented(images: Tensor, numbers: Tensor, generator: torch.Generator) -> Tensor:
    """Return crops of images padded by reflection, half of them mirrored, with a single indexing operation.

    Args:
        images: (N, 32, 32, 3).
        numbers: indices of the images, shape (n,).
        generator: generator on the device of the images; each image draws its own position and mirroring.

    Returns:
        Shape (n, 3, 32, 32), in channels-last layout.
    """
    count, device = len(numbers), images.device
    shift = torch.randint(-PADDING, PADDING + 1, (2, count, 1), generator=generator, device=device)
    mirrored = torch.randint(2, (count, 1), generator=generator, device=device, dtype=torch.bool)
    place = torch.arange(SIDE, device=device)
    rows = _reflected(place + shift[0])
    columns = _reflected(torch.where(mirrored, SIDE - 1 - place, place) + shift[1])
    return images[numbers[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(places: Tensor) -> Tensor:
    """Return the source positions of the pixels that padding by reflection puts at these places."""
    last = SIDE - 1
    return last - (last - places.abs()).abs()


def training_batch(split: Split, numbers: Tensor, generator: torch.Generator) -> dict[str, Any]:
    """Return a batch for ``train_step``.

    All labels are in one data sample: mmpretrain's preprocessor and head join the labels of the samples into one
    tensor, so the loss is the same. Creating, moving and joining a sample for each image takes longer than the network
    itself on a fast GPU.

    Args:
        split: images on the device.
        numbers: indices of the images, shape (n,).
        generator: generator of the augmentation, on the device.
    """
    labels = DataSample().set_gt_label(split.labels[numbers])
    return {'inputs': augmented(split.images, numbers, generator), 'data_samples': [labels]}


@DATASETS.register_module()
class JpegCIFAR10(BaseDataset):
    """A split of such a file as a data set for tests: returns one image (3, 32, 32) and its data sample.

    Args:
        data_file: the .npz file.
        split: 'train' or 'test'.
        most: number of images to take from the start.
    """

    METAINFO = {'classes': CLASSES}  # noqa: RUF012  (as MMEngine has it)

    def __init__(self, data_file: str, split: str = 'test', most: int | None = None) -> None:
        self.read = read_split(data_file, split, most)
        super().__init__(serialize_data=False)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the indices of the images."""
        return [{'number': number} for number in range(len(self.read))]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an image with its label."""
        sample = DataSample().set_gt_label(int(self.read.labels[index]))
        return {'inputs': self.read.images[index].permute(2, 0, 1).contiguous(), 'data_samples': sample}
