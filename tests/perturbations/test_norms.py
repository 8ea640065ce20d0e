"""The four functions of a norm ball, against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from samat_mm.perturbations.norms import NORMS, norm_named
from samat_mm.perturbations.randomness import generator_for

each_norm = pytest.mark.parametrize('norm', NORMS)
# N perturbations of one to eight numbers each.
perturbations = arrays(
    np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(-10, 10, allow_subnormal=False)
).map(torch.from_numpy)
radii = st.floats(0.01, 5)
fast = settings(max_examples=50, deadline=None, derandomize=True, database=None)


def norm_by_definition(norm, vector):
    """The norm of one list of numbers, in plain Python."""
    lengths = [abs(x) for x in vector]
    return {'linf': max(lengths), 'l2': math.sqrt(sum(x * x for x in vector)), 'l1': sum(lengths)}[norm]


def directions(norm, dimension, count, seed=0):
    """Random vectors of norm 1, made without the code under test."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return vectors / np.array([[norm_by_definition(norm, vector)] for vector in vectors])


@each_norm
@fast
@given(delta=perturbations)
def test_norm_is_the_norm_of_each_perturbation(norm, delta):
    expected = [norm_by_definition(norm, row) for row in delta.tolist()]
    assert NORMS[norm].norm(delta).tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@each_norm
@fast
@given(delta=perturbations, radius=radii)
def test_projection_lies_inside_and_projecting_again_changes_nothing(norm, delta, radius):
    ball = NORMS[norm]
    once = ball.project(delta, radius)
    assert all(norm_by_definition(norm, row) <= radius * (1 + 1e-12) for row in once.tolist())
    torch.testing.assert_close(ball.project(once, radius), once, rtol=1e-12, atol=1e-14)


@each_norm
@fast
@given(delta=perturbations, radius=radii)
def test_projection_keeps_what_is_inside_already(norm, delta, radius):
    longest = max(norm_by_definition(norm, row) for row in delta.tolist())
    inside = delta * (0.999 * radius / max(longest, radius))
    assert torch.equal(NORMS[norm].project(inside, radius), inside)


@each_norm
@fast
@given(delta=perturbations, radius=radii)
def test_no_point_of_the_ball_is_nearer_than_the_projection(norm, delta, radius):
    projected = NORMS[norm].project(delta, radius).numpy()
    dimension = delta.shape[1]
    lengths = np.random.default_rng(1).uniform(size=(200, 1))
    candidates = np.concatenate(
        [radius * lengths * directions(norm, dimension, 200), radius * directions(norm, dimension, 200)]
    )
    for row, nearest in zip(delta.numpy(), projected, strict=True):
        assert np.linalg.norm(row - nearest) <= np.linalg.norm(row - candidates, axis=1).min() + 1e-9


@each_norm
def test_projection_is_the_nearest_point_of_a_fine_grid_in_the_plane(norm):
    radius, spacing = 0.7, 0.005
    axis = np.arange(-1, 1 + spacing, spacing)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    size = np.array([norm_by_definition(norm, point) for point in grid])
    grid = grid[size <= radius]
    points = torch.tensor([[2.0, 0.3], [-1.0, 1.0], [0.1, -0.2], [0.0, 0.9]], dtype=torch.float64)
    for point, projected in zip(points.numpy(), NORMS[norm].project(points, radius).numpy(), strict=True):
        nearest = grid[np.linalg.norm(grid - point, axis=1).argmin()]
        assert np.linalg.norm(projected - nearest) < 2 * spacing * math.sqrt(radius / spacing)
        assert np.linalg.norm(projected - point) <= np.linalg.norm(nearest - point) + 1e-12


@each_norm
@fast
@given(grad=perturbations)
def test_no_unit_direction_raises_the_loss_more_than_the_steepest(norm, grad):
    steepest = NORMS[norm].steepest(grad).numpy()
    others = directions(norm, grad.shape[1], 300)
    for row, direction in zip(grad.numpy(), steepest, strict=True):
        rise = float(row @ direction)
        dual = {'linf': np.abs(row).sum(), 'l2': np.linalg.norm(row), 'l1': np.abs(row).max()}[norm]
        assert float(NORMS[norm].dual(torch.tensor(row)[None])) == pytest.approx(dual, rel=1e-9, abs=1e-12)
        assert norm_by_definition(norm, direction) <= 1 + 1e-12
        assert rise == pytest.approx(dual, rel=1e-9, abs=1e-12)
        assert rise >= (others @ row).max() - 1e-9


