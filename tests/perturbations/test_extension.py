"""What another package adds: an objective, an attack and a norm, each in one place; and inputs that are not pixels."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
from helpers import CLASSES, TinyClassifier, TinySegmentor, attack_names, images, labels

from samat_mm.errors import UnsupportedError
from samat_mm.perturbations.inputs import APGD, FAB, OBJECTIVES, PGD, Attack, Problem, SegPGD, Square, autoattack
from samat_mm.perturbations.inputs.base import Attack as Base
from samat_mm.perturbations.inputs.best import BestIterate
from samat_mm.perturbations.inputs.objectives import PixelObjective, TargetedDLR
from samat_mm.perturbations.norms import NORMS, Norm, norm_named
from samat_mm.perturbations.norms.region import Region
from samat_mm.registry import ATTACKS


def test_a_dense_objective_is_a_function_and_a_row(monkeypatch):
    def squared(losses, logits, target, progress):
        return losses**2

    monkeypatch.setitem(OBJECTIVES, 'squared', PixelObjective('squared', squared))
    model, inputs, target = TinySegmentor(), images(2, 3, 9, 7), labels(2, 9, 7, classes=CLASSES)
    attack = ATTACKS.build(dict(type='PGD', objective='squared', random_start=False, steps=3))
    assert attack.describe()['objective'] == 'squared'
    found = attack(model, inputs, target)
    losses = [torch.nn.functional.cross_entropy(model(pixels), target) for pixels in (inputs, found)]
    assert losses[1] > losses[0]
    with pytest.raises(ValueError, match='squared weighs the pixels of a segmentation'):
        attack(TinyClassifier(), inputs, labels(2, classes=3))


def test_an_attack_is_a_class_and_a_row():
    @dataclass(frozen=True, repr=False)
    class Brighter(Attack):
        """Adds the same to all pixels."""

        norm: str = 'linf'
        eps: float = 0.1
        seed: int = 0
        objective = OBJECTIVES['cross-entropy']

        def search(self, problem: Problem) -> BestIterate:
            region = Region(problem.images, self.ball, self.eps, problem.sizes, problem.box)
            return BestIterate(region.step(problem.images, torch.ones_like(problem.images), self.eps))

    try:
        ATTACKS.register_module(module=Brighter)
        attack = ATTACKS.build(dict(type='Brighter', eps=0.2))
    finally:
        ATTACKS.module_dict.pop('Brighter', None)
    inputs = images(2, 3, 4, 4)
    assert torch.equal(attack(None, inputs, None), (inputs + 0.2).clamp(0, 1))
    assert attack.describe() == {'type': 'Brighter', 'norm': 'linf', 'eps': 0.2, 'seed': 0}
    assert attack.at(0.3).eps == 0.3


class Pixelwise(Norm):
    """The largest Euclidean length of a pixel's change over its channels."""

    name = 'pixelwise'

    def norm(self, delta):
        return delta.norm(dim=1).flatten(1).amax(1)

    def sample(self, shape, radius, generator):
        noise = torch.randn(tuple(shape), generator=generator)
        return radius * noise / noise.norm(dim=0, keepdim=True)

    def steepest(self, grad):
        return grad / grad.norm(dim=1, keepdim=True).clamp_min(1e-30)

    def project(self, delta, radius):
        return delta * (radius / delta.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1)

    def largest_radius(self, shape):
        return shape[0] ** 0.5 if shape else float('inf')


@pytest.mark.parametrize('attack', ['FGSM', 'PGD', 'APGD', 'SegPGD', 'SEA'])
def test_a_norm_is_a_class_and_a_row(attack, monkeypatch):
    monkeypatch.setitem(NORMS, 'pixelwise', Pixelwise())
    dense = attack in ('SegPGD', 'SEA')
    model = TinySegmentor() if dense else TinyClassifier()
    inputs = images(2, 3, 9, 7)
    target = model(inputs).argmax(1)
    found = ATTACKS.build(dict(type=attack, norm='pixelwise', eps=0.1))(model, inputs, target)
    size = norm_named('pixelwise').norm(found - inputs)
    assert 0.05 < float(size.max()) <= 0.1 * (1 + 1e-5)


