"""docs/reference/methods.md: one card per registered weight perturbation.

A method's description, equation, parameters and source come from its docstring, defaults from its signature, memory
from two steps of a small model, cost from docs/step_cost.json, which benchmarks/step_cost.py wrote.
"""

import json
from pathlib import Path
from typing import Any

import torch
from cards import Card
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from samat_mm.perturbations.weights import WEIGHT_PERTURBATION_TYPES

STEP_COST = Path(__file__).parents[1] / 'step_cost.json'
HEAD = """# Weight perturbations

A card for each method: equation, parameters, source and cost. Every method is a `perturbation` of `SAMOptimWrapper`
or of its mixed precision twin `AmpSAMOptimWrapper`; `ASAMOptimWrapper` and `ESAMOptimWrapper` are short for the two
that the paper uses most. A `direction` is another method, by its config: `dict(type='LookSAM',
direction=dict(type='ASAM'))` ascends as ASAM on LookSAM's schedule. Pairs that do not fit, such as two methods that
both mix the gradients of the two passes, are refused. "Memory" is the content of a checkpoint in
addition to the optimizer's state, in copies of the weights. "Cost" is the processor time of a step in steps of SGD,
from `python benchmarks/step_cost.py` (see [measurements](../results/benchmarks.md)).
Generated from the docstrings by `python docs/generate`.

| method | cost: {models} | memory |
|---|---|---|
"""
FOOT = """## What is not here

Entropy-SGD (Chaudhari et al., 2017), which the paper cites as an earlier way to flatness, does not fit: it maximises
nothing over a ball around the weights, but runs a chain of noisy descent steps on *different* batches and pulls the
weights towards their average, with neither an ascent on the batch of the step nor a second gradient of it. It would be
an optimizer, not a perturbation. Stochastic weight averaging needs no code here:
`configs/deeplabv3_digits_swa.py` and `configs/resnet18_cifar10_swa.py` use MMEngine's averaged model, and combine with
any method here.
"""


class Net(BaseModel):
    """A small classifier whose loss is a mean over samples."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = 'tensor') -> dict[str, Tensor]:
        """Return the loss."""
        return {'loss': self.loss(self.layers(inputs), labels)}


def memory(name: str) -> str:
    """Return the memory in a checkpoint after a mask or a direction was made, in copies of the weights."""
    torch.manual_seed(0)
    model = Net().train()
    options = {'samples': 8} if name == 'SSAMF' else {}
    optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
    config = dict(type='SAMOptimWrapper', perturbation=dict(type=name, **options), optimizer=optimizer)
    wrapper = build_optim_wrapper(model, config)
    for _ in range(2):
        model.train_step({'inputs': torch.randn(8, 4), 'labels': torch.arange(8) % 3}, wrapper)
    state = wrapper.state_dict().get('perturbation', {})
    tensors = list(_tensors({key: value for key, value in state.items() if key != 'generator'}))
    copies = sum(t.numel() * t.element_size() for t in tensors) / sum(4 * p.numel() for p in model.parameters())
    parts = [f'{copies:.2g} {"copy" if copies == 1 else "copies"}'] if copies else []
    parts += ['a random generator'] if 'generator' in state else []
    return ' and '.join(parts) or 'none'


def _tensors(state: Any) -> Any:
    for value in state.values() if isinstance(state, dict) else ():
        yield from _tensors(value)
        if isinstance(value, Tensor):
            yield value


def document() -> str:
    """Return the whole page."""
    measured: dict[str, Any] = json.loads(STEP_COST.read_text(encoding='utf-8'))['results']
    steps = next(iter(measured.values()))['steps']
    table, cards = '', ''
    for method in WEIGHT_PERTURBATION_TYPES:
        name = method.__name__
        label = next((key for key, row in steps.items() if row['type'] == name), None)
        costs = [f'{model["steps"][label]["cpu_ratio"]:.2f}' for model in measured.values()] if label else []
        cost, held = f'{", ".join(costs)} ({label})' if label else 'not measured', memory(name)
        table += f'| [{name}](#{name.lower()}) | {cost} | {held} |\n'
        cards += Card(method).write(f"perturbation = dict(type='{name}'", f'Cost: {cost}. Memory: {held}.')
    return HEAD.format(models=', '.join(measured)) + table + '\n' + cards + FOOT
