"""What attacks cost, beside those of torchattacks and the loop of SemSegBench, at the same settings and strength.

    python benchmarks/attack_cost.py [--models resnet18 resnet20 deeplabv3] [--attacks pgd ...] [--rounds 3]
        [--checkpoint resnet20-12fca82f.th --data cifar10_lossless_subset.npz] [--dtypes float32] [--out FILE.json]

Every row of a table attacks the same batch of the same model in evaluation mode, in turn, once per round.

- samat_mm, float32: ``Crafting(model, 'float32')``, what the hooks and tools run: a copy of the model with folded
  normalisation, in channels-last layout. - bfloat16: the same in that precision, which gains where the processor has
  instructions for it. - on the model: without a copy.
- pgd-until-error: PGD as the presets evaluate classifiers, at the same robust accuracy.
- torchattacks: its attack of the same norm, radius, step size, steps and queries, on ``predict`` as users have it. It
  returns the last iterate of PGD unscored; ours takes one more forward to return the best one of each image.
- SemSegBench's loop: ``loss.backward()`` through trainable parameters, and two forwards per step.

How to read it. "x torchattacks" is its time over that of the row, so how many times as fast the row is: the median over
the rounds, each with its own ratio, and the smallest and largest. All is processor time, which other programs disturb
less; ``--out`` has the clock's too. "loss" and "accuracy" are of the images that came out, on the model itself in
float32, so that equal strength is visible; the clean ones are in the title.

ResNet-18 and DeepLabv3 have random weights, with the statistics of the normalisation layers set from the batch, and
their own clean predictions for labels. ResNet-20 has the public weights and real images of CIFAR-10 where
``--checkpoint`` and ``--data`` are given.

Goals: PGD at least 1.4 times as fast as torchattacks', 2.2 in bfloat16, and 3 times as fast as SemSegBench's loop;
Pixle 10 times, and AutoAttack 1.4 times at an equal robust accuracy.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attack_rivals import Rival, cospgd_weights, dense_loop, library, library_ensemble, segpgd_weights
from common import WORKLOADS, Workload, finish, interleaved, parse, resnet20, set_statistics, show, spread
from mmengine.structures import PixelData
from resnet20_checkpoint import convert
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.models.crafting import DTYPES, Crafting
from samat_mm.models.pixel_space import PixelSpace
from samat_mm.models.state import frozen
from samat_mm.registry import ATTACKS

MODELS = WORKLOADS | {'resnet20': resnet20}
STEPS, LIBRARY, LOOP = 10, 'torchattacks', "SemSegBench's loop"
SMALL, LARGE = 1 / 255, 8 / 255  # a quarter of the radius is the step, as in the paper


@dataclass
class Contest:
    """An attack of ours and its rivals at the same settings."""

    ours: dict[str, Any]
    rivals: dict[str, Rival]


def dense(name: str, weighting: Any) -> Contest:
    """Return PGD with weights for the pixels, which torchattacks does not have."""
    settings = dict(type=name, norm='linf', eps=LARGE, step_size=0.01, steps=STEPS)
    return Contest(settings, {LOOP: dense_loop(LARGE, 0.01, STEPS, weighting)})


def contests(steps: int, queries: int) -> dict[str, dict[str, Contest]]:
    """Return what is compared on each model; ``steps`` are those of APGD, FAB and AutoAttack."""
    pgd = Contest(
        dict(type='PGD', norm='linf', eps=LARGE, step_size=LARGE / 4, steps=STEPS),
        {
            LIBRARY: library('PGD', eps=LARGE, alpha=LARGE / 4, steps=STEPS),
            LOOP: dense_loop(LARGE, LARGE / 4, STEPS),
        },
    )
    ball, theirs = dict(norm='linf', eps=SMALL), dict(norm='Linf', eps=SMALL)
    small = {
        'pgd': Contest(
            dict(type='PGD', **ball, steps=STEPS), {LIBRARY: library('PGD', eps=SMALL, alpha=SMALL / 4, steps=STEPS)}
        ),
        'pgd-until-error': Contest(
            dict(type='PGD', **ball, steps=STEPS, goal='error'),
            {LIBRARY: library('PGD', eps=SMALL, alpha=SMALL / 4, steps=STEPS)},
        ),
        'apgd': Contest(
            dict(type='APGD', **ball, steps=steps, goal='error'), {LIBRARY: library('APGD', **theirs, steps=steps)}
        ),
        'fab': Contest(
            dict(type='FAB', **ball, steps=steps, targets='ranked'),
            {LIBRARY: library('FAB', **theirs, steps=steps, multi_targeted=True, n_classes=10)},
        ),
        'square': Contest(
            dict(type='Square', **ball, queries=queries), {LIBRARY: library('Square', **theirs, n_queries=queries)}
        ),
        'pixle': Contest(
            dict(type='Pixle', restarts=4, iterations=5), {LIBRARY: library('Pixle', restarts=4, max_iterations=5)}
        ),
        'autoattack': Contest(
            dict(type='AutoAttack', **ball, steps=steps, queries=queries),
            {LIBRARY: library_ensemble(SMALL, steps, queries)},
        ),
    }
    on_maps = {'pgd': pgd, 'segpgd': dense('SegPGD', segpgd_weights), 'cospgd': dense('CosPGD', cospgd_weights)}
    return {'resnet18': {'pgd': pgd}, 'resnet20': small, 'deeplabv3': on_maps}


class Predict(nn.Module):
    """Pixels in [0, 1] to logits at the labels' resolution: what the rivals attack."""

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, mean, std

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, K), or (N, K, H, W) at the resolution of the pixels."""
        logits = self.model((pixels - self.mean) / self.std, mode='tensor')
        if logits.ndim == 4:
            logits = F.interpolate(logits, size=pixels.shape[2:], mode='bilinear', align_corners=False)
        return logits


class Problem:
    """A model with a batch and its labels."""

    def __init__(self, workload: Workload, trained: bool) -> None:
        data = workload.model.data_preprocessor(workload.batch(), False)
        if not trained:
            set_statistics(workload.model, data['inputs'])
        self.model, self.title = workload.model.eval(), workload.title
        self.space = PixelSpace(workload.model, workload.images, data['inputs'], data['data_samples'])
        self.pixels = self.space.pixels
        self.predict = Predict(workload.model, self.space.mean, self.space.std).eval()
        if trained:
            self.target = torch.cat([sample.gt_label for sample in self.space.samples])
            return
        with torch.no_grad():
            self.target = self.predict(self.pixels).argmax(1)
        for sample, label in zip(self.space.samples, self.target, strict=True):
            if self.target.ndim == 1:
                sample.set_gt_label(label)
            else:
                sample.gt_sem_seg = PixelData(data=label[None])

    def competitors(self, contest: Contest, dtypes: list[str]) -> dict[str, Callable[[], Tensor]]:
        """Return what runs in a contest, ours first."""
        attack, numbers = ATTACKS.build(contest.ours), range(len(self.pixels))
        crafting = {dtype: Crafting(self.model, dtype) for dtype in dtypes}
        ours: dict[str, Callable[[], Tensor]] = {
            f'samat_mm, {dtype}': lambda fast=fast: fast.attack(self.space, attack, numbers)  # type: ignore[misc]
            for dtype, fast in crafting.items()
        }
        ours['samat_mm, on the model'] = lambda: self.space.attack(attack, numbers)
        rivals = {
            name: lambda rival=rival: rival(self.predict, self.pixels, self.target)  # type: ignore[misc]
            for name, rival in contest.rivals.items()
        }
        return ours | rivals

    def share_of_convolutions(self) -> float:
        """Return how much of the time of a forward and backward goes into convolutions, which folding cannot save."""
        with frozen(self.model), torch.profiler.profile() as profiler:
            pixels = self.pixels.clone().requires_grad_()
            torch.autograd.grad(F.cross_entropy(self.predict(pixels), self.target), pixels)
        spent = {
            event.key: event.self_device_time_total or event.self_cpu_time_total for event in profiler.key_averages()
        }
        return sum(value for key, value in spent.items() if 'conv' in key) / sum(spent.values())

    @torch.no_grad()
    def judge(self, images: Tensor) -> tuple[float, float]:
        """Return the mean cross-entropy and the share of right labels."""
        logits = self.predict(images)
        accuracy = (logits.argmax(1) == self.target).float().mean()
        return float(F.cross_entropy(logits, self.target)), float(accuracy)


def measure(problem: Problem, name: str, contest: Contest, args: argparse.Namespace) -> dict[str, Any]:
    """Time a contest, print its table and return its numbers."""
    images: dict[str, Tensor] = {}

    def keeping(competitor: str, run: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: images.__setitem__(competitor, run())

    runs = {key: keeping(key, run) for key, run in problem.competitors(contest, args.dtypes).items()}
    costs = interleaved(runs, args.rounds, args.device, f'{problem.title}: {name}')
    rows, numbers = [], {}
    for competitor, cost in costs.items():
        change = float((images[competitor] - problem.pixels).abs().max())
        if change > contest.ours.get('eps', 1) + 1e-6:
            raise RuntimeError(f'{competitor} left the ball by {change:g}: it is not comparable.')
        loss, accuracy = problem.judge(images[competitor])
        ratios = {f'x {rival}': spread(costs[rival].ratios(cost, 'cpu'), 2) for rival in contest.rivals}
        strength = {'loss': f'{loss:.4f}', 'accuracy': f'{100 * accuracy:.1f}'}
        rows.append({name: competitor, 'seconds': f'{statistics.median(cost.cpu):.2f}', **ratios, **strength})
        numbers[competitor] = {'seconds': cost.wall, 'cpu_seconds': cost.cpu, 'loss': loss, 'accuracy': accuracy}
    loss, accuracy = problem.judge(problem.pixels)
    show(f'{problem.title}: {name} (clean loss {loss:.4f}, accuracy {100 * accuracy:.1f})', rows)
    return {'settings': contest.ours, 'clean': {'loss': loss, 'accuracy': accuracy}, 'attacks': numbers}


def problem_of(name: str, args: argparse.Namespace) -> Problem:
    workload, trained = MODELS[name](args.device), name == 'resnet20' and args.checkpoint is not None
    if trained:
        workload.model.load_state_dict(convert(args.checkpoint))
        with np.load(args.data) as arrays:
            workload.images = list(torch.from_numpy(arrays['test_images'][:64]).permute(0, 3, 1, 2))
            for sample, label in zip(workload.samples, arrays['test_labels'], strict=False):
                sample.set_gt_label(int(label))
    return Problem(workload, trained)


def add_options(parser: argparse.ArgumentParser) -> None:
    names = sorted({name for group in contests(1, 1).values() for name in group})
    parser.add_argument('--attacks', nargs='+', choices=names, default=names, help='all by default')
    parser.add_argument('--dtypes', nargs='+', choices=list(DTYPES), default=list(DTYPES), help='of the copy')
    parser.add_argument('--steps', type=int, default=10, help='of APGD, FAB and the stages of AutoAttack')
    parser.add_argument('--queries', type=int, default=100, help='of Square, also in AutoAttack')
    parser.add_argument('--checkpoint', type=Path, metavar='FILE.th', help='the public weights of ResNet-20')
    parser.add_argument('--data', type=Path, metavar='FILE.npz', help='images of CIFAR-10, needed with --checkpoint')


def main() -> None:
    args = parse(__doc__, rounds=3, workloads=MODELS, extend=add_options)
    numbers: dict[str, Any] = {}
    for model in args.models:
        chosen = {key: value for key, value in contests(args.steps, args.queries)[model].items() if key in args.attacks}
        problem = problem_of(model, args) if chosen else None
        if problem:
            problem.share_of_convolutions()  # warms up
            print(f'{problem.title}: {problem.share_of_convolutions():.0%} of a step of PGD are convolutions')
        numbers[model] = {name: measure(problem, name, contest, args) for name, contest in chosen.items() if problem}
    finish(args, numbers)


if __name__ == '__main__':
    main()
