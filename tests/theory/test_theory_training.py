"""Training on samples reaches the optima within its statistical error."""

import statistics

import pytest
import torch

from samat_mm.errors import InputError
from samat_mm.perturbations.inputs import PGD
from samat_mm.perturbations.weights import SAM
from samat_mm.theory import Estimate, FeatureModel, Recipe, Training, TwoSidedSAM, cases, train
from samat_mm.theory.training import DRAWN, LinearClassifier, attacked

MODEL = FeatureModel(0.9, 0.2, 25)
QUICK = Training(samples=3000, data_sets=6, steps=40)
CASES = {(case.method, round(case.eps, 3)): case for case in cases(MODEL)}


@pytest.fixture(scope='module')
def trained():
    """The trained weights by case, each computed once."""
    found = {}

    def weights(*key):
        if key not in found:
            found[key] = QUICK.weights(MODEL, CASES[key].recipe)
        return found[key]

    return weights


@pytest.mark.parametrize('key', [('ST', 0.0), ('AT', 0.08), ('AT, l2', 0.4), ('SAM', 2.0), ('SAM', 5.0)])
def test_the_trained_weight_is_the_optimum_within_its_error(trained, key):
    estimate = Estimate.of(trained(*key))
    assert estimate.standard_error < 0.04 * CASES[key].optimum
    assert estimate.mean == pytest.approx(CASES[key].optimum, abs=4 * estimate.standard_error)


def test_sam_differs_from_standard_training_by_much_more_than_the_error(trained):
    """On the same data; the paper's formula would be further off than the error, too."""
    gains = [sam - standard for sam, standard in zip(trained('SAM', 5.0), trained('ST', 0.0), strict=True)]
    gain = Estimate.of(gains)
    assert gain.mean > 10 * gain.standard_error
    assert gain.mean == pytest.approx(CASES['SAM', 5.0].optimum - CASES['ST', 0.0].optimum, rel=0.1)


def test_sam_on_one_side_ends_where_standard_training_does(trained):
    assert trained('SAM, one side', 5.0) == pytest.approx(trained('ST', 0.0), rel=1e-3)


def test_the_trained_weight_is_the_minimum_of_its_data(trained):
    """The maximum over the ball, on a grid, is smallest at the trained weight of the first data set."""
    data, classifier = MODEL.sample(QUICK.samples, QUICK.seed, DRAWN), LinearClassifier(MODEL.n)

    def error(weight):
        with torch.no_grad():
            classifier.robust.fill_(weight)
            return float(classifier.error(data))

    def worst(weight):
        return max(error(weight + share * 5.0) for share in torch.linspace(-1, 1, 21).tolist())

    found = trained('SAM', 5.0)[0] * MODEL.n
    assert worst(found) < min(worst(found - 0.02), worst(found + 0.02))


def test_the_loss_has_the_mean_of_the_expected_error():
    model, count = FeatureModel(0.8, 0.3, 4), 40_000
    data, classifier = model.sample(count, 3, DRAWN), LinearClassifier(4)
    with torch.no_grad():
        for weight in (0.0, 1.0, 4.0):
            classifier.robust.fill_(weight)
            assert float(classifier.error(data)) == pytest.approx(model.error(weight), abs=4 * 0.5 / count**0.5)


@pytest.mark.parametrize(('norm', 'length'), [('linf', 25.0), ('l2', 5.0)])
def test_the_attack_takes_the_dual_norm_from_every_margin_and_leaves_the_robust_feature(norm, length):
    data, classifier, eps = MODEL.sample(50, 0, DRAWN), LinearClassifier(MODEL.n), 0.1
    attack = PGD(norm=norm, eps=eps, step_size=eps, steps=1, random_start=False)
    changed = attacked(classifier, data, attack)
    assert changed.inputs[:, 0].equal(data.inputs[:, 0])
    with torch.no_grad():
        taken = data.labels * (classifier(data.inputs) - classifier(changed.inputs))
    assert taken.tolist() == pytest.approx([eps * length] * 50, rel=1e-9)


def test_it_repeats_bit_for_bit_and_recipes_share_their_data():
    training = Training(samples=50, data_sets=2, seed=1)
    recipe = Recipe(lambda loss_fn: TwoSidedSAM(1.0, loss_fn))
    assert training.weights(MODEL, recipe) == training.weights(MODEL, recipe)
    assert training.weights(MODEL, Recipe()) == training.weights(MODEL, Recipe(lambda loss_fn: SAM(0.0)))
    other = Training(samples=50, data_sets=2, seed=2)
    assert training.weights(MODEL, Recipe())[1] == other.weights(MODEL, Recipe())[0]


def test_a_row_is_the_mean_with_its_standard_error():
    training, case = Training(samples=50, data_sets=3), CASES['ST', 0.0]
    row, weights = train(MODEL, training, case), training.weights(MODEL, case.recipe)
    assert row['W_trained'] == statistics.mean(weights)
    assert row['standard_error'] == pytest.approx(statistics.stdev(weights) / 3**0.5)
    assert (row['method'], row['W_exact'], row['samples']) == ('ST', case.optimum, 50)


@pytest.mark.parametrize('training', [Training(50, 2, steps=5), Training(samples=1)])
def test_a_training_that_has_not_settled_has_no_result(training):
    """After too few steps, or where one sample pulls w_1 to infinity."""
    with pytest.raises(InputError, match=r'w_1 = .* still takes steps of .*; give more steps, or more samples'):
        training.weights(MODEL, Recipe())


@pytest.mark.parametrize(
    ('values', 'sentence'),
    [
        (dict(data_sets=1), 'data_sets must be at least 2'),
        (dict(samples=0), 'samples must be a whole number of at least 1; got 0'),
        (dict(steps=1.5), 'steps must be a whole number'),
    ],
)
def test_what_a_training_refuses(values, sentence):
    with pytest.raises(InputError, match=sentence):
        Training(**values)
