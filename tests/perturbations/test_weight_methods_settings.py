"""Parameters of the weight perturbations: published defaults, wrong ones, compositions, states."""

import copy
import dataclasses
import inspect
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from samat_mm.perturbations.weights import SAM, BuiltOn, LookSAM, Need, RunningMethod, WeightPerturbation
from samat_mm.registry import WEIGHT_PERTURBATIONS

DEFAULTS: dict[str, dict[str, Any]] = {
    'SAM': dict(rho=0.05, steps=1),
    'ASAM': dict(rho=0.5, eta=0.01, scaled='weights'),
    'ESAM': dict(rho=0.05, beta=0.6, gamma=0.5, mask='tensors', selection='forward'),
    'LookSAM': dict(rho=0.05, interval=5, alpha=0.7),
    'SSAMF': dict(rho=0.05, sparsity=0.5, samples=128),
    'SSAMD': dict(rho=0.05, sparsity=0.5, drop_rate=0.5),
    'FisherSAM': dict(rho=0.1, eta=1),
    'SAMON': dict(rho=5),
    'GSAM': dict(rho=0.04, rho_min=0.02, alpha=0.01),
    'FriendlySAM': dict(rho=0.05, sigma=1, momentum=0.9),
    'WSAM': dict(rho=0.05, gamma=0.9, form='decoupled'),
    'AWP': dict(rho=0.005),
    'MSAM': dict(rho=0.05),
    'StaleSAM': dict(rho=0.05),
}
COMPOSITES = sorted(name for name, cls in WEIGHT_PERTURBATIONS.module_dict.items() if issubclass(cls, BuiltOn))
MIXERS = sorted(name for name, cls in WEIGHT_PERTURBATIONS.module_dict.items() if cls().parts.mix)


def build(**config: Any) -> WeightPerturbation:
    return WEIGHT_PERTURBATIONS.build(config)


@pytest.mark.parametrize('name', sorted(WEIGHT_PERTURBATIONS.module_dict))
def test_defaults_are_the_published_ones(name: str) -> None:
    method = build(type=name)
    assert {key: getattr(method, key) for key in DEFAULTS[name]} == DEFAULTS[name]


WRONG: list[tuple[dict, str]] = [
    (dict(type='ASAM', eta=-1), 'eta must be a finite number of at least 0; got -1'),
    (dict(type='ASAM', scaled='some'), "scaled must be one of weights, all; got 'some'"),
    (dict(type='ESAM', beta=0), 'beta is a share, above 0 and at most 1; got 0'),
    (dict(type='ESAM', beta=1.1), 'beta is a share, above 0 and at most 1; got 1.1'),
    (dict(type='ESAM', gamma=0), 'gamma is a share, above 0 and at most 1; got 0'),
    (dict(type='ESAM', gamma='half'), "gamma must be a finite number of at least 0; got 'half'"),
    (dict(type='ESAM', mask='rows'), "mask must be one of tensors, coordinates; got 'rows'"),
    (dict(type='ESAM', selection='rise'), "selection must be one of forward, bfloat16, loss; got 'rise'"),
    (dict(type='LookSAM', interval=0), 'interval must be a whole number of at least 1; got 0'),
    (dict(type='LookSAM', interval=2.0), 'interval must be a whole number of at least 1; got 2.0'),
    (dict(type='LookSAM', alpha=-0.1), 'alpha must be a finite number of at least 0; got -0.1'),
    (dict(type='SSAMF', sparsity=1), 'sparsity must be below 1, or no weight is perturbed; got 1'),
    (dict(type='SSAMF', samples=0), 'samples must be a whole number of at least 1; got 0'),
    (dict(type='SSAMF', update_interval=0), 'update_interval must be a whole number of at least 1; got 0'),
    (dict(type='SSAMD', sparsity=-0.5), 'sparsity must be a finite number of at least 0; got -0.5'),
    (dict(type='SSAMD', drop_rate=0), 'drop_rate is a share, above 0 and at most 1; got 0'),
    (dict(type='SSAMD', decay_ascents=0), 'decay_ascents must be a whole number of at least 1; got 0'),
    (dict(type='FisherSAM', eta=float('nan')), 'eta must be a finite number of at least 0; got nan'),
    (dict(type='GSAM', rho=0.1, rho_min=0.2), 'rho_min must not be above rho; got 0.2 and 0.1'),
    (dict(type='GSAM', rho_min=-1), 'rho_min must be a finite number of at least 0; got -1'),
    (dict(type='GSAM', alpha=True), 'alpha must be a finite number of at least 0; got True'),
    (dict(type='FriendlySAM', sigma=-1), 'sigma must be a finite number of at least 0; got -1'),
    (dict(type='FriendlySAM', momentum=1.5), 'momentum is a share, above 0 and at most 1; got 1.5'),
    (dict(type='FriendlySAM', momentum=None), 'momentum must be a finite number of at least 0; got None'),
    (dict(type='WSAM', gamma=1), 'gamma must be below 1'),
    (dict(type='WSAM', gamma=None), 'gamma must be a finite number of at least 0; got None'),
    (dict(type='WSAM', gamma=-0.1), 'gamma must be a finite number of at least 0; got -0.1'),
    (dict(type='SAM', steps=0), 'steps must be a whole number of at least 1; got 0'),
    (
        dict(type='FriendlySAM', direction=dict(type='SAM', steps=2)),
        'FriendlySAM keeps a memory of one ascent.*steps=1',
    ),
    (dict(type='LookSAM', direction=dict(type='MSAM')), 'LookSAM needs the gradient at the weights.*MSAM leaves out'),
    (dict(type='ESAM', direction=dict(type='StaleSAM')), 'ESAM needs the loss of each sample.*StaleSAM leaves out'),
    (dict(type='SSAMF', direction=dict(type='MSAM')), 'SSAMF needs the squared gradients.*MSAM leaves out'),
    (dict(type='WSAM', form='both'), "form must be one of decoupled, coupled; got 'both'"),
]


