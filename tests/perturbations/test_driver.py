"""The step in plain torch against the optimizer wrapper, and a method that is added from outside the package."""

import copy
import dataclasses
from functools import cached_property
from typing import Any

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from small_models import FAMILY, PlainNet, plain_batches
from torch import Tensor

from samat_mm.perturbations.inputs import PGD
from samat_mm.perturbations.inputs.problem import Problem
from samat_mm.perturbations.norms import NORMS
from samat_mm.perturbations.weights import (
    SAM,
    Need,
    Parts,
    Transformation,
    WeightPerturbation,
    perturbed_step,
    steepest,
)
from samat_mm.registry import WEIGHT_PERTURBATIONS

OPTIMIZER = dict(lr=0.05, momentum=0.9, weight_decay=1e-2)
PLAIN = [name for name, case in FAMILY.items() if set(case) == {'perturbation'}]


def net() -> PlainNet:
    torch.manual_seed(0)
    return PlainNet().double().train()


def train_plainly(method: WeightPerturbation, batches: list[dict]) -> tuple[PlainNet, list[float]]:
    model = net()
    optimizer, working = torch.optim.SGD(model.parameters(), **OPTIMIZER), method.start()
    losses = []
    for step, batch in enumerate(batches):
        if step == 4:  # as a checkpoint does
            state, working = copy.deepcopy(working.state_dict()), method.start()
            working.load_state_dict(state)
        loss = perturbed_step(working, lambda b=batch: model(**b, mode='loss')['loss'], model, optimizer, step)
        losses.append(float(loss))
    return model, losses


@pytest.mark.parametrize('name', PLAIN)
def test_it_is_the_optimizer_wrapper_bit_for_bit(name: str) -> None:
    """Where a model gives no losses of samples, running statistics included."""
    batches, model = plain_batches(9), net()
    perturbation = copy.deepcopy(FAMILY[name]['perturbation'])
    optimizer = dict(type='SGD', **OPTIMIZER)
    wrapper = build_optim_wrapper(model, dict(type='SAMOptimWrapper', optimizer=optimizer, perturbation=perturbation))
    expected = [float(model.train_step(batch, wrapper)['loss']) for batch in batches]
    found, losses = train_plainly(WEIGHT_PERTURBATIONS.build(perturbation), batches)
    assert losses == expected
    for key, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key


def test_radius_zero_is_the_optimizer_itself() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    for batch in plain_batches(3):
        optimizer.zero_grad()
        model(**batch, mode='loss')['loss'].backward()
        optimizer.step()
    found, _ = train_plainly(SAM(rho=0), plain_batches(3))
    assert all(torch.equal(one, other) for one, other in zip(found.parameters(), model.parameters(), strict=True))


def test_the_radius_of_a_group_is_that_of_its_layer_and_no_setting_of_the_optimizer() -> None:
    model, batch = net(), plain_batches(1)[0]
    groups = [dict(params=model.conv.parameters(), rho_mult=0.5), dict(params=model.head.parameters())]

    def step(optimizer: torch.optim.Optimizer) -> None:
        perturbed_step(SAM(rho=0.2).start(), lambda: model(**batch, mode='loss')['loss'], model, optimizer)

    optimizer = torch.optim.SGD(groups, lr=0.1)
    step(optimizer)
    assert [group['rho'] for group in optimizer.param_groups] == [0.1, 0.2]
    with pytest.raises(ValueError, match='Adadelta has its own parameter rho'):
        step(torch.optim.Adadelta(model.parameters()))
    with pytest.raises(ValueError, match=r'a method in use, such as SAM\(\).start\(\); got SAM\(rho=0.05, steps=1\)'):
        perturbed_step(SAM(), lambda: model(**batch, mode='loss')['loss'], model, optimizer)


# From outside the package: one class, and one row of the registry


@dataclasses.dataclass(frozen=True)
class SignSAM(WeightPerturbation):
    """The ball of the largest absolute value, ``e = rho sign(g)``.

    Source: none.

    Args:
        rho: radius.
    """

    rho: float = 0.01

    @cached_property
    def parts(self) -> Parts:
        return Parts(before=(steepest(ball=NORMS['linf']),))


def test_a_method_from_outside_needs_a_class_and_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEIGHT_PERTURBATIONS.module_dict, 'SignSAM', SignSAM)
    model, seen = net(), []
    settings = dict(type='SAMOptimWrapper', perturbation=dict(type='SAMON', rho=0.2, direction=dict(type='SignSAM')))
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1), **settings))
    model.register_forward_pre_hook(lambda *_: seen.append([p.detach().clone() for p in model.parameters()]))
    model.train_step(plain_batches(1)[0], wrapper)
    names = [name for name, _ in model.named_parameters()]
    moved = dict(zip(names, [other - one for one, other in zip(*seen, strict=True)], strict=True))
    assert all(
        bool((offset.abs() - 0.2 * name.startswith('norm')).abs().max() < 1e-12) for name, offset in moved.items()
    )
    assert WEIGHT_PERTURBATIONS.build(dict(type='SignSAM', rho=1)) == SignSAM(1.0)


