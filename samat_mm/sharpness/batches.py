"""Draw fixed training batches without disturbing a running training."""

import copy
from typing import Any

import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from samat_mm.errors import InputError
from samat_mm.sharpness.random_numbers import seeded_generators


def draw_batches(dataloader: dict | DataLoader | None, count: int, seed: int) -> list[Any]:
    """Draw batches with augmentation as in training, the same for the same seed.

    Batches are drawn without replacement, in this process, whatever the sampler; every process of a distributed run
    draws the same ones. A config gets its own data set, and a given loader is never iterated, so the training stream
    and the random state do not change. If the data set is smaller, all of it is drawn once.

    Args:
        dataloader: config of the training data loader, or the loader itself, whose data set is copied.
        count: number of batches, each with the batch size of the loader.
        seed: seed of the choice and of the augmentation.

    Returns:
        Batches as the loader would return them, not yet preprocessed.

    Raises:
        ValueError: if ``count`` is below 1, there is no data loader, or its data set has no length.
    """
    if dataloader is None:
        raise InputError('sharpness is measured on the training loss, so the config needs a train_dataloader.')
    if count < 1:
        raise InputError(f'the number of batches must be at least 1; got {count}.')
    with seeded_generators(seed):
        loader = Runner.build_dataloader(dataloader, seed=seed)
        dataset: Any = copy.deepcopy(loader.dataset) if isinstance(dataloader, DataLoader) else loader.dataset
        if not hasattr(dataset, '__len__'):
            raise InputError(
                f'batches are drawn from a data set with a length; {type(dataset).__name__} has none. Wrap it in one '
                'that returns its samples by index.'
            )
        size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
        if not isinstance(size, int):
            raise InputError(f'batches are drawn by their size; the train_dataloader has batch_size={size!r}.')
        numbers = torch.randperm(len(dataset))[: count * size].split(size)
        return [loader.collate_fn([dataset[int(number)] for number in batch]) for batch in numbers]
