"""What a sharpness-aware training step costs, in time and in memory, beside plain SGD.

    python benchmarks/step_cost.py [--models resnet18 deeplabv3] [--device cuda] [--rounds 10] [--out step_cost.json]

One row per method; each has a copy of the same model and runs ``BaseModel.train_step`` (preprocessing included) on
the same batch, in turn: SGD, SAM, ASAM, ..., SGD, ... The reference is the common two-step torch optimizer: a full
backward, a norm per parameter stacked into one, a clone per parameter, and a second forward and backward.

How to read it. "x SGD" is the median over the rounds of (step of this row) / (SGD step of the same round), with its
smallest and largest value; "x SGD, CPU" is the same in processor time, which other programs on the machine disturb
less. LookSAM's is the mean over the steps from one ascent to the next. SSAM-F's leaves out the steps that make a mask
(twice per epoch of CIFAR or less). The floor counts a forward as 1/3 of an SGD step and a backward as 2/3, half of it
for the inputs of each layer and half for its weights. A bfloat16 forward and backward has no floor that holds for all
machines; it is measured in the row "SGD in bfloat16". "peak" is the most memory that two steps on a new model hold:
weights, gradients, activations, the optimizer's state and whatever else outlives a step. "extra" is what exceeds SGD's
peak, in copies of the weights. On a CPU the peak is that of the running sum of every allocation and release in torch's
CPU allocator, from ``torch.profiler``; scratch space that oneDNN takes past the allocator is not seen. On CUDA it is
``torch.cuda.max_memory_allocated``.

Goals: SAM at most 2.1 x SGD (1.6 with an ascent in bfloat16) and one extra copy of the weights, ESAM (.5, .5) 1.75 and
1.5 with a cheap selection, LookSAM-5 1.3, SAM-ON 1.8, MSAM and stale SAM 1.08, late SAM in the last tenth 1.15.
"""

import argparse
import copy
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from common import WORKLOADS, Workload, finish, interleaved, parse, show, spread, synchronise
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from torch.profiler import ProfilerActivity, profile

from samat_mm.perturbations.weights import WEIGHT_PERTURBATION_TYPES

SGD: dict[str, Any] = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
REFERENCE = 'two-step optimizer'


@dataclass(frozen=True)
class Row:
    """An optimizer wrapper, the least that its step can cost in SGD steps, and after how many steps it repeats."""

    wrapper: dict[str, Any]
    floor: float | None
    period: int = 1


def method(name: str, floor: float | None, period: int = 1, *, wrapper: dict | None = None, **parameters: Any) -> Row:
    """Return the row of a registered weight perturbation."""
    perturbation = dict(type=name, **parameters)
    return Row(dict(type='SAMOptimWrapper', perturbation=perturbation, **(wrapper or {})), floor, period)


HALF = dict(beta=0.5, gamma=0.5)
ROWS: dict[str, Row] = {
    'SGD': Row(dict(type='OptimWrapper'), 1),
    'SGD in bfloat16': Row(dict(type='AnyDeviceAmpOptimWrapper', dtype='bfloat16'), None),
    'SAM': method('SAM', 2),
    REFERENCE: Row({}, 2),
    'SAM, ascent in bfloat16': method('SAM', None, wrapper=dict(ascent_dtype='bfloat16')),
    'SAM, ascent on half of the batch': method('SAM', 1.5, wrapper=dict(ascent_share=0.5)),
    'ASAM': method('ASAM', 2),
    'ESAM (.5, .5)': method('ESAM', 5 / 3, **HALF),
    'ESAM (.5, .5), coordinates': method('ESAM', 11 / 6, mask='coordinates', **HALF),
    'ESAM (.5, .5), bfloat16 selection': method('ESAM', None, selection='bfloat16', **HALF),
    'ESAM (.5, .5), selection by loss': method('ESAM', 4 / 3, selection='loss', **HALF),
    'LookSAM-5': method('LookSAM', 1.2, 5),
    'SSAM-F': method('SSAMF', 2, samples=2, update_interval=10**6),
    'SSAM-D': method('SSAMD', 2),
    'Fisher SAM': method('FisherSAM', 2),
    'SAM-ON': method('SAMON', 5 / 3),
    'GSAM': method('GSAM', 2),
    'Friendly SAM': method('FriendlySAM', 2),
    'WSAM': method('WSAM', 2),
    'AWP': method('AWP', 2),
    'MSAM': method('MSAM', 1),
    'stale SAM': method('StaleSAM', 1),
    'SAM of three ascents': method('SAM', 4, steps=3),
    'late SAM, the last tenth': method('SAM', 1.1, 10, wrapper=dict(last=0.1)),
}
_LISTED = {row.wrapper.get('perturbation', {}).get('type') for row in ROWS.values()}
for _name in (cls.__name__ for cls in WEIGHT_PERTURBATION_TYPES):
    if _name not in _LISTED:
        ROWS[_name] = method(_name, None)