@dataclasses.dataclass(frozen=True)
class CountingSAM(WeightPerturbation):
    """SAM that steps where the last of three ascents led, and counts them in a memory of plain values."""

    rho: float = 0.3

    @cached_property
    def parts(self) -> Parts:
        return Parts(
            before=(steepest(), Transformation(self.count)),
            ascents=3,
            memory=lambda: {'of each': {}, 'lengths': []},
            needs=frozenset({Need.STEP_PERTURBED}),
        )

    def count(self, weights: dict[str, Tensor], vectors: list[Tensor], memory: dict[str, Any]) -> None:
        memory['of each'].update({name: memory['of each'].get(name, 0) + 1 for name in weights})
        memory['lengths'].append(len(vectors))


def test_both_loops_step_where_the_last_ascent_led_and_resume_any_memory() -> None:
    batches, model = plain_batches(6), net()

    def wrap() -> Any:
        settings = dict(type='SAMOptimWrapper', optimizer=dict(type='SGD', **OPTIMIZER), perturbation=CountingSAM())
        return build_optim_wrapper(model, settings)

    wrapper = wrap()
    for step, batch in enumerate(batches):
        if step == 4:
            state, wrapper = copy.deepcopy(wrapper.state_dict()), wrap()
            wrapper.load_state_dict(state)
        model.train_step(batch, wrapper)
    assert state['perturbation']['lengths'] == 12 * [len(list(model.parameters()))], 'the checkpoint changed'
    assert set(wrapper.method.state_dict()['of each'].values()) == {18}
    found, _ = train_plainly(CountingSAM(), batches)
    assert all(torch.equal(one, other) for one, other in zip(found.parameters(), model.parameters(), strict=True))


# One ball, two halves: a vector has one steepest direction, whether it is the gradient of inputs or of weights


def direction_of_weights(norm: str, pieces: list[Tensor]) -> list[Tensor]:
    vectors = [piece.clone() for piece in pieces]
    steepest(ball=NORMS[norm]).apply({}, vectors, {})
    return vectors


@pytest.mark.parametrize('norm', ['l2', 'linf'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=str)
def test_one_tensor_of_weights_and_one_input_have_the_same_direction_bit_for_bit(norm: str, dtype: torch.dtype) -> None:
    """Also where squares leave single precision, and for each input of a batch."""
    numbers = torch.Generator().manual_seed(0)
    scales = torch.tensor([1.0, 1e-3, 1e-20, 1e-34, 1e20, 0.0]).reshape(-1, 1, 1)
    for size in (1, 3, 8, 500):
        batch = (torch.randn(6, 3, size, generator=numbers) * scales).to(dtype)
        for gradient, direction in zip(batch, NORMS[norm].steepest(batch), strict=True):
            assert torch.equal(direction, direction_of_weights(norm, [gradient])[0])
            assert torch.equal(direction, NORMS[norm].steepest(gradient[None])[0])


def test_of_a_function_of_the_scalar_product_sam_and_pgd_ascend_alike_bit_for_bit() -> None:
    """f(<w, x>): SAM's step over w at (w, x) is that of PGD over x at (x, w), the roles swapped."""
    moving, still = torch.randn(2, 40, generator=torch.Generator().manual_seed(0)).unbind(0)

    def loss(scalar: Tensor) -> Tensor:
        return torch.nn.functional.softplus(scalar) + 0.1 * scalar.tanh()

    weight = moving.clone().requires_grad_()
    (offset,) = SAM().ascend({'w': weight}, torch.autograd.grad(loss(weight @ still), weight))

    def predict(inputs: Tensor) -> Tensor:
        risen = loss(inputs @ still)
        return torch.stack([torch.zeros_like(risen), risen], 1)

    attack = PGD('l2', eps=1.0, step_size=1.0, steps=1, random_start=False)
    found = attack.search(Problem(predict, moving[None], torch.zeros(1, dtype=torch.long), box=None)).images
    # The cross-entropy of those logits is another increasing function of the loss: same direction, other gradient.
    torch.testing.assert_close(found[0] - moving, offset, rtol=1e-5, atol=1e-6)
    inputs = moving.clone()[None].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(inputs[0] @ still), inputs)
    assert torch.equal(NORMS['l2'].steepest(gradient)[0], offset)


@pytest.mark.parametrize('norm', ['l2', 'linf'])
def test_cut_into_tensors_a_vector_keeps_its_direction(norm: str) -> None:
    """But for the last bits in l2: squares are summed tensor by tensor, in another order than over one vector."""
    vector = torch.randn(1, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = direction_of_weights(norm, list(vector[0].split([6, 2, 4])))
    tolerance = {'l2': 1e-15, 'linf': 0}[norm]
    torch.testing.assert_close(torch.cat(found), NORMS[norm].steepest(vector)[0], rtol=tolerance, atol=0)
