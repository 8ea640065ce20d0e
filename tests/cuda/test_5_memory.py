"""The peak of a sharpness-aware step: one copy of the weights above plain training, and no more."""

import gc
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch.nn import functional as F

from samat_mm.perturbations.vectors import BLOCK

WIDTH, LAYERS = 2048, 4
COPY = LAYERS * WIDTH * WIDTH * 4  # bytes of the weights: 64 MiB
ROUNDING = 4 << 20  # of the allocator, which leaves up to 1 MiB of a block unused
SCRATCH = BLOCK * 4  # what ASAM makes of the weights, block by block
# How many copies and bytes a step may take more than one of SGD: the weights of before, and an average that is kept.
MORE = {'SAM': (1, 0), 'ASAM': (1, SCRATCH), 'SAMON': (0, SCRATCH), 'FriendlySAM': (2, 0)}


class Wide(BaseModel):
    """Weights of which a copy shows, and next to no activations."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, inputs: Tensor, labels: Tensor | None = None, mode: str = 'tensor') -> Any:
        for layer in self.layers:
            inputs = inputs + torch.tanh(layer(inputs))
        logits = self.norm(inputs)
        return {'loss': F.cross_entropy(logits, labels)} if mode == 'loss' else logits


def peak(device: torch.device, config: dict) -> int:
    """Return the bytes at the peak of a step, after some that allocate what stays."""
    torch.manual_seed(0)
    model = Wide().to(device)
    batch = {'inputs': torch.randn(8, WIDTH).to(device), 'labels': torch.arange(8).to(device)}
    wrapper = build_optim_wrapper(model, {**config, 'optimizer': dict(type='SGD', lr=0.01, momentum=0.9)})
    for _ in range(4):
        model.train_step(batch, wrapper)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        model.train_step(batch, wrapper)
    torch.cuda.synchronize()
    found = torch.cuda.max_memory_allocated()
    del model, wrapper, batch
    gc.collect()
    torch.cuda.empty_cache()
    return found


@pytest.fixture(scope='module')
def plain(request: pytest.FixtureRequest) -> int:
    if request.config.getoption('--device') == 'cpu':
        return 0
    return peak(torch.device('cuda', 0), dict(type='OptimWrapper'))


@pytest.mark.parametrize('method', MORE)
def test_a_step_takes_so_many_copies_of_the_weights_more_than_plain_training(
    method: str, plain: int, cuda: torch.device
) -> None:
    above = peak(cuda, dict(type='SAMOptimWrapper', perturbation=dict(type=method))) - plain
    copies, scratch = MORE[method]
    assert above <= copies * COPY + scratch + ROUNDING, f'{above / COPY:.2f} copies'
