"""Compare the cost of attacks with torchattacks and SemSegBench's loop, at the same settings and strength.

    python benchmarks/attack_cost.py [--models resnet18 resnet20 deeplabv3] [--attacks pgd ...] [--rounds 3]
        [--checkpoint resnet20-12fca82f.th --data cifar10_lossless_subset.npz] [--dtypes float32] [--out FILE.json]
    python benchmarks/attack_cost.py --device cuda [--numerics TF32] [--minutes 2] [--out FILE.json]

All rows of a table attack the same batch of the same model in evaluation mode, in turn, once per round.

- samat_mm, float32: ``Crafting(model, 'float32')``, as in the hooks and tools: a copy of the model with folded
  normalisation, in channels-last layout. - bfloat16: the same in that precision, which is faster on processors with
  instructions for it. - mixed: only the early steps in bfloat16. - on the model: without a copy.
- pgd-until-error: PGD as in the presets for classifiers, at the same robust accuracy.
- torchattacks: its attack with the same norm, radius, step size, steps and queries, on a plain ``predict``. It returns
  the last iterate of PGD unscored; ours runs one more forward to return the best iterate of each image.
- SemSegBench's loop: ``loss.backward()`` through trainable parameters, and two forwards per step.

"x torchattacks" is the time of torchattacks divided by the time of the row, i.e. the speed-up: the median over the
rounds, each with its own ratio, and the smallest and largest. All times are processor time, which other programs
disturb less; ``--out`` also has the wall time. "loss" and "accuracy" are those of the model itself in float32 on the
adversarial images and show whether the strength is equal; the clean values are in the title.

On CUDA, time is measured between events, and PGD runs once in plain float32 and once in TF32. "in kernels" is the share
of the time in which a kernel is running; the rest is spent on the host that launches them. ``--also growth`` measures
images per second for growing batches.

ResNet-18 and DeepLabv3 have random weights, normalisation statistics from the batch, and their own clean predictions as
labels. ResNet-20 has the public weights and real CIFAR-10 images if ``--checkpoint`` and ``--data`` are given.

Goals on a GPU: PGD at least 1.4 times as fast as torchattacks' in float32 and TF32, 2.5 in bfloat16 and as strong, 3
times as fast as SemSegBench's loop. On a CPU: PGD at least 1.4 times as fast as torchattacks', 2.2 in bfloat16, and 3
times as fast as SemSegBench's loop; Pixle 10 times, and AutoAttack 1.4 times at an equal robust accuracy.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from common import Job, Record, circumstances, deadline_of, no_goals, parse, run_all, show
from costs.attack_contests import Contest, contests
from costs.attack_problem import Problem, problem_of
from costs.goals import attack_goals, table_name
from costs.growth import growth, show_and_record
from costs.kernels import share_in_kernels
from costs.numerics import NUMERICS, PLAIN, TF32
from costs.timing import Cost, interleaved, spread
from costs.workloads import sizes
from records import Deadline
from torch import Tensor

from samat_mm.crafting.crafting import PRECISIONS

MAIN = 'pgd'  # measured first on a GPU
EXTRAS = ['kernels', 'growth']
ENOUGH = 5  # seconds for profiling kernels


class Benchmark:
    """The contests that the command line selects, the most important ones first."""

    def __init__(self, args: argparse.Namespace, record: Record, deadline: Deadline) -> None:
        self.args, self.record, self.deadline = args, record, deadline
        self._problem = cache(partial(problem_of, args=args))

    def jobs(self) -> list[Job]:
        """Return the jobs in order: PGD in each precision, then the rest in the last one."""
        args = self.args
        known = contests(args.steps, args.queries)
        chosen = {m: [name for name in known[m] if name in args.attacks] for m in args.models}
        first = [(m, MAIN, key) for key in args.numerics for m in args.models if MAIN in chosen[m]]
        others = [(m, name, args.numerics[-1]) for m in args.models for name in chosen[m] if name != MAIN]
        growing = [Job(f'{m}, growing batch', partial(self.follow, m)) for m in args.models if 'growth' in args.also]
        jobs = [[Job(': '.join(which), partial(self.measure, *which)) for which in part] for part in (first, others)]
        return [*jobs[0], *growing, *jobs[1]]

    def measure(self, model: str, name: str, key: str) -> None:
        """Add a contest to the record."""
        problem = self._problem(model)
        contest = contests(self.args.steps, self.args.queries)[model][name]
        if not self.record.results.get(model):
            share = problem.share_of_convolutions(self.args.device)
            print(f'{problem.title}: {share:.0%} of a step of PGD are convolutions')
            self.record.add(model, title=problem.title, share_of_convolutions=share)
        with NUMERICS[key].active():
            numbers = self._contest(problem, table_name(name, key), contest)
        self.record.add(model, **{table_name(name, key): numbers})

    def follow(self, model: str) -> None:
        """Add the throughput of PGD for growing batches to the record."""
        contest = contests(self.args.steps, self.args.queries)[model][MAIN]

        def attacks(batch: int) -> dict[str, Callable[[], Tensor]]:
            runs = problem_of(model, self.args, batch).competitors(contest, self.args.dtypes)
            return {name: run for name, run in runs.items() if name.rpartition(' ')[2] in self.args.dtypes}

        key = self.args.numerics[-1]
        title, batches = f'{model}, {MAIN}, {key}', sizes(model, self.args.device).batches
        with NUMERICS[key].active():
            found, sentences = growth(title, batches, attacks, self.args.device, self.deadline)
        show_and_record(title, model, found, sentences, self.record)

    def _contest(self, problem: Problem, name: str, contest: Contest) -> dict[str, Any]:
        images: dict[str, Tensor] = {}

        def keeping(competitor: str, run: Callable[[], Tensor]) -> Callable[[], None]:
            return lambda: images.__setitem__(competitor, run())

        runs = {key: keeping(key, run) for key, run in problem.competitors(contest, self.args.dtypes).items()}
        costs = interleaved(runs, self.args.rounds, self.args.device, f'{problem.title}: {name}', self.deadline)
        numbers = {}
        for competitor, cost in costs.items():
            change = float((images[competitor] - problem.pixels).abs().max())
            if change > contest.ours.get('eps', 1) + 1e-6:
                raise RuntimeError(f'{competitor} left the ball by {change:g}, so it is not comparable.')
            loss, accuracy = problem.judge(images[competitor])
            numbers[competitor] = {
                **cost.numbers(),
                'ratios': {rival: costs[rival].ratios(cost) for rival in contest.rivals},
                'images_per_second': len(problem.pixels) / statistics.median(cost.seconds),
                'in_kernels': self._busy(runs[competitor], cost),
                'loss': loss,
                'accuracy': accuracy,
            }
        loss, accuracy = problem.judge(problem.pixels)
        title = f'{problem.title}: {name} (clean loss {loss:.4f}, accuracy {100 * accuracy:.1f})'
        show(title, [_line(name, competitor, costs[competitor], entry) for competitor, entry in numbers.items()])
        return {'settings': contest.ours, 'clean': {'loss': loss, 'accuracy': accuracy}, 'attacks': numbers}

    def _busy(self, run: Callable[[], None], cost: Cost) -> float | None:
        if 'kernels' not in self.args.also or not self.deadline.allows(ENOUGH):
            return None
        return share_in_kernels(run, statistics.median(cost.seconds), self.args.device)


def _line(name: str, competitor: str, cost: Cost, numbers: dict[str, Any]) -> dict[str, str]:
    busy = numbers['in_kernels']
    return {
        name: competitor,
        'seconds': f'{statistics.median(cost.seconds):.3g}',
        **{f'x {rival}': spread(ratios, 2) for rival, ratios in numbers['ratios'].items()},
        'images/s': f'{numbers["images_per_second"]:.3g}',
        'in kernels': '-' if busy is None else f'{busy:.0%}',
        'loss': f'{numbers["loss"]:.4f}',
        'accuracy': f'{100 * numbers["accuracy"]:.1f}',
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    names = sorted({name for group in contests(1, 1).values() for name in group})
    parser.add_argument('--attacks', nargs='+', choices=names, default=names, help='all by default')
    parser.add_argument('--dtypes', nargs='+', choices=PRECISIONS, default=list(PRECISIONS), help='of the copy')
    parser.add_argument('--numerics', nargs='+', choices=[PLAIN, TF32], help=f'default: {PLAIN}; on CUDA both')
    parser.add_argument('--also', nargs='*', choices=EXTRAS, help='default: nothing; on CUDA both')
    parser.add_argument('--steps', type=int, default=10, help='steps of APGD, FAB and the stages of AutoAttack')
    parser.add_argument('--queries', type=int, default=100, help='queries of Square, also in AutoAttack')
    parser.add_argument('--checkpoint', type=Path, metavar='FILE.th', help='the public weights of ResNet-20')
    parser.add_argument('--data', type=Path, metavar='FILE.npz', help='CIFAR-10 images, needed with --checkpoint')


def main() -> int:
    args = parse(__doc__, rounds=3, extend=add_options)
    on_cuda, deadline = args.device.startswith('cuda'), deadline_of(args)
    args.models = args.models or ['resnet18', 'deeplabv3', *([] if on_cuda else ['resnet20'])]
    args.numerics = args.numerics or ([PLAIN, TF32] if on_cuda else [PLAIN])
    args.also = (EXTRAS if on_cuda else []) if args.also is None else args.also
    circumstances(args.device, args.threads)
    benchmark = Benchmark(args, Record(args, attack_goals if on_cuda else no_goals), deadline)
    return run_all(benchmark.jobs(), benchmark.record, deadline)


if __name__ == '__main__':
    raise SystemExit(main())