@pytest.mark.parametrize(('config', 'message'), WRONG, ids=str)
def test_wrong_parameters_are_named(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**config)


# Compositions


@pytest.mark.parametrize('name', COMPOSITES)
def test_a_direction_may_be_a_config(name: str) -> None:
    method = build(type=name, direction=dict(type='ASAM', rho=0.3, eta=0.2))
    assert (method.direction.rho, method.direction.eta) == (0.3, 0.2)
    assert method.rho == {'GSAM': 0.04, 'SAMON': 3}.get(name, 0.3)


@pytest.mark.parametrize('outer', MIXERS)
@pytest.mark.parametrize('inner', MIXERS)
def test_two_methods_that_mix_gradients_are_refused(outer: str, inner: str) -> None:
    with pytest.raises(ValueError, match=f'{outer} and {inner} each mix the gradients.*use one of them'):
        build(type=outer, direction=dict(type=inner))
    with pytest.raises(ValueError, match='each mix the gradients'):
        build(type=outer, direction=dict(type='ESAM', direction=dict(type=inner)))


@pytest.mark.parametrize('outer', sorted(set(COMPOSITES) - set(MIXERS)))
def test_a_method_that_mixes_may_be_inside_one_that_does_not(outer: str) -> None:
    method = build(type=outer, direction=dict(type='LookSAM', interval=3)).start()
    assert method.mixes
    assert method.is_due(0)
    gradient = {'w': torch.tensor([3.0, 4.0])}
    method.combine({'w': gradient['w'].clone()}, {'w': torch.tensor([4.0, -3.0])})
    assert [method.is_due(step) for step in range(1, 5)] == [False, False, True, False]
    assert method.combine(gradient, None)['w'].tolist() == pytest.approx([3 + 0.7 * 4, 4 - 0.7 * 3])


@pytest.mark.parametrize('direction', ['ASAM', 0.05, dict(type='Unknown'), SAM])
def test_a_direction_is_a_weight_perturbation(direction: Any) -> None:
    with pytest.raises(ValueError, match='direction must be a weight perturbation, or its config'):
        LookSAM(direction=direction)


def test_slots_and_needs_are_handed_on() -> None:
    """The whole chain needs whatever one method of it needs."""
    chain = build(type='SAMON', direction=dict(type='LookSAM', direction=dict(type='FriendlySAM')))
    assert chain.needs == {Need.CLEAN_GRADIENT, Need.SHARED_ASCENT, Need.UNSCALED_GRADIENT}
    working = chain.start()
    working.combine({'w': torch.ones(2)}, {'w': torch.ones(2)})
    assert [step for step in range(11) if working.is_due(step)] == [0, 5, 10]
    assert Need.SAMPLE_LOSSES in build(type='SAMON', direction=dict(type='ESAM')).needs
    assert Need.CLIPPED_APART in build(type='SAMON', direction=dict(type='WSAM')).needs
    assert Need.STEP_PERTURBED in build(type='ESAM', gamma=1, direction=dict(type='AWP')).needs
    assert build(type='SAMON', direction=dict(type='SSAMF', samples=7)).start().fisher_samples() == 7
    assert (
        build(type='ESAM', direction=dict(type='SAMON', direction=dict(type='SAM', steps=2)), beta=1).start().ascents
        == 2
    )
    assert build(type='SAMON', direction=dict(type='MSAM')).start().source is not None
    assert build(type='ESAM', gamma=1).needs == frozenset()


