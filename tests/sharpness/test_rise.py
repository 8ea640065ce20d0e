"""Worst-case loss rises against closed forms."""

import pytest
import torch
from quadratics import point_of, quadratic, symmetric
from scipy.optimize import brentq

from samat_mm.perturbations.weights import ASAM, SAM, WeightPerturbation
from samat_mm.sharpness import loss_rises, one_step_rises


def greatest_rise(matrix, point, radius):
    """``max g'e + e'Ae/2`` over ``|e| <= radius`` for an A with a positive eigenvalue.

    Its solution is on the sphere, ``e = (s - A)^-1 g`` with ``s`` above every eigenvalue and such that ``|e|`` is the
    radius (Moré and Sorensen 1983).
    """
    values, vectors = torch.linalg.eigh(matrix)
    coordinates = vectors.T @ (matrix @ point)

    def excess(shift):
        return float((coordinates / (shift - values)).norm()) - radius

    shift = brentq(excess, float(values[-1]) + 1e-12, float(values[-1]) + 1e6, xtol=1e-14)
    offset = coordinates / (shift - values)
    return float(coordinates @ offset + (values * offset.square()).sum() / 2)


def change(matrix, point, offset):
    return float((matrix @ point) @ offset + offset @ matrix @ offset / 2)


@pytest.mark.parametrize('radius', [0.05, 0.5])
def test_one_step_of_sam_is_the_closed_form(radius):
    matrix = symmetric(6)
    surface = quadratic(matrix, shapes=((2, 2), (2,)))
    gradient = matrix @ point_of(surface)
    expected = change(matrix, point_of(surface), radius * gradient / gradient.norm())
    assert loss_rises(surface, SAM(radius), 1) == [pytest.approx(expected, rel=1e-10)]
    assert one_step_rises(surface, SAM(7.0), [0, radius]) == pytest.approx([0, expected], rel=1e-10)


def test_one_step_of_asam_is_the_closed_form():
    matrix = symmetric(6)
    surface = quadratic(matrix, shapes=((2, 2), (2,)))
    point = point_of(surface)
    scale = point.abs() + 0.01
    gradient = matrix @ point
    expected = change(matrix, point, 0.5 * scale**2 * gradient / (scale * gradient).norm())
    assert loss_rises(surface, ASAM(0.5, eta=0.01), 1) == [pytest.approx(expected, rel=1e-10)]


@pytest.mark.parametrize('convex', [False, True])
def test_many_steps_of_sam_approach_the_maximum_over_the_ball_from_below(convex):
    matrix = symmetric(6)
    matrix = matrix @ matrix if convex else matrix
    surface = quadratic(matrix)
    best = greatest_rise(matrix, point_of(surface), 1.0)
    one, five, many = (max(loss_rises(surface, SAM(1.0), steps)) for steps in (1, 5, 300))
    assert one < five < many <= best * (1 + 1e-12)
    assert many == pytest.approx(best, rel=1e-3)


def test_many_steps_of_asam_approach_the_maximum_over_the_ball_of_the_starting_weights():
    """In the coordinates ``e / T`` the ball is round."""
    matrix = symmetric(6)
    surface = quadratic(matrix)
    scale = torch.diag(point_of(surface).abs() + 0.01)
    best = greatest_rise(scale @ matrix @ scale, torch.linalg.solve(scale, point_of(surface)), 0.5)
    rises = loss_rises(surface, ASAM(0.5, eta=0.01), 300)
    assert rises[0] < max(rises) <= best * (1 + 1e-12)
    assert max(rises) == pytest.approx(best, rel=1e-3)


class Box(WeightPerturbation):
    """The ball of the maximum norm."""

    def ascend(self, weights, grads):
        return [grad.sign() for grad in grads]


def test_any_perturbation_that_can_ascend_gives_a_ball():
    """A box and a separable loss: the worst corner is known."""
    curvatures = torch.arange(1.0, 7.0, dtype=torch.float64)
    surface = quadratic(torch.diag(curvatures), shapes=((2, 2), (2,)))
    best = float((curvatures * point_of(surface)).abs().sum() * 0.1 + curvatures.sum() * 0.01 / 2)
    assert loss_rises(surface, Box(0.1), 3) == [pytest.approx(best, rel=1e-12)] * 3


def test_the_weights_are_back_to_the_bit_and_radius_zero_rises_nothing():
    surface = quadratic(symmetric(6).float())
    before = point_of(surface)
    assert max(loss_rises(surface, ASAM(0.3), 4)) > 0
    assert torch.equal(before, point_of(surface))
    assert loss_rises(surface, SAM(0), 3) == [0, 0, 0]


def test_at_least_one_step():
    with pytest.raises(ValueError, match='steps must be at least 1; got 0'):
        loss_rises(quadratic(symmetric(2)), SAM(), 0)
