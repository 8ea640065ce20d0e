"""The images of a test set by number; one that cannot be read is named."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from samat_mm.errors import FileError, UserError
from samat_mm.files.images import decode

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')  # that Pillow reads if they are whole; it is not so sure of TIFF


class NamedErrors(Dataset):
    """A data set that returns, for an image it fails to read, an error that says which image it is.

    The error is returned and not raised: the processes of a loader would bury it in a trace. An error that no file
    causes is raised with its trace, as a mistake in the code of the pipeline.

    Args:
        dataset: any.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, number: int) -> Any:
        """Return an image as the data set gives it, or an OSError.

        Raises:
            RuntimeError: if the code of the pipeline fails; its cause is what it raised.
        """
        try:
            return self.dataset[number]
        except UserError as error:
            return FileError(f'{self._noun(number)} {number} of the test set: {error}')
        except Exception as error:  # the pipeline may be anybody's
            if fault := self._fault(number, error):
                return FileError(f'{self._noun(number)} {number} of the test set{fault}')
            path = self._path(number, 'img_path')
            where = f'{self._noun(number)} {number} of the test set ({path})'
            raise RuntimeError(f'the pipeline fails at {where}') from error

    def _fault(self, number: int, error: Exception) -> str | None:
        """Return which file is damaged and how, whatever error the code raised, or None if no file is."""
        for what, key in (('image', 'img_path'), ('labels', 'seg_map_path')):
            path = self._path(number, key)
            if path.lower().endswith(PICTURES) and os.path.isfile(path):
                try:
                    decode(what, path)
                except UserError as damage:
                    return f': {damage}'
        if not isinstance(error, OSError):
            return None
        path, said = self._path(number, 'img_path'), str(error).partition('\n')[0] or type(error).__name__
        return f'{path and f", {path},"} cannot be read ({said}); mend the file.'

    def _noun(self, number: int) -> str:
        return 'sentence' if self._path(number, 'text') else 'image'

    def _path(self, number: int, key: str) -> str:
        try:
            return str(self.dataset.get_data_info(number)[key])
        except (AttributeError, LookupError, TypeError):
            return ''


def first_item(dataset: Any, numbers: Sequence[int]) -> Any:
    """Return the first of these images as the data set gives it, which shows their kind.

    Raises:
        OSError: if it cannot be read.
    """
    return _raised(NamedErrors(dataset)[numbers[0]])


def is_openmmlab_item(item: Any) -> bool:
    """Tell whether an item is an image and its data sample, as mmsegmentation, mmpretrain and mmdetection have them."""
    return (
        isinstance(item, dict)
        and isinstance(item.get('inputs'), Tensor)
        and isinstance(item.get('data_samples'), BaseDataElement)
    )


def read_batches(
    loader: DataLoader, numbers: Sequence[int], batch_size: int | None = None
) -> Iterator[tuple[list[int], Any]]:
    """Read images by number, batch by batch, as a loader would.

    Args:
        loader: the data set, the size of a batch, and how many processes read; its sampler plays no part.
        numbers: of the images.
        batch_size: another size of a batch.

    Yields:
        The numbers of a batch, and the batch.

    Raises:
        OSError: if an image cannot be read; those of earlier batches were yielded before.
    """
    size = batch_size or loader.batch_size or int(getattr(loader.batch_sampler, 'batch_size', 1))
    batches = [list(numbers[start : start + size]) for start in range(0, len(numbers), size)]
    read = DataLoader(
        NamedErrors(loader.dataset),
        batch_sampler=batches,
        num_workers=loader.num_workers,
        collate_fn=partial(_collate, loader.collate_fn),
        worker_init_fn=loader.worker_init_fn,
        pin_memory=loader.pin_memory,
        multiprocessing_context=loader.multiprocessing_context,
    )
    for part, batch in zip(batches, read, strict=True):
        yield part, _raised(batch)


def _collate(collate: Callable[[list[Any]], Any], images: list[Any]) -> Any:
    return next((image for image in images if isinstance(image, OSError)), None) or collate(images)


def _raised(found: Any) -> Any:
    if isinstance(found, OSError):
        raise found
    return found
