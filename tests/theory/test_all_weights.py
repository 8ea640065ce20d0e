"""SAM over all weights: the cone against random perturbations, the optimum against SAM itself."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from samat_mm.errors import InputError
from samat_mm.perturbations.weights import perturbed_step
from samat_mm.theory import (
    FeatureModel,
    TwoSidedSAM,
    all_weights_sam_weight,
    all_weights_sam_weight_approximate,
    exact_sam_weight,
    grid_row,
    standard_weight,
)
from samat_mm.theory.all_weights import worst_error


def error(model, weights):
    """The expected 0-1 loss of any weights, shape (N, n + 1)."""
    mean, length = model.eta * weights[:, 1:].sum(1), np.linalg.norm(weights[:, 1:], axis=1)
    right, wrong = (norm.cdf(-(sign * weights[:, 0] + mean) / length) for sign in (1, -1))
    return model.p * right + (1 - model.p) * wrong


@pytest.mark.parametrize('values', [(0.9, 0.5, 2), (0.6, 0.9, 3), (0.95, 0.2, 4)])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.9])
def test_the_cone_holds_the_worst_perturbation(values, share):
    model = FeatureModel(*values)
    eps, random = share * model.spread, np.random.default_rng(0)
    offsets = random.standard_normal((200_000, model.n + 1))
    offsets *= eps / np.linalg.norm(offsets, axis=1, keepdims=True)
    offsets[::2] *= random.random((100_000, 1))  # inside of the ball, too
    for weight in (0.5 * model.weight, model.weight, 1.5 * model.weight):
        found = error(model, np.array([weight] + [1.0] * model.n) + offsets).max()
        (claimed,) = worst_error(model, np.array([weight]), eps)
        assert found == pytest.approx(claimed, rel=5e-3)
        assert found <= claimed * (1 + 1e-3)  # the directions are on a grid


class ExpectedLoss(nn.Module):
    """The expected 0-1 loss as a function of all weights, of which w_1 alone is trained."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.robust = nn.Parameter(torch.tensor(0.8 * model.weight, dtype=torch.float64))
        self.others = nn.Parameter(torch.ones(model.n, dtype=torch.float64))

    def forward(self):
        mean, length = self.model.eta * self.others.sum(), self.others.norm()
        right, wrong = (torch.special.ndtr(-(sign * self.robust + mean) / length) for sign in (1, -1))
        return self.model.p * right + (1 - self.model.p) * wrong


@pytest.mark.parametrize(('eta', 'eps'), [(0.2, 1.0), (0.2, 3.0), (0.1, 1.0)])
def test_two_sided_sam_descends_to_the_optimum(eta, eps):
    """Where the worst perturbation turns w towards w_1 or away from it, as the gradient does."""
    model = FeatureModel(0.9, eta, 25)
    loss = ExpectedLoss(model)
    groups = [{'params': [loss.robust]}, {'params': [loss.others], 'lr': 0.0, 'step_sizes': (0.0, 0.0)}]
    optimizer = torch.optim.Rprop(groups, lr=0.5, step_sizes=(0.0, 10.0))
    method = TwoSidedSAM(eps, loss, steps=5).start()
    for step in range(80):
        perturbed_step(method, loss, loss, optimizer, step)
    assert loss.others.eq(1).all()
    assert loss.robust.item() / model.n == pytest.approx(all_weights_sam_weight(model, eps), rel=1e-6)


@pytest.mark.parametrize('values', [(0.9, 0.1, 100), (0.9, 0.05, 100), (0.99, 0.2, 400), (0.7, 0.2, 10)])
def test_the_second_order_formula_and_its_sign(values):
    model = FeatureModel(*values)
    eps = 0.1 * min(model.spread, model.weight)
    exact, formula = (of(model, eps) - standard_weight(model) for of in FORMULAS)
    assert exact == pytest.approx(formula, rel=0.05)
    assert (exact > 0) == (model.weight > math.sqrt(2 * model.n))
    assert exact_sam_weight(model, eps) > standard_weight(model)


FORMULAS = (all_weights_sam_weight, all_weights_sam_weight_approximate)


def test_the_formula_depends_on_angles_alone():
    """Models with the same w* / sqrt n and eta sqrt n, at the same eps / sqrt n, differ by the scale of w."""
    small, large = FeatureModel(0.9, 0.2, 25), FeatureModel(0.9, 0.1, 100)
    for of in FORMULAS:
        ratios = [of(model, 0.3 * model.spread) / standard_weight(model) for model in (small, large)]
        assert ratios[0] == pytest.approx(ratios[1], rel=1e-8)


def test_a_large_ball_leaves_the_robust_feature_alone():
    model = FeatureModel(0.99, 0.1, 25)
    assert all_weights_sam_weight(model, 2.0) == math.inf
    weights = np.linspace(0, 200, 20_001)
    assert worst_error(model, weights, 2.0).min() >= 1 - model.p
    assert grid_row(model, 2.0)['W_SAM_all_weights'] is None


@pytest.mark.parametrize(
    ('values', 'eps', 'sentence'),
    [
        ((0.9, 0.1, 100), 10.0, r'eps must be below sqrt\(n\) = 10, .*; got 10.0'),
        ((0.9, 0.1, 1), 0.1, 'n of at least 2; got 1'),
        ((0.9, 1.0, 10_000), 0.1, r'eta sqrt\(n\) = 100 leaves an error below 1e-290'),
        ((0.9, 0.1, 100), -1.0, 'eps must be a finite number'),
    ],
)
def test_what_has_no_worst_case(values, eps, sentence):
    with pytest.raises(InputError, match=sentence):
        all_weights_sam_weight(FeatureModel(*values), eps)
