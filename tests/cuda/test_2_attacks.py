"""Every attack keeps its contract on the device: the tests of the suite, on models and images that are there.

In double precision: in single, the sum over a batch of another size rounds otherwise, and the sign of a gradient that
is nearly zero with it.
"""

from typing import Any

import pytest
import test_attacks
import test_classification_attacks
import torch
from helpers import RandomState
from torch import Tensor, nn

from samat_mm.perturbations.inputs import PGD
from samat_mm.perturbations.inputs.divergence import DivergenceAttack


class EveryRandomState(RandomState):
    """The state of the generators of all devices, too."""

    def __init__(self) -> None:
        super().__init__()
        self.devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, EveryRandomState) and super().__eq__(other)
        return same and all(torch.equal(one, two) for one, two in zip(self.devices, other.devices, strict=True))

    __hash__ = None


@pytest.fixture
def there(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put what the tests of both modules attack on the device, in double precision."""

    def moved(model: nn.Module, inputs: Tensor, target: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
        return model.to(device).double(), inputs.to(device).double(), target.to(device)

    problem, fragile = test_attacks.problem, test_classification_attacks.Fragile
    monkeypatch.setattr(test_attacks, 'problem', lambda name: moved(*problem(name)))
    monkeypatch.setattr(test_classification_attacks, 'Fragile', lambda **given: fragile(**given).to(device).double())
    for module in (test_attacks, test_classification_attacks):
        monkeypatch.setattr(module, 'RandomState', EveryRandomState)


@test_attacks.every_attack
def test_a_gradient_attack_keeps_its_contract(name: str, norm: str, there: None) -> None:
    for start in (True, False):
        test_attacks.test_stays_in_the_ball_and_in_the_pixel_box(name, norm, start)
    test_attacks.test_leaves_everything_as_it_was(name, norm)
    test_attacks.test_the_same_seed_gives_the_same_images_whatever_the_global_random_state(name, norm)
    test_attacks.test_a_batch_gives_what_its_images_give_one_by_one(name, norm)


@test_classification_attacks.every_attack
def test_an_attack_on_classifiers_keeps_its_contract(
    name: str, parameters: dict, device: torch.device, there: None
) -> None:
    inputs = test_classification_attacks.smooth_images(6).to(device).double()
    target = test_classification_attacks.predicted(test_classification_attacks.Fragile(), inputs)
    target[2:4] = (target[2:4] + 1) % 5
    for test in (
        test_classification_attacks.test_stays_in_the_ball_and_in_the_pixel_box,
        test_classification_attacks.test_leaves_everything_as_it_was,
        test_classification_attacks.test_fools_the_model_on_some_images_and_returns_wrong_ones_as_they_are,
        test_classification_attacks.test_a_batch_gives_what_its_images_give_one_by_one_whatever_the_global_random_state,
    ):
        test(name, parameters, (inputs, target))


def found_on(place: torch.device, attack: Any, name: str) -> Tensor:
    model, inputs, target = test_attacks.problem(name)
    return attack(model.to(place).double(), inputs.to(place).double(), target.to(place)).cpu()


@pytest.mark.parametrize('norm', test_attacks.EPS)
@pytest.mark.parametrize('name', ['FGSM', 'PGD', 'APGD', 'SegPGD', 'CosPGD', 'SEA', 'TRADES'])
def test_the_images_are_those_of_the_cpu(name: str, norm: str, device: torch.device) -> None:
    """Random starts are drawn on the CPU, so that they do not depend on the device."""
    if name == 'TRADES':
        attack, name = DivergenceAttack(PGD(norm, test_attacks.EPS[norm], random_start=False)), 'PGD'
    else:
        attack = test_attacks.build(name, norm)
    ends = [found_on(place, attack, name) for place in (device, torch.device('cpu'))]
    torch.testing.assert_close(*ends, rtol=0, atol=1e-9)


@pytest.mark.parametrize('parameters', [{}, {'goal': 'error'}], ids=str)
@pytest.mark.parametrize('name', ['PGD', 'APGD', 'FGSM'])
def test_a_gradient_that_is_not_finite_is_an_error(name: str, parameters: dict, there: None) -> None:
    for norm in test_attacks.EPS:
        test_attacks.test_a_gradient_that_is_not_finite_is_an_error_also_of_one_image_alone(
            name, parameters, norm, float('nan')
        )
