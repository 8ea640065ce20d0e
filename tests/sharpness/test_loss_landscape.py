"""Directions as Li et al. normalise them, and the grids along them."""

import pytest
import torch
from quadratics import point_of, quadratic, symmetric
from torch import nn

from samat_mm.sharpness import Landscape, filter_normalised_direction, loss_landscape


def direction_of(model, seed=0):
    return filter_normalised_direction(dict(model.named_parameters()), torch.Generator().manual_seed(seed))


def test_each_filter_is_as_long_as_that_of_the_weights_and_biases_stay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[1] = 0
    for part, weight in zip(direction_of(model), model.parameters(), strict=True):
        if weight.ndim == 1:
            assert not part.any()
        else:
            torch.testing.assert_close(part.flatten(1).norm(dim=1), weight.detach().flatten(1).norm(dim=1))
            assert len(part[weight.flatten(1).norm(dim=1) > 0].unique()) > 1


def test_scaling_a_filter_scales_its_direction_and_the_seed_decides():
    model = nn.Linear(5, 3)
    before, other = direction_of(model), direction_of(model, seed=1)
    with torch.no_grad():
        model.weight[0] *= 10
    after = direction_of(model)
    torch.testing.assert_close(after[0][0], 10 * before[0][0])
    torch.testing.assert_close(after[0][1:], before[0][1:])
    assert not torch.equal(before[0], other[0])


def test_a_line_and_a_plane_are_those_of_the_directions():
    matrix = symmetric(6)
    surface = quadratic(matrix, shapes=((2, 3),))
    numbers = torch.Generator().manual_seed(3)
    first, second = (filter_normalised_direction(surface.weights, numbers)[0].reshape(-1) for _ in range(2))
    line = loss_landscape(surface, 1, points=5, span=0.5, seed=3)
    plane = loss_landscape(surface, 2, points=5, span=0.5, seed=3)
    assert line.positions.tolist() == plane.positions.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    for row, a in enumerate(line.positions):
        for column, b in enumerate(line.positions):
            moved = point_of(surface) + a * first + b * second
            assert float(plane.losses[row, column]) == pytest.approx(float(moved @ matrix @ moved / 2), rel=1e-10)
    torch.testing.assert_close(plane.line().losses, line.losses)
    assert isinstance(line.line(), Landscape)
    assert float(line.losses[2]) == surface.value()


def test_the_weights_and_the_random_state_are_as_before():
    surface = quadratic(symmetric(6).float(), shapes=((2, 3),))
    before, state = point_of(surface), torch.get_rng_state()
    loss_landscape(surface, 2, points=3)
    assert torch.equal(before, point_of(surface))
    assert torch.equal(state, torch.get_rng_state())


def test_bad_values():
    surface = quadratic(symmetric(2))
    with pytest.raises(ValueError, match='1 or 2 dimensions; got 3'):
        loss_landscape(surface, 3)
    for points in (1, 4):
        with pytest.raises(ValueError, match=f'points must be odd and at least 3.*got {points}'):
            loss_landscape(surface, 1, points=points)