@pytest.mark.parametrize('targets', [1, 2, 3])
def test_a_norm_says_how_many_classes_autoattack_aims_at(targets, monkeypatch):
    made, limits = [], type('Limits', (type(NORMS['linf']),), {'name': 'limits', 'targets': targets})
    monkeypatch.setitem(NORMS, 'limits', limits())
    monkeypatch.setattr(autoattack, 'TargetedDLR', lambda aims: made.append(aims.tolist()) or TargetedDLR(aims))

    def sure(pixels):
        return torch.tensor([9.0, 5, 4, 3, 2]) + 1e-3 * pixels.flatten(1).mean(1, keepdim=True)

    attack = autoattack.AutoAttack('limits', 0.01, steps=2, queries=2)
    attack(sure, images(2, 3, 8, 8), torch.tensor([0, 0]))
    assert made == [[1, 1], [2, 2], [3, 3]][:targets]


def test_what_a_norm_does_not_have_is_said(monkeypatch):
    monkeypatch.setitem(NORMS, 'pixelwise', Pixelwise())
    model, inputs = TinyClassifier(), images(2, 3, 9, 7)
    for attack in (FAB('pixelwise', 0.1), Square('pixelwise', 0.1)):
        with pytest.raises(UnsupportedError, match='which norm pixelwise does not have; use APGD'):
            attack(model, inputs, model(inputs).argmax(1))


# ------------------------------------------------------------------------------------------------------ values


def test_an_attack_is_a_value():
    attack = PGD('l2', '64/255', '16/255', steps=5)
    assert attack == PGD('l2', 64 / 255, 16 / 255, steps=5) != attack.replace(seed=1)
    assert repr(PGD(seed=1).replace(eps=0.5, step_size=0.25)) == (
        "PGD(norm='linf', eps=0.5, step_size=0.25, steps=10, random_start=True, restarts=1, "
        "objective='cross-entropy', seed=1)"
    )
    assert attack.at(0.5).describe() == {**attack.describe(), 'eps': 0.5, 'step_size': 0.125}
    assert attack.at(0.0).replace(steps=7).describe() == {**attack.describe(), 'eps': 0, 'step_size': 0, 'steps': 7}
    assert SegPGD().at(0.01).step_size == pytest.approx(SegPGD(eps=0.01).step_size)
    assert ATTACKS.build(dict(type='FGSM')).at(0.01).step_size == 0.01
    with pytest.raises(AttributeError):
        attack.eps = 1
    with pytest.raises(ValueError, match='steps must be a whole number of at least 1; got 0'):
        attack.replace(steps=0)


@pytest.mark.parametrize('name', attack_names())
def test_every_attack_is_made_again_from_what_it_says_of_itself(name):
    attack = ATTACKS.build({'type': name, 'norm': 'l2', 'eps': 0.25})
    assert attack.replace() == attack == copy.deepcopy(attack) == pickle.loads(pickle.dumps(attack))
    assert hash(attack) == hash(copy.deepcopy(attack))
    assert attack.replace(seed=3).describe() == {**attack.describe(), 'seed': 3}
    assert attack.at(0.125).describe()['eps'] == 0.125
    assert isinstance(attack, Base) and {'norm', 'eps', 'seed'} <= attack.parameters


# ----------------------------------------------------------------------------------------------------- problems


class OfItsBatch:
    """A predict that is bound to the images of its batch."""

    def __init__(self, model, count):
        self.model, self.count = model, count

    def __call__(self, pixels):
        assert len(pixels) == self.count
        return self.model(pixels)

    def subset(self, rows):
        return OfItsBatch(self.model, len(rows))


