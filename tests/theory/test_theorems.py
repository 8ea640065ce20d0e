"""The theorems against roots in many digits, and against each other."""

import math

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samat_mm.errors import InputError
from samat_mm.theory import (
    FeatureModel,
    adversarial_weight,
    exact_adversarial_weight,
    exact_matching_radius,
    exact_sam_weight,
    exact_standard_weight,
    grid_row,
    matching_radius_corrected,
    matching_radius_paper,
    per_sample_sam_weight,
    sam_excess,
    sam_range,
    sam_weight_corrected,
    sam_weight_paper,
    standard_weight,
)

MODELS = [FeatureModel(*values) for values in [(0.6, 0.05, 25), (0.9, 0.1, 100), (0.99, 0.3, 400), (0.75, 1.0, 3)]]
models = st.builds(FeatureModel, st.floats(0.51, 0.999), st.floats(0.02, 1.5), st.integers(1, 500))


def accuracy(model, weight, eta=None):
    """``u(w)`` as in equation 20, in as many digits as mpmath is set to."""
    p, mean, root = mpmath.mpf(model.p), mpmath.mpf(eta or model.eta) * model.n, mpmath.sqrt(model.n)
    return p * mpmath.ncdf((weight + mean) / root) + (1 - p) * mpmath.ncdf((mean - weight) / root)


def root_of(function, low, high):
    with mpmath.workdps(60):
        return mpmath.findroot(function, (low, high), solver='anderson', tol=1e-90, maxsteps=200, verify=False)


def exact_weight_in_many_digits(model, eps):
    with mpmath.workdps(60):
        start, eps = mpmath.mpf(model.weight), mpmath.mpf(eps)
        found = root_of(lambda w: accuracy(model, w - eps) - accuracy(model, w + eps), start, start + eps)
        return float(found / model.n), float(found - mpmath.log(model.p / (1 - mpmath.mpf(model.p))) / (2 * model.eta))


@pytest.mark.parametrize('model', MODELS, ids=str)
@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_theorems_1_and_2_are_roots_of_the_derivative(model, share):
    eps = share * model.eta
    with mpmath.workdps(60):
        eta = mpmath.mpf(model.eta) - mpmath.mpf(eps)
        slope = mpmath.diff(lambda w: accuracy(model, w, eta), adversarial_weight(model, eps) * mpmath.mpf(model.n))
        scale = mpmath.npdf((adversarial_weight(model, eps) * model.n + eta * model.n) / mpmath.sqrt(model.n))
    assert abs(slope / scale) < 1e-12
    assert exact_adversarial_weight(model, eps) == pytest.approx(adversarial_weight(model, eps), rel=1e-12)
    assert exact_standard_weight(model) == pytest.approx(standard_weight(model), rel=1e-12)


@pytest.mark.parametrize('model', MODELS, ids=str)
@pytest.mark.parametrize('share', [0.02, 0.1, 0.5, 2.0, 6.0])
def test_the_exact_weight_of_sam_has_equal_accuracy_at_both_ends(model, share):
    eps = share * model.spread
    weight, shift = exact_weight_in_many_digits(model, eps)
    assert exact_sam_weight(model, eps) == pytest.approx(weight, rel=1e-11)
    assert sam_excess(model, eps) * model.n == pytest.approx(shift, rel=1e-6)


def test_the_published_example():
    """The relative shift is eps^2 / (3 n) to four digits, and 200 times less than the paper's 2 eps^2 / 3."""
    model = FeatureModel(0.9, 0.1, 100)
    assert exact_sam_weight(model, 0.5) / standard_weight(model) - 1 == pytest.approx(8.334e-4, abs=5e-8)
    assert sam_weight_corrected(model, 0.5) / standard_weight(model) - 1 == pytest.approx(8.333e-4, abs=5e-8)
    assert sam_weight_paper(model, 0.5) / standard_weight(model) - 1 == pytest.approx(0.1667, abs=5e-5)


@pytest.mark.parametrize('model', MODELS, ids=str)
def test_the_next_term_of_the_expansion(model):
    """1 + eps^2 (3 / n - eta^2 - W*^2) / 15, which sam_range relies on."""
    eps = 0.05 * min(model.spread, sam_range(model))
    shift = exact_weight_in_many_digits(model, eps)[1]
    second = model.weight * eps**2 / (3 * model.n)
    term = (3 / model.n - model.eta**2 - standard_weight(model) ** 2) / 15
    assert (shift / second - 1) / eps**2 == pytest.approx(term, abs=2e-2 * (3 / model.n + model.eta**2))


