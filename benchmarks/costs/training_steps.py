"""The training steps to measure: plain SGD, every weight perturbation, and SAM as most scripts implement it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper

from costs.numerics import Numerics
from costs.workloads import Workload
from samat_mm.perturbations.weights import WEIGHT_PERTURBATION_TYPES

SGD: dict[str, Any] = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
REFERENCE, HALF_ASCENT, BFLOAT16 = 'two-step optimizer', 'SAM, ascent in bfloat16', 'SGD in bfloat16'


@dataclass(frozen=True)
class Row:
    """An optimizer wrapper, the lowest possible cost of its step in SGD steps, and the period of its steps."""

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
    BFLOAT16: Row(dict(type='AnyDeviceAmpOptimWrapper', dtype='bfloat16'), None),
    'SAM': method('SAM', 2),
    REFERENCE: Row({}, 2),
    HALF_ASCENT: method('SAM', None, wrapper=dict(ascent_dtype='bfloat16')),
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
    """SAM as a torch optimizer around another one, as most training scripts implement it."""

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
        """Restore the weights and let the base optimizer step along the gradient in ``.grad``."""
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None:
                    p.data = self.state[p]['before']
        self.base.step()
        self.zero_grad()


def in_mixed_precision(wrapper: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Return the same optimizer wrapper with autocast."""
    twin = {'OptimWrapper': 'AnyDeviceAmpOptimWrapper', 'SAMOptimWrapper': 'AmpSAMOptimWrapper'}
    return {**wrapper, 'type': twin.get(wrapper['type'], wrapper['type']), 'dtype': dtype}


def mmengine_step(model: BaseModel, workload: Workload, wrapper: dict[str, Any], how: Numerics) -> Callable[[], None]:
    wrapper = in_mixed_precision(wrapper, how.dtype) if how.dtype else wrapper
    optimizer = build_optim_wrapper(model, copy.deepcopy(dict(wrapper, optimizer=SGD)))
    train_step = how.compiled(model.train_step)  # like MMEngine's Runner

    def step() -> None:
        if 'last' in wrapper:  # repeats a training of ten steps
            optimizer.initialize_count_status(model, optimizer.inner_count % 10, 10)
        train_step(workload.batch(), optimizer)

    return step


def reference_step(model: BaseModel, workload: Workload, how: Numerics) -> Callable[[], None]:
    options = {key: value for key, value in SGD.items() if key != 'type'}
    optimizer = TwoStepSAM(model.parameters(), torch.optim.SGD, **options)
    device = next(model.parameters()).device.type
    forward = how.compiled(model.forward)

    def backward(data: dict[str, Any]) -> None:
        with how.autocast(device):
            losses = forward(**data, mode='loss')
        model.parse_losses(losses)[0].backward()

    def step() -> None:
        data = model.data_preprocessor(workload.batch(), True)
        backward(data)
        optimizer.first_step()
        backward(data)
        optimizer.second_step()

    return step


def competitor(name: str, workload: Workload, how: Numerics) -> Callable[[], None]:
    """Return the training step of that name, on its own model."""
    model = how.lay_out(copy.deepcopy(workload.model).train())
    if name == REFERENCE:
        return reference_step(model, workload, how)
    return mmengine_step(model, workload, ROWS[name].wrapper, how)


def repeated(step: Callable[[], None], times: int) -> Callable[[], None]:
    """Return a function that takes ``times`` steps."""

    def run() -> None:
        for _ in range(times):
            step()

    return run
