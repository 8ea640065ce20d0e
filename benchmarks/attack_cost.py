"""What ten steps of PGD cost, beside the least that ten gradients with respect to the input can cost.

    python benchmarks/attack_cost.py [--models resnet18 deeplabv3] [--device cuda] [--rounds 5] [--out attack_cost.json]

Every row attacks the same batch of the same model in evaluation mode with l_inf PGD, eps 8/255, step 2/255, ten steps
from a random start, in turn: floor, samat_mm, torchattacks, ... The floor is a bare loop of ten forwards and ten
backwards on frozen parameters, the latter down to the input only, with the step and the projection and nothing else.

- samat_mm: ``PGD`` on a plain ``predict``. It runs one more forward, without gradients, to score the last iterate
  and return the best of all: 11 forwards and 10 backwards.
- samat_mm in MMEngine: the same through ``PixelSpace``, as the hooks run it, with the model's own ``predict``.
- torchattacks: ``torchattacks.PGD``. - full backward: ``loss.backward()`` with parameters that require a gradient.

How to read it. "x floor" is the median over the rounds of (this row) / (floor in the same round), with its smallest and
largest value; "x floor, CPU" is the same in processor time, which other programs disturb less. "loss" is the mean
cross-entropy of the images that came out (one number for all, in float32), so that equal strength is visible; the
clean loss is in the title. The labels are the model's own clean predictions. Weights are random, with the statistics
of the normalisation layers set from the batch.

Goal: samat_mm within 5 % of the floor, its scoring forward included.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any, cast

import torch
import torchattacks
from common import WORKLOADS, Workload, finish, interleaved, parse, set_statistics, show, spread
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.models.pixel_space import PixelSpace
from samat_mm.models.state import frozen
from samat_mm.registry import ATTACKS

EPS, STEP_SIZE, STEPS = 8 / 255, 2 / 255, 10
FLOOR = 'floor'


class Predict(nn.Module):
    """Pixels in [0, 1] to logits at the labels' resolution: what is attacked, the same for every competitor."""

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.model, self.mean, self.std = model, mean, std

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, K), or (N, K, H, W) at the resolution of the pixels."""
        logits = self.model((pixels - self.mean) / self.std, mode='tensor')
        if logits.ndim == 4:
            logits = F.interpolate(logits, size=pixels.shape[2:], mode='bilinear', align_corners=False)
        return logits


def bare_pgd(predict: Predict, pixels: Tensor, target: Tensor, full: bool = False) -> Tensor:
    """Run PGD with nothing that it could do without; ``full`` computes the parameters' gradients as well."""
    lower, upper = (pixels - EPS).clamp(min=0), (pixels + EPS).clamp(max=1)
    images = (pixels + torch.empty_like(pixels).uniform_(-EPS, EPS)).clamp(0, 1)
    for _ in range(STEPS):
        images.requires_grad_()
        loss = F.cross_entropy(predict(images), target)
        if full:
            loss.backward()
        else:
            images.grad = torch.autograd.grad(loss, images)[0]
        images = images.detach() + STEP_SIZE * torch.sign(cast(Tensor, images.grad))
        images = images.clamp(lower, upper)
    predict.zero_grad()
    return images


def competitors(workload: Workload) -> tuple[dict[str, Callable[[], Tensor]], Callable[[Tensor], float], Tensor]:
    """Return the attacks, the judge of what they return, and the clean pixels."""
    model = workload.model
    data = model.data_preprocessor(workload.batch(), False)
    set_statistics(model, data['inputs'])
    space = PixelSpace(model, workload.images, data['inputs'], data['data_samples'])
    pixels, predict = space.pixels, Predict(model, space.mean, space.std).eval()
    with torch.no_grad():
        target = predict(pixels).argmax(1)
    for sample, label in zip(space.samples, target, strict=True):
        if target.ndim == 1:
            sample.set_gt_label(label)
        else:
            sample.gt_sem_seg = PixelData(data=label[None])
    pgd = ATTACKS.build(dict(type='PGD', norm='linf', eps='8/255', step_size='2/255', steps=STEPS))
    library = torchattacks.PGD(predict, eps=EPS, alpha=STEP_SIZE, steps=STEPS)

    def floor() -> Tensor:
        with frozen(model):
            return bare_pgd(predict, pixels, target)

    def samat_mm() -> Tensor:
        with frozen(model):
            return pgd(predict, pixels, target)

    @torch.no_grad()
    def judge(images: Tensor) -> float:
        return float(F.cross_entropy(predict(images), target))

    attacks: dict[str, Callable[[], Tensor]] = {
        FLOOR: floor,
        'samat_mm': samat_mm,
        'samat_mm in MMEngine': lambda: space.attack(pgd, range(len(pixels))),
        'torchattacks': lambda: library(pixels, target),
        'full backward': lambda: bare_pgd(predict, pixels, target, full=True),
    }
    return attacks, judge, pixels


def measure(workload: Workload, args: argparse.Namespace) -> tuple[str, list[dict[str, str]], dict[str, Any]]:
    attacks, judge, pixels = competitors(workload)
    images: dict[str, Tensor] = {}

    def keeping(name: str) -> Callable[[], None]:
        def run() -> None:
            images[name] = attacks[name]()

        return run

    costs = interleaved({name: keeping(name) for name in attacks}, args.rounds, args.device, workload.title)
    rows, numbers = [], {}
    for name, cost in costs.items():
        if float((images[name] - pixels).abs().max()) > EPS + 1e-6:
            raise RuntimeError(f'{name} left the ball: it is not comparable.')
        ratios, cpu_ratios, loss = cost.ratios(costs[FLOOR]), cost.ratios(costs[FLOOR], 'cpu'), judge(images[name])
        rows.append(
            {
                'PGD-10': name,
                'seconds': spread(cost.wall, 2),
                'x floor': spread(ratios),
                'x floor, CPU': spread(cpu_ratios),
                'loss': f'{loss:.4f}',
            }
        )
        numbers[name] = {
            'seconds': cost.wall,
            'cpu_seconds': cost.cpu,
            'ratio': statistics.median(ratios),
            'cpu_ratio': statistics.median(cpu_ratios),
            'loss': loss,
        }
    clean = judge(pixels)
    return f'{workload.title} (clean loss {clean:.4f})', rows, {'clean_loss': clean, 'attacks': numbers}


def main() -> None:
    args = parse(__doc__, rounds=5)
    numbers = {}
    for name in args.models:
        title, rows, numbers[name] = measure(WORKLOADS[name](args.device), args)
        show(title, rows)
    finish(args, numbers)


if __name__ == '__main__':
    main()
