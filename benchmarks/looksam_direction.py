"""Test LookSAM's premise that the reused direction v changes more slowly than the gradient.

    python benchmarks/looksam_direction.py [CONFIG] [--iterations 200]

Trains with LookSAM and records at every ascent the length of v relative to the gradient, which the steps in between
replace by alpha (published: 0.7), and the cosine between v and the previous v, next to the cosine between the
gradients. Each row is the mean over a quarter of the ascents.
"""

import argparse
import statistics
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from common import show
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from samat_mm.perturbations.vectors import dot, global_norm
from samat_mm.perturbations.weights import LookSAM, Parts
from samat_mm.perturbations.weights.looksam import OrthogonalMixing
from samat_mm.perturbations.weights.parts import Memory, Named
from samat_mm.registry import WEIGHT_PERTURBATIONS

SEEN: list[dict[str, float]] = []
GRADIENTS: list[list[Tensor]] = []  # from the last ascent


@dataclass(frozen=True)
class WatchedMixing(OrthogonalMixing):
    """LookSAM's, which notes how its direction and the gradient change."""

    def mix(self, clean: Named, perturbed: Named | None, memory: Memory) -> tuple[Named, Named]:
        """Mix as LookSAM does."""
        gradient = [tensor.clone() for tensor in clean.values()]
        before = [memory['orthogonal'][name] for name in clean] if memory['orthogonal'] else None
        mixed = super().mix(clean, perturbed, memory)
        if perturbed is not None:
            direction = [memory['orthogonal'][name] for name in clean]
            seen = {'|v| / |g|': float(global_norm(direction) / global_norm(gradient))}
            if before is not None:
                seen['cosine of v'] = cosine(direction, before)
                seen['cosine of g'] = cosine(gradient, GRADIENTS[-1])
                SEEN.append(seen)
            GRADIENTS[:] = [gradient]
        return mixed


@WEIGHT_PERTURBATIONS.register_module()
@dataclass(frozen=True)
class WatchedLookSAM(LookSAM):
    """LookSAM with that mixing."""

    @cached_property
    def parts(self) -> Parts:
        """The same but for the mixing."""
        return replace(super().parts, mixing=WatchedMixing(self.alpha))


def cosine(first: list[Tensor], second: list[Tensor]) -> float:
    return float(dot(first, second) / global_norm(first) / global_norm(second))


def main() -> None:
    """Train and tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default='configs/deeplabv3_digits_looksam.py')
    parser.add_argument('--iterations', type=int, default=200)
    args = parser.parse_args()
    config = Config.fromfile(args.config)
    config.optim_wrapper.perturbation.type = 'WatchedLookSAM'
    config.work_dir = 'work_dirs/looksam_direction'
    config.train_cfg.update(max_iters=args.iterations, val_interval=10 * args.iterations)
    Runner.from_cfg(config).train()
    part = max(len(SEEN) // 4, 1)
    rows = []
    for start in range(0, 4 * part, part):
        chosen = SEEN[start : start + part]
        means = {name: f'{statistics.mean(seen[name] for seen in chosen):.3f}' for name in chosen[0]}
        rows.append({'ascents': f'{start + 1} to {start + len(chosen)}', **means})
    show(args.config, rows)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
