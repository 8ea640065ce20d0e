"""Every weight method takes the same way on the device as on the CPU, and waits for it no more than it has to."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from device_waits import no_device_waits
from mmengine.optim import build_optim_wrapper
from small_models import FAMILY, plain_batches
from test_device_waits import WAITS, everything
from test_family_contract import SGD, net, wrap
from torch import Tensor, nn

from samat_mm.perturbations.inputs import APGD, PGD, CosPGD, Problem
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.scoring import Scoring
from samat_mm.perturbations.norms.region import Region
from samat_mm.perturbations.weights.random_numbers import RandomNumbers

STEPS = 8
CLOSE = 1e-9  # of the largest weight, in double precision after so many steps


@pytest.fixture
def draws_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give methods the random numbers of the CPU, for the generators of devices differ."""
    on, rand = RandomNumbers.on, torch.rand
    monkeypatch.setattr(RandomNumbers, 'on', lambda self, device: on(self, torch.device('cpu')))
    monkeypatch.setattr(
        torch, 'rand', lambda *size, device=None, **kwargs: rand(*size, **kwargs).to(device or torch.device('cpu'))
    )


def trajectory(model: nn.Module, wrapper: Any, batches: list[dict]) -> list[dict[str, Tensor]]:
    states = []
    for batch in batches:
        model.train_step(copy.deepcopy(batch), wrapper)
        states.append({name: value.detach().cpu().clone() for name, value in model.state_dict().items()})
    return states


def assert_same_way(found: list[dict[str, Tensor]], expected: list[dict[str, Tensor]]) -> None:
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        for name, value in theirs.items():
            scale = max(float(value.double().abs().max()), 1e-3)
            assert float((ours[name] - value).double().abs().max()) <= CLOSE * scale, f'{name} after step {step}'
    assert any(not torch.equal(value, expected[0][name]) for name, value in expected[-1].items())


@pytest.mark.parametrize('case', FAMILY)
def test_the_trajectory_is_that_of_the_cpu(case: str, device: torch.device, draws_of_the_cpu: None) -> None:
    ends = []
    for place in (device, torch.device('cpu')):
        model = net().to(place)
        ends.append(trajectory(model, wrap(model, case), plain_batches(STEPS)))
    assert_same_way(*ends)


@pytest.mark.parametrize('kind', ['classifier', 'segmentor'])
@pytest.mark.parametrize('case', ['SAM', 'ESAM', 'SSAMF'])
def test_the_trajectory_of_an_openmmlab_model_is_that_of_the_cpu(
    case: str, kind: str, device: torch.device, training_case: Callable
) -> None:
    ends = []
    for place in (device, torch.device('cpu')):
        model, batches = training_case(kind, 3)
        model = model.to(place)
        config = dict(type='SAMOptimWrapper', optimizer=dict(SGD), **copy.deepcopy(FAMILY[case]))
        ends.append(trajectory(model, build_optim_wrapper(model, config), batches))
    assert_same_way(*ends)


@contextmanager
def sync_is_an_error() -> Any:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode('default')


def no_waits(device: torch.device, tensors: Any) -> AbstractContextManager:
    return sync_is_an_error() if device.type == 'cuda' else no_device_waits(tensors)


def on(device: torch.device, batch: dict) -> dict:
    return {name: value.to(device) for name, value in batch.items()}


@pytest.mark.parametrize('case', [case for case in FAMILY if case not in WAITS])
def test_a_step_does_not_wait_for_the_device(case: str, device: torch.device) -> None:
    """From the forward to the optimizer's step, three steps in a row. The masks of SSAM stay for these steps."""
    model = net(torch.float32).to(device)
    perturbation = dict(FAMILY[case]['perturbation'], **({'update_interval': 100} if 'SSAM' in case else {}))
    wrapper = wrap(model, case, perturbation=perturbation)
    batches = [on(device, batch) for batch in plain_batches(7, dtype=torch.float32)]
    for batch in batches[:4]:  # warm-up: the buffers, the masks, the watch over frozen parameters
        model.train_step(batch, wrapper)
    with no_waits(device, [everything(model, wrapper), batches]):
        for batch in batches[4:]:
            model.train_step(batch, wrapper)


@pytest.mark.parametrize('norm', ['linf', 'l2'])
@pytest.mark.parametrize('attack', [PGD, APGD, CosPGD])
def test_a_step_of_an_attack_does_not_wait_for_the_device(attack: type, norm: str, device: torch.device) -> None:
    """The model, the objective, the best iterate and the step; after the first, which looks at the labels."""
    from test_attacks import problem

    model, inputs, target = problem('CosPGD' if attack is CosPGD else 'PGD')
    model, inputs, target = model.to(device), inputs.to(device), target.to(device)
    tried = attack(norm, 0.3, steps=6)
    region, best = Region(inputs, tried.ball, tried.eps), BestIterate(inputs.clone())
    scoring = Scoring(Problem(model, inputs, target), tried.objective, tried.rank_of(tried.objective))
    move, images = tried.step_rule(region, 6), tried.start(region, range(len(inputs)), 0)

    def step(images: Tensor, number: int) -> Tensor:
        rank, grad = scoring.gradient(images, number, 6)
        best.offer(rank, images)
        return move(images, grad, rank[:, -1])

    images = step(images, 0)
    seen = [list(model.parameters()), list(model.buffers()), inputs, target, images, best.images, best.rank]
    with no_waits(device, seen):
        for number in range(1, 6):
            images = step(images, number)
    scoring.watch.check()
    assert float((best.images - inputs).abs().max()) > 0
