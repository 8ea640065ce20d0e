"""What the benchmarks share: the models with one batch each, interleaved timing, and the report."""

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor, nn

from samat_mm.compat import versions
from samat_mm.presets import configs_folder


@dataclass
class Workload:
    """A model with random weights and one batch of random uint8 images, as a data loader would give them."""

    title: str
    model: BaseModel
    images: list[Tensor]
    samples: list[Any]

    def batch(self) -> dict[str, Any]:
        """Return the batch, fresh: models write into data samples."""
        return {'inputs': list(self.images), 'data_samples': copy.deepcopy(self.samples)}


def resnet18(device: str) -> Workload:
    return _cifar('resnet18_cifar10_sgd.py', 'ResNet-18 (CIFAR), batch 64', device)


def resnet20(device: str) -> Workload:
    return _cifar('resnet20_cifar10_sgd.py', 'ResNet-20 (CIFAR), batch 64', device)


def _cifar(config_name: str, title: str, device: str) -> Workload:
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample

    config = Config.fromfile(configs_folder() / config_name)
    model = MODELS.build({**config.model, 'data_preprocessor': config.data_preprocessor}).to(device)
    images = [torch.randint(256, (3, 32, 32), dtype=torch.uint8) for _ in range(64)]
    samples = [DataSample().set_gt_label(index % 10) for index in range(64)]
    return Workload(title, model, images, samples)


def deeplabv3(device: str) -> Workload:
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample

    config = Config.fromfile(configs_folder() / '_base_' / 'models' / 'deeplabv3_r50-d16.py')
    config.model.data_preprocessor.size = (128, 128)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config.model).to(device)
    images = [torch.randint(256, (3, 128, 128), dtype=torch.uint8) for _ in range(4)]
    samples = []
    for _ in images:
        sample = SegDataSample(metainfo=dict(ori_shape=(128, 128), img_shape=(128, 128), pad_shape=(128, 128)))
        sample.gt_sem_seg = PixelData(data=torch.randint(8, (1, 128, 128)))
        samples.append(sample)
    return Workload('DeepLabv3-R50, 128 px, batch 4', model, images, samples)


WORKLOADS: dict[str, Callable[[str], Workload]] = {'resnet18': resnet18, 'deeplabv3': deeplabv3}


@dataclass
class Cost:
    """Seconds per round of one competitor: on the clock, and of this process's processors."""

    wall: list[float]
    cpu: list[float]

    def ratios(self, reference: 'Cost', clock: str = 'wall') -> list[float]:
        """Return this cost over that of the reference, round by round."""
        return [a / b for a, b in zip(getattr(self, clock), getattr(reference, clock), strict=True)]

    def per(self, steps: int) -> 'Cost':
        """Return the cost of one of so many steps."""
        return Cost([seconds / steps for seconds in self.wall], [seconds / steps for seconds in self.cpu])


def interleaved(competitors: dict[str, Callable[[], Any]], rounds: int, device: str, title: str) -> dict[str, Cost]:
    """Time every competitor once per round, A B C A B C ..., after one round that does not count."""
    costs = {name: Cost([], []) for name in competitors}
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(title, total=(rounds + 1) * len(competitors))
        for round_number in range(rounds + 1):
            for name, run in competitors.items():
                synchronise(device)
                wall, cpu = time.perf_counter(), time.process_time()
                run()
                synchronise(device)
                if round_number:
                    costs[name].wall.append(time.perf_counter() - wall)
                    costs[name].cpu.append(time.process_time() - cpu)
                progress.advance(task)
    return costs


def synchronise(device: str) -> None:
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)


def set_statistics(model: nn.Module, inputs: Tensor) -> None:
    """Give the normalisation layers the statistics of this batch, so that evaluation mode has sensible activations."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(inputs, mode='tensor')
    for norm in norms:
        norm.momentum = 0.1
    model.eval()


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the median with the smallest and the largest value."""
    return f'{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})'


def parse(
    description: str | None,
    rounds: int,
    methods: Sequence[str] | dict = (),
    workloads: Sequence[str] | dict = WORKLOADS,
    extend: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.Namespace:
    """Read the command line; ``extend`` adds options of one benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', choices=list(workloads), default=list(workloads))
    parser.add_argument('--device', default='cpu', help="'cpu' or 'cuda'")
    parser.add_argument('--rounds', type=int, default=rounds, help='rounds that count; one more warms up')
    parser.add_argument('--threads', type=int, default=1, help='of torch on the CPU')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='write the numbers')
    if methods:
        parser.add_argument('--methods', nargs='+', choices=list(methods), help='rows beside SGD, all by default')
    if extend is not None:
        extend(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return args


def show(title: str, rows: list[dict[str, str]]) -> None:
    """Print one table; the keys of the rows are the columns."""
    table = Table(title=title, title_justify='left')
    for column in rows[0]:
        table.add_column(column, justify='left' if column == next(iter(rows[0])) else 'right')
    for row in rows:
        table.add_row(*row.values())
    Console(width=None if Console().is_terminal else 140).print(table)


def finish(args: argparse.Namespace, numbers: dict[str, Any]) -> None:
    """Print the circumstances, and write the numbers behind the tables where ``--out`` says."""
    load = os.getloadavg()
    print(f'{args.rounds} rounds, {args.threads} thread(s), device {args.device}, load average {load[0]:.1f}')
    if args.out:
        settings = {key: value for key, value in vars(args).items() if key != 'out'}
        machine = {'cpus': os.cpu_count(), 'load_average': load, 'versions': versions()}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({'settings': settings, **machine, 'results': numbers}, indent=2, default=_bare_name)
        args.out.write_text(text + '\n')


def _bare_name(path: Path) -> str:
    return path.name