@each_norm
@pytest.mark.parametrize('scale', [1e-36, 1e-30, 1e-22, 1e-10, 1.0, 1e10, 1e19, 1e30])
def test_the_scale_of_the_gradient_does_not_matter(norm, scale):
    """A saturated model gives tiny gradients, whose squares are zero in single precision."""
    grad = torch.tensor([[3.0, -4.0, 0.0, 0.0], [1.0, 1.0, 1.0, -1.0]])
    expected = {
        'linf': [[1, -1, 0, 0], [1, 1, 1, -1]],
        'l2': [[0.6, -0.8, 0, 0], [0.5, 0.5, 0.5, -0.5]],
        'l1': [[0, -1, 0, 0], [1, 0, 0, 0]],
    }
    torch.testing.assert_close(NORMS[norm].steepest(grad * scale), torch.tensor(expected[norm], dtype=torch.float32))


@each_norm
def test_a_zero_gradient_gives_no_direction(norm):
    assert torch.equal(NORMS[norm].steepest(torch.zeros(2, 3, 4, 4)), torch.zeros(2, 3, 4, 4))


@each_norm
def test_the_perturbations_of_a_batch_do_not_know_of_each_other(norm):
    ball = NORMS[norm]
    torch.manual_seed(0)
    small, large = torch.randn(1, 3, 5, 5), 1000 * torch.randn(1, 3, 5, 5)
    both = torch.cat([small, large])
    for function in (ball.steepest, lambda delta: ball.project(delta, 0.3), ball.norm):
        torch.testing.assert_close(function(both), torch.cat([function(small), function(large)]), rtol=1e-6, atol=0)


@each_norm
def test_samples_lie_inside_and_reach_out(norm):
    generator = torch.Generator().manual_seed(0)
    samples = [NORMS[norm].sample((3, 4, 5), 0.2, generator) for _ in range(200)]
    lengths = [norm_by_definition(norm, sample.flatten().tolist()) for sample in samples]
    assert all(sample.shape == (3, 4, 5) for sample in samples)
    assert max(lengths) <= 0.2 * (1 + 1e-6)
    assert max(lengths) > 0.199


def kolmogorov_distance(values):
    """The largest distance of the values' distribution function from that of the uniform distribution on [0, 1]."""
    ordered = np.sort(values)
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max())


@pytest.mark.parametrize('dimension', [1, 2, 12])
def test_l2_samples_fill_the_volume_evenly(dimension):
    """A ball of radius r holds the share r^dimension of the unit ball."""
    generator, count = torch.Generator().manual_seed(0), 2000
    samples = torch.stack([NORMS['l2'].sample((dimension,), 1.0, generator) for _ in range(count)])
    shares = samples.norm(dim=1).numpy() ** dimension
    assert kolmogorov_distance(shares) < 1.63 / math.sqrt(count)  # exceeded by chance once in a hundred
    assert float(samples.mean(0).abs().max()) < 4 / math.sqrt(count * dimension)  # no side is preferred


@pytest.mark.parametrize('dimension', [1, 2, 12])
def test_l1_samples_fill_the_volume_evenly(dimension):
    generator, count = torch.Generator().manual_seed(0), 2000
    samples = torch.stack([NORMS['l1'].sample((dimension,), 1.0, generator) for _ in range(count)])
    assert kolmogorov_distance(samples.abs().sum(1).numpy() ** dimension) < 1.63 / math.sqrt(count)
    assert float(samples.mean(0).abs().max()) < 4 / math.sqrt(count * dimension)


def test_linf_samples_are_uniform_in_every_coordinate():
    generator, count = torch.Generator().manual_seed(0), 2000
    samples = torch.stack([NORMS['linf'].sample((3,), 0.5, generator) for _ in range(count)])
    for coordinate in samples.T:
        assert kolmogorov_distance(coordinate.numpy() + 0.5) < 1.63 / math.sqrt(count)


@each_norm
def test_the_generator_decides_the_sample(norm):
    ball = NORMS[norm]
    first, again, other = (ball.sample((3, 2, 2), 0.1, generator_for(seed, 1)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_norm
def test_a_radius_beyond_the_pixel_box_is_refused(norm):
    ball, shape = NORMS[norm], (3, 4, 4)
    black, white = torch.zeros(1, *shape), torch.ones(1, *shape)
    diameter = norm_by_definition(norm, (white - black).flatten().tolist())
    ball.check_radius(diameter, shape)
    with pytest.raises(ValueError, match=r'eps must be in \[0, 1\] pixel units'):
        ball.check_radius(diameter * 1.01, shape)


def test_an_unknown_norm_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"norm must be one of linf, l2, l1; got 'l3'"):
        norm_named('l3')
