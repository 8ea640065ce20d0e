"""Time competitors in turn: with events on CUDA, with wall and processor time on a CPU."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from records import Deadline
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

REGION = 0.06  # seconds between two events; host time at the start and the end is lost in it
NO_LIMIT = Deadline(None)


class OutOfTime(Exception):
    """Raised if work would not end in time; the message is a sentence."""


@dataclass
class Cost:
    """Seconds per round of one competitor: wall time, processor time of this process, and on CUDA between events."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    device: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        """The seconds to compare: between events on CUDA, processor time on a CPU, which others disturb less."""
        return self.device or self.cpu

    def ratios(self, reference: 'Cost', clock: str = 'seconds') -> list[float]:
        """Return this cost divided by the reference's, round by round."""
        return [a / b for a, b in zip(getattr(self, clock), getattr(reference, clock), strict=True)]

    def per(self, steps: int) -> 'Cost':
        """Return the cost of one of ``steps`` steps."""
        return Cost(*([value / steps for value in values] for values in (self.wall, self.cpu, self.device)))

    def add(self, other: 'Cost') -> None:
        """Append the rounds of another cost."""
        self.wall += other.wall
        self.cpu += other.cpu
        self.device += other.device

    def numbers(self) -> dict[str, list[float]]:
        """Return the values for the record."""
        events = {'device_seconds': self.device} if self.device else {}
        return {'seconds': self.wall, 'cpu_seconds': self.cpu, **events}


def timed(run: Callable[[], Any], times: int, device: str) -> Cost:
    """Return the cost of one run, from ``times`` runs in a row with nothing else queued on the device."""
    events = []
    if device.startswith('cuda'):
        synchronise(device)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        run()
    if events:
        events[1].record()
        events[1].synchronize()
    cost = Cost([time.perf_counter() - wall], [time.process_time() - cpu])
    cost.device = [events[0].elapsed_time(events[1]) / 1000] if events else []
    return cost.per(times)


def synchronise(device: str) -> None:
    """Wait for all work launched on the device."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()


def release(device: str) -> None:
    """Release unused memory."""
    gc.collect()
    if device.startswith('cuda'):
        torch.cuda.empty_cache()


def warmed_up(run: Callable[[], Any], device: str) -> tuple[float, int]:
    """Run once, or twice on CUDA, where the first run chooses algorithms; return seconds and runs per round."""
    cost = timed(run, 1, device)
    if not device.startswith('cuda'):
        return cost.wall[0], 1
    seconds = timed(run, 1, device).wall[0]
    times = min(max(round(REGION / seconds), 1), 50)
    return seconds * times, times


def interleaved(
    competitors: dict[str, Callable[[], Any]], rounds: int, device: str, title: str, deadline: Deadline = NO_LIMIT
) -> dict[str, Cost]:
    """Time every competitor once per round, A B C A B C ..., after a warm-up, for all rounds or those that fit.

    Raises:
        OutOfTime: if not even one round would end in time.
    """
    costs = {name: Cost() for name in competitors}
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(title, total=(rounds + 1) * len(competitors))
        seconds: dict[str, float] = {}
        times: dict[str, int] = {}
        for name, run in competitors.items():
            _require(deadline, max(seconds.values(), default=0), f'{title}, warm-up')
            seconds[name], times[name] = warmed_up(run, device)
            progress.advance(task)
        for number in range(rounds):
            if number and not deadline.allows(sum(seconds.values())):
                break
            _require(deadline, sum(seconds.values()), title)
            for name, run in competitors.items():
                costs[name].add(timed(run, times[name], device))
                progress.advance(task)
    return costs


def _require(deadline: Deadline, seconds: float, title: str) -> None:
    if not deadline.allows(seconds):
        raise OutOfTime(f'{title}: takes {seconds:.1f} seconds more, and {max(deadline.left(), 0):.1f} are left.')


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the median with the smallest and the largest value."""
    return f'{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})'
