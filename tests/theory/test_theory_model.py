"""The feature model: its samples, its error and its errors."""

import doctest
import importlib

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from samat_mm.errors import InputError
from samat_mm.theory import FeatureModel


@pytest.mark.parametrize(
    ('p', 'eta', 'n', 'sentence'),
    [
        (0.5, 0.1, 10, 'p, the accuracy of the robust feature, must be above 0.5.*got 0.5'),
        (0.3, 0.1, 10, 'got 0.3'),
        (1.0, 0.1, 10, 'got 1.0'),
        (float('nan'), 0.1, 10, 'got nan'),
        ('0.9', 0.1, 10, "got '0.9'"),
        (0.9, 0.0, 10, 'eta, the mean of a non-robust feature, must be above 0'),
        (0.9, -0.1, 10, 'eta must be a finite number of at least 0; got -0.1'),
        (0.9, 0.1, 0, 'n must be a whole number of at least 1; got 0'),
        (0.9, 0.1, 2.5, 'n must be a whole number'),
    ],
)
def test_what_the_model_refuses(p, eta, n, sentence):
    with pytest.raises(InputError, match=sentence):
        FeatureModel(p, eta, n)


def test_samples_follow_the_distribution():
    model, count = FeatureModel(0.8, 0.3, 4), 40_000
    inputs, labels = model.sample(count, seed=1, drawn=0.25)
    assert set(labels.tolist()) == {-1.0, 1.0}
    assert set(inputs[:, 0].tolist()) == {-1.0, 1.0}
    assert abs(float(labels.mean())) < 4 / count**0.5
    assert float((inputs[:, 0] == labels).double().mean()) == pytest.approx(0.8, abs=4 * 0.4 / count**0.5)
    noise = inputs[:, 1:] - 0.3 * labels[:, None]
    assert noise.mean(0).abs().max() < 5 * 0.5 / count**0.5
    covariance = torch.cov(torch.cat([noise, inputs[:, :1] * labels[:, None]], 1).T)[:4]
    assert torch.allclose(covariance, 0.25 * torch.eye(4, 5, dtype=torch.float64), atol=0.01)


def test_samples_depend_on_the_seed_alone():
    model = FeatureModel(0.8, 0.3, 4)
    first, again, other = (model.sample(5, seed) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)


@pytest.mark.parametrize(('count', 'drawn'), [(0, 1.0), (2.5, 1.0), (5, 0.0), (5, 1.5)])
def test_samples_that_do_not_exist(count, drawn):
    with pytest.raises(InputError):
        FeatureModel(0.8, 0.3, 4).sample(count, 0, drawn)


@pytest.mark.parametrize('weight', [-1.0, 0.0, 2.0, 8.0])
def test_the_error_is_that_of_the_classifier_on_samples(weight):
    model, count = FeatureModel(0.8, 0.3, 4), 40_000
    inputs, labels = model.sample(count, seed=0)
    scores = weight * inputs[:, 0] + inputs[:, 1:].sum(1)
    wrong = float((scores.sign() != labels).double().mean())
    assert wrong == pytest.approx(model.error(weight), abs=4 * 0.5 / count**0.5)


def test_the_error_is_one_minus_the_integrals_of_equation_16():
    model, weight = FeatureModel(0.7, 0.2, 9), 1.5

    def density(total):
        return norm.pdf(total, 0.2 * 9, 3)

    accuracy = 0.7 * quad(density, -weight, np.inf)[0] + 0.3 * quad(density, weight, np.inf)[0]
    assert model.error(weight) == pytest.approx(1 - accuracy, abs=1e-10)
    assert model.error(np.array([weight, 0.0]), 0.2 * 9)[1] == pytest.approx(0.5)


@pytest.mark.parametrize('name', ['model', 'theorems', 'sharpness_aware'])
def test_the_examples_are_true(name):
    failed, attempted = doctest.testmod(importlib.import_module(f'samat_mm.theory.{name}'))
    assert (failed, attempted > 0) == (0, True)
