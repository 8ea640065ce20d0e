"""How long a table takes: its jobs, and the hours that measured times of its networks add up to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid

from samat_mm.errors import InputError
from samat_mm.files.access import reading
from samat_mm.tables.cells import trainings
from samat_mm.tables.table import Row, Table

LENGTHS = ('steps', 'restarts', 'iterations', 'queries')
Costs = Mapping[str, Any]  # the document that benchmarks/step_times.py writes


@dataclass(frozen=True)
class Passes:
    """Passes of images through a network: forward, and backward to the pixels or to the weights."""

    forward: float = 0.0
    to_pixels: float = 0.0
    to_weights: float = 0.0

    def __add__(self, other: 'Passes') -> 'Passes':
        """Return the passes of both."""
        return Passes(
            self.forward + other.forward, self.to_pixels + other.to_pixels, self.to_weights + other.to_weights
        )

    def __mul__(self, times: float) -> 'Passes':
        """Return the passes of several images."""
        return Passes(times * self.forward, times * self.to_pixels, times * self.to_weights)

    def seconds(self, network: Mapping[str, float]) -> float:
        """Return the time of all passes, from that of one image in each."""
        return sum(passes * network[part] for part, passes in vars(self).items())


@dataclass(frozen=True)
class Estimate:
    """What a table takes from nothing.

    Args:
        table: Its name.
        trainings: Number of trainings.
        tests: Number of runs of samat-mm test with the attacks of the columns.
        examinations: Number of other measurements of the trained models; their time is not estimated.
        training_hours: Hours of all trainings.
        test_hours: Hours of all tests.
    """

    table: str
    trainings: int
    tests: int
    examinations: int
    training_hours: float
    test_hours: float


def read_costs(path: Path) -> Costs:
    """Read the measured times.

    Raises:
        OSError: if the file cannot be read.
    """
    with reading(path):
        return json.loads(path.read_text(encoding='utf-8'))


def estimate(table: Table, costs: Costs) -> Estimate:
    """Return what a table takes.

    Raises:
        ValueError: if a network, a data set, a method or an attack of the table was not measured.
    """
    everything = list(trainings(table, Path()))
    training_seconds = test_seconds = 0.0
    for row in table.rows:
        config = table.training_config(row, 0)
        name = Path(table.budget.config or row.settings['config']).stem.rpartition('_')[0]  # without the method
        network = _known(costs, 'networks', name)
        training_seconds += len(table.seeds) * training_passes(config, costs).seconds(network)
        for training in everything:
            for evaluation in training.evaluations if training.row == row else ():
                test_seconds += test_passes(table, row, evaluation.attacks, config, costs).seconds(network)
    return Estimate(
        table.name,
        len(everything),
        sum(len(training.evaluations) for training in everything),
        len(everything) * len(table.examinations),
        training_seconds / 3600,
        test_seconds / 3600,
    )


def training_passes(config: Config, costs: Costs) -> Passes:
    """Return the passes of a training, validations included.

    A step computes one gradient, two with SAM; adversarial training goes forward and back to the pixels once more in
    each step of its attack.
    """
    loop, loader = config.train_cfg, config.train_dataloader
    if 'max_iters' in loop:
        length, images = loop.max_iters, loop.max_iters * loader.batch_size
    else:
        length, images = loop.max_epochs, loop.max_epochs * _known(costs, 'images', loader.dataset.type)['train']
    gradients = _known(costs, 'gradients', config.optim_wrapper.type)
    hooks = [hook for hook in config.get('default_hooks', {}).values() if hook and 'attack' in hook]
    steps = sum(hook['attack'].get('steps', 1) * hook['attack'].get('restarts', 1) for hook in hooks)
    validations = length // loop.get('val_interval', length)
    return Passes(gradients + steps, steps, gradients) * images + Passes(1.0) * (validations * _tested(config, costs))


def test_passes(table: Table, row: Row, attacks: Sequence[str], config: Config, costs: Costs) -> Passes:
    """Return the passes of a test: one forward for the natural results, and those of each attack.

    An attack costs more on an image that resists it. The share of these is the published accuracy, or all of them.
    """
    passes = Passes(1.0)
    for attack in attacks:
        measured = _known(costs, 'passes', effort_of(table.attack_config(attack)))
        share = _resisting(table, row, attack)
        passes += Passes(*measured['resisting']) * share + Passes(*measured['fallen']) * (1 - share)
    return passes * _tested(config, costs, table.budget.max_samples)


def effort_of(attack: Mapping[str, Any]) -> str:
    """Return what decides on the passes of an attack: its type, and what it sets of its length, 'PGD steps=10'."""
    inner = attack.get('attack', attack)
    return ' '.join([inner['type'], *(f'{key}={inner[key]}' for key in LENGTHS if key in inner)])


def show(estimates: Sequence[Estimate], costs: Costs, console: Console) -> None:
    """Print the estimates, their sums, and what they assume."""
    unit = unit_of(costs)
    grid = Grid(title=f'From nothing, in {unit}', box=SIMPLE_HEAD)
    grid.add_column('table', min_width=max(len(each.table) for each in estimates))
    for name in ('trainings', 'tests', 'others', 'training hours', 'test hours', 'hours'):
        grid.add_column(name, justify='right')
    for each in [*estimates, *([_sum(estimates)] if len(estimates) > 1 else [])]:
        hours = (each.training_hours, each.test_hours, each.training_hours + each.test_hours)
        counts = (each.trainings, each.tests, each.examinations)
        grid.add_row(each.table, *map(str, counts), *(f'{value:,.{0 if value >= 10 else 2}f}' for value in hours))
    console.print(grid)
    console.print(
        'Estimated from measured times of an image, without loading data, starting processes and the other jobs '
        '(sanity, sharpness). An image that resists an attack costs it more: the published accuracies say how many do, '
        'and where the paper has none, all.',
        markup=False,
    )


def unit_of(costs: Costs) -> str:
    """Return what the hours are hours of."""
    machine = costs['machine']
    cpu = machine['device'] == 'cpu'
    return f'CPU core hours (one thread of {machine["name"]})' if cpu else f'GPU hours on {machine["name"]}'


def _sum(estimates: Sequence[Estimate]) -> Estimate:
    fields = [name for name in vars(estimates[0]) if name != 'table']
    return Estimate('all', **{name: sum(getattr(each, name) for each in estimates) for name in fields})


def _resisting(table: Table, row: Row, attack: str) -> float:
    """Return the share of the images that stay right under an attack, as published; 1 where it is unknown."""
    shown = [column for column, attacks in table.columns.items() if list(attacks) == [attack]]
    numbers = [row.published[column] for column in shown if column not in table.column_metrics]
    known = [number for number in numbers if number is not None]
    return known[0] / 100 if known and table.metric.startswith('accuracy') else 1.0


def _tested(config: Config, costs: Costs, most: int | None = None) -> float:
    """Return the number of images of the test, in images of the measured size."""
    data = _known(costs, 'images', config.test_dataloader.dataset.type)
    return min(data['test'], most or data['test']) * data.get('test_size', 1.0)


def _known(costs: Costs, part: str, name: str) -> Any:
    if name not in costs[part]:
        raise InputError(f'the measured times have no {name!r} among their {part}; add it to step_times.json.')
    return costs[part][name]
