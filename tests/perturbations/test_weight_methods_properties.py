"""Closed forms and invariants of each weight perturbation, from the equations of the papers."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.optim import OneCycleLR
from torch import Tensor, nn

from samat_mm.perturbations.weights import (
    AWP,
    ESAM,
    GSAM,
    SAM,
    SAMON,
    SSAMD,
    SSAMF,
    WSAM,
    FisherSAM,
    FriendlySAM,
    LookSAM,
    RunningMethod,
    WeightPerturbation,
)
from samat_mm.perturbations.weights.random_numbers import RandomNumbers
from samat_mm.registry import WEIGHT_PERTURBATIONS

Named = dict[str, Tensor]
SHAPES = {'conv.weight': (3, 2, 2, 2), 'conv.bias': (3,), 'norm.weight': (3,), 'scale': (), 'head.weight': (2, 3)}
SIZE = 24 + 3 + 3 + 1 + 6
seeds = st.integers(0, 10**6)
few_examples = settings(max_examples=20, deadline=None)


def draw(seed: int, factor: float = 1.0, dtype: torch.dtype = torch.float64) -> Named:
    numbers = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(shape, generator=numbers, dtype=torch.float64) * factor).to(dtype)
        for name, shape in SHAPES.items()
    }


def flat(tensors: Any) -> Tensor:
    return torch.cat([tensor.reshape(-1).double() for tensor in tensors])


def vector(named: Named) -> Tensor:
    return flat(named.values())


def copied(named: Named) -> Named:
    return {name: tensor.clone() for name, tensor in named.items()}


def ascent(method: RunningMethod, gradient: Named, weights: Named | None = None) -> Tensor:
    return flat(method.ascend(draw(99) if weights is None else weights, list(copied(gradient).values())))


def sam(gradient: Named) -> Tensor:
    return vector(gradient) / vector(gradient).norm()


def combined(method: RunningMethod, clean: Named, perturbed: Named | None) -> Tensor:
    return vector(method.combine(copied(clean), None if perturbed is None else copied(perturbed)))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> bool:
    return torch.allclose(found, expected, rtol=tolerance, atol=tolerance)


# Methods that become another one


REDUCED: dict[str, Callable[[], WeightPerturbation]] = {
    'Fisher SAM without Fisher': lambda: FisherSAM(eta=0),
    'Friendly SAM without friend': lambda: FriendlySAM(sigma=0),
    'ESAM of all weights': lambda: ESAM(beta=1, gamma=1),
    'ESAM of all coordinates': lambda: ESAM(beta=1, gamma=1, mask='coordinates'),
    'dense SSAM-D': lambda: SSAMD(sparsity=0, update_interval=1),
    'SSAM-F before its first mask': SSAMF,
    'LookSAM': LookSAM,
    'GSAM': GSAM,
    'WSAM': WSAM,
}


@pytest.mark.parametrize('name', REDUCED)
def test_the_ascent_is_that_of_sam(name: str) -> None:
    method = REDUCED[name]().start()
    for seed in range(4):
        assert close(ascent(method, draw(seed)), sam(draw(seed)))


@few_examples
@given(seed=seeds)
def test_gsam_without_gap_and_wsam_of_one_half_descend_as_sam(seed: int) -> None:
    clean, perturbed = draw(seed), draw(seed + 1)
    assert close(combined(GSAM(alpha=0).start(), clean, perturbed), vector(perturbed))
    assert close(combined(WSAM(gamma=0.5, form='coupled').start(), clean, perturbed), vector(perturbed))
    assert close(combined(LookSAM(interval=1).start(), clean, perturbed), vector(perturbed))


@pytest.mark.parametrize('form', ['coupled', 'decoupled'])
def test_wsam_without_sharpness_is_the_plain_optimizer(form: str) -> None:
    method, weights = WSAM(gamma=0, form=form).start(), draw(0)
    assert torch.equal(combined(method, draw(1), draw(2)), vector(draw(1)))
    method.correct(weights, dict.fromkeys(weights, 0.1))
    assert torch.equal(vector(weights), vector(draw(0)))


# Fisher SAM (that it is the maximiser: test_weights)


@few_examples
@given(seed=seeds, eta=st.floats(0, 100), magnitude=st.floats(-5, 5))
def test_fisher_sam_lies_on_the_fisher_ellipsoid(seed: int, eta: float, magnitude: float) -> None:
    gradient = draw(seed, 10**magnitude)
    offset, g = ascent(FisherSAM(eta=eta), gradient), vector(gradient)
    fisher = 1 + eta * g**2
    assert float(offset @ (fisher * offset)) == pytest.approx(1, rel=1e-10)
    assert close(offset * fisher * (g @ (g / fisher)).sqrt(), g, 1e-9 * 10**magnitude)


@pytest.mark.parametrize('exponent', [-44, -30, 10, 20, 37])
def test_fisher_sam_without_fisher_is_sam_also_in_single_precision(exponent: int) -> None:
    gradient = draw(0, 10.0**exponent, torch.float32)
    assert close(ascent(FisherSAM(eta=0), gradient), ascent(SAM(), gradient), 1e-5)


# AWP


@few_examples
@given(seed=seeds, direction_seed=seeds, magnitude=st.floats(-6, 6))
def test_awp_moves_every_layer_by_its_own_length(seed: int, direction_seed: int, magnitude: float) -> None:
    """It maximises the linearised loss over a ball for each layer."""
    weights, gradient, other = draw(seed), draw(seed + 1, 10**magnitude), draw(direction_seed + 2)
    offsets = AWP().ascend(weights, list(copied(gradient).values()))
    for offset, weight, g, random in zip(offsets, weights.values(), gradient.values(), other.values(), strict=True):
        assert float(offset.norm()) == pytest.approx(float(weight.norm()), rel=1e-12)
        best = float((g * offset).sum())
        assert best == pytest.approx(float(weight.norm() * g.norm()), rel=1e-12)
        assert best >= float((g * random * weight.norm() / random.norm()).sum()) * (1 - 1e-12)


def test_awp_moves_matrices_and_kernels_only() -> None:
    assert AWP().start().choose(draw(0), {}) == ['conv.weight', 'head.weight']


def test_awp_leaves_a_layer_of_zeros() -> None:
    offsets = AWP().ascend({'w': torch.zeros(2, 3)}, [torch.ones(2, 3)])
    assert torch.equal(offsets[0], torch.zeros(2, 3))


@pytest.mark.parametrize('length', [3.0, 5.0, 1e4])
@pytest.mark.parametrize('exponent', [-math.inf, -44])
def test_awp_with_a_vanishing_gradient(length: float, exponent: float) -> None:
    """As in a layer behind a dead ReLU, or in a batch without labels."""
    weight, gradient = torch.full((2, 2), length / 2), torch.full((2, 2), 10.0**exponent)
    (offset,) = AWP().ascend({'w': weight}, [gradient])
    assert float(offset.double().norm()) <= length * 1.0001


@pytest.mark.parametrize('exponent', [-37, -20, 20, 37])
def test_awp_with_tiny_and_huge_gradients(exponent: int) -> None:
    weight = torch.full((2, 2), 2.0)
    (offset,) = AWP().ascend({'w': weight}, [torch.full((2, 2), 10.0**exponent)])
    torch.testing.assert_close(offset, weight)


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_awp_does_not_hide_a_non_finite_gradient(value: float) -> None:
    gradient = draw(1)
    gradient['conv.weight'].view(-1)[3] = value
    assert not bool(torch.isfinite(ascent(AWP(), gradient)).all())


# ESAM


@pytest.mark.parametrize('beta', [0.3, 0.6])
def test_the_expected_offset_of_drawn_coordinates_is_that_of_sam(beta: float) -> None:
    method, gradient, draws = ESAM(beta=beta, mask='coordinates').start(), draw(0), 2000
    mean = sum(ascent(method, gradient) for _ in range(draws)) / draws
    deviation = sam(gradient).abs() * math.sqrt((1 - beta) / beta / draws)
    assert bool(((mean - sam(gradient)).abs() <= 4.5 * deviation).all())


def test_a_drawn_coordinate_moves_by_one_over_beta() -> None:
    offset, expected = ascent(ESAM(beta=0.3, mask='coordinates', seed=4), draw(0)), sam(draw(0)) / 0.3
    moved = offset != 0
    assert 0 < int(moved.sum()) < SIZE
    assert close(offset[moved], expected[moved])


@pytest.mark.parametrize('beta', [0.001, 0.3, 0.8, 1])
def test_tensors_are_drawn_with_probability_beta_and_never_none(beta: float) -> None:
    method = ESAM(beta=beta).start()
    drawn = [method.choose(draw(0), {}) for _ in range(600)]
    assert all(names and names == [name for name in SHAPES if name in names] for names in drawn)
    assert sum(map(len, drawn)) / 600 / len(SHAPES) == pytest.approx(max(beta, 1 / len(SHAPES)), abs=0.05)
    assert method.choose({}, {}) == []


def test_masks_come_from_numbers_of_their_own() -> None:
    """Neither do they disturb the global generator, nor does it change them; equal seeds give equal masks."""
    for mask in ('tensors', 'coordinates'):
        torch.manual_seed(0)
        state = torch.get_rng_state()
        first = [drawn_by(ESAM(beta=0.5, mask=mask, seed=seed).start()) for seed in (1, 1, 2)]
        assert torch.equal(torch.get_rng_state(), state)
        torch.manual_seed(5)
        assert first[0] == first[1] == drawn_by(ESAM(beta=0.5, mask=mask, seed=1).start()) != first[2]


def drawn_by(method: RunningMethod) -> list[Any]:
    return [(method.choose(draw(0), {}), (ascent(method, draw(0)) != 0).tolist()) for _ in range(4)]


@few_examples
@given(seed=seeds, size=st.integers(1, 40), gamma=st.floats(0.01, 1, exclude_max=True))  # 1: no selection
def test_selected_are_the_samples_whose_loss_rises_most(seed: int, size: int, gamma: float) -> None:
    numbers = torch.Generator().manual_seed(seed)
    before, after = torch.rand(2, size, generator=numbers)
    asked: list[torch.dtype | None] = []

    def measure(dtype: torch.dtype | None) -> Tensor:
        asked.append(dtype)
        return after

    for selection, scores in (('forward', after - before), ('bfloat16', after - before), ('loss', before)):
        chosen = ESAM(gamma=gamma, selection=selection).start().select(before, measure).tolist()
        assert chosen == sorted(set(chosen))
        assert min(2, size) <= len(chosen)
        assert abs(len(chosen) - max(min(2, size), gamma * size)) <= 0.5
        left = [index for index in range(size) if index not in chosen]
        assert not left or float(scores[left].max()) <= float(scores[chosen].min())
    assert asked == [None, torch.bfloat16]


@pytest.mark.parametrize('selection', ['forward', 'loss'])
def test_equal_losses_still_select_the_share(selection: str) -> None:
    """Where a strict comparison with a threshold would select nobody."""
    chosen = ESAM(gamma=0.5, selection=selection).start().select(torch.ones(8), lambda dtype: torch.ones(8))
    assert len(chosen) == 4


# SSAM


def fed(method: SSAMF, squares: Named, samples: int) -> None:
    method.add_fisher(squares, list(squares.values()), samples)


@few_examples
@given(seed=seeds, sparsity=st.floats(0, 0.99))
def test_the_fisher_mask_has_exactly_its_share_and_the_largest_sums(seed: int, sparsity: float) -> None:
    method, squares, gradient = SSAMF(sparsity=sparsity, samples=6).start(), draw(seed), draw(seed + 5)
    squares = {name: tensor.abs() for name, tensor in squares.items()}
    more = {name: tensor.abs() for name, tensor in draw(seed + 1).items()}
    assert method.fisher_samples() == 6
    fed(method, squares, 4)
    assert method.fisher_samples() == 2
    assert close(ascent(method, gradient), sam(gradient))  # no mask yet, and nothing of the ascent in the sums
    fed(method, more, 2)
    assert method.fisher_samples() == 0
    offset, sums = ascent(method, gradient), vector(squares) + vector(more)
    live = offset != 0
    assert int(live.sum()) == max(round((1 - sparsity) * SIZE), 1)
    assert close(offset[live], sam(gradient)[live])
    assert not bool((~live).any()) or float(sums[live].min()) >= float(sums[~live].max())


def test_the_fisher_mask_is_renewed_from_new_samples_only() -> None:
    method = SSAMF(sparsity=0.5, samples=3, update_interval=2).start()
    wanted, live = [], []
    for step in range(6):
        wanted.append(method.fisher_samples())
        if wanted[-1]:
            fed(method, {name: tensor.abs() for name, tensor in draw(step).items()}, 2)
        live.append(ascent(method, draw(50 + step)) != 0)
    assert wanted == [3, 1, 3, 1, 3, 1]
    counts = [int(mask.sum()) for mask in live]
    assert counts == [SIZE, 18, 18, 18, 18, 18]
    sums = [vector(draw(step)).abs() + vector(draw(step + 1)).abs() for step in (0, 2, 4)]
    for step, expected in zip((1, 3, 5), sums, strict=True):
        assert torch.equal(live[step].nonzero()[:, 0], expected.topk(18).indices.sort().values)
    assert torch.equal(live[1], live[2])  # the old mask holds until the new one is there


@few_examples
@given(seed=seeds, sparsity=st.floats(0, 0.95), drop_rate=st.floats(0.01, 1))
def test_the_dynamic_mask_drops_the_smallest_gradients_and_grows_others(
    seed: int, sparsity: float, drop_rate: float
) -> None:
    method = SSAMD(sparsity=sparsity, drop_rate=drop_rate, update_interval=1, seed=seed).start()
    count = max(round((1 - sparsity) * SIZE), 1)
    last = ascent(method, draw(seed)) != 0
    for step in range(1, 5):
        gradient = draw(seed + step)
        live = ascent(method, gradient) != 0
        assert int(last.sum()) == int(live.sum()) == count
        dropped, kept, grown = last & ~live, last & live, live & ~last
        assert int(dropped.sum()) == int(grown.sum()) == min(int(count * drop_rate), SIZE - count)
        size = vector(gradient).abs()
        assert not bool(dropped.any() and kept.any()) or float(size[dropped].max()) <= float(size[kept].min())
        last = live


def test_the_dynamic_mask_holds_between_updates_and_settles() -> None:
    method = SSAMD(drop_rate=0.8, update_interval=3, decay_ascents=6).start()
    live = [ascent(method, draw(step)) != 0 for step in range(12)]
    changes = [int((one & ~other).sum()) for one, other in itertools.pairwise(live)]
    assert changes == [0, 0, int(18 * 0.4), 0, 0, 0, 0, 0, 0, 0, 0]  # half a cosine: 0.8, 0.4 after 3 ascents, then 0


def test_the_first_dynamic_mask_is_random() -> None:
    masks = [(ascent(SSAMD(seed=seed), draw(0)) != 0).tolist() for seed in (0, 0, 1)]
    assert masks[0] == masks[1] != masks[2]


# SAM-ON


def test_sam_on_chooses_by_the_type_of_the_module() -> None:
    layers = {
        'backbone': nn.Conv2d(2, 2, 1),
        'norm_by_name_only': nn.Linear(2, 2),
        'batch': nn.BatchNorm2d(2),
        'sync': nn.SyncBatchNorm(2),
        'instance': nn.InstanceNorm2d(2, affine=True),
        'group': nn.GroupNorm(1, 2),
        'last': nn.LayerNorm(2),
    }
    owners = {f'{name}.{part}': layer for name, layer in layers.items() for part in ('weight', 'bias')}
    weights = {name: getattr(layer, name.rpartition('.')[2]) for name, layer in owners.items()}
    chosen = SAMON().start().choose(weights, owners)
    assert chosen == [f'{name}.{part}' for name in list(layers)[2:] for part in ('weight', 'bias')]
    plain = {name: weights[name] for name in ('backbone.weight', 'norm_by_name_only.weight')}
    with pytest.raises(ValueError, match='no trained weight that may move belongs to one'):
        SAMON().start().choose(plain, owners)


# Friendly SAM


@few_examples
@given(seed=seeds, sigma=st.floats(0, 2), momentum=st.floats(0.1, 0.99))
def test_friendly_sam_ascends_along_the_part_that_the_average_lacks(seed: int, sigma: float, momentum: float) -> None:
    """The first ascent is along the gradient itself, at which the average starts; later ones take the average out."""
    method, first = FriendlySAM(sigma=sigma, momentum=momentum).start(), vector(draw(seed))
    assert close(ascent(method, draw(seed)), first / first.norm(), 1e-12)
    average = first
    for step in range(1, 5):
        gradient = vector(draw(seed + step))
        rest = gradient - sigma * average
        assert close(ascent(method, draw(seed + step)), rest / rest.norm(), 1e-9)
        average = momentum * average + (1 - momentum) * gradient


def test_friendly_sam_of_a_constant_gradient_goes_nowhere_after_the_first_step() -> None:
    method = FriendlySAM(momentum=0).start()
    assert float(ascent(method, draw(0)).norm()) == pytest.approx(1)
    assert torch.equal(ascent(method, draw(0)), torch.zeros(SIZE, dtype=torch.float64))


def test_friendly_sam_starts_the_average_of_a_weight_where_it_first_moves() -> None:
    """A direction may move other weights in each step."""
    method, (one, other) = FriendlySAM(sigma=1, momentum=0.5).start(), torch.eye(2, dtype=torch.float64)
    weights = {'a': torch.zeros(2, dtype=torch.float64), 'b': torch.zeros(2, dtype=torch.float64)}
    method.ascend({'a': weights['a']}, [one.clone()])
    late = method.ascend(weights, [one + 3 * other, 4 * other])  # the rest of a is 3, b is all of its gradient
    torch.testing.assert_close(torch.stack(late), torch.stack([3 * other, 4 * other]) / 5)
    late = method.ascend({'b': weights['b']}, [4 * other + one])
    torch.testing.assert_close(late[0], one)


# GSAM


@few_examples
@given(seed=seeds, alpha=st.floats(0.01, 5))
def test_the_gap_term_of_gsam_is_orthogonal_to_the_perturbed_gradient(seed: int, alpha: float) -> None:
    clean, perturbed = vector(draw(seed)), vector(draw(seed + 1))
    term = combined(GSAM(alpha=alpha).start(), draw(seed), draw(seed + 1)) - perturbed
    assert abs(float(term @ perturbed)) <= 1e-12 * float(term.norm() * perturbed.norm())
    # ... and it is the part of the plain gradient that the perturbed one lacks
    unit = perturbed / perturbed.norm()
    assert close(term, -alpha * (clean - (clean @ unit) * unit))


@pytest.mark.parametrize(('rate', 'radius'), [(1.0, 0.4), (0.5, 0.25), (0.0, 0.1)])
@pytest.mark.parametrize('factor', [1, 0.5, 0])
def test_the_radius_of_gsam_follows_the_learning_rate(rate: float, radius: float, factor: float) -> None:
    method = GSAM(rho=0.4, rho_min=0.1).start()
    group = dict(rho=0.4 * factor, lr=0.2 * rate, initial_lr=0.2)
    assert method.radius(group) == pytest.approx(factor * radius)
    assert method.radius(dict(rho=0.4 * factor, lr=0.2 * rate)) == pytest.approx(0.4 * factor)  # no scheduler


def test_gsam_configured_with_radius_zero_takes_that_of_a_checkpoint() -> None:
    assert GSAM(rho=0, rho_min=0).start().radius(dict(rho=0.3, lr=0.1, initial_lr=0.1)) == pytest.approx(0.3)


# LookSAM


@few_examples
@given(seed=seeds, alpha=st.floats(0.01, 3))
def test_the_direction_that_looksam_reuses_is_orthogonal_to_its_gradient(seed: int, alpha: float) -> None:
    """Its length is alpha times that of the new gradient, over all weights together."""
    method = LookSAM(alpha=alpha).start()
    old, sharp, new = vector(draw(seed)), vector(draw(seed + 1)), vector(draw(seed + 2))
    combined(method, draw(seed), draw(seed + 1))
    term = combined(method, draw(seed + 2), None) - new
    assert abs(float(term @ old)) <= 1e-11 * float(term.norm() * old.norm())
    assert float(term.norm()) == pytest.approx(alpha * float(new.norm()), rel=1e-10)
    assert float(term @ sharp) > 0


def test_looksam_is_due_until_it_has_learnt_something() -> None:
    method = LookSAM(interval=4).start()
    assert [method.is_due(step) for step in range(6)] == [True] * 6
    method.combine(draw(0), draw(1))
    assert [method.is_due(step) for step in range(6)] == [True, False, False, False, True, False]


# WSAM


@few_examples
@given(seed=seeds, gamma=st.floats(0, 0.95))
def test_wsam_weighs_the_sharpness(seed: int, gamma: float) -> None:
    clean, perturbed, weight = vector(draw(seed)), vector(draw(seed + 1)), gamma / (1 - gamma)
    expected = (1 - weight) * clean + weight * perturbed
    assert close(combined(WSAM(gamma=gamma, form='coupled').start(), draw(seed), draw(seed + 1)), expected, 1e-10)

    method, weights = WSAM(gamma=gamma).start(), draw(7)
    assert torch.equal(combined(method, draw(seed), draw(seed + 1)), clean)
    rates = {name: 0.1 * (index + 1) for index, name in enumerate(weights)}
    per_weight = flat([torch.full(shape, rates[name]) for name, shape in SHAPES.items()])
    for _ in range(2):  # the second time there is nothing left
        method.correct(weights, rates)
        wanted = vector(draw(7)) - per_weight * weight * (perturbed - clean)
        assert torch.allclose(vector(weights), wanted, rtol=1e-6, atol=1e-6)


# Common to all that mix

MIXERS = {'gsam': GSAM, 'looksam': LookSAM, 'wsam': WSAM, 'wsam coupled': lambda: WSAM(form='coupled')}
all_mixers = pytest.mark.parametrize('name', MIXERS)


@all_mixers
def test_zero_gradients_mix_to_zero(name: str) -> None:
    method, zero = MIXERS[name]().start(), draw(0, 0)
    for perturbed in (zero, None, None):
        assert torch.equal(combined(method, zero, perturbed), vector(zero))


@all_mixers
@pytest.mark.parametrize('which', ['clean', 'perturbed'])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_non_finite_gradients_are_not_hidden(name: str, which: str, value: float) -> None:
    """They reach the optimizer, or the weights after the step of that method or the next one."""
    method, weights, gradients = MIXERS[name]().start(), draw(3), {'clean': draw(0), 'perturbed': draw(1)}
    gradients[which]['conv.weight'].view(-1)[5] = value
    found = [combined(method, gradients['clean'], gradients['perturbed'])]
    method.correct(weights, dict.fromkeys(weights, 0.1))
    found += [vector(weights), combined(method, draw(4), None)]
    assert not bool(torch.isfinite(torch.cat(found)).all())


@all_mixers
@pytest.mark.parametrize('exponent', [-15, 15])
def test_small_and_large_gradients_mix_in_single_precision(name: str, exponent: int) -> None:
    check_scaled_mixing(name, exponent)


@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('exponent', [-30, -24, 22, 30])
def test_tiny_and_huge_gradients_mix_in_single_precision(name: str, exponent: int) -> None:
    """All mixing is linear in the scale of both gradients."""
    check_scaled_mixing(name, exponent)


def check_scaled_mixing(name: str, exponent: int) -> None:
    exact, scaled, factor = MIXERS[name]().start(), MIXERS[name]().start(), 10.0**exponent
    for clean, perturbed in ((0, 1), (2, None)):
        other = None if perturbed is None else draw(perturbed)
        expected = combined(exact, draw(clean), other)
        found = combined(
            scaled,
            draw(clean, factor, torch.float32),
            None if perturbed is None else draw(perturbed, factor, torch.float32),
        )
        assert close(found / factor, expected, 1e-4)


@all_mixers
def test_a_weight_without_a_perturbed_gradient_is_left_alone(name: str) -> None:
    """Gradients that only one of the passes has do no harm."""
    clean, perturbed = draw(0), draw(1)
    del perturbed['norm.weight']
    result = MIXERS[name]().start().combine(clean, perturbed)
    assert 'norm.weight' not in result or torch.equal(result['norm.weight'], draw(0)['norm.weight'])


@pytest.mark.parametrize('method', ['GSAM', 'LookSAM', 'WSAM'])
def test_a_mixture_of_gradients_of_different_samples_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match=f'{method} compares the gradients of both passes.*give it gamma=1'):
        WEIGHT_PERTURBATIONS.build(dict(type=method, direction=dict(type='ESAM')))
    WEIGHT_PERTURBATIONS.build(dict(type=method, direction=dict(type='ESAM', gamma=1.0)))


def test_gsam_never_leaves_its_largest_radius_under_a_one_cycle_schedule() -> None:
    """MMEngine's OneCycle sets initial_lr far below its peak."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, eta_max=0.1, total_steps=20)
    radii = []
    for _ in range(19):
        radii.append(GSAM(rho=0.04, rho_min=0.02).start().radius({'rho': 0.04, **optimizer.param_groups[0]}))
        optimizer.step()
        scheduler.step()
    assert max(radii) == pytest.approx(0.04)
    assert min(radii) == pytest.approx(0.02, abs=1e-3)


def test_samon_knows_normalisation_layers_of_other_projects() -> None:
    class HorNetLayerNorm(torch.nn.Module):
        pass

    weights = {'norm.weight': torch.ones(2), 'linear.weight': torch.ones(2, 2)}
    owners = {'norm.weight': HorNetLayerNorm(), 'linear.weight': torch.nn.Linear(2, 2)}
    assert SAMON().start().choose(weights, owners) == ['norm.weight']


def test_awp_leaves_embeddings_alone() -> None:
    weights = {'pos_embed': torch.ones(1, 4, 2), 'layer.weight': torch.ones(2, 2), 'layer.bias': torch.ones(2)}
    assert AWP().start().choose(weights, dict.fromkeys(weights, torch.nn.Module())) == ['layer.weight']


def test_random_numbers_of_another_device_start_anew_with_a_warning() -> None:
    numbers = RandomNumbers(3)
    numbers.load_state_dict({'generator': torch.zeros(16, dtype=torch.uint8)})
    with pytest.warns(UserWarning, match='start anew from seed 3'):
        drawn = torch.rand(4, generator=numbers.on(torch.device('cpu')))
    assert torch.equal(drawn, torch.rand(4, generator=RandomNumbers(3).on(torch.device('cpu'))))
