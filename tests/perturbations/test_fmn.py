"""FMN against a plain loop written from the paper, and on models whose distance to the nearest error is known."""

import math

import pytest
import torch
from test_classification_attacks import Fragile, predicted, smooth_images

from samat_mm.perturbations.inputs import FAB, FMN, PGD
from samat_mm.perturbations.inputs.classification import margins

SMALL = {'linf': 0.1, 'l2': 1.0, 'l1': 6.0}
each_norm = pytest.mark.parametrize('norm', SMALL)


def length(norm, delta):
    flat = delta.double().reshape(-1)
    return float({'linf': flat.abs().max(), 'l2': flat.square().sum().sqrt(), 'l1': flat.abs().sum()}[norm])


def dual_length(norm, grad):
    return length({'linf': 'l1', 'l2': 'l2', 'l1': 'linf'}[norm], grad)


def plain_projection(norm, delta, radius):
    """The nearest point of the ball; for l1 by bisection of the amount by which every coordinate is shortened."""
    if length(norm, delta) <= radius:
        return delta
    if norm == 'linf':
        return delta.clamp(-radius, radius)
    if norm == 'l2':
        return delta * radius / length('l2', delta)
    low, high = 0.0, float(delta.abs().max())
    for _ in range(100):
        middle = (low + high) / 2
        inside = float((delta.abs() - middle).clamp_min(0).sum()) <= radius
        low, high = (low, middle) if inside else (middle, high)
    return delta.sign() * (delta.abs() - high).clamp_min(0)


def plain_fmn(predict, image, label, norm, steps, alpha_0=1.0, gamma_0=0.05):
    """Algorithm 1 of Pintor et al. for one image, with the surplus of the first radius; the perturbation and its norm.

    L is the margin, so an iterate is adversarial where L < 0, and the loss goes down.
    """
    delta, best, best_norm, epsilon = torch.zeros_like(image), None, math.inf, 0.0
    for k in range(1, steps + 2):
        position = (image + delta).clone().requires_grad_()
        logits = predict(position[None])[0]
        others = torch.cat([logits[:label], logits[label + 1 :]])
        loss = logits[label] - others.max()
        (g,) = torch.autograd.grad(loss, position)
        norm_now = length(norm, delta)
        if loss < 0 and norm_now < best_norm:
            best, best_norm = delta.clone(), norm_now
        if k > steps:
            return best, best_norm
        cosine = (1 + math.cos(math.pi * k / steps)) / 2
        gamma, alpha = 0.001 + (gamma_0 - 0.001) * cosine, alpha_0 / 100 + (alpha_0 - alpha_0 / 100) * cosine
        if loss >= 0:
            if best is None:
                epsilon = (norm_now + loss.item() / dual_length(norm, g)) * (1 + gamma)
            else:
                epsilon = epsilon * (1 + gamma)
        else:
            epsilon = min(epsilon * (1 - gamma), best_norm)
        delta = plain_projection(norm, delta - alpha * g / g.square().sum().sqrt(), epsilon)
        delta = (image + delta).clamp(0, 1) - image


@each_norm
@pytest.mark.parametrize('steps', [1, 7, 40])
def test_every_image_ends_where_the_plain_loop_ends(norm, steps):
    model, inputs = Fragile().double(), smooth_images(6).double()
    target = predicted(model, inputs)
    wide = {'linf': 1.0, 'l2': 12.0, 'l1': 160.0}[norm]
    found = FMN(norm, wide, steps=steps)(model, inputs, target)
    flipped = predicted(model, found) != target
    for row in range(6):
        delta, _ = plain_fmn(model, inputs[row], int(target[row]), norm, steps)
        assert (delta is not None) == bool(flipped[row])
        expected = inputs[row] if delta is None else inputs[row] + delta
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-8)
    assert steps < 40 or bool(flipped.all())


@each_norm
def test_other_step_sizes_are_those_of_the_plain_loop(norm):
    model, inputs = Fragile().double(), smooth_images(2).double()
    target = predicted(model, inputs)
    found = FMN(norm, SMALL[norm] * 10, steps=30, alpha=0.3, gamma=0.2)(model, inputs, target)
    for row in range(2):
        delta, _ = plain_fmn(model, inputs[row], int(target[row]), norm, 30, alpha_0=0.3, gamma_0=0.2)
        torch.testing.assert_close(found[row], inputs[row] + delta, rtol=0, atol=1e-8)


def linear(classes=2, count=8, size=5):
    """A linear model and images in the middle of the box; the distance to the nearest class in each norm.

    With more than two classes the search may end at another boundary: it follows the likeliest other class.
    """
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(classes, 3 * size * size, generator=generator, dtype=torch.float64)
    inputs = 0.5 + 0.1 * (torch.rand(count, 3, size, size, generator=generator, dtype=torch.float64) - 0.5)

    def predict(pixels):
        return (pixels - 0.5).flatten(1) @ weight.T

    target = predicted(predict, inputs)
    logits = predict(inputs)
    distances = {norm: [] for norm in SMALL}
    for row, label in enumerate(target.tolist()):
        for norm in SMALL:
            gaps = [
                float(logits[row, label] - logits[row, other]) / dual_length(norm, weight[label] - weight[other])
                for other in range(classes)
                if other != label
            ]
            distances[norm].append(min(gaps))
    return predict, inputs, target, {norm: torch.tensor(values).double() for norm, values in distances.items()}


