"""Measure the cost of a sharpness-aware training step, in time and memory, relative to plain SGD.

    python benchmarks/step_cost.py [--models resnet18 deeplabv3] [--methods SAM ...] [--rounds 10] [--out FILE.json]
    python benchmarks/step_cost.py --device cuda [--numerics TF32 ...] [--minutes 2] [--out FILE.json]

One row per method. Each has a copy of the same model and runs ``BaseModel.train_step`` (preprocessing included) on the
same batch, in turn: SGD, SAM, ASAM, ..., SGD, ... The reference is the common two-step torch optimizer: a full
backward, a norm per parameter stacked into one, a clone per parameter, and a second forward and backward.

"x SGD" is the median over the rounds of (step of this row) / (SGD step of the same round), with its smallest and
largest value; "x SGD, CPU" is the same in processor time, which other programs on the machine disturb less. LookSAM's
is the mean over the steps from one ascent to the next. SSAM-F's leaves out the steps that make a mask (twice per epoch
of CIFAR or less). The floor counts a forward as 1/3 of an SGD step and a backward as 2/3, half of it for the inputs of
each layer and half for its weights. A bfloat16 forward and backward has no floor that holds for all machines; the row
"SGD in bfloat16" measures it. "peak" is the most memory that two steps of a new model hold: weights, gradients,
activations, the optimizer's state and whatever else outlives a step. "extra" is the excess over SGD's peak, in copies
of the weights. On a CPU the peak is the maximum of the running sum of all allocations and releases in torch's CPU
allocator, from ``torch.profiler``; it misses scratch space that oneDNN takes past the allocator. On CUDA it is
``torch.cuda.max_memory_allocated``.

On CUDA, seconds are measured between two events around several steps, and there is one table for each precision and
memory layout: plain float32, TF32, autocast in bfloat16, channels last, compiled by torch. "x SGD" compares with SGD in
the same table; "images/s" compares tables. "in kernels" is the share of a step in which a kernel is running (from the
profiler); the rest is spent on the host that launches them. ``--also growth`` measures images per second for growing
batches.

Goals on a GPU: SAM at most 2.05 x SGD, with an ascent in bfloat16 1.5. On a CPU: SAM at most 2.1 (1.6 with an ascent
in bfloat16) and one extra copy of the weights, ESAM (.5, .5) 1.75 and 1.5 with a cheap selection, LookSAM-5 1.3, SAM-ON
1.8, MSAM and stale SAM 1.08, late SAM in the last tenth 1.15.
"""

import argparse
from collections.abc import Callable
from functools import cache, partial

import torch
from common import Job, Record, circumstances, deadline_of, no_goals, parse, run_all
from costs.goals import step_goals, table_name
from costs.growth import growth, show_and_record
from costs.numerics import COMPILING, NUMERICS, PLAIN, TF32
from costs.step_table import Table
from costs.timing import OutOfTime
from costs.training_steps import BFLOAT16, HALF_ASCENT, REFERENCE, ROWS, competitor
from costs.workloads import sizes, workload
from records import Deadline

MAIN = [BFLOAT16, 'SAM', REFERENCE, HALF_ASCENT]  # measured first on a GPU
FIRST = [PLAIN, TF32, 'bfloat16']  # side by side, before throughput is measured
EXTRAS = ['memory', 'kernels', 'growth']


class Benchmark:
    """The tables that the command line selects, the most important ones first."""

    def __init__(self, args: argparse.Namespace, record: Record, deadline: Deadline) -> None:
        self.args, self.record, self.deadline = args, record, deadline
        self._load = cache(partial(workload, device=args.device))

    def jobs(self) -> list[Job]:
        """Return the jobs in order; compilation, whose time is unknown, comes last."""
        tables = {
            key: [Job(f'{model}, {key}', partial(self.measure, model, key)) for model in self.args.models]
            for key in self.args.numerics
        }
        followed = self.args.models if 'growth' in self.args.also else []
        growing = [Job(f'{model}, growing batch', partial(self.follow, model)) for model in followed]
        first = [job for key in FIRST if key in tables for job in tables[key]]
        compiled = [
            Job(f'{model}, {key}', partial(self.compile_and_measure, model, key), COMPILING)
            for key in tables
            if NUMERICS[key].compiler
            for model in self.args.models
        ]
        rest = [job for key in tables if key not in FIRST and not NUMERICS[key].compiler for job in tables[key]]
        return [*first, *growing, *rest, *compiled]

    def measure(self, model: str, key: str) -> None:
        """Add a table to the record."""
        table = Table(self._load(model), key, self.args, self.deadline)
        size = {'title': table.load.title, 'weights_bytes': table.weights_bytes}
        self.record.add(model, **size, **{table_name('steps', key): table.measured()})

    def compile_and_measure(self, model: str, key: str) -> None:
        """Add a table to the record, or the error of the compiler."""
        try:
            self.measure(model, key)
        except (OutOfTime, torch.OutOfMemoryError):
            raise
        except Exception as error:  # compilers raise all kinds
            self.record.leave_out(f'{model}, {key}: torch.compile ended in {type(error).__name__}: {error}')

    def follow(self, model: str) -> None:
        """Add the throughput for growing batches to the record."""
        key = TF32 if TF32 in self.args.numerics else self.args.numerics[0]

        def steps(batch: int) -> dict[str, Callable[[], None]]:
            load = workload(model, self.args.device, batch)
            return {name: competitor(name, load, NUMERICS[key]) for name in ('SGD', 'SAM')}

        title, batches = f'{model}, {key}', sizes(model, self.args.device).batches
        with NUMERICS[key].active():
            found, sentences = growth(title, batches, steps, self.args.device, self.deadline)
        show_and_record(title, model, found, sentences, self.record)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--methods', nargs='+', choices=list(ROWS), help='rows besides SGD; on a CPU, default: all')
    parser.add_argument('--numerics', nargs='+', choices=list(NUMERICS), help=f'default: {PLAIN}; on CUDA all')
    parser.add_argument('--also', nargs='*', choices=EXTRAS, help='default: memory; on CUDA all')


def main() -> int:
    args = parse(__doc__, rounds=10, extend=add_options)
    on_cuda, deadline = args.device.startswith('cuda'), deadline_of(args)
    args.models = args.models or ['resnet18', 'deeplabv3']
    args.methods = args.methods or (MAIN if on_cuda else list(ROWS))
    args.numerics = args.numerics or (list(NUMERICS) if on_cuda else [PLAIN])
    args.also = (EXTRAS if on_cuda else ['memory']) if args.also is None else args.also
    circumstances(args.device, args.threads)
    benchmark = Benchmark(args, Record(args, step_goals if on_cuda else no_goals), deadline)
    return run_all(benchmark.jobs(), benchmark.record, deadline)


if __name__ == '__main__':
    raise SystemExit(main())
