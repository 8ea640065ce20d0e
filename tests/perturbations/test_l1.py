"""Attacks in l1: the projection onto ball and box, sparse steps, and a linear model whose optimum is known."""

import inspect

import numpy as np
import pytest
import torch
import torchattacks
from helpers import TinyClassifier, TinySegmentor, attack_names, images
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_square import nearest_in_ball_and_box
from test_classification_attacks import Fragile, smooth_images

from samat_mm.perturbations.inputs import FAB, PGD, Problem
from samat_mm.perturbations.inputs.isolated import isolated
from samat_mm.perturbations.inputs.objectives import PixelObjective
from samat_mm.perturbations.inputs.random_noise import RandomNoise
from samat_mm.perturbations.norms import norm_named
from samat_mm.perturbations.norms.l1 import SparseSteps
from samat_mm.perturbations.norms.region import Region
from samat_mm.registry import ATTACKS

L1, BOX = norm_named('l1'), (0.0, 1.0)
fast = settings(max_examples=50, deadline=None, derandomize=True, database=None)
NOT_IN_L1 = {'Torchattacks'}  # what it takes by default is an attack in linf


@fast
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0.01, 8), st.sampled_from([0.1, 1.0, 10.0]))
def test_the_projection_is_the_nearest_point_of_both_ball_and_box(seed, count, radius, spread):
    numbers = np.random.default_rng(seed)
    centre = numbers.uniform(size=(3, count)).round(seed % 3)  # at the border of the box, too
    point = centre + spread * numbers.normal(size=(3, count)).round(1 + seed % 2)
    found = L1.feasible(torch.tensor(point), torch.tensor(centre), radius, BOX).numpy()
    for row, nearest in enumerate(found):
        assert np.abs(nearest - centre[row]).sum() <= radius * (1 + 1e-12)
        np.testing.assert_allclose(nearest, nearest_in_ball_and_box(point[row], centre[row], radius), rtol=0, atol=1e-9)
    again = L1.feasible(torch.tensor(found), torch.tensor(centre), radius, BOX).numpy()
    np.testing.assert_allclose(again, found, rtol=0, atol=1e-12)


def test_projecting_onto_one_and_then_the_other_is_not_nearest():
    """The example that the paper is about: what the box takes is free for other pixels."""
    centre, point = torch.tensor([[0.5, 0.9]]), torch.tensor([[0.9, 2.9]])
    found = L1.feasible(point.double(), centre.double(), 0.4, BOX)
    torch.testing.assert_close(found, torch.tensor([[0.8, 1.0]]).double(), rtol=0, atol=1e-7)


class Linear(torch.nn.Module):
    """Two logits, whose difference is a linear function of the pixels."""

    def __init__(self, weight, offset=0.0):
        super().__init__()
        self.weight, self.offset = weight, offset

    def forward(self, pixels):
        lead = (pixels * self.weight).flatten(1).sum(1) - self.offset
        return torch.stack([-lead, lead], 1)


def best_rise(weight, pixels, radius):
    """The largest rise of <weight, pixels>: the steepest pixels go to the end of the box, until nothing is left."""
    rise = 0.0
    for slope, pixel in sorted(zip(weight.tolist(), pixels.tolist(), strict=True), key=lambda pair: -abs(pair[0])):
        move = min(radius, 1 - pixel if slope > 0 else pixel)
        rise, radius = rise + abs(slope) * move, radius - move
    return rise


@pytest.mark.parametrize('radius', [0.3, 2.0, 7.0])
@pytest.mark.parametrize('attack', ['FGSM', 'PGD', 'APGD'])
def test_a_linear_model_is_driven_to_its_optimum_within_the_box(attack, radius):
    inputs, weight = images(3, 3, 5, 4).double(), torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2))
    weight = weight.double() / 100
    model, target = Linear(weight), torch.zeros(3, dtype=torch.long)
    steps = {'FGSM': {}, 'PGD': {'random_start': False}, 'APGD': {'steps': 100}}[attack]
    found = ATTACKS.build({'type': attack, 'norm': 'l1', 'eps': radius, **steps})(model, inputs, target)
    for row in range(len(inputs)):
        expected = best_rise(weight.flatten(), inputs[row].flatten(), radius)
        rise = float(((found - inputs)[row] * weight).sum())
        assert rise == pytest.approx(expected, rel=0.05 if attack == 'APGD' else 1e-9)


def shortest_rise(weight, pixels, rise):
    """The length of the shortest way to a rise of <weight, pixels>: the steepest pixels first, each up to the box."""
    length = 0.0
    for slope, pixel in sorted(zip(weight.tolist(), pixels.tolist(), strict=True), key=lambda pair: -abs(pair[0])):
        move = min(rise / abs(slope), 1 - pixel if slope > 0 else pixel)
        rise, length = rise - abs(slope) * move, length + move
    return length


