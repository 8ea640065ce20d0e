"""Pixel-wise objectives and the attacks on them, against loops in plain Python."""

import math

import pytest
import torch
from helpers import CLASSES, TinySegmentor, images, labels
from torch.nn import functional as F

from samat_mm.perturbations.inputs import PGD, CosPGD, SegPGD
from samat_mm.perturbations.inputs.objectives import (
    OBJECTIVES,
    PixelObjective,
    balanced_by,
    objective_named,
    wrong_share,
)

DENSE = [name for name, objective in OBJECTIVES.items() if isinstance(objective, PixelObjective)]
EPS = {'linf': 8 / 255, 'l2': 64 / 255}
each_norm = pytest.mark.parametrize('norm', EPS)


def softmax(scores):
    total = sum(math.exp(score) for score in scores)
    return [math.exp(score) / total for score in scores]


def segpgd(p, label, right, count, step, steps):
    share = step / (2 * steps)
    return (1 - share if right else share) * -math.log(p[label])


def cospgd(p, label, right, count, step, steps):
    return p[label] / math.sqrt(sum(value**2 for value in p)) * -math.log(p[label])


def masked(p, label, right, count, step, steps):
    return -math.log(p[label]) if right else 0


def balanced(p, label, right, count, step, steps):
    return -math.log(p[label]) / count[label] * sum(count) / len(count) if right else 0


def jensen_shannon(p, label, right, count, step, steps):
    q = [float(index == label) for index in range(len(p))]
    m = [(ours + theirs) / 2 for ours, theirs in zip(p, q, strict=True)]
    return sum(
        sum(ours * math.log(ours / middle) for ours, middle in zip(one, m, strict=True) if ours > 0) / 2
        for one in (p, q)
    )


PLAIN = {
    'segpgd': segpgd,
    'cospgd': cospgd,
    'masked-cross-entropy': masked,
    'balanced-masked-cross-entropy': balanced,
    'jensen-shannon': jensen_shannon,
}


def plain_loss(name, logits, target, step, steps):
    """The mean over the labelled pixels of one image (K, H, W)."""
    pixels = [
        (scores.tolist(), int(label))
        for scores, label in zip(logits.flatten(1).T, target.flatten(), strict=True)
        if int(label) != 255
    ]
    count = [sum(label == index for _, label in pixels) for index in range(logits.shape[0])]
    losses = [
        PLAIN[name](softmax(scores), label, max(scores) == scores[label], count, step, steps)
        for scores, label in pixels
    ]
    return sum(losses) / max(len(losses), 1)


@pytest.fixture
def maps():
    torch.manual_seed(0)
    logits, target = 2 * torch.randn(3, CLASSES, 4, 5, dtype=torch.float64), labels(3, 4, 5, classes=CLASSES)
    target[0, :2], target[1, target[1] == 2], target[2] = 255, 255, 255
    return logits, target


def test_every_dense_objective_has_its_plain_loop():
    assert set(PLAIN) == set(DENSE)


@pytest.mark.parametrize('name', DENSE)
@pytest.mark.parametrize('step', [0, 3, 9])
def test_the_loss_of_each_image_is_that_of_the_loop(name, step, maps):
    logits, target = maps
    expected = [plain_loss(name, *pair, step, 10) for pair in zip(logits, target, strict=True)]
    assert objective_named(name)(logits, target, step, 10).tolist() == pytest.approx(expected)
    assert expected[2] == 0


@pytest.mark.parametrize('name', DENSE)
def test_ignored_pixels_have_neither_loss_nor_gradient(name, maps):
    logits, target = maps
    logits.requires_grad_()
    (grad,) = torch.autograd.grad(objective_named(name)(logits, target, 1, 2).sum(), logits)
    ignored = (target == 255)[:, None].expand_as(grad)
    assert not grad[ignored].any()
    assert grad[~ignored].any()
    changed = torch.where(ignored, torch.randn_like(logits), logits)
    ours, theirs = (objective_named(name)(each, target, 1, 2) for each in (logits, changed))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize('name', ['segpgd', 'cospgd', 'masked-cross-entropy', 'balanced-masked-cross-entropy'])
def test_weights_have_no_gradient(name, maps):
    """The gradient of each pixel is that of its cross-entropy, times a number."""
    logits, target = maps
    logits.requires_grad_()
    (grad,) = torch.autograd.grad(objective_named(name)(logits, target, 1, 2).sum(), logits)
    (plain,) = torch.autograd.grad(F.cross_entropy(logits, target, reduction='sum', ignore_index=255), logits)
    cosine = F.cosine_similarity(grad, plain, dim=1)
    moved = grad.abs().amax(1) > 0
    torch.testing.assert_close(cosine[moved], torch.ones_like(cosine[moved]))


def test_the_gradient_of_jensen_shannon_vanishes_where_a_pixel_is_surely_wrong():
    logits = torch.tensor([0.0, 20.0, -200.0]).reshape(1, 3, 1, 1).repeat(1, 1, 1, 2).requires_grad_()
    loss = objective_named('jensen-shannon')(logits, torch.tensor([[[0, 2]]]), 0, 1)
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() == pytest.approx(math.log(2))
    assert torch.isfinite(grad).all()
    assert grad.abs().max() < 1e-6


