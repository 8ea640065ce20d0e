"""A table of training steps for one model in one precision and layout."""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import show
from records import Deadline

from costs.kernels import share_in_kernels
from costs.memory import peak_bytes
from costs.numerics import NUMERICS, PLAIN
from costs.timing import Cost, interleaved, spread
from costs.training_steps import BFLOAT16, HALF_ASCENT, ROWS, competitor
from costs.workloads import Workload

ENOUGH = 5  # seconds for profiling memory or kernels


class Table:
    """The steps of one model in one precision and layout.

    Args:
        load: the model and its batch.
        key: name of the precision and layout.
        args: the settings.
        deadline: end of the time.
    """

    def __init__(self, load: Workload, key: str, args: argparse.Namespace, deadline: Deadline) -> None:
        self.load, self.args, self.deadline, self.how = load, args, deadline, NUMERICS[key]
        self.title = load.title if key == PLAIN else f'{load.title}, {key}'
        names = [name for name in args.methods if not self.how.dtype or name not in (BFLOAT16, HALF_ASCENT)]
        self.names = ['SGD', *(name for name in names if name != 'SGD')]

    def measured(self) -> dict[str, Any]:
        """Time the steps, print the table and return the numbers by step."""
        with self.how.active():
            if self.how.compiler:
                torch._dynamo.reset()
            steps = {name: repeated(self._step(name), ROWS[name].period) for name in self.names}
            costs = interleaved(steps, self.args.rounds, self.args.device, self.title, self.deadline)
            busy = {name: self._busy(step, costs[name]) for name, step in steps.items()}
            del steps
            peaks = {name: self._peak(name) for name in self.names}
        found = {name: self._numbers(name, costs, busy[name], peaks) for name in self.names}
        line = self._line_on_cuda if self.args.device.startswith('cuda') else self._line
        show(self.title, [line(name, numbers, costs) for name, numbers in found.items()])
        return found

    def _step(self, name: str) -> Callable[[], None]:
        return competitor(name, self.load, self.how)

    def _busy(self, step: Callable[[], None], cost: Cost) -> float | None:
        if not self._has_time_for('kernels'):
            return None
        return share_in_kernels(step, statistics.median(cost.seconds), self.args.device)

    def _peak(self, name: str) -> int | None:
        if self.how.compiler or not self._has_time_for('memory'):
            return None
        return peak_bytes(partial(self._step, name), self.args.device)

    def _has_time_for(self, part: str) -> bool:
        return part in self.args.also and self.deadline.allows(ENOUGH)

    def _numbers(
        self, name: str, costs: dict[str, Cost], busy: float | None, peaks: dict[str, int | None]
    ) -> dict[str, Any]:
        peak, peak_of_sgd = peaks[name], peaks['SGD']
        cost, sgd = costs[name].per(ROWS[name].period), costs['SGD']
        return {
            **cost.numbers(),
            'ratio': statistics.median(cost.ratios(sgd, 'device' if cost.device else 'wall')),
            'cpu_ratio': statistics.median(cost.ratios(sgd, 'cpu')),
            'images_per_second': len(self.load.images) / statistics.median(cost.seconds),
            'in_kernels': busy,
            'type': ROWS[name].wrapper.get('perturbation', {}).get('type'),
            'floor': ROWS[name].floor,
            'peak_bytes': peak,
            'extra_weights': None if peak is None or peak_of_sgd is None else (peak - peak_of_sgd) / self.weights_bytes,
        }

    @property
    def weights_bytes(self) -> int:
        """The size of the model's weights."""
        return sum(p.numel() * p.element_size() for p in self.load.model.parameters())

    def _line(self, name: str, numbers: dict[str, Any], costs: dict[str, Cost]) -> dict[str, str]:
        cost = costs[name].per(ROWS[name].period)
        ratios = {clock: spread(cost.ratios(costs['SGD'], clock)) for clock in ('wall', 'cpu')}
        columns = {'step': name, 'seconds': spread(cost.wall), 'x SGD': ratios['wall'], 'x SGD, CPU': ratios['cpu']}
        return columns | _common_columns(numbers)

    def _line_on_cuda(self, name: str, numbers: dict[str, Any], costs: dict[str, Cost]) -> dict[str, str]:
        cost = costs[name].per(ROWS[name].period)
        milliseconds = spread([1000 * seconds for seconds in cost.seconds], 2)
        columns = {'step': name, 'ms': milliseconds, 'x SGD': spread(cost.ratios(costs['SGD']))}
        return columns | {'images/s': f'{numbers["images_per_second"]:.0f}'} | _common_columns(numbers)


def _common_columns(numbers: dict[str, Any]) -> dict[str, str]:
    floor, peak, extra, busy = (numbers[key] for key in ('floor', 'peak_bytes', 'extra_weights', 'in_kernels'))
    return {
        'floor': '-' if floor is None else f'{floor:.3g}',
        'peak': '-' if peak is None else f'{peak / 2**20:.0f} MiB',
        'extra': '-' if extra is None else f'{extra:+.2f} weights',
        'in kernels': '-' if busy is None else f'{busy:.0%}',
    }


def repeated(step: Callable[[], None], times: int) -> Callable[[], None]:
    """Return a function that takes ``times`` steps."""

    def run() -> None:
        for _ in range(times):
            step()

    return run
