"""The sanity checks: plain models pass, models that hide their gradients do not."""

import copy
from dataclasses import asdict

import pytest
import torch
from helpers import ClassificationImages, SegmentationImages, classifier, labelled_by, runner, segmentor
from torch import nn

from samat_mm.evaluation import SanityChecks, surrogate, verdicts_of
from samat_mm.evaluation.attack_result import AttackResult
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.perturbations.inputs import PGD, Pixle, Square
from samat_mm.perturbations.inputs.random_noise import RandomNoise
from samat_mm.tasks import Classification, Segmentation

ZERO, RADII, STEPS, LARGE = (
    'eps = 0 equals clean',
    'more is wrong at a larger eps',
    'more steps drive the loss up',
    'a large eps breaks the model',
)
NOISE = 'the worst of 10 random perturbations is no stronger'
TRANSFER = 'an attack made on a model with noise on its weights is no stronger'
SQUARE = 'Square with 50 queries is no stronger'
KINDS = {'maps': (segmentor, SegmentationImages), 'classes': (classifier, ClassificationImages)}
LINF = PGD('linf', '16/255', steps=4)
CHECKS = SanityChecks(PGD('linf', '4/255', steps=10), queries=50)


class Rounded(nn.Module):
    """Pixels in eight levels: almost everywhere without a gradient."""

    def forward(self, inputs):
        return torch.round(inputs * 1.7) / 1.7


def round_pixels(model):
    model.backbone = nn.Sequential(Rounded(), model.backbone)


def saturate(model):
    """Logits so large that the softmax has no gradient."""
    last = model.decode_head.conv_seg if hasattr(model, 'decode_head') else model.head.fc
    with torch.no_grad():
        last.weight.mul_(1e5)
        last.bias.mul_(1e5)


def nothing(model):
    pass


def checked(model, data, folder):
    """The verdicts on a model, by check, and the result of the test."""
    loop = dict(type='AttackTestLoop', attacks={'pgd-linf': LINF}, checks=SanityChecks(LINF, queries=50))
    run = runner(model, folder, evaluate=data, eval_batch_size=3, test_cfg=loop)
    metrics = run.test()
    assert not any('sanity' in key for key in metrics)
    return {verdict.check: verdict for verdict in run.test_loop.result.verdicts}, run.test_loop.result


def checked_after(change, kind, folder):
    """The same on a model that is changed, and then right about all of its images."""
    build, data = KINDS[kind]
    model = build()
    change(model)
    return checked(model, labelled_by(model, data(3)), folder)


def verdicts_on(results):
    return {verdict.check: verdict for verdict in verdicts_of(CHECKS, results, Classification())}


def failed(verdicts):
    return {check for check, verdict in verdicts.items() if verdict.verdict == 'FAIL'}


def unseen(verdicts):
    return {check for check, verdict in verdicts.items() if verdict.verdict == 'no evidence'}


@pytest.mark.parametrize('kind', KINDS)
def test_a_plain_model_passes(kind, tmp_path):
    verdicts, result = checked_after(nothing, kind, tmp_path)
    assert list(verdicts) == [ZERO, RADII, LARGE, STEPS, NOISE, TRANSFER, SQUARE]
    assert failed(verdicts) == set()
    assert verdicts[SQUARE].verdict == ('pass' if kind == 'classes' else 'skipped')
    assert 'after 1,' in verdicts[STEPS].detail
    assert '127.5/255' in verdicts[LARGE].detail
    assert result.by_attack['sanity/1 eps'].metrics == result.by_attack['pgd-linf'].metrics
    assert all(isinstance(text, str) for verdict in verdicts.values() for text in asdict(verdict).values())


@pytest.mark.parametrize('kind', KINDS)
def test_rounded_pixels_are_found_out(kind, tmp_path):
    """More steps change nothing, and no radius breaks the model."""
    verdicts, _ = checked_after(round_pixels, kind, tmp_path)
    assert {STEPS, LARGE} <= failed(verdicts)
    assert verdicts[ZERO].verdict == 'pass'


