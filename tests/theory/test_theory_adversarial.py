"""The optima under attack against accuracies that are maximised by brute force."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from samat_mm.errors import InputError
from samat_mm.theory import INPUT_BALLS, FeatureModel, ball_rows, exact_adversarial_weight, standard_weight

MODELS = [FeatureModel(*values) for values in [(0.6, 0.3, 4), (0.9, 0.2, 25), (0.75, 0.1, 100)]]


def worst_shift(weights, eps, ball):
    """The most that an attack takes from the margin ``w x``, over corners (linf) or a sphere (l2) of the ball."""
    if ball.startswith('linf'):
        return max(-np.dot(weights, eps * np.array(signs)) for signs in itertools.product((-1, 1), repeat=len(weights)))
    directions = np.random.default_rng(0).standard_normal((200_000, len(weights)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return float((-eps * directions @ weights).max())


@pytest.mark.parametrize('ball', INPUT_BALLS)
@pytest.mark.parametrize('weight', [0.3, 2.0])
def test_the_dual_norms_are_those_of_the_worst_attack(ball, weight):
    n, eps = 3, 0.2
    weights = np.array([weight] * ball.endswith('all') + [1.0] * n)
    kind = INPUT_BALLS[ball]
    assert eps * kind.length(weight, n) == pytest.approx(worst_shift(weights, eps, ball), rel=3e-3)
    step = 1e-6
    slope = (kind.length(weight + step, n) - kind.length(weight - step, n)) / (2 * step)
    assert kind.slope(weight, n) == pytest.approx(slope, abs=1e-7)


def accuracy(model, weights, eps, ball):
    lengths = {
        'linf': model.n,
        'l2': model.n**0.5,
        'linf-all': model.n + weights,
        'l2-all': (model.n + weights**2) ** 0.5,
    }
    mean = model.eta * model.n - eps * lengths[ball]
    right, wrong = (norm.cdf((sign * weights + mean) / model.n**0.5) for sign in (1, -1))
    return model.p * right + (1 - model.p) * wrong


@pytest.mark.parametrize('model', MODELS, ids=str)
@pytest.mark.parametrize('ball', INPUT_BALLS)
@pytest.mark.parametrize('share', [0.05, 0.2, 0.5])
def test_no_weight_has_a_higher_accuracy_under_attack(model, ball, share):
    eps = share * model.eta * (model.spread if ball.startswith('l2') else 1)
    found = exact_adversarial_weight(model, eps, ball) * model.n
    grid = np.linspace(0, 60 * model.spread, 400_001)
    values = accuracy(model, grid, eps, ball)
    if math.isinf(found):
        assert values.max() <= model.p + 1e-12
    else:
        assert accuracy(model, np.array(found), eps, ball) >= values.max()
        assert found == pytest.approx(grid[values.argmax()], abs=1e-3 * model.spread)


def test_l2_is_linf_of_a_smaller_radius():
    model = FeatureModel(0.9, 0.1, 100)
    assert exact_adversarial_weight(model, 0.5, 'l2') == pytest.approx(exact_adversarial_weight(model, 0.05), rel=1e-12)


def test_the_attack_on_all_inputs_in_linf_solves_a_quadratic_equation():
    model, eps = FeatureModel(0.9, 0.1, 100), 0.03
    constant = math.log(9) + math.log((1 - eps) / (1 + eps))
    root = math.sqrt((model.eta - eps) ** 2 - 2 * eps * constant / model.n)
    expected = (model.eta - eps - root) / (2 * eps / model.n) / model.n
    assert exact_adversarial_weight(model, eps, 'linf-all') == pytest.approx(expected, rel=1e-12)


def test_weights_without_a_finite_optimum():
    """Attacked itself, the robust feature may be worth nothing, or everything."""
    assert exact_adversarial_weight(FeatureModel(0.9, 0.1, 25), 0.09, 'linf-all') == math.inf
    assert exact_adversarial_weight(FeatureModel(0.51, 0.9, 25), 0.1, 'linf-all') == 0
    nearly_useless = FeatureModel(0.5 + 1e-9, 0.1, 25)
    assert exact_adversarial_weight(nearly_useless, 0.0) == pytest.approx(standard_weight(nearly_useless), rel=1e-6)
    rows = ball_rows(FeatureModel(0.9, 0.2, 25))
    assert [row['linf-all'] is None for row in rows] == [False, False, False, True, True]
    assert [row['linf'] for row in rows] == pytest.approx([row['l2'] for row in rows])


@pytest.mark.parametrize(
    ('eps', 'ball', 'sentence'),
    [
        (1.0, 'l2', 'eps must be below 1 for adversarial training in the ball l2; got 1.0'),
        (0.1, 'linf-all', 'eps must be below 0.1 for'),
        (0.1, 'l3', "ball must be one of linf, l2, linf-all, l2-all; got 'l3'"),
    ],
)
def test_attacks_out_of_range(eps, ball, sentence):
    with pytest.raises(InputError, match=sentence):
        exact_adversarial_weight(FeatureModel(0.9, 0.1, 100), eps, ball)


def test_an_attack_must_not_reach_the_sign_of_the_robust_feature():
    with pytest.raises(InputError, match='eps must be below 1 for'):
        exact_adversarial_weight(FeatureModel(0.9, 3.0, 25), 1.0, 'linf-all')
    assert exact_adversarial_weight(FeatureModel(0.9, 3.0, 25), 1.0) == pytest.approx(
        1.5 * standard_weight(FeatureModel(0.9, 3.0, 25))
    )
