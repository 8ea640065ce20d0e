"""Measure, step by step, how far a cheaper ascent takes a SAM training from the exact one.

    python benchmarks/cheap_ascent.py [--iterations 100]

The small ResNet learns the exact CIFAR-10 subset in single precision with SAM, from the same weights and on the same
batches in every row. The distance to the weights of exact SAM is relative to the distance that exact SAM has travelled
from the start. The row SGD shows the effect of no ascent at all, and the row "off by 1e-6" how fast two exact trainings
diverge on their own.
"""

import argparse
import copy
import math
from typing import Any

import torch
from common import show
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor

CONFIG = 'benchmarks/configs/resnet20size_cifar10-subset_sam.py'
ROWS: dict[str, dict[str, Any]] = {
    'SAM': {},
    'SAM, bfloat16 ascent': dict(ascent_dtype='bfloat16'),
    'SAM, ascent on half of the batch': dict(ascent_share=0.5),
    'SAM from weights off by 1e-6': {},
    'SGD': dict(rho=0.0),
}


def flat(model: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def main() -> None:
    """Train every row on the same batches, and tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iterations', type=int, default=100)
    args = parser.parse_args()
    config = Config.fromfile(CONFIG)
    init_default_scope(config.default_scope)
    from mmpretrain.registry import MODELS

    torch.manual_seed(0)
    start = MODELS.build({**config.model, 'data_preprocessor': config.data_preprocessor}).train()
    start.init_weights()
    loader = iter(Runner.build_dataloader(config.train_dataloader, seed=0))
    batches = [next(loader) for _ in range(args.iterations)]
    shown = sorted({1, 10, 30, args.iterations})
    paths: dict[str, list[Tensor]] = {}
    rows = []
    for name, changes in ROWS.items():
        model = copy.deepcopy(start)
        if '1e-6' in name:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1 + 1e-6 * torch.randn_like(parameter))
        wrapper = build_optim_wrapper(model, copy.deepcopy({**config.optim_wrapper, **changes}))
        paths[name] = []
        for step, batch in enumerate(batches, 1):
            model.train_step(copy.deepcopy(batch), wrapper)
            if step in shown:
                paths[name].append(flat(model))
        exact = [math.dist(a.tolist(), flat(start).tolist()) for a in paths['SAM']]
        apart = [math.dist(a.tolist(), b.tolist()) for a, b in zip(paths[name], paths['SAM'], strict=True)]
        distances = [f'{d / e:.2g}' for d, e in zip(apart, exact, strict=True)]
        rows.append({'training': name, **{f'distance, step {s}': d for s, d in zip(shown, distances, strict=True)}})
    show('distance to the weights of exact SAM', rows)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