def test_saturated_logits_are_found_out(tmp_path):
    """Whatever the radius, the attack leaves the images as they are, which then says nothing."""
    verdicts, _ = checked_after(saturate, 'classes', tmp_path)
    assert {STEPS, LARGE} <= failed(verdicts)
    assert {ZERO, RADII, NOISE} <= unseen(verdicts)


def wrong_everywhere(model, data):
    data = labelled_by(model, data)
    data.labels = [(label + 1) % 4 for label in data.labels]
    return data


def unlabelled(model, data):
    data.labels = [torch.full_like(label, 255) for label in data.labels]
    return data


@pytest.mark.parametrize(
    ('kind', 'label'), [('maps', wrong_everywhere), ('classes', wrong_everywhere), ('maps', unlabelled)]
)
def test_a_model_that_is_never_right_is_no_evidence_of_anything(kind, label, tmp_path):
    build, data = KINDS[kind]
    model = build()
    verdicts, _ = checked(model, label(model, data(2)), tmp_path)
    assert 'pass' not in {verdict.verdict for verdict in verdicts.values()}
    assert {ZERO, LARGE, STEPS} <= unseen(verdicts)
    reason = 'no image has a label' if label is unlabelled else 'nothing is left to break'
    assert all(reason in verdicts[check].detail for check in unseen(verdicts))


def test_a_stronger_attack_from_a_copy_gives_saturated_maps_away(tmp_path):
    """With noise on their weights some pixels have gradients again, and these serve for the model too."""
    verdicts, _ = checked_after(saturate, 'maps', tmp_path)
    assert TRANSFER in failed(verdicts)
    assert 'stronger on' in verdicts[TRANSFER].detail


def test_the_first_attack_with_steps_and_a_radius_is_checked():
    attacks = {'pixle': Pixle(), 'weak': PGD('linf', '1/255'), 'strong': PGD('linf', '2/255')}
    assert SanityChecks.of(attacks).attack == attacks['weak']
    with pytest.raises(ValueError, match=r'vary the radius and the steps of PGD.*; got Pixle'):
        SanityChecks.of({'pixle': attacks['pixle']})


# ------------------------------------------------------------------------------------------ what is run


def test_the_attacks_of_the_checks():
    white = PGD('linf', '8/255', steps=10, step_size='2/255', seed=3)
    attacks = SanityChecks(white).attacks(Classification())
    described = {name.removeprefix('sanity/'): attack.describe() for name, attack in attacks.items()}
    assert [described[f'{factor:g} eps']['eps'] * 255 for factor in (0.5, 1, 2, 4)] == pytest.approx([4, 8, 16, 32])
    assert described['4 eps']['step_size'] * 255 == pytest.approx(8)
    assert {described[f'{steps} steps']['steps'] for steps in (1, 5, 20)} == {1, 5, 20}
    assert described['20 steps']['step_size'] == white.step_size
    assert described['eps=0']['eps'] == 0
    assert described['large eps']['eps'] == 0.5
    assert described['transfer'] == described['1 eps'] == white.describe()
    assert isinstance(attacks['sanity/square'], Square)
    assert isinstance(attacks['sanity/noise'], RandomNoise)
    assert {entry['seed'] for entry in described.values()} == {3}
    assert 'sanity/square' not in SanityChecks(white).attacks(Segmentation())


def test_radii_beyond_what_pixels_can_hold_are_left_out():
    attacks = SanityChecks(PGD('linf', 0.3, steps=2)).attacks(Segmentation())
    assert {'sanity/0.5 eps', 'sanity/1 eps'} <= set(attacks)
    assert not {'sanity/2 eps', 'sanity/4 eps'} & set(attacks)
    assert 'sanity/1 eps' in SanityChecks(PGD('linf', 0.6)).attacks(Segmentation())
    assert SanityChecks(PGD('l2', 2.0)).attacks(Segmentation())['sanity/large eps'].eps == 128


@pytest.mark.parametrize('attack', [Pixle(), PGD('linf', 0.0)], ids=['pixle', 'zero'])
def test_an_attack_without_a_radius_to_vary_is_refused(attack):
    with pytest.raises(ValueError, match=r'vary the radius and the steps of PGD.*Name one of them first'):
        SanityChecks(attack)


