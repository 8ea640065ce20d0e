"""Objectives against sums written out in plain Python."""

import math

import pytest
import torch
from helpers import CLASSES, labels

from samat_mm.perturbations.inputs.objectives import CrossEntropy, ModelLoss, objective_named, wrong_share


def cross_entropy_of(scores, label):
    """-log softmax(scores)[label], in plain Python."""
    return math.log(sum(math.exp(score) for score in scores)) - scores[label]


def test_classification_cross_entropy_is_one_value_per_image():
    logits, target = torch.randn(5, CLASSES, dtype=torch.float64), labels(5, classes=CLASSES)
    expected = [cross_entropy_of(row, label) for row, label in zip(logits.tolist(), target.tolist(), strict=True)]
    assert CrossEntropy()(logits, target, 0, 1).tolist() == pytest.approx(expected)


def test_segmentation_cross_entropy_is_the_mean_over_the_labelled_pixels_of_each_image():
    torch.manual_seed(0)
    logits, target = torch.randn(3, CLASSES, 4, 5, dtype=torch.float64), labels(3, 4, 5, classes=CLASSES)
    target[0, :2] = 255
    target[1, 3, 3] = 255
    expected = []
    for image, label_map in zip(logits, target, strict=True):
        losses = [
            cross_entropy_of(image[:, row, column].tolist(), int(label_map[row, column]))
            for row in range(4)
            for column in range(5)
            if label_map[row, column] != 255
        ]
        expected.append(sum(losses) / len(losses))
    assert CrossEntropy()(logits, target, 0, 1).tolist() == pytest.approx(expected)


def test_an_unlabelled_pixel_has_no_gradient_and_an_unlabelled_image_no_loss():
    logits = torch.randn(2, CLASSES, 3, 3, requires_grad=True)
    target = torch.full((2, 3, 3), 255)
    target[0, 0, 0] = 1
    loss = CrossEntropy()(logits, target, 0, 1)
    assert loss[1] == 0
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    assert grad[0, :, 0, 0].abs().min() > 0
    grad[0, :, 0, 0] = 0
    assert torch.equal(grad, torch.zeros_like(grad))


def test_mixed_labels_give_the_mixture_of_the_losses():
    logits = torch.randn(2, 3, dtype=torch.float64)
    target = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    first, second = logits.tolist()
    expected = [
        0.25 * cross_entropy_of(first, 0) + 0.75 * cross_entropy_of(first, 1),
        cross_entropy_of(second, 2),
    ]
    assert CrossEntropy()(logits, target, 0, 1).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ('logits', 'target'),
    [
        ((2, 3), (3,)),
        ((2, 3), (2, 1)),
        ((2, 3, 4, 4), (2, 4, 5)),
        ((2, 3, 4, 4), (2,)),
        ((2,), (2,)),
        ((2, 3, 4), (2, 4)),
    ],
)
def test_shapes_that_do_not_belong_together_are_named(logits, target):
    with pytest.raises(ValueError, match=r'got logits') as error:
        CrossEntropy()(torch.zeros(logits), torch.zeros(target, dtype=torch.long), 0, 1)
    assert str(logits) in str(error.value)
    assert str(target) in str(error.value)


def test_class_probabilities_per_pixel_give_one_value_per_image_or_are_refused():
    """There is no third way: a loss per pixel cannot say which iterate of an image is the best."""
    try:
        loss = CrossEntropy()(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 1 / 3), 0, 1)
    except ValueError as error:
        assert 'target' in str(error)
    else:
        assert loss.shape == (2,)


@pytest.mark.parametrize('label', [-100, -1, 3, 254])
def test_a_label_outside_the_classes_is_named(label):
    with pytest.raises(ValueError, match=f'labels must lie in 0..2, or be 255 for ignored; got .*{label}'):
        CrossEntropy()(torch.zeros(2, 3), torch.tensor([1, label]), 0, 1)


def test_cross_entropy_needs_a_target():
    with pytest.raises(ValueError, match=r'needs a target'):
        CrossEntropy()(torch.zeros(2, 3), None, 0, 1)


def test_model_loss_is_what_predict_returns_and_takes_no_other_than_a_scalar():
    assert ModelLoss()(torch.tensor(3.5), None, 0, 1).tolist() == [3.5]
    with pytest.raises(ValueError, match=r'one scalar loss from predict; got shape \(2, 3\)'):
        ModelLoss()(torch.zeros(2, 3), None, 0, 1)


def test_an_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"objective must be one of .*cross-entropy.*model-loss.*; got 'hinge'"):
        objective_named('hinge')


def test_class_255_of_a_classifier_with_many_classes_is_a_class():
    """ImageNet has 1,000: its class 255 must be attacked like any other, and 255 is ignored only where it is none."""
    logits = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([255, 3, 255])
    found = CrossEntropy()(logits, target, 0, 1)
    torch.testing.assert_close(found, -logits.log_softmax(1)[torch.arange(3), target])
    assert wrong_share(logits, target).tolist() == [1, 1, 1]
    assert CrossEntropy()(logits[:, :10], target, 0, 1).tolist()[::2] == [0, 0]