def test_a_part_of_a_problem_is_a_problem():
    predict = OfItsBatch(TinyClassifier(), 4)
    whole = Problem(predict, images(4, 3, 9, 7), labels(4, classes=3), [5, 6, 7, 8], [(9, 7), (4, 5), (4, 5), (9, 7)])
    part = whole.subset([1, 2])
    assert (list(part.numbers), part.sizes, part.predict.count) == ([6, 7], [(4, 5), (4, 5)], 2)
    assert torch.equal(part.images, whole.images[1:3]) and torch.equal(part.target, whole.target[1:3])
    cropped = part.cropped((4, 5))
    assert cropped.images.shape == (2, 3, 4, 5)
    assert torch.equal(cropped.output(cropped.images), part.output(part.images))
    alone = cropped.subset([1]).output(cropped.images[1:])
    torch.testing.assert_close(alone, cropped.output(cropped.images)[1:])
    assert list(Problem(predict, whole.images).subset([3]).numbers) == [3]
    assert whole == whole != part and len({whole, part}) == 2
    with pytest.raises(ValueError, match='one entry for each of the 4 images; got 3 and 4'):
        Problem(predict, whole.images, None, [1, 2, 3])


@pytest.mark.parametrize('attack', [PGD('l2', 3.0, random_start=False), APGD('l2', 3.0, steps=10), PGD('l1', 3.0)])
def test_inputs_that_are_not_pixels_have_no_box(attack):
    """Embeddings (N, T, D), whose values have no bounds; the optimum of a linear model in a ball is known."""
    numbers = torch.Generator().manual_seed(0)
    inputs, weight = 5 * torch.randn(3, 4, 6, generator=numbers), torch.randn(4, 6, generator=numbers)
    target = torch.zeros(3, dtype=torch.long)

    def predict(embedded):
        lead = (embedded * weight).flatten(1).sum(1) / 10
        return torch.stack([-lead, lead], 1)

    found = attack.search(Problem(predict, inputs, target, box=None)).images
    rise = ((found - inputs) * weight).flatten(1).sum(1)
    assert rise.tolist() == pytest.approx([3 * float(attack.ball.dual(weight[None]))] * 3, rel=1e-3)
    with pytest.raises(ValueError, match='Square attacks pixels in'):
        Square().search(Problem(predict, inputs, target, box=None))


# ------------------------------------------------------------------------------------------------------- duality


@pytest.mark.parametrize('norm', ['linf', 'l2', 'l1'])
def test_of_a_function_of_the_scalar_product_inputs_and_weights_ascend_alike(norm):
    """f(<w, x>): with the roles swapped, the one step over inputs is the one over weights, to the last bit."""
    numbers = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 1, 12, generator=numbers).unbind(0)
    target = torch.zeros(1, dtype=torch.long)

    def loss(scalar):
        return torch.stack([torch.zeros_like(scalar), scalar + 0.1 * scalar.tanh()], 1)

    def ascended(moving, still):
        attack = PGD(norm, 0.5, 0.5, steps=1, random_start=False)
        return attack.search(Problem(lambda given: loss((given * still).sum(1)), moving, target, box=None)).images

    def weights_ascended(weights, data):
        weights = weights.clone().requires_grad_()
        value = torch.nn.functional.cross_entropy(loss((weights * data).sum(1)), target, reduction='none')
        (grad,) = torch.autograd.grad(value.sum(), weights)
        return weights.detach() + 0.5 * norm_named(norm).steepest(grad)

    over_inputs, over_weights = ascended(second, first), weights_ascended(second, first)
    assert torch.equal(norm_named(norm).project(over_weights - second, 0.5) + second, over_inputs)
    torch.testing.assert_close(over_weights, over_inputs)
    assert float(norm_named(norm).norm(over_inputs - second)) == pytest.approx(0.5, rel=1e-5)