# ------------------------------------------------------------------------------------------ what follows


def results_with(**changes):
    """Results of ten images of which all that has to hold holds, but for the changes: (wrong, loss)."""
    values = {
        'clean': (0.0, 0.1),
        'sanity/eps=0': (0.0, 0.1),
        'sanity/0.5 eps': (0.3, 1),
        'sanity/1 eps': (0.6, 2),
        'sanity/2 eps': (0.8, 3),
        'sanity/4 eps': (1, 4),
        'sanity/1 steps': (0.4, 1),
        'sanity/5 steps': (0.5, 1.5),
        'sanity/20 steps': (0.6, 2.1),
        'sanity/large eps': (1, 9),
        'sanity/noise': (0.1, 0.2),
        'sanity/transfer': (0.5, 1.8),
        'sanity/square': (0.5, 1.0),
    }
    values.update({name if name == 'clean' else f'sanity/{name}': value for name, value in changes.items()})
    assert set(values) == {'clean', *CHECKS.attacks(Classification())}
    found = {}
    for name, (wrong, loss) in values.items():
        scores = [ImageScore([], wrong=float(number < 10 * wrong), loss=loss) for number in range(10)]
        found[name] = AttackResult({'accuracy/top1': 100 * (1 - wrong)}, scores)
    return found


@pytest.mark.parametrize(
    ('changes', 'check'),
    [
        ({}, None),
        ({'eps=0': (0.0, 0.1000001)}, None),  # of another batch
        ({'eps=0': (0.0, 0.11)}, ZERO),
        ({'eps=0': (0.1, 0.1)}, ZERO),
        ({'2 eps': (0.5, 3)}, RADII),
        ({'large eps': (0.9, 9)}, LARGE),
        ({'20 steps': (0.6, 1.9)}, STEPS),
        ({'5 steps': (0.5, float('nan'))}, STEPS),
        ({'1 steps': (0.6, 2), '5 steps': (0.6, 2), '20 steps': (0.6, 2)}, STEPS),
        ({'noise': (0.7, 0.2)}, NOISE),
        ({'transfer': (0.7, 0.2)}, TRANSFER),
        ({'square': (0.7, 0.2)}, SQUARE),
    ],
    ids=str,
)
def test_each_check_on_its_own(changes, check):
    verdicts = verdicts_on(results_with(**changes))
    assert failed(verdicts) == ({check} if check else set())
    assert unseen(verdicts) == set()


RADII_AND_STEPS = ('0.5 eps', '1 eps', '2 eps', '4 eps', '1 steps', '5 steps', '20 steps')
STILL = dict.fromkeys((*RADII_AND_STEPS, 'noise', 'transfer', 'square'), (0.0, 0.1))
NEARLY = {**STILL, '20 steps': (0.0, 0.1005)}
NEVER = {'clean': (1, 9), 'eps=0': (1, 9), **dict.fromkeys(RADII_AND_STEPS, (1, 9))}
FLAT = dict.fromkeys(('0.5 eps', '1 eps', '2 eps', '4 eps'), (0.9, 2)) | {'20 steps': (0.9, 2.1)}
BEFORE = {'clean': (0.9, 0.1), 'eps=0': (0.9, 0.1), 'large eps': (0.9, 9), **FLAT}
BLACK = {NOISE, TRANSFER, SQUARE}