@pytest.mark.parametrize('name', DENSE)
def test_the_rank_is_the_share_of_wrong_pixels_and_then_cross_entropy(name, maps):
    logits, target = maps
    objective = objective_named(name)
    rank = objective.rank(objective(logits, target, 0, 1), logits, target)
    for row in range(2):
        labelled = target[row] != 255
        wrong = (logits[row].argmax(0) != target[row])[labelled].double().mean()
        assert rank[row, 0].item() == pytest.approx(wrong.item())
        expected = F.cross_entropy(logits[row : row + 1], target[row : row + 1], ignore_index=255)
        assert rank[row, 1].item() == pytest.approx(expected.item())
    assert rank[2].tolist() == [0, 0]


def test_the_share_of_wrong_labels_of_a_classifier_is_0_or_1():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    assert wrong_share(logits, torch.tensor([0, 0])).tolist() == [0, 1]
    assert wrong_share(logits, torch.tensor([[0.4, 0.6], [0.4, 0.6]])).tolist() == [1, 0]


def test_class_pixels_are_relative():
    torch.manual_seed(0)
    logits, target = torch.randn(2, CLASSES, 6, 6), labels(2, 6, 6, classes=CLASSES)
    ours, theirs = (
        balanced_by(tuple(scale * count for count in (1, 2, 3, 4)))(logits, target, 0, 1) for scale in (1, 1000)
    )
    torch.testing.assert_close(ours, theirs)


# ----------------------------------------------------------------------------------------------- attacks


def plain_pgd(name, model, image, target, eps, step_size, steps, norm):
    """All iterates of PGD on one image, its gradient taken through the loss written out with torch."""
    iterates = [image]
    for step in range(steps):
        pixels = iterates[-1].clone().requires_grad_()
        logits = model(pixels)
        losses = F.cross_entropy(logits, target, reduction='none', ignore_index=255)
        if name == 'segpgd':
            share = step / (2 * steps)
            right = (logits.argmax(1) == target).double()
            weights = (1 - share) * right + share * (1 - right)
        else:
            one_hot = F.one_hot(target.clamp_max(CLASSES - 1), CLASSES).movedim(-1, 1).double()
            weights = F.cosine_similarity(logits.softmax(1), one_hot, dim=1).detach()
        (grad,) = torch.autograd.grad((weights * losses).sum(), pixels)
        if norm == 'linf':
            delta = (pixels.detach() + step_size * grad.sign() - image).clamp(-eps, eps)
        else:
            delta = pixels.detach() + step_size * grad / grad.norm() - image
            delta = delta * min(1, eps / delta.norm().item())
        iterates.append((image + delta).clamp(0, 1))
    return iterates


@each_norm
@pytest.mark.parametrize(('attack_type', 'name'), [(SegPGD, 'segpgd'), (CosPGD, 'cospgd')])
def test_the_attack_is_that_of_the_paper_and_keeps_the_iterate_with_the_most_wrong_pixels(attack_type, name, norm):
    model, inputs = TinySegmentor().double(), images(3, 3, 8, 7).double()
    target = model(inputs).argmax(1)
    target[:, 0] = 255
    attack = attack_type(norm, EPS[norm], steps=8, random_start=False)
    step_size = {'linf': 0.01, 'l2': 0.1}[norm]  # the published ones, at these radii
    assert attack.step_size == pytest.approx(step_size)
    found = attack(model, inputs, target)
    for row in range(3):
        one, label = inputs[row : row + 1], target[row : row + 1]
        iterates = plain_pgd(name, model, one, label, EPS[norm], step_size, 8, norm)

        def judged(pixels, label=label):
            logits = model(pixels)
            wrong = int(((logits.argmax(1) != label) & (label != 255)).sum())
            return wrong, F.cross_entropy(logits, label, ignore_index=255).item()

        torch.testing.assert_close(found[row : row + 1], max(iterates, key=judged), rtol=0, atol=1e-9)


def test_the_step_follows_the_radius_in_the_published_proportion():
    assert SegPGD('linf', '4/255').step_size == pytest.approx(0.005)
    assert CosPGD('l2', '128/255').step_size == pytest.approx(0.2)
    assert CosPGD('linf', '8/255', step_size='2/255').step_size == pytest.approx(2 / 255)


@each_norm
@pytest.mark.parametrize('name', DENSE)
def test_the_named_objective_in_pgd_is_the_attack_of_that_name(name, norm):
    model, inputs = TinySegmentor(), images(2, 3, 8, 7)
    target = model(inputs).argmax(1)
    found = PGD(norm, EPS[norm], objective=name)(model, inputs, target)
    assert bool((wrong_share(model(found), target) > 0).all())
    if name in ('segpgd', 'cospgd'):
        attack = {'segpgd': SegPGD, 'cospgd': CosPGD}[name](norm, EPS[norm], step_size=EPS[norm] / 4)
        assert torch.equal(attack(model, inputs, target), found)