class TwoStepSAM(torch.optim.Optimizer):
    """SAM as a torch optimizer around another one, the way most training scripts have it."""

    def __init__(self, parameters: Any, base: type[torch.optim.Optimizer], rho: float = 0.05, **kwargs: Any) -> None:
        super().__init__(parameters, dict(rho=rho, **kwargs))
        self.base = base(self.param_groups, **kwargs)

    @torch.no_grad()
    def first_step(self) -> None:
        """Climb to the perturbed weights along the gradient in ``.grad``, and clear it."""
        held = [(group['rho'], p) for group in self.param_groups for p in group['params'] if p.grad is not None]
        norm = torch.stack([p.grad.norm(p=2) for _, p in held]).norm(p=2)
        for rho, p in held:
            self.state[p]['before'] = p.data.clone()
            e_w = p.grad * (rho / (norm + 1e-12)).to(p)
            p.add_(e_w)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        """Go back and let the base optimizer step along the gradient in ``.grad``."""
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None:
                    p.data = self.state[p]['before']
        self.base.step()
        self.zero_grad()


def mmengine_step(model: BaseModel, workload: Workload, wrapper: dict[str, Any]) -> Callable[[], None]:
    optimizer = build_optim_wrapper(model, copy.deepcopy(dict(wrapper, optimizer=SGD)))

    def step() -> None:
        if 'last' in wrapper:  # a training of ten steps, over and over
            optimizer.initialize_count_status(model, optimizer.inner_count % 10, 10)
        model.train_step(workload.batch(), optimizer)

    return step


def reference_step(model: BaseModel, workload: Workload) -> Callable[[], None]:
    options = {key: value for key, value in SGD.items() if key != 'type'}
    optimizer = TwoStepSAM(model.parameters(), torch.optim.SGD, **options)

    def step() -> None:
        data = model.data_preprocessor(workload.batch(), True)
        model.parse_losses(model(**data, mode='loss'))[0].backward()
        optimizer.first_step()
        model.parse_losses(model(**data, mode='loss'))[0].backward()
        optimizer.second_step()

    return step


def competitor(name: str, workload: Workload) -> Callable[[], None]:
    """Return the training step of that name, on a model of its own."""
    model = copy.deepcopy(workload.model).train()
    return reference_step(model, workload) if name == REFERENCE else mmengine_step(model, workload, ROWS[name].wrapper)


def repeated(step: Callable[[], None], times: int) -> Callable[[], None]:
    """Return a function that takes so many steps."""

    def run() -> None:
        for _ in range(times):
            step()

    return run


def peak_bytes(name: str, workload: Workload, device: str) -> int:
    """Return the most bytes that the model and two steps, the first included, hold."""

    def build_and_step() -> None:
        step = competitor(name, workload)
        for _ in range(2):
            step()

    if device.startswith('cuda'):
        synchronise(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        build_and_step()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        build_and_step()
    events = profiler.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted((event for event in events if event.name() == '[memory]'), key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def measure(workload: Workload, args: argparse.Namespace) -> tuple[list[dict[str, str]], dict[str, Any]]:
    size = sum(p.numel() * p.element_size() for p in workload.model.parameters())
    names = ['SGD', *(name for name in args.methods or ROWS if name != 'SGD')]
    peaks = {name: peak_bytes(name, workload, args.device) for name in names}
    steps = {name: repeated(competitor(name, workload), ROWS[name].period) for name in names}
    costs = interleaved(steps, args.rounds, args.device, workload.title)
    rows, numbers = [], {}
    for name, cost in costs.items():
        cost = cost.per(ROWS[name].period)
        ratios, cpu_ratios = cost.ratios(costs['SGD']), cost.ratios(costs['SGD'], 'cpu')
        floor = ROWS[name].floor
        extra = (peaks[name] - peaks['SGD']) / size
        rows.append(
            {
                'step': name,
                'seconds': spread(cost.wall),
                'x SGD': spread(ratios),
                'x SGD, CPU': spread(cpu_ratios),
                'floor': '-' if floor is None else f'{floor:.3g}',
                'peak': f'{peaks[name] / 2**20:.0f} MiB',
                'extra': f'{extra:+.2f} weights',
            }
        )
        numbers[name] = {
            'seconds': cost.wall,
            'cpu_seconds': cost.cpu,
            'ratio': statistics.median(ratios),
            'cpu_ratio': statistics.median(cpu_ratios),
            'type': ROWS[name].wrapper.get('perturbation', {}).get('type'),
            'floor': floor,
            'peak_bytes': peaks[name],
            'extra_weights': extra,
        }
    return rows, {'weights_bytes': size, 'steps': numbers}


def main() -> None:
    args = parse(__doc__, rounds=10, methods=ROWS)
    numbers = {}
    for name in args.models:
        workload = WORKLOADS[name](args.device)
        rows, numbers[name] = measure(workload, args)
        show(workload.title, rows)
    finish(args, numbers)


if __name__ == '__main__':
    main()