@pytest.mark.parametrize('targets', ['nearest', 'ranked'])
def test_fab_finds_the_shortest_way_out_of_a_class_of_a_linear_model(targets):
    """Several pixels go to the end of the box; FAB ends within a percent of the boundary."""
    inputs, weight = images(3, 3, 5, 4).double(), torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2))
    weight = weight.double()
    model = Linear(weight, offset=(inputs * weight).flatten(1).sum(1).max() + 4)
    found = FAB('l1', 30.0, steps=10, targets=targets)(model, inputs, torch.zeros(3, dtype=torch.long))
    assert model(found).argmax(1).tolist() == [1, 1, 1]
    for image, other in zip(inputs, found, strict=True):
        shortest = shortest_rise(weight.flatten(), image.flatten(), -float(model(image[None])[0, 1]))
        assert 1 - 1e-9 <= float((other - image).abs().sum()) / shortest <= 1.01


@pytest.mark.parametrize('targets', ['nearest', 'ranked'])
@pytest.mark.parametrize('eps', [1.0, 20.0])
def test_fab_is_that_of_torchattacks(targets, eps):
    """Its runs in l1, whose results its own outer loop does not take; here is that loop."""
    model, inputs = Fragile(), smooth_images(8, seed=2)
    target = model(inputs).argmax(1)

    def make(module):
        attack = torchattacks.FAB(module, norm='L1', steps=10, multi_targeted=targets == 'ranked', n_classes=5)
        run = attack.attack_single_run if targets == 'nearest' else attack.attack_single_run_targeted

        def perturb(pixels, classes):
            result, left = pixels.clone(), torch.arange(len(pixels))
            for attack.target_class in [0] if targets == 'nearest' else range(2, 6):
                if len(left):
                    found = run(pixels[left], classes[left])
                    near = (found - pixels[left]).abs().flatten(1).sum(1) <= eps
                    near &= module(found).argmax(1) != classes[left]
                    result[left[near]], left = found[near], left[~near]
            return result

        attack.perturb = perturb
        return attack

    theirs = isolated(make, model, inputs, target)
    broken = int((model(theirs).argmax(1) != target).sum())
    assert 0 < broken < 8 if eps == 1 else broken == 8
    torch.testing.assert_close(FAB('l1', eps, targets=targets)(model, inputs, target), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize('share', [0.2, 0.9, 1.5])
def test_the_way_to_a_hyperplane_is_the_shortest(share):
    """Against the same greedy order in plain loops; out of reach, every coordinate moves as far as it can."""
    generator = torch.Generator().manual_seed(0)
    pixels, normal = (torch.rand(4, 2, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    normal = normal - 0.5
    room = torch.where(normal > 0, 1 - pixels, pixels)
    rise = share * (normal.abs() * room).flatten(1).sum(1)
    found = L1.to_hyperplane(pixels, normal, rise)
    for row in range(4):
        needed, length = float(rise[row]), 0.0
        for slope, most in sorted(zip(normal[row].abs().flatten().tolist(), room[row].flatten().tolist(), strict=True))[
            ::-1
        ]:
            move = min(needed / slope, most)
            needed, length = needed - slope * move, length + move
        assert float(found[row].abs().sum()) == pytest.approx(length, abs=1e-9)
        assert float((normal[row] * found[row]).sum()) == pytest.approx(float(rise[row]) - max(needed, 0), abs=1e-9)
    assert 0 <= float((pixels + found).min()) <= float((pixels + found).max()) <= 1 + 1e-12


def test_the_sparsity_follows_the_best_iterate_and_the_step_shrinks_where_it_does_not_change():
    """100 steps: a check at every fourth, first with a fifth of the 48 coordinates."""
    region = Region(torch.full((2, 3, 4, 4), 0.5), L1, 2.0)
    rule, pixels = SparseSteps(region, 100), region.inputs
    grad = torch.arange(1.0, 97).reshape(2, 3, 4, 4)
    moved = rule(pixels, grad, torch.zeros(2))
    assert (moved != 0.5).flatten(1).sum(1).tolist() == [10, 10]
    for number in range(3):
        pixels = moved
        moved = rule(pixels, grad, torch.full((2,), float(number)))
    assert rule.size.tolist() == [2, 2]
    rule(moved, grad, torch.full((2,), 9.0))
    assert rule.share[0] == pytest.approx((moved != 0.5)[0].sum().item() / 48 / 1.5)
    assert rule.size.tolist() == [2, 2]  # sparser than at first: the full step
    for number in range(4):
        rule(moved, grad, torch.full((2,), -1.0 - number))
    assert rule.size.tolist() == pytest.approx([2 / 1.5, 2 / 1.5])


@pytest.mark.parametrize(('changed', 'moving'), [(0, 10), (3, 2), (9, 6), (48, 10)])
def test_the_first_steps_move_two_thirds_of_what_the_start_has_changed_and_at_most_a_fifth(changed, moving):
    region = Region(torch.full((1, 3, 4, 4), 0.5), L1, 2.0)
    start, grad = region.inputs.clone(), torch.arange(1.0, 49).reshape(1, 3, 4, 4)
    start.view(-1)[:changed] += 1e-3
    assert int((SparseSteps(region, 100)(start, grad, torch.zeros(1)) - start > 1e-2).sum()) == moving


def problem(name):
    """A model, images and its own predictions, of the task that an attack is for."""
    if isinstance(ATTACKS.build({'type': name}).objective, PixelObjective):
        model, inputs = TinySegmentor(), images(3, 3, 9, 7)
    elif name in ('FGSM', 'PGD', 'APGD'):
        model, inputs = TinyClassifier(), images(3, 3, 9, 7)
    else:
        model, inputs = Fragile(), smooth_images(3)
    return model, inputs, model(inputs).argmax(1)


@pytest.mark.parametrize('name', sorted({*attack_names()} - NOT_IN_L1))
def test_every_attack_keeps_to_ball_box_and_padding_and_to_itself_in_any_batch(name):
    known = inspect.signature(ATTACKS.get(name)).parameters
    quick = {'steps': 10, 'queries': 20, 'restarts': 2}
    given = {key: value for key, value in quick.items() if key in known}
    attack = ATTACKS.build({'type': name, 'norm': 'l1', 'eps': 3.0, **given})
    model, inputs, target = problem(name)
    height, width = inputs.shape[2:]
    sizes = [(height, width), (height - 2, width), (height, width - 3)]
    found = attack(model, inputs, target, sizes=sizes)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert float((found - inputs).abs().flatten(1).sum(1).max()) <= 3 * (1 + 1e-5)
    assert torch.equal(found[1, :, -2:], inputs[1, :, -2:]) and torch.equal(found[2, :, :, -3:], inputs[2, :, :, -3:])
    alone = attack(model, inputs[1:2], target[1:2], indices=[1], sizes=sizes[1:2])
    torch.testing.assert_close(alone, found[1:2], rtol=0, atol=1e-4)
    assert attack.describe()['norm'] == 'l1'
    assert torch.equal(attack.at(0.0)(model, inputs, target), inputs)


@pytest.mark.parametrize('name', ['APGD', 'FAB', 'Square', 'AutoAttack', 'PGD'])
def test_a_large_radius_breaks_a_classifier_and_changes_few_pixels(name):
    model, inputs = Fragile(), smooth_images(6)
    target = model(inputs).argmax(1)
    settings_ = {'PGD': {'steps': 20}, 'Square': {'queries': 200}}.get(name, {'steps': 20})
    attack = ATTACKS.build({'type': name, 'norm': 'l1', 'eps': 20.0, **settings_})
    found = attack(model, inputs, target)
    wrong = model(found).argmax(1) != target
    assert float(wrong.float().mean()) >= 0.5
    noise = model(RandomNoise('l1', 20.0)(model, inputs, target)).argmax(1) != target
    assert int(wrong.sum()) >= int(noise.sum())


def test_apgd_goes_on_from_wider_balls_and_returns_what_is_inside():
    """An error outside the ball does not end the search for one inside."""
    model, inputs = Fragile(), smooth_images(4)
    target = model(inputs).argmax(1)
    asked = []

    def predict(pixels):
        if len(pixels) == len(inputs):
            asked.append(float((pixels.detach() - inputs).abs().flatten(1).sum(1).max()))
        return model(pixels)

    attack = ATTACKS.build(dict(type='APGD', norm='l1', eps=0.01, steps=10, goal='error'))
    found = attack.search(Problem(predict, inputs, target)).images
    assert max(asked[:4]) == pytest.approx(0.03, rel=1e-3)
    assert max(asked[-3:]) <= 0.01 * (1 + 1e-4)
    assert float((found - inputs).abs().flatten(1).sum(1).max()) <= 0.01 * (1 + 1e-4)


def test_the_radius_is_at_most_the_number_of_values():
    model, inputs, target = problem('PGD')
    PGD('l1', 3 * 9 * 7)(model, inputs, target)
    with pytest.raises(ValueError, match=r'at most 189 for l1 on images of shape \(3, 9, 7\); got 190'):
        PGD('l1', 190)(model, inputs, target)