@pytest.mark.parametrize('model', MODELS, ids=str)
def test_the_corrected_formula_holds_within_its_range_and_the_papers_does_not(model):
    for share in (0.2, 0.6, 1.0):
        eps = share * sam_range(model)
        exact = sam_excess(model, eps)
        assert sam_weight_corrected(model, eps) - standard_weight(model) == pytest.approx(exact, rel=0.12 * share**2)
        paper = sam_weight_paper(model, eps) - standard_weight(model)
        assert paper == pytest.approx(2 * model.n * exact, rel=0.12 * share**2)


@given(model=models, share=st.floats(0.005, 5.0), growth=st.floats(1.01, 2.0))
@settings(max_examples=60, deadline=None)
def test_sam_relies_more_on_the_robust_feature_and_more_with_the_radius(model, share, growth):
    eps = share * model.spread
    assert 0 < sam_excess(model, eps) < eps / model.n
    assert exact_sam_weight(model, growth * eps) > exact_sam_weight(model, eps)


@given(model=models, share=st.floats(0.01, 3.0))
@settings(max_examples=60, deadline=None)
def test_at_of_the_matching_radius_has_the_weight_of_sam(model, share):
    eps = share * model.spread
    for radius, weight in (
        (exact_matching_radius, exact_sam_weight),
        (matching_radius_corrected, sam_weight_corrected),
        (matching_radius_paper, sam_weight_paper),
    ):
        assert adversarial_weight(model, radius(model, eps)) == pytest.approx(weight(model, eps), rel=1e-9)
    assert 2 + 6 * model.n / eps**2 == pytest.approx(2 * model.eta / matching_radius_corrected(model, eps))
    assert 2 + 3 / eps**2 == pytest.approx(2 * model.eta / matching_radius_paper(model, eps))


@pytest.mark.parametrize('model', MODELS, ids=str)
def test_sam_of_single_samples_is_adversarial_training(model):
    eps = 0.4 * model.eta * model.n
    assert per_sample_sam_weight(model, eps) == pytest.approx(adversarial_weight(model, eps / model.n))
    data = model.sample(2000, seed=0)
    margins = data.labels * data.inputs[:, 1:].sum(1)
    for weight in (0.5 * model.weight, model.weight, 2 * model.weight):
        ends = [margins + data.labels * data.inputs[:, 0] * (weight + end) for end in (-eps, eps)]
        attacked = margins - eps + data.labels * data.inputs[:, 0] * weight
        assert ((ends[0] < 0) | (ends[1] < 0)).equal(attacked < 0)


def test_radius_zero_is_standard_training():
    model = FeatureModel(0.9, 0.1, 100)
    for weight in (exact_sam_weight, sam_weight_corrected, sam_weight_paper, per_sample_sam_weight, adversarial_weight):
        assert weight(model, 0) == pytest.approx(standard_weight(model), rel=1e-15)


@pytest.mark.parametrize(
    ('function', 'eps', 'sentence'),
    [
        (adversarial_weight, 0.1, 'eps must be below eta=0.1 for adversarial training; got 0.1'),
        (adversarial_weight, -0.1, 'eps must be a finite number of at least 0; got -0.1'),
        (exact_adversarial_weight, 0.1, 'eps must be below 0.1 for adversarial training in the ball linf; got 0.1'),
        (exact_sam_weight, math.inf, 'eps must be a finite number of at least 0; got inf'),
        (sam_weight_corrected, -1, 'eps must be a finite number'),
        (sam_weight_paper, math.nan, 'eps must be a finite number'),
        (sam_excess, 0.0, r'eps must be at least sqrt\(n\) / 1000 = 0.01, below which rounding hides .*; got 0.0'),
        (per_sample_sam_weight, 10, 'eps must be below eta n = 10 for SAM on single samples; got 10'),
        (matching_radius_corrected, -1, 'eps must be a finite number'),
        (grid_row, -1, 'eps must be a finite number'),
    ],
)
def test_radii_out_of_range(function, eps, sentence):
    with pytest.raises(InputError, match=sentence):
        function(FeatureModel(0.9, 0.1, 100), eps)
