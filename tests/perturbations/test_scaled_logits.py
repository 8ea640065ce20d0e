"""Attacks on scaled logits: what they are made of, the confidence that they reach, and the gradients they uncover."""

import copy
import pickle

import pytest
import torch
from helpers import (
    CLASSES,
    ClassificationImages,
    RandomState,
    SegmentationImages,
    TinySegmentor,
    attack_names,
    classifier,
    images,
    labels,
    runner,
    segmentor,
)
from test_classification_attacks import Fragile, predicted, smooth_images
from torch.nn import functional as F

from samat_mm.perturbations.inputs import APGD, FAB, PGD, SEA, Problem, ScaledLogits, Square
from samat_mm.perturbations.inputs.confidence import mean_confidence, scale_for
from samat_mm.perturbations.inputs.mixed import MixedPredict
from samat_mm.perturbations.inputs.objectives import PixelObjective
from samat_mm.perturbations.inputs.scaled_logits import ScaledPredict
from samat_mm.presets import build_attacks
from samat_mm.registry import ATTACKS

QUICK = {'steps': 10, 'queries': 20, 'restarts': 2, 'iterations': 5}
GOALS = pytest.mark.parametrize('goal', ['loss', 'error'])


def quick(name, **more):
    """An attack by its name, with few steps."""
    known = ATTACKS.build({'type': name}).parameters
    chosen = {key: value for key, value in {**QUICK, 'norm': 'l2', 'eps': 0.7, **more}.items() if key in known}
    if name == 'StAdv':
        chosen['bound'] = 0.1
    if name == 'Torchattacks':
        chosen = {'norm': 'l2', 'eps': 0.7, 'steps': 5}
    return ATTACKS.build({'type': name, **chosen})


def problem(attack):
    """A model of the kind that an attack is for, images, some of which it gets wrong, and labels."""
    if isinstance(attack.objective, PixelObjective):
        return TinySegmentor(), images(4, 3, 8, 7), labels(4, 8, 7, classes=CLASSES)
    inputs, model = smooth_images(4), Fragile()
    target = predicted(model, inputs)
    target[1] = (target[1] + 1) % 5
    return model, inputs, target


def top(logits):
    return logits.double().softmax(1).amax(1)


# --------------------------------------------------------------------------------------------------- the attack


@pytest.mark.parametrize('name', attack_names())
def test_a_scale_of_1_gives_the_images_of_the_attack_to_the_bit(name):
    inner = quick(name)
    given = problem(inner)
    expected = inner(*given)
    assert not torch.equal(expected, given[1])
    assert torch.equal(ScaledLogits(inner, scale=1)(*given), expected)


@pytest.mark.parametrize('name', attack_names())
@pytest.mark.parametrize('scale', [0.1, 7.0])
def test_it_is_the_attack_on_a_model_that_is_scaled(name, scale):
    inner = quick(name)
    model, inputs, target = problem(inner)
    expected = inner(lambda pixels: model(pixels) * torch.tensor(scale), inputs, target)
    assert torch.equal(ScaledLogits(inner, scale=scale)(model, inputs, target), expected)


def test_the_scale_makes_a_difference():
    inner = PGD('l2', 0.7, steps=10)
    given = problem(inner)
    found = [ScaledLogits(inner, scale=scale)(*given) for scale in (0.05, 1, 20)]
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])


@pytest.mark.parametrize(
    'inner', [PGD('linf', 0.05, goal='error'), APGD('l2', 0.5, steps=10), FAB('l2', 0.7)], ids=repr
)
@pytest.mark.parametrize('parameters', [{'scale': 0.1}, {'confidence': 0.6}, {'confidence': 0.95}], ids=str)
def test_a_batch_of_one_and_of_eight_are_alike(inner, parameters):
    """Images of a confident and of an unsure model at once: each has its own constant."""
    model, inputs = Fragile().double(), smooth_images(8).double()
    inputs[::2] = 0.9 * inputs[::2] + 0.05 * inputs.flip(0)[::2]
    target = predicted(model, inputs)
    attack = ScaledLogits(inner, **parameters)
    together = attack(model, inputs, target)
    assert not torch.equal(together, inputs)
    alone = [attack(model, inputs[i : i + 1], target[i : i + 1], indices=[i]) for i in range(8)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-7)
    order = [5, 0, 7, 3, 1, 6, 2, 4]
    shuffled = attack(model, inputs[order], target[order], indices=order)
    torch.testing.assert_close(shuffled, together[order], rtol=0, atol=1e-7)


