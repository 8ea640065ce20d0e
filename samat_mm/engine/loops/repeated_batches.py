"""Batches of a loader, each several times in a row."""

import itertools
from collections.abc import Iterator
from typing import Any, Protocol

from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader


class Batches(Protocol):
    """An endless iterator over batches that can skip some, as MMEngine's iteration-based loop has it."""

    def __next__(self) -> Any: ...

    def skip_iter(self, num_iters: int) -> None:
        """Skip the next ``num_iters`` batches."""


class RepeatedBatches:
    """Serves every batch ``replays`` times in a row.

    Args:
        batches: the batches to repeat.
        replays: number of times that a batch is served.
    """

    def __init__(self, batches: Batches, replays: int) -> None:
        self.batches, self.replays = batches, replays
        self._step, self._batch = 0, None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._batch is None or self._step % self.replays == 0:
            self._batch = next(self.batches)
        self._step += 1
        return self._batch

    def skip_iter(self, num_iters: int) -> None:
        """Skip steps from the beginning; the next one may be in the middle of the replays of its batch."""
        self._step = num_iters
        self.batches.skip_iter(num_iters // self.replays)


class DataPasses:
    """Serves the batches of a loader in pass after pass over the data, each shuffled by its number if the sampler can.

    Args:
        loader: a loader with a length.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self._batches = self._from(0)

    def __next__(self) -> Any:
        return next(self._batches)

    def skip_iter(self, num_iters: int) -> None:
        """Skip batches from the beginning of the training; whole passes cost nothing."""
        self._batches = self._from(num_iters)

    def _from(self, first: int) -> Iterator[Any]:
        passes, skipped = divmod(first, len(self.loader))
        for number in itertools.count(passes):
            for source in (self.loader, self.loader.batch_sampler):  # as MMEngine's DistSamplerSeedHook
                sampler: Any = getattr(source, 'sampler', None)
                if hasattr(sampler, 'set_epoch'):
                    sampler.set_epoch(number)
            batches = _InfiniteDataloaderIterator(self.loader)
            batches.skip_iter(skipped)
            yield from itertools.islice(batches, len(self.loader) - skipped)
            skipped = 0
