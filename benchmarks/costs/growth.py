"""Measure images per second for growing batches."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from common import Record, show
from records import Deadline

from costs.timing import release, timed, warmed_up

Throughput = dict[str, dict[str, float]]  # by competitor and batch


def growth(
    title: str,
    batches: Iterable[int],
    competitors: Callable[[int], dict[str, Callable[[], Any]]],
    device: str,
    deadline: Deadline,
) -> tuple[Throughput, list[str]]:
    """Return images per second, and a sentence if the measurement ended before the largest batch.

    Args:
        title: title of the measurement.
        batches: increasing numbers of images.
        competitors: function that returns the runs for a batch size.
        device: device of the runs.
        deadline: end of the time; each batch is expected to take twice as long as the one before.
    """
    found: Throughput = {}
    took = 0.0
    for batch in batches:
        if not deadline.allows(2 * took):
            return found, [f'{title}: the time ended before a batch of {batch}.']
        began = time.monotonic()
        try:
            for name, run in competitors(batch).items():
                found.setdefault(name, {})[str(batch)] = batch / _seconds(run, device)
        except torch.OutOfMemoryError:
            return found, [f'{title}: out of memory with a batch of {batch}.']
        finally:
            release(device)
        took = time.monotonic() - began
    return found, []


def show_and_record(title: str, model: str, found: Throughput, sentences: list[str], record: Record) -> None:
    """Print the table and add it to the record."""
    record.add(model, growth=found)
    for sentence in sentences:
        record.leave_out(sentence)
    rows = [
        {'images per second': name, **{f'batch {batch}': f'{value:.0f}' for batch, value in values.items()}}
        for name, values in found.items()
    ]
    if rows:
        show(title, rows)


def _seconds(run: Callable[[], Any], device: str) -> float:
    _, times = warmed_up(run, device)
    return statistics.median(timed(run, times, device).seconds[0] for _ in range(3))
