"""Attacks that are made on a surrogate and scored by the model."""

import copy

import pytest
import torch
from helpers import ClassificationImages, SegmentationImages, classifier, labelled_by, runner, segmentor

from samat_mm.evaluation import SanityChecks
from samat_mm.evaluation.fingerprint import identity
from samat_mm.perturbations.inputs import PGD

KINDS = {
    'maps': (segmentor, SegmentationImages, 'aAcc'),
    'classes': (classifier, ClassificationImages, 'accuracy/top1'),
}
each_kind = pytest.mark.parametrize('kind', KINDS)
STRONG = dict(type='PGD', norm='linf', eps='16/255', steps=4)


def evaluation(model, data, folder, attack=STRONG, **options):
    loop = dict(type='AttackTestLoop', attacks=[attack], **options)
    return runner(model, folder, evaluate=data, test_cfg=loop)


def right(kind, count=6):
    """A model and images that it is right about."""
    build, images, _ = KINDS[kind]
    model = build()
    return model, labelled_by(model, images(count))


@each_kind
@pytest.mark.parametrize('goal', ['loss', 'error'])
def test_the_model_itself_as_surrogate_is_a_white_box_attack_that_goes_on_to_the_end(kind, goal, tmp_path):
    model, data = right(kind)
    white = evaluation(model, data, tmp_path / 'white').test()
    run = evaluation(model, data, tmp_path / 'own', {**STRONG, 'goal': goal}, surrogate=model)
    assert run.test() == white
    result = run.test_loop.result
    assert result.attacks['pgd-linf'].goal == 'loss'
    assert result.by_attack['pgd-linf'].cost()['backwards'] == STRONG['steps']
    assert white[f'pgd-linf/{KINDS[kind][2]}'] < 100


@pytest.mark.parametrize(('kind', 'protocol'), [('maps', 'strict'), ('maps', 'paper-compat'), ('classes', 'strict')])
def test_images_of_another_model_are_weaker(kind, protocol, tmp_path):
    model, data = right(kind)
    name = f'pgd-linf/{KINDS[kind][2]}'
    white = evaluation(model, data, tmp_path / 'white').test()
    other = KINDS[kind][0](seed=1)
    transferred = evaluation(model, data, tmp_path / 'other', surrogate=other, protocol=protocol).test()
    assert transferred[KINDS[kind][2]] == white[KINDS[kind][2]] == 100
    assert white[name] < transferred[name]


def test_a_surrogate_with_other_statistics_and_channels(tmp_path):
    """The same function of the pixels, of inputs in other units and in another order: the same attack."""
    model, data = right('classes')
    other = copy.deepcopy(model)
    preprocessor, stem = other.data_preprocessor, other.backbone.conv1
    preprocessor.to_rgb = False
    preprocessor.mean, preprocessor.std = preprocessor.mean.flip(0), 2 * preprocessor.std.flip(0)
    stem.weight.data = 2 * stem.weight.data.flip(1)
    attack = {**STRONG, 'norm': 'l2', 'eps': 2.0, 'random_start': False}
    results = []
    for name, surrogate in (('white', None), ('other', other)):
        run = evaluation(model, data, tmp_path / name, attack, surrogate=surrogate)
        run.test()
        results.append(run.test_loop.result.by_attack)
    white, found = results
    rises = [by_attack['pgd-l2'].loss - by_attack['clean'].loss for by_attack in (white, found)]
    assert rises[0] > 0.05
    assert rises[1] == pytest.approx(rises[0], rel=0.01)


@each_kind
def test_resume_with_another_surrogate_starts_anew(kind, tmp_path):
    build, images, _ = KINDS[kind]
    model, data, first = build(), images(2), build(seed=1)
    begun = evaluation(model, data, tmp_path, surrogate=first)
    metrics = begun.test()
    scaled = build(seed=1)
    scaled.data_preprocessor.std *= 2  # in no checkpoint
    changes = {
        r'weights was .* and is': build(seed=2),
        r'built was .* and is': scaled,
    }
    for change, surrogate in changes.items():
        with pytest.raises(ValueError, match=f'because attacks.pgd-linf.made on.{change}'):
            evaluation(model, data, tmp_path, surrogate=surrogate, resume=True).test()
    with pytest.raises(ValueError, match=r"made on was \{.*\} and is 'the model' now"):
        evaluation(model, data, tmp_path, resume=True).test()
    other = evaluation(model, data, tmp_path, surrogate=build(seed=2))
    other.test()
    assert other.test_loop.result.folder != begun.test_loop.result.folder
    again = evaluation(model, data, tmp_path, surrogate=build(seed=1), resume=True)
    assert again.test() == metrics
    assert again.test_loop.result.folder == begun.test_loop.result.folder


def test_the_identity_of_a_model_does_not_change_with_its_mode_or_its_hooks():
    model = segmentor()
    before = identity(model)
    model.train()
    model.backbone.register_forward_hook(lambda *_: None)
    assert identity(model) == before == identity(copy.deepcopy(model))
    assert (
        identity(segmentor(test_cfg=dict(mode='slide', stride=(8, 8), crop_size=(16, 16))))['built'] != before['built']
    )
    assert identity(segmentor({'bgr_to_rgb': False}))['built'] != before['built']


class Darker(torch.nn.Module):
    """The preprocessor of a model, which also makes images darker."""

    def __init__(self, preprocessor):
        super().__init__()
        self.preprocessor, self.mean, self.std = preprocessor, preprocessor.mean, preprocessor.std
        self._enable_normalize, self._channel_conversion = True, True

    def forward(self, data, training=False):
        return self.preprocessor({**data, 'inputs': [(image * 0.9).byte() for image in data['inputs']]}, training)


def darker():
    model = segmentor()
    model.data_preprocessor = Darker(model.data_preprocessor)
    return model


@pytest.mark.parametrize(
    ('surrogate', 'sentence'),
    [
        (lambda: segmentor({}, 0, **{'decode_head.num_classes': 5}), r'has 5 and the model 4; give a surrogate'),
        (classifier, r'the task of the model, but the ImageClassifier has no decode_head, as the EncoderDecoder has'),
        (lambda: segmentor({'test_cfg': dict(size=(48, 40))}), r'inputs of 3x48x40 from an image .* makes 3x32x32'),
        (darker, r'its data preprocessor changes them by up to 0\.\d+ of their range'),
    ],
    ids=['classes', 'task', 'size', 'pixels'],
)
def test_a_surrogate_that_does_not_fit_is_refused_before_anything_is_scored(surrogate, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        evaluation(segmentor(), SegmentationImages(2), tmp_path, surrogate=surrogate()).test()
    assert not (tmp_path / 'attack_results').exists()


def test_sanity_checks_stay_on_the_model(tmp_path):
    model, data = right('classes', 3)
    checks = SanityChecks(PGD('linf', '16/255', steps=2), queries=5)
    alone = evaluation(model, data, tmp_path / 'alone', checks=checks)
    alone.test()
    run = evaluation(model, data, tmp_path / 'other', checks=checks, surrogate=classifier(seed=1))
    run.test()
    for name, result in run.test_loop.result.by_attack.items():
        if name.startswith('sanity/'):
            assert result.metrics == alone.test_loop.result.by_attack[name].metrics