@pytest.mark.parametrize(
    ('changes', 'none', 'fails'),
    [
        (NEVER, {ZERO, RADII, LARGE, STEPS, *BLACK}, set()),
        ({**NEVER, '1 eps': (0.8, 9)}, {ZERO, LARGE, STEPS, NOISE, TRANSFER, SQUARE}, {RADII}),
        (STILL, {ZERO, RADII, *BLACK}, {STEPS}),
        (NEARLY, {ZERO, RADII, STEPS, *BLACK}, set()),
        ({**NEARLY, 'square': (0.2, 1)}, {ZERO, RADII, STEPS, NOISE, TRANSFER}, {SQUARE}),
        ({'1 steps': (0.6, 1.99), '5 steps': (0.6, 2.0), '20 steps': (0.6, 2.001)}, {STEPS}, set()),
        (dict.fromkeys(('1 steps', '5 steps', '1 eps', '20 steps', '2 eps', '4 eps'), (1, 4)), {STEPS}, set()),
        (BEFORE, {RADII, *BLACK}, {LARGE}),
    ],
    ids=['never right', 'helped', 'still', 'nearly still', 'beaten', 'hardly rises', 'all broken', 'broken before'],
)
def test_what_holds_where_nothing_could_be_seen_is_no_evidence(changes, none, fails):
    verdicts = verdicts_on(results_with(**changes))
    assert failed(verdicts) == fails
    assert unseen(verdicts) == none


@pytest.mark.parametrize('kept', [7, 0])
def test_images_without_labels_do_not_count(kept):
    """As of data sets in which some have none, or all."""
    results = results_with()
    for result in results.values():
        for score in result.scores[kept:]:
            score.wrong = score.loss = float('nan')
    verdicts = verdicts_on(results)
    assert failed(verdicts) == set()
    assert unseen(verdicts) == (set() if kept else set(verdicts))


def test_the_images_on_which_another_attack_is_stronger_are_counted():
    """Also where it is not stronger on the whole."""
    results = results_with()
    for score in results['sanity/transfer'].scores:
        score.wrong = 1 - score.wrong  # images 5 to 9, of which the attack itself breaks image 5 only
    verdicts = verdicts_on(results)
    assert verdicts[TRANSFER].verdict == 'pass'
    assert verdicts[TRANSFER].detail.endswith('stronger on 4 of 10 images')


# ------------------------------------------------------------------------------------------ what is used


def test_the_surrogate_is_near_and_leaves_the_model_alone():
    model = classifier()
    before = copy.deepcopy(model.state_dict())
    other, same = surrogate(model, seed=1), surrogate(model, seed=1)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    for (name, weight), (_, noisy), (_, again) in zip(
        model.named_parameters(), other.named_parameters(), same.named_parameters(), strict=True
    ):
        assert torch.equal(noisy, again), name
        change = (noisy - weight).detach().square().mean().sqrt() / weight.detach().square().mean().sqrt()
        assert float(change) == pytest.approx(0.1, rel=0.3) if weight.ndim > 1 else torch.equal(noisy, weight)


@pytest.mark.parametrize('norm', ['linf', 'l2'])
def test_random_noise_is_the_worst_of_its_draws_at_full_length(norm):
    """On a linear loss: more draws are never weaker, and where no pixel is clipped the length is the radius."""
    direction = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    inputs, target, eps = torch.full((3, 3, 4, 4), 0.5), torch.zeros(3, dtype=torch.long), 0.1

    def predict(pixels):
        first = ((pixels - 0.5) * direction[: len(pixels)]).sum((1, 2, 3))
        return torch.stack([-first, first], dim=1)

    margins = []
    for draws in (1, 5, 40):
        found = RandomNoise(norm, eps, draws=draws, seed=2)(predict, inputs, target)
        change = (found - inputs).flatten(1)
        length = change.abs().amax(1) if norm == 'linf' else change.norm(dim=1)
        assert torch.allclose(length, torch.full((3,), eps), atol=1e-6)
        if norm == 'linf':
            assert torch.allclose(change.abs(), torch.full_like(change, eps), atol=1e-6)
        margins.append(predict(found)[:, 1])
    assert (margins[1] >= margins[0]).all()
    assert (margins[2] >= margins[1]).all()
    assert (margins[2] > margins[0]).any()
    bound = eps * (direction.flatten(1).abs().sum(1) if norm == 'linf' else direction.flatten(1).norm(dim=1))
    assert (margins[2] < bound).all()
    assert RandomNoise(norm, eps, draws=7, seed=2).describe() == {
        'type': 'RandomNoise', 'norm': norm, 'eps': eps, 'draws': 7, 'seed': 2,
    }  # fmt: skip