@pytest.mark.parametrize('name', sorted(WEIGHT_PERTURBATIONS.module_dict))
def test_a_method_is_a_frozen_value(name: str) -> None:
    """Equal parameters are equal methods; another radius is another value, and a training changes neither."""
    method = build(type=name)
    assert method == build(type=name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.rho = 1.0
    larger = method.replace(rho=0.75)
    assert (larger.rho, larger.replace(rho=method.rho)) == (0.75, method)
    shown, at_work = repr(method), method.start()
    if at_work.source is None:
        drive(at_work, range(3))
    assert repr(method) == shown
    assert pickle.loads(pickle.dumps(method)) == copy.deepcopy(method) == method
    assert method.start().state_dict() == build(type=name).start().state_dict()


@pytest.mark.parametrize('name', sorted(WEIGHT_PERTURBATIONS.module_dict))
def test_a_method_shows_its_parameters(name: str) -> None:
    shown = repr(build(type=name, rho=0.125))
    assert shown.startswith(f'{name}(rho=0.125')
    assert all(parameter in shown for parameter in inspect.signature(WEIGHT_PERTURBATIONS.get(name)).parameters)


def test_a_composition_shows_its_direction() -> None:
    assert 'direction=ASAM(rho=0.5, eta=0.2' in repr(build(type='GSAM', direction=dict(type='ASAM', eta=0.2)))


# States

SHAPES = {'conv.weight': (3, 2, 2, 2), 'conv.bias': (3,), 'norm.weight': (4,), 'norm.bias': (4,)}
OWNERS = {'conv.weight': nn.Conv2d(1, 1, 1), 'norm.weight': nn.BatchNorm2d(1)}
OWNERS.update({name.replace('weight', 'bias'): module for name, module in list(OWNERS.items())})
STATEFUL: dict[str, dict] = {
    **{name: {} for name in WEIGHT_PERTURBATIONS.module_dict},
    'ESAM': dict(beta=0.4),
    'ESAM of coordinates': dict(type='ESAM', mask='coordinates'),
    'LookSAM': dict(interval=3),
    'SSAMF': dict(samples=5, update_interval=2),
    'SSAMD': dict(update_interval=2, decay_ascents=9),
    'WSAM': dict(form='coupled'),
    'LookSAM over FriendlySAM': dict(type='LookSAM', interval=2, direction=dict(type='FriendlySAM')),
    'SAMON over SSAMD': dict(type='SAMON', direction=dict(type='SSAMD', update_interval=1)),
    'ESAM over SSAMF': dict(
        type='ESAM', mask='coordinates', direction=dict(type='SSAMF', samples=3, update_interval=2)
    ),
}


def drive(method: RunningMethod, steps: range) -> list[Tensor]:
    """Call a method as an optimizer wrapper does, and return all results."""
    results: list[Tensor] = []
    for step in steps:
        numbers = torch.Generator().manual_seed(step)
        weights, clean, perturbed = (
            {name: torch.randn(shape, generator=numbers, dtype=torch.float64) for name, shape in SHAPES.items()}
            for _ in range(3)
        )
        if method.is_due(step):
            names = method.choose(weights, OWNERS)
            moving, gradients = {name: weights[name] for name in names}, [clean[name].clone() for name in names]
            if method.fisher_samples():
                method.add_fisher(moving, [gradient**2 for gradient in gradients], min(2, method.fisher_samples()))
            results += method.ascend(moving, gradients)
            results += method.combine(clean, perturbed).values()
        else:
            results += method.combine(clean, None).values()
    return results


def through_a_file(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize('at', range(6))
@pytest.mark.parametrize('name', STATEFUL)
def test_a_state_carries_a_method_on(name: str, at: int) -> None:
    """Through a file, from every step of a mask's and an interval's life, into a method that was never used."""
    config = {'type': name, **STATEFUL[name]}
    straight, resumed = (build(**copy.deepcopy(config)).start() for _ in range(2))
    drive(straight, range(at))
    resumed.load_state_dict(through_a_file(straight.state_dict()))
    for one, other in zip(drive(straight, range(at, 9)), drive(resumed, range(at, 9)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize('at', [0, 3])
@pytest.mark.parametrize('name', ['ESAM', 'ESAM of coordinates', 'SSAMD', 'SAMON over SSAMD'])
def test_a_state_can_be_loaded_into_a_method_in_use(name: str, at: int) -> None:
    config = {'type': name, **STATEFUL[name]}
    straight, used = (build(**copy.deepcopy(config)).start() for _ in range(2))
    drive(straight, range(at))
    drive(used, range(5))
    used.load_state_dict(through_a_file(straight.state_dict()))
    for one, other in zip(drive(straight, range(at, 9)), drive(used, range(at, 9)), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize('name', sorted(WEIGHT_PERTURBATIONS.module_dict))
def test_an_empty_state_is_that_of_a_new_method(name: str) -> None:
    """As in a checkpoint of the plain optimizer."""
    config = {'type': name, **STATEFUL[name]}
    fresh, loaded = build(**config).start(), build(**config).start()
    loaded.load_state_dict({})
    for one, other in zip(drive(fresh, range(5)), drive(loaded, range(5)), strict=True):
        assert torch.equal(one, other)


def test_methods_without_a_memory_have_an_empty_state() -> None:
    for name in ('SAM', 'ASAM', 'FisherSAM', 'SAMON', 'GSAM', 'WSAM', 'AWP'):
        method = build(type=name).start()
        drive(method, range(2))
        assert method.state_dict() == {}
