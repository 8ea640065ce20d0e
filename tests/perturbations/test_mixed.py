"""Ascents whose early steps ask a faster predict: which steps ask what, and what its mistakes can do."""

import pytest
import torch
from helpers import TinyClassifier, TinySegmentor, images, labels

from samat_mm.perturbations.inputs.mixed import MixedPredict
from samat_mm.registry import ATTACKS

EPS = 1 / 255
CLASSIFIER = [
    dict(type='PGD', steps=8),
    dict(type='PGD', steps=8, goal='error', restarts=2),
    dict(type='APGD', steps=12),
    dict(type='APGD', steps=12, goal='error'),
    dict(type='APGD', norm='l2', eps=0.06, steps=12, objective='dlr'),
    dict(type='AutoAttack', steps=8, queries=10),
]
SEGMENTOR = [
    dict(type='PGD', steps=8),
    dict(type='SegPGD', steps=8),
    dict(type='CosPGD', norm='l2', eps=0.1, steps=8),
    dict(type='SEA', steps=20),
]


class Asked:
    """A predict that counts the images that it is asked about, with and without a gradient."""

    def __init__(self, model, bend=lambda logits: logits):
        self.model, self.bend, self.steps, self.looks = model, bend, [], []

    def __call__(self, pixels):
        (self.steps if pixels.requires_grad else self.looks).append(len(pixels))
        return self.bend(self.model(pixels))


def problem(task):
    """A model with images near the borders of its classes, and its own predictions for labels."""
    if task == 'segmentor':
        return TinySegmentor(), images(3, 3, 8, 8), labels(3, 8, 8, classes=3)
    model, inputs = TinyClassifier(), images(24, 3, 8, 8)
    with torch.no_grad():
        model.linear.bias -= model(inputs).mean(0) / 5
        return model, inputs, model(inputs).argmax(1)


def build(settings):
    return ATTACKS.build({'norm': 'linf', 'eps': EPS, **settings})


def wrong(model, pixels, target):
    with torch.no_grad():
        return (
            (model(pixels).argmax(1) != target).flatten(1).float().mean(1)
            if target.ndim > 1
            else (model(pixels).argmax(1) != target).float()
        )


CASES = [('classifier', settings) for settings in CLASSIFIER] + [('segmentor', settings) for settings in SEGMENTOR]


@pytest.mark.parametrize(('task', 'settings'), CASES, ids=str)
def test_an_early_predict_that_computes_the_same_changes_nothing(task, settings):
    model, inputs, target = problem(task)
    attack, early, exact = build(settings), Asked(model), Asked(model)
    mixed = attack(MixedPredict(exact, early), inputs, target)
    assert torch.equal(mixed, attack(model, inputs, target))
    assert early.steps and exact.steps
    assert not torch.equal(mixed, inputs)


@pytest.mark.parametrize(('steps', 'exact_steps'), [(1, 1), (2, 1), (5, 1), (6, 2), (10, 2), (100, 20)])
def test_the_last_fifth_of_the_steps_and_every_other_look_ask_the_exact_one(steps, exact_steps):
    model, inputs, target = problem('classifier')
    early, exact = Asked(model), Asked(model)
    build(dict(type='PGD', steps=steps))(MixedPredict(exact, early), inputs, target)
    assert (len(early.steps), len(exact.steps)) == (steps - exact_steps, exact_steps)
    assert not early.looks
    assert len(exact.looks) == (2 if early.steps else 1)  # the best early iterate, and the last one


class AlwaysWrong:
    """A predict whose logits of the labels are lowered until none is right."""

    def __init__(self, model, target):
        self.model, self.target = model, target

    def __call__(self, pixels):
        return self.model(pixels) - 100 * torch.nn.functional.one_hot(self.target, 3)

    def subset(self, rows):
        return AlwaysWrong(self.model, self.target[rows])


def test_errors_that_only_the_early_predict_makes_do_not_end_the_search():
    model, inputs, target = problem('classifier')
    attack = build(dict(type='PGD', steps=8, goal='error', eps=2 / 255))
    found = attack(MixedPredict(model, AlwaysWrong(model, target)), inputs, target)
    expected = wrong(model, attack(model, inputs, target), target)
    assert torch.equal(wrong(model, found, target), expected)
    assert expected.mean() > 0


@pytest.mark.parametrize('goal', ['loss', 'error'])
def test_ranks_of_early_steps_yield_to_exact_ones(goal):
    """Early logits a hundred times as large claim losses that no exact iterate reaches."""
    model, inputs, target = problem('classifier')
    attack = build(dict(type='PGD', steps=8, goal=goal))
    found = attack(MixedPredict(Asked(model), Asked(model, lambda logits: 100 * logits)), inputs, target)
    expected = attack(model, inputs, target)
    assert wrong(model, found, target).sum() >= wrong(model, expected, target).sum() - 1
    with torch.no_grad():
        ours, theirs = (torch.nn.functional.cross_entropy(model(pixels), target) for pixels in (found, expected))
    assert ours > 0.9 * theirs


@pytest.mark.parametrize('attack', ['PGD', 'APGD'])
def test_no_predict_is_asked_about_no_image(attack):
    """The exact predict errs on the images that it is handed, all of them, when it takes over."""

    def exact(pixels):
        assert len(pixels)
        return torch.stack([(pixels == 0.5).flatten(1).all(1).float(), pixels.flatten(1).mean(1)], 1)

    def early(pixels):
        brightness = pixels.flatten(1).mean(1)
        return torch.stack([2 + 0 * brightness, brightness], 1)

    inputs = torch.full((2, 3, 4, 4), 0.5)
    found = build(dict(type=attack, steps=10, goal='error'))(MixedPredict(exact, early), inputs, torch.tensor([0, 0]))
    assert exact(found).argmax(1).tolist() == [1, 1]
