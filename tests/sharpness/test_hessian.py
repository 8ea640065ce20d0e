"""Eigenvalue and trace against those of a known matrix."""

import pytest
import torch
from quadratics import quadratic, symmetric

from samat_mm.sharpness import top_eigenvalue, trace


@pytest.mark.parametrize('seed', range(5))
def test_the_top_eigenvalue_is_the_signed_greatest(seed):
    matrix = symmetric(12, seed) - 8 * torch.eye(12)  # the one of greatest magnitude is negative
    expected = float(torch.linalg.eigvalsh(matrix)[-1])
    assert abs(torch.linalg.eigvalsh(matrix)[0]) > abs(expected)
    found = top_eigenvalue(quadratic(matrix, shapes=((3, 2), (6,))), seed, tolerance=1e-8)
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.iterations <= 14


def test_the_error_bound_holds_where_the_iteration_is_cut_short():
    matrix = torch.diag(torch.linspace(-1, 1, 200, dtype=torch.float64))
    found = top_eigenvalue(quadratic(matrix), max_iterations=10)
    assert found.iterations == 10
    assert 0 < 1 - found.value <= found.error_bound < 0.5


def test_it_stays_the_greatest_when_rounding_repeats_what_has_converged():
    matrix = torch.diag(torch.tensor([100.0, 3.0, 2.0, 1.0, *torch.linspace(0, 0.9, 96)]))
    found = top_eigenvalue(quadratic(matrix), tolerance=0, max_iterations=80)
    assert found.value == pytest.approx(100, rel=1e-5)


@pytest.mark.parametrize('matrix', [torch.zeros(3, 3), -torch.eye(3), torch.ones(1, 1)], ids=['0', '-1', '1'])
def test_matrices_of_which_the_first_vector_is_an_eigenvector(matrix):
    found = top_eigenvalue(quadratic(matrix.double()))
    assert found.value == pytest.approx(float(matrix[0, 0]), abs=1e-12)
    assert found.iterations == 1


def test_the_trace_is_within_its_standard_error_which_is_that_of_the_formula():
    matrix = symmetric(8)
    estimate = trace(quadratic(matrix, shapes=((2, 2), (4,))), probes=1000)
    assert abs(estimate.value - float(matrix.trace())) < 3 * estimate.standard_error
    # Var(v'Av) = 2 (|A|^2 - |diag A|^2) for random signs
    variance = 2 * float(matrix.square().sum() - matrix.diag().square().sum())
    assert estimate.standard_error == pytest.approx((variance / 1000) ** 0.5, rel=0.1)


def test_the_trace_of_a_diagonal_hessian_is_exact():
    estimate = trace(quadratic(torch.diag(torch.arange(5.0).double())), probes=2)
    assert estimate.value == pytest.approx(10, rel=1e-12)
    assert estimate.standard_error == pytest.approx(0, abs=1e-12)


def test_the_seed_alone_decides():
    surface = quadratic(symmetric(8))
    state = torch.get_rng_state()
    assert trace(surface, 3, seed=4) == trace(surface, 3, seed=4) != trace(surface, 3, seed=5)
    assert top_eigenvalue(surface, 4) == top_eigenvalue(surface, 4) != top_eigenvalue(surface, 5)
    assert torch.equal(state, torch.get_rng_state())


def test_a_curvature_that_is_not_finite_is_said_so():
    assert str(top_eigenvalue(quadratic(torch.full((2, 2), torch.nan).double())).value) == 'nan'


def test_bad_numbers_of_iterations_and_probes():
    surface = quadratic(symmetric(2))
    with pytest.raises(ValueError, match='max_iterations must be at least 1; got 0'):
        top_eigenvalue(surface, max_iterations=0)
    with pytest.raises(ValueError, match='at least 2 probes; got 1'):
        trace(surface, probes=1)
