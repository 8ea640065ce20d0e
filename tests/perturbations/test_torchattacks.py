"""Attacks of torchattacks by name."""

import importlib
import inspect

import pytest
import torch
import torchattacks
from helpers import RandomState, images
from torch import nn

from samat_mm.perturbations.inputs.torchattacks import Torchattacks, library_attack
from samat_mm.registry import ATTACKS

QUICK = {'steps': 5, 'n_queries': 10, 'restarts': 2, 'max_iterations': 10, 'binary_search_steps': 2, 'nb_sample': 16}
LIBRARY = sorted(
    name
    for name, value in vars(torchattacks).items()
    if inspect.isclass(value) and issubclass(value, torchattacks.attack.Attack)
)
REFUSED = ['AutoAttack', 'LGV', 'MultiAttack']


class Fragile(nn.Module):
    """A smooth model of five classes that small changes fool."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.convolution, self.normalisation = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 5)
        self.eval()

    def forward(self, pixels):
        return 20 * self.linear(torch.tanh(self.normalisation(self.convolution(pixels))).mean((2, 3)))


def problem(count=4, size=16):
    inputs, model = images(count, 3, size, size), Fragile()
    with torch.no_grad():
        model.linear.bias -= model(inputs).mean(0) / 20
        target = model(inputs).argmax(1)
    target[1] = (target[1] + 1) % 5
    return model, inputs, target


def build(attack, **parameters):
    known = inspect.signature(getattr(torchattacks, attack)).parameters
    quick = {key: value for key, value in QUICK.items() if key in known}
    return ATTACKS.build({'type': 'Torchattacks', 'attack': attack, **quick, **parameters})


def margins(model, pixels, target):
    with torch.no_grad():
        logits = model(pixels)
    own = logits.gather(1, target[:, None])
    return (own - logits.scatter(1, target[:, None], -torch.inf).amax(1, keepdim=True)).flatten()


@pytest.mark.parametrize('attack', [name for name in LIBRARY if name not in REFUSED])
def test_every_attack_of_the_library_keeps_what_ours_promise(attack):
    """Isolated, within the ball that it is said to have, the same whatever the batch, and no image easier."""
    model, inputs, target = problem()
    model.convolution.train()
    state, original = RandomState(), inputs.clone()
    built = build(attack)
    adversarial = built(model, inputs, target)
    assert RandomState() == state
    assert torch.equal(inputs, original)
    assert [module.training for module in model.modules()] == [False, True, False, False]
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert 0 <= float(adversarial.min()) <= float(adversarial.max()) <= 1
    assert not adversarial.requires_grad
    assert torch.equal(adversarial[1], inputs[1])
    assert bool((margins(model, adversarial, target) <= margins(model, inputs, target) + 1e-6).all())
    alone = built(model, inputs[2:3], target[2:3], indices=[2])
    torch.testing.assert_close(adversarial[2:3], alone, rtol=0, atol=1e-5)
    described = built.describe()
    if 'eps' in described:
        delta = (adversarial - inputs).flatten(1)
        size = delta.abs().amax(1) if described['norm'] == 'linf' else delta.norm(dim=1)
        assert float(size.max()) <= described['eps'] * (1 + 1e-5)
    assert ATTACKS.build(described).describe() == described


@pytest.mark.parametrize(
    ('config', 'attack', 'norm', 'eps'),
    [
        ({}, 'PGD', 'linf', 8 / 255),
        ({'norm': 'linf', 'eps': '4/255'}, 'PGD', 'linf', 4 / 255),
        ({'norm': 'l2', 'eps': 0.5}, 'PGDL2', 'l2', 0.5),
        ({'attack': 'PGDL2'}, 'PGDL2', 'l2', 1.0),
        ({'attack': 'APGD', 'norm': 'l2', 'eps': 0.5}, 'APGD', 'l2', 0.5),
        ({'attack': 'Square'}, 'Square', 'linf', 8 / 255),
        ({'attack': 'DeepFool'}, 'DeepFool', None, None),
        ({'attack': 'DeepFool', 'norm': 'l2', 'eps': 0.5}, 'DeepFool', 'l2', 0.5),
    ],
    ids=str,
)
def test_norm_and_radius_are_those_given_or_the_librarys(config, attack, norm, eps):
    described = Torchattacks(**config).describe()
    assert described['attack'] == attack
    assert described.get('norm') == norm
    assert described.get('eps') == (eps if eps is None else pytest.approx(eps))


def test_parameters_reach_the_library_and_classes_and_seeds_are_passed(monkeypatch):
    made = []

    class Recording(torchattacks.APGDT):
        def __init__(self, model, norm='Linf', eps=0.1, steps=10, seed=0, n_classes=10):
            made.append((norm, eps, steps, seed, n_classes))
            super().__init__(model, norm=norm, eps=eps, steps=steps, seed=seed, n_classes=n_classes)

    monkeypatch.setattr(torchattacks, 'APGDT', Recording)
    model, inputs, target = problem()
    attack = ATTACKS.build({'type': 'Torchattacks', 'attack': 'APGDT', 'norm': 'l2', 'eps': '51/255', 'steps': 3})
    attack(model, inputs, target)
    assert [entry[:3] for entry in made] == [('L2', pytest.approx(0.2), 3)] * 3  # one image is wrong already
    assert [entry[4] for entry in made] == [5] * 3
    assert len({entry[3] for entry in made}) == 3
    made.clear()
    ATTACKS.build({'type': 'Torchattacks', 'attack': 'APGDT', 'n_classes': 3})(model, inputs, target)
    assert made[0][4] == 3


def test_a_radius_cuts_what_an_attack_without_one_finds():
    model, inputs, target = problem()
    free, cut = build('DeepFool'), build('DeepFool', norm='l2', eps=0.001)
    sizes = [(attack(model, inputs, target) - inputs).flatten(1).norm(dim=1) for attack in (free, cut)]
    assert float(sizes[0][0]) > 0.001
    assert float(sizes[1].max()) <= 0.001 * (1 + 1e-5)
    assert torch.equal(build('DeepFool', norm='l2', eps=0)(model, inputs, target), inputs)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'attack': 'AutoAttack'}, r"always makes 10 steps; use dict\(type='AutoAttack'\)"),
        ({'attack': 'LGV'}, r"no attack 'LGV' that needs only a model; it has APGD, APGDT, BIM"),
        ({'attack': 'MultiAttack'}, r"no attack 'MultiAttack' that needs only a model"),
        ({'attack': 'Unknown'}, r"no attack 'Unknown'"),
        ({'attack': 'CW', 'alpha': 1}, r"CW of torchattacks has no parameter 'alpha'; it has c, kappa, steps, lr\."),
        ({'attack': 'PGD', 'norm': 'l2'}, r"PGD of torchattacks is an attack in linf; got norm='l2'"),
        ({'attack': 'APGD', 'norm': 'l1'}, r"APGD of torchattacks is an attack in linf; got norm='l1'"),
        ({'attack': 'PGD', 'eps': 8}, r"Did you mean '8/255'"),
        ({'attack': 'DeepFool', 'norm': 'l2'}, r"norm='l2' needs a radius"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_a_sentence(parameters, message):
    with pytest.raises(ValueError, match=message):
        ATTACKS.build({'type': 'Torchattacks', **parameters})


def test_a_missing_library_is_one_sentence(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f'No module named {name!r}')

    monkeypatch.setattr(importlib, 'import_module', missing)
    with pytest.raises(ImportError, match=r"type='Torchattacks' needs the library torchattacks; install it by `pip"):
        library_attack('PGD')


def test_the_library_is_imported_only_when_it_is_built():
    import subprocess
    import sys

    code = 'import sys, samat_mm.perturbations.inputs; assert "torchattacks" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)