@GOALS
def test_pgd_on_a_saturated_model_fails_and_on_scaled_logits_does_not(goal):
    model, inputs = Fragile(), smooth_images(8)
    target = predicted(model, inputs)

    def saturated(pixels):
        return model(pixels) * 1000

    pixels = inputs.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(saturated(pixels), target, reduction='sum'), pixels)
    assert float(grad.abs().max()) == 0
    inner = PGD('linf', 0.1, steps=20, random_start=False, goal=goal)
    assert torch.equal(inner(saturated, inputs, target), inputs)
    found = ScaledLogits(inner, confidence=0.9)(saturated, inputs, target)
    assert float((found - inputs).abs().max()) <= 0.1 * (1 + 1e-5)
    broken = predicted(saturated, found) != target
    assert torch.equal(broken, predicted(model, inner(model, inputs, target)) != target)
    assert int(broken.sum()) >= 6


# ------------------------------------------------------------------------------------------------- the constant


@pytest.mark.parametrize('confidence', [0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('spread', [0.05, 1.0, 300.0])
def test_the_confidence_of_every_image_is_reached(confidence, spread):
    logits = spread * torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    scales = scale_for(logits, confidence)
    inside = (scales > 1e-3 * 1.001) & (scales < 1e3 / 1.001)
    assert int(inside.sum()) > 25
    assert float((top(logits * scales[:, None]) - confidence)[inside].abs().max()) < 1e-4
    assert scales.dtype == torch.float32 and scale_for(logits.double(), confidence).dtype == torch.float64


def test_of_a_label_map_it_is_the_mean_over_the_pixels_that_are_not_ignored():
    logits = 5 * torch.randn(3, 4, 9, 7, generator=torch.Generator().manual_seed(0))
    target = labels(3, 9, 7, classes=4)
    target[0, :5] = 255
    target[1, 2:, 1:] = 255
    target[2] = 255
    logits[:, 0, 8] = 1e4  # very sure where nothing counts in the second image, and where something does in the first
    scales = scale_for(logits, 0.8, target != 255)
    for row in range(2):
        counted = target[row] != 255
        assert float(top(logits * scales[:, None, None, None])[row][counted].mean()) == pytest.approx(0.8, abs=1e-4)
    assert float(scales[2]) == 1


def test_beyond_the_limits_it_is_the_limit():
    logits = torch.tensor([[1e-6, 0.0], [0.0, 0.0], [1e7, 0.0], [0.0, 1e4]])
    assert scale_for(logits, 0.9).tolist() == pytest.approx([1e3, 1e3, 1e-3, 1e-3], rel=1e-5)


def test_large_batches_are_worked_on_in_parts(monkeypatch):
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    whole = scale_for(logits, 0.9)
    monkeypatch.setattr('samat_mm.perturbations.inputs.confidence.BLOCK', 10)
    assert torch.equal(scale_for(logits, 0.9), whole)


def test_the_confidence_is_the_mean_of_the_largest_probability():
    logits = torch.randn(3, 4, 6, 5, generator=torch.Generator().manual_seed(0))
    counted = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(1)) > 0.4
    found = mean_confidence(logits, counted)
    for row in range(3):
        assert float(found[row]) == pytest.approx(float(top(logits)[row][counted[row]].mean()), abs=1e-6)


@pytest.mark.parametrize(
    ('model', 'inputs', 'target'),
    [
        (Fragile(), smooth_images(4), torch.zeros(4, dtype=torch.long)),
        (TinySegmentor(), images(3, 3, 8, 7), labels(3, 8, 7, classes=CLASSES)),
    ],
    ids=['classifier', 'segmentor'],
)
def test_the_objective_sees_logits_of_that_confidence(model, inputs, target, monkeypatch):
    if target.ndim == 3:
        target[:, :3] = 255
    seen = []
    original = ScaledPredict.__call__
    monkeypatch.setattr(ScaledPredict, '__call__', lambda self, pixels: seen.append(original(self, pixels)) or seen[-1])
    ScaledLogits(PGD('linf', 0.01, steps=1, random_start=False), confidence=0.7)(model, inputs, target)
    confidences = top(seen[0].detach())
    for row in range(len(inputs)):
        counted = confidences[row] if target.ndim == 1 else confidences[row][target[row] != 255]
        assert float(counted.mean()) == pytest.approx(0.7, abs=1e-4)


# ------------------------------------------------------------------------------------------- it composes with


class Bound:
    """A predict of a batch, which adds to what it is asked a constant of each image."""

    def __init__(self, model, offsets):
        self.model, self.offsets = model, offsets

    def __call__(self, pixels):
        return self.model(pixels) + self.offsets

    def subset(self, rows):
        return Bound(self.model, self.offsets[rows])


@pytest.mark.parametrize('inner', [PGD('linf', 0.05, goal='error'), FAB('l2', 0.7), Square('linf', 0.1, 50)], ids=repr)
def test_images_that_are_done_drop_out_of_a_bound_predict_with_their_constants(inner):
    model, inputs = Fragile(), smooth_images(6)
    offsets = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    bound = Bound(model, offsets)
    target = bound(inputs).argmax(1).detach()
    target[2] = (target[2] + 1) % 5
    attack = ScaledLogits(inner, confidence=0.8)
    found = attack(bound, inputs, target)
    for row in range(6):
        one = attack(Bound(model, offsets[[row]]), inputs[[row]], target[[row]], indices=[row])
        torch.testing.assert_close(one, found[[row]], rtol=0, atol=1e-4)
    assert torch.equal(found[2], inputs[2])
    assert not torch.equal(found, inputs)


@GOALS
def test_early_steps_ask_the_fast_predict_and_the_rest_the_exact_one(goal):
    model, inputs = Fragile(), smooth_images(6)
    target = predicted(model, inputs)
    asked = []

    class Counting:
        def __init__(self, name):
            self.name = name

        def __call__(self, pixels):
            asked.append(self.name)
            return model(pixels)

    inner = PGD('linf', 0.001, steps=10, random_start=False, goal=goal)
    mixed = MixedPredict(Counting('exact'), Counting('early'))
    plain = inner(mixed, inputs, target)
    without = list(asked)
    assert set(without) == {'exact', 'early'}
    asked.clear()
    assert torch.equal(ScaledLogits(inner, scale=1)(mixed, inputs, target), plain)
    assert asked == without
    asked.clear()
    ScaledLogits(inner, confidence=0.9)(mixed, inputs, target)
    assert asked == ['exact', *without]  # one more: the clean images


def test_a_predict_that_depends_on_no_step_is_the_same_at_each():
    predict = ScaledPredict(Fragile(), torch.ones(2))
    assert predict.at(3, 10) is predict
    problem = Problem(predict, smooth_images(2), torch.zeros(2, dtype=torch.long))
    assert problem.at(0, 10) is problem


def test_an_ensemble_has_its_members_on_the_scaled_logits():
    attack = ScaledLogits(SEA('linf', 0.05, steps=10), confidence=0.7)
    assert [member.objective.name for member in attack.members] == [m.objective.name for m in attack.attack.members]
    given = problem(attack)
    member = attack.members[2]
    assert torch.equal(member(*given), ScaledLogits(attack.attack.members[2], confidence=0.7)(*given))
    assert ScaledLogits(PGD(), scale=2).members == ()


def test_padding_is_never_touched():
    inputs, target = images(2, 3, 9, 8), labels(2, 9, 8, classes=CLASSES)
    found = ScaledLogits(PGD('l2', 0.5), confidence=0.6)(TinySegmentor(), inputs, target, sizes=[(9, 8), (4, 5)])
    assert torch.equal(found[1, :, 4:], inputs[1, :, 4:]) and torch.equal(found[1, :, :, 5:], inputs[1, :, :, 5:])
    assert not torch.equal(found[1], inputs[1])


def test_everything_is_left_as_it_was():
    model, inputs = Fragile(), smooth_images(3)
    target = predicted(model, inputs)

    def predict(pixels):
        return model(pixels + 1e-4 * torch.rand_like(pixels))

    state, original = RandomState(), inputs.clone()
    found = ScaledLogits(PGD('linf', 0.05), confidence=0.9)(predict, inputs, target)
    assert RandomState() == state
    assert torch.equal(inputs, original) and not found.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_to_do_asks_nothing():
    def unasked(pixels):
        raise AssertionError

    attack = ScaledLogits(PGD('linf', 0), confidence=0.9)
    inputs = smooth_images(2)
    assert torch.equal(attack(unasked, inputs, torch.zeros(2, dtype=torch.long)), inputs)
    empty = inputs[:0]
    assert attack.at(0.1)(unasked, empty, torch.zeros(0, dtype=torch.long)).shape == empty.shape


@pytest.mark.parametrize(
    ('build', 'data', 'attack'),
    [
        (classifier, ClassificationImages(5), dict(type='PGD', norm='linf', eps='8/255', steps=3, goal='error')),
        (classifier, ClassificationImages(5), dict(type='FAB', norm='linf', eps='32/255', steps=3)),
        (segmentor, SegmentationImages(3), dict(type='PGD', norm='linf', eps='4/255', steps=2, goal='error')),
        (segmentor, SegmentationImages(3), dict(type='SEA', norm='linf', eps='4/255', steps=10)),
    ],
    ids=['pgd', 'fab', 'maps', 'sea'],
)
def test_the_loop_runs_it_on_a_fast_copy_whatever_the_batch_size(build, data, attack, tmp_path):
    config, found = dict(type='ScaledLogits', attack=attack, confidence=0.8, name='scaled'), []
    for size in (1, 3):
        loop = dict(type='AttackTestLoop', attacks=[config])
        run = runner(build(), tmp_path / str(size), evaluate=data, eval_batch_size=size, test_cfg=loop)
        found.append(run.test())
    assert found[0] == pytest.approx(found[1], abs=0.05)
    (metric,) = [key for key in found[0] if key in ('scaled/mIoU', 'scaled/accuracy/top1')]
    assert found[0][metric] <= found[0][metric.removeprefix('scaled/')]


# ------------------------------------------------------------------------------------------------- parameters


def test_norm_radius_seed_and_goal_are_those_of_the_attack():
    inner = APGD('l2', 0.25, steps=7, objective='dlr', goal='error', seed=4)
    attack = ScaledLogits(inner, scale=0.5)
    assert (attack.norm, attack.eps, attack.seed, attack.goal) == ('l2', 0.25, 4, 'error')
    assert attack.objective is inner.objective and attack.ball is inner.ball
    assert attack.stops_at_errors and not attack.replace(goal='loss').stops_at_errors
    assert attack.parameters == {'attack', 'scale', 'confidence'} | inner.parameters
    assert attack.at(0.5).attack == inner.at(0.5) and attack.at(0.5).eps == 0.5
    assert ScaledLogits(PGD(eps=0.1, step_size=0.05), scale=1).at(0.2).attack.step_size == 0.1
    assert attack.replace(steps=9, scale=2.0) == ScaledLogits(inner.replace(steps=9), scale=2.0)
    assert attack == copy.deepcopy(attack) == pickle.loads(pickle.dumps(attack))
    assert hash(attack) == hash(copy.deepcopy(attack))
    assert ScaledLogits(FAB(), scale=1).stops_at_errors and ScaledLogits(FAB(), scale=1).seeks_nearest
    assert not ScaledLogits(PGD(), scale=1).stops_at_errors and not attack.seeks_nearest
    assert ScaledLogits(confidence=0.9).attack == PGD()
    with pytest.raises(AttributeError):
        attack.scale = 1


def test_a_description_is_plain_and_builds_the_same_attack():
    attack = ScaledLogits(PGD('l2', 0.25, steps=3), confidence=0.8)
    described = attack.describe()
    assert described == {
        'type': 'ScaledLogits',
        'attack': PGD('l2', 0.25, steps=3).describe(),
        'norm': 'l2',
        'eps': 0.25,
        'confidence': 0.8,
    }
    own = ('type', 'attack', 'scale', 'confidence')
    assert ATTACKS.build({key: value for key, value in described.items() if key in own}) == attack
    assert repr(attack).startswith("ScaledLogits(attack={'type': 'PGD', 'norm': 'l2'")
    assert ScaledLogits(ATTACKS.build({'type': 'Pixle'}), scale=2).describe().keys() == {'type', 'attack', 'scale'}


def test_changes_of_the_tool_reach_the_attack_that_runs():
    inner = dict(type='PGD', norm='linf', eps='8/255', step_size='2/255')
    config = dict(type='ScaledLogits', attack=inner, confidence=0.9)
    before = copy.deepcopy(config)
    built = build_attacks([config, 'pgd-linf'], ['1/255', '2/255'], steps=7, restarts=2, seed=3)
    assert config == before
    names = ['scaledlogits-pgd-linf@1/255', 'scaledlogits-pgd-linf@2/255']
    assert list(built)[:2] == names
    for name, eps in zip(names, (1 / 255, 2 / 255), strict=True):
        attack = built[name]
        assert (attack.eps, attack.attack.eps, attack.attack.steps, attack.attack.restarts) == (eps, eps, 7, 2)
        assert (attack.seed, attack.attack.step_size, attack.confidence) == (3, eps / 4, 0.9)
    own = build_attacks([config], ['1/255'], step_size='0.5/255')['scaledlogits-pgd-linf']
    assert own.attack.step_size == 0.5 / 255
    assert build_attacks([config])['scaledlogits-pgd-linf'].attack.step_size == 2 / 255
    with pytest.raises(ValueError, match=r'none of the attacks \(scaledlogits-pgd-linf\) takes queries'):
        build_attacks([config], queries=3)


def test_names_within_names():
    inner = dict(type='PGD', name='mine')
    assert list(build_attacks([dict(type='ScaledLogits', attack=inner, scale=2)])) == ['scaledlogits-mine']
    assert list(build_attacks([dict(type='ScaledLogits', attack=inner, scale=2, name='it')])) == ['it']
    twice = dict(type='ScaledLogits', attack=dict(type='ScaledLogits', attack=inner, scale=2), scale=0.5)
    attack = build_attacks([twice], eps=0.1)['scaledlogits-scaledlogits-mine']
    assert attack.attack.attack.eps == 0.1


# --------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({}, 'needs either a scale or a confidence; got neither'),
        ({'scale': 1, 'confidence': 0.9}, 'needs either a scale or a confidence; got both'),
        ({'scale': 0}, 'scale must be greater than 0; got 0'),
        ({'scale': -2}, 'scale must be a finite number of at least 0; got -2'),
        ({'scale': float('inf')}, 'scale must be a finite number'),
        ({'confidence': 0}, 'confidence is a probability, above 0 and below 1; got 0'),
        ({'confidence': 1}, 'confidence is a probability, above 0 and below 1; got 1'),
        ({'confidence': 90}, 'confidence is a probability, above 0 and below 1; got 90'),
        ({'confidence': 0.9, 'attack': 'pgd-linf'}, r"needs the attack that it runs, .*; got 'pgd-linf'"),
        ({'confidence': 0.9, 'attack': dict(type='PGDD')}, "got {'type': 'PGDD'}"),
        ({'scale': 1, 'attack': dict(type='PGD', objective='model-loss')}, "function of logits.*; got 'model-loss'"),
        ({'scale': 1, 'steps': 3}, 'ScaledLogits does not accept these parameters'),
    ],
    ids=str,
)
def test_a_parameter_that_does_not_fit_is_refused_with_a_sentence(parameters, message):
    with pytest.raises(ValueError, match=message):
        ATTACKS.build({'type': 'ScaledLogits', **parameters})