@pytest.mark.parametrize(('norm', 'excess'), [('linf', 1e-3), ('l2', 1e-3), ('l1', 0.02)])
def test_the_distance_of_a_linear_model_is_found(norm, excess):
    predict, inputs, target, distances = linear()
    found = FMN(norm, 0.5 if norm != 'l1' else 9.0)(predict, inputs, target)
    assert bool((predicted(predict, found) != target).all())
    share = torch.tensor([length(norm, delta) for delta in found - inputs]) / distances[norm]
    assert float(share.min()) >= 1 - 1e-9  # nothing is nearer
    assert float(share.max()) <= 1 + excess


@each_norm
def test_an_error_counts_within_the_radius_only(norm):
    predict, inputs, target, distances = linear()
    eps = float(distances[norm].sort().values[3:5].mean())
    found = FMN(norm, eps)(predict, inputs, target)
    flipped = predicted(predict, found) != target
    assert torch.equal(flipped, distances[norm] <= eps)
    assert torch.equal(found[~flipped], inputs[~flipped])
    wide = FMN(norm, 0.5 if norm != 'l1' else 9.0)(predict, inputs, target)
    assert torch.equal(found[flipped], wide[flipped])  # the radius does not change the search


@each_norm
def test_the_boundary_in_the_box_is_reached(norm):
    """Half of the pixels cannot move in the direction that helps: the others have to go further."""
    weight = torch.ones(3 * 4 * 4, dtype=torch.float64)
    inputs = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    inputs[:, :, :2] = 1.0

    def predict(pixels):
        score = pixels.flatten(1) @ weight - 36 - 2.4
        return torch.stack([torch.zeros_like(score), score], 1)

    found = FMN(norm, {'linf': 0.9, 'l2': 4.0, 'l1': 20.0}[norm], steps=300)(predict, inputs, torch.tensor([0]))
    least = {'linf': 0.1, 'l2': 2.4 / math.sqrt(24), 'l1': 2.4}[norm]
    assert bool((predicted(predict, found) != 0).all())
    assert float(found.max()) <= 1
    assert least * (1 - 1e-9) <= length(norm, found - inputs) <= least * 1.03


@each_norm
def test_it_is_as_near_as_fab_and_nearer_than_the_radius_of_pgd(norm):
    model, inputs = Fragile(), smooth_images(8)
    target = predicted(model, inputs)
    wide = {'linf': 1.0, 'l2': 12.0, 'l1': 160.0}[norm]
    ours, fab = (attack(norm, wide, steps=100)(model, inputs, target) for attack in (FMN, FAB))
    assert bool((predicted(model, ours) != target).all())
    distance, theirs = (torch.tensor([length(norm, d) for d in found - inputs]) for found in (ours, fab))
    theirs[predicted(model, fab) == target] = math.inf
    assert float((distance / theirs).median()) <= 1.001
    assert float((distance / theirs).max()) <= 1.25
    if norm != 'l1':  # PGD at four fifths of the distance finds nothing
        for row in range(8):
            one, label = inputs[row : row + 1], target[row : row + 1]
            found = PGD(norm, 0.8 * float(distance[row]), steps=100)(model, one, label)
            assert int(predicted(model, found)) == int(label)


@each_norm
def test_a_batch_of_one_and_of_eight_are_alike_and_nothing_is_random(norm):
    model, inputs = Fragile().double(), smooth_images(8).double()
    target = predicted(model, inputs)
    attack = FMN(norm, SMALL[norm], steps=30)
    together = attack(model, inputs, target)
    assert not torch.equal(together, inputs)
    alone = [attack(model, inputs[i : i + 1], target[i : i + 1]) for i in range(8)]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-9)
    assert torch.equal(attack.replace(seed=5)(model, inputs, target, indices=range(8, 16)), together)


@each_norm
def test_a_model_that_does_not_see_its_input_resists(norm):
    inputs = smooth_images(2)
    logits = torch.tensor([[1.0, 0.0]])

    def predict(pixels):
        return logits + 0 * pixels.flatten(1)[:, :2]

    assert torch.equal(FMN(norm, SMALL[norm])(predict, inputs, torch.zeros(2, dtype=torch.long)), inputs)


def test_what_it_returns_has_a_negative_margin():
    model, inputs = Fragile(), smooth_images(4)
    target = predicted(model, inputs)
    found = FMN('linf', 0.3)(model, inputs, target)
    with torch.no_grad():
        assert bool((margins(model(found), target) < 0).all())


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'steps': 0}, 'steps must be a whole number of at least 1; got 0'),
        ({'alpha': 0}, 'alpha must be greater than 0; got 0'),
        ({'alpha': -1}, 'alpha must be a finite number of at least 0; got -1'),
        ({'gamma': 1.5}, 'gamma is a share, above 0 and at most 1; got 1.5'),
        ({'eps': 8}, "Did you mean '8/255'"),
    ],
)
def test_a_parameter_out_of_its_range_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        FMN(**parameters)
