"""Measure how well ESAM's cheap selections agree with the published one, during a real training.

    python benchmarks/esam_selection.py [--iterations 600] [--config benchmarks/configs/...]

Trains the small ResNet on the exact CIFAR-10 subset with the published ESAM (.5, .5), in single precision. At every
step it computes which half of the batch each cheap selection would take: a forward in bfloat16, or the largest losses
without a forward. Agreement is the share of the published half that the other half contains; one half is chance. Each
row is the mean over the iterations since the previous row.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from common import show
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from samat_mm.perturbations.weights import ESAM, Parts
from samat_mm.perturbations.weights.esam import HurtMost
from samat_mm.registry import WEIGHT_PERTURBATIONS

AGREEMENTS: dict[str, list[float]] = {'bfloat16': [], 'loss': []}
RISES: list[float] = []


@dataclass(frozen=True)
class ComparedSelection(HurtMost):
    """The published selection, which also notes what the other ones would have been."""

    def select(self, before: Tensor, after: Callable[[torch.dtype | None], Tensor]) -> Tensor:
        """Return the published selection."""
        exact = after(None)
        chosen = super().select(before, lambda dtype: exact)
        RISES.append(float((exact - before).mean()))
        for name, found in AGREEMENTS.items():
            other = HurtMost(self.gamma, name).select(before, after)
            found.append(len(set(chosen.tolist()) & set(other.tolist())) / len(chosen))
        return chosen


@WEIGHT_PERTURBATIONS.register_module()
@dataclass(frozen=True)
class ComparedESAM(ESAM):
    """ESAM with that selection."""

    @cached_property
    def parts(self) -> Parts:
        """The same but for the selection."""
        return replace(super().parts, selection=ComparedSelection(self.gamma, self.selection))


def main() -> None:
    """Train and tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', default='benchmarks/configs/resnet20size_cifar10-subset_esam.py')
    parser.add_argument('--iterations', type=int, default=600)
    args = parser.parse_args()
    config = Config.fromfile(args.config)
    config.optim_wrapper.update(type='SAMOptimWrapper', perturbation=dict(type='ComparedESAM', rho=0.1))
    for name in ('rho', 'beta', 'gamma'):
        config.optim_wrapper.perturbation[name] = config.optim_wrapper.pop(name)
    config.work_dir = 'work_dirs/esam_selection'
    config.train_cfg.update(max_iters=args.iterations, val_interval=args.iterations)
    config.param_scheduler[1].end = args.iterations
    Runner.from_cfg(config).train()
    step = max(args.iterations // 6, 1)
    rows = []
    for start in range(0, args.iterations, step):
        part = slice(start, start + step)
        rows.append(
            {
                'iterations': f'{start} to {min(start + step, args.iterations)}',
                'mean rise of the loss': f'{statistics.mean(RISES[part]):.4f}',
                **{name: f'{statistics.mean(found[part]):.3f}' for name, found in AGREEMENTS.items()},
            }
        )
    show('agreement with the published selection', rows)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