def test_a_confidence_that_every_model_has_is_refused():
    inputs, target = smooth_images(2), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r'confidence must exceed 1 / classes.*got 0.2 for 5 classes'):
        ScaledLogits(PGD(), confidence=0.2)(Fragile(), inputs, target)
    ScaledLogits(PGD(), confidence=0.21)(Fragile(), inputs, target)


@pytest.mark.parametrize('parameters', [{'scale': 0.5}, {'confidence': 0.9}], ids=str)
def test_bad_values_are_the_errors_of_the_attack(parameters):
    attack, inputs, target = ScaledLogits(PGD(), **parameters), smooth_images(3), torch.tensor([0, 1, 2])
    model = Fragile()
    with pytest.raises(ValueError, match=r'inputs must be pixels in \[0, 1\]'):
        attack(model, inputs + 1, target)
    with pytest.raises(ValueError, match=r'floating point pixels of shape \(N, C, H, W\)'):
        attack(model, inputs[0], target)
    with pytest.raises(ValueError, match=r'got logits \(3, 5\) and target \(2,\)'):
        attack(model, inputs, target[:2])
    with pytest.raises(ValueError, match='needs a target'):
        attack(model, inputs, None)
    with pytest.raises(FloatingPointError, match='not finite'):
        attack(lambda pixels: model(pixels) * torch.nan, inputs, target)
    with pytest.raises(ValueError, match='one row of logits per image'):
        attack(lambda pixels: model(pixels)[:1], inputs, target)
