"""SEA against three runs of the plain algorithm, and what it promises beyond the contract."""

import pytest
import torch
from helpers import CLASSES, TinyClassifier, TinySegmentor, images, labels
from plain_apgd import PROJECTIONS, plain_apgd
from torch.nn import functional as F

from samat_mm.perturbations.inputs import SEA, Problem
from samat_mm.perturbations.inputs.ascent import stages
from samat_mm.perturbations.inputs.objectives import objective_named
from samat_mm.perturbations.inputs.sea import PLAN

EPS = {'linf': 4 / 255, 'l2': 0.3}
each_norm = pytest.mark.parametrize('norm', EPS)
LOSSES = ('balanced-masked-cross-entropy', 'masked-cross-entropy', 'jensen-shannon')


@pytest.mark.parametrize(
    ('steps', 'expected'),
    [
        (300, [(2.0, 90), (1.5, 90), (1.0, 120)]),
        (10, [(2.0, 3), (1.5, 3), (1.0, 4)]),
        (7, [(2.0, 2), (1.5, 2), (1.0, 3)]),
        (1, [(1.0, 1)]),
    ],
)
def test_the_stages_share_all_the_steps(steps, expected):
    assert stages(PLAN, steps) == expected


def judged(model, image, label):
    logits = model(image)
    return float((logits.argmax(1) != label).float().mean()), float(F.cross_entropy(logits, label))


@each_norm
def test_each_loss_finds_what_three_stages_of_the_algorithm_find(norm):
    inputs, model = images(2, 3, 6, 5).double(), TinySegmentor().double()
    target = model(inputs).argmax(1)
    attack = SEA(norm, EPS[norm], steps=20, random_start=False)
    candidates = [found.images for found in attack.candidates(Problem(model, inputs, target))]
    assert len(candidates) == 3
    for name, found in zip(LOSSES, candidates, strict=True):
        for row in range(len(inputs)):
            image, label = inputs[row : row + 1], target[row : row + 1]
            best = image
            for factor, steps in ((2, 6), (1.5, 6), (1, 8)):
                radius = factor * EPS[norm]
                iterates = plain_apgd(
                    lambda pixels, label=label, name=name: objective_named(name)(model(pixels), label, 0, 1).sum(),
                    lambda pixels, label=label: F.cross_entropy(model(pixels), label),
                    image,
                    (image + PROJECTIONS[norm](best - image, radius)).clamp(0, 1),
                    *(radius, steps, norm),
                )
                best = max(iterates, key=lambda pixels, label=label: judged(model, pixels, label))
            torch.testing.assert_close(found[row : row + 1], best, rtol=0, atol=1e-9)


@each_norm
def test_the_worst_of_the_three_is_returned_image_by_image(norm):
    inputs, target, model = images(6, 3, 8, 8), labels(6, 8, 8, classes=CLASSES), TinySegmentor()
    target[:, ::2] = model(inputs).argmax(1)[:, ::2]
    attack = SEA(norm, EPS[norm], steps=10)
    candidates = [found.images for found in attack.candidates(Problem(model, inputs, target))]
    adversarial = attack(model, inputs, target)
    for row in range(len(inputs)):
        label = target[row : row + 1]
        values = [judged(model, found[row : row + 1], label) for found in candidates]
        chosen = judged(model, adversarial[row : row + 1], label)
        assert chosen == pytest.approx(max(values))
        assert any(torch.equal(adversarial[row], found[row]) for found in candidates)


def test_counts_of_the_training_set_change_the_balanced_loss_and_are_reported():
    inputs, target, model = images(2, 3, 8, 8), labels(2, 8, 8, classes=CLASSES), TinySegmentor()
    rare = SEA(steps=10, class_pixels=[1, 1000, 1000, 1000])
    assert rare.describe()['class_pixels'] == [1, 1000, 1000, 1000]
    assert 'class_pixels' not in SEA().describe()
    first = [next(attack.candidates(Problem(model, inputs, target))).images for attack in (rare, SEA(steps=10))]
    assert not torch.equal(*first)
    with pytest.raises(ValueError, match=r'class_pixels must have one count for each of the 4 classes; got 2'):
        SEA(steps=10, class_pixels=[1, 2])(model, inputs, target)
    with pytest.raises(ValueError, match=r'class_pixels must all be greater than 0'):
        SEA(class_pixels=[1, 0])


def test_a_classifier_is_refused():
    with pytest.raises(ValueError, match=r'balanced-masked-cross-entropy weighs the pixels of a segmentation'):
        SEA(steps=10)(TinyClassifier(), images(2, 3, 6, 6), labels(2, classes=3))
