"""The greedy worst case against every combination."""

import random
from itertools import product

import numpy as np
import pytest

from samat_mm.evaluation import worst_case_miou


def pooled_miou(confusions, choices):
    """The mIoU of a choice of one attack per image, in plain loops."""
    total = sum(confusions[attack, image] for image, attack in enumerate(choices))
    values = []
    for index in range(len(total)):
        union = total[index].sum() + total[:, index].sum() - total[index, index]
        if union:
            values.append(total[index, index] / union)
    return sum(values) / len(values)


def random_confusions(seed, attacks=3, images=5, classes=3):
    """Labels of an image are the same under every attack."""
    generator = np.random.default_rng(seed)
    confusions = np.zeros((attacks, images, classes, classes), dtype=int)
    for image in range(images):
        label = generator.integers(classes, size=40)
        for attack in range(attacks):
            prediction = np.where(generator.random(40) < 0.5, label, generator.integers(classes, size=40))
            np.add.at(confusions[attack, image], (label, prediction), 1)
    return confusions


@pytest.mark.parametrize('seed', range(20))
def test_between_the_best_combination_and_the_best_single_attack(seed):
    confusions = random_confusions(seed)
    found = worst_case_miou(confusions)
    optimum = min(pooled_miou(confusions, choices) for choices in product(range(3), repeat=5))
    singles = [pooled_miou(confusions, [attack] * 5) for attack in range(3)]
    assert found.single == pytest.approx(singles)
    assert found.miou == pytest.approx(pooled_miou(confusions, found.choices))
    assert optimum - 1e-12 <= found.miou <= min(singles) + 1e-12
    assert found.miou <= optimum + 0.02  # greedy, so not always the optimum
    for image, attack in product(range(5), range(3)):  # no single swap gains more than the threshold
        swapped = list(found.choices)
        swapped[image] = attack
        assert pooled_miou(confusions, swapped) >= found.miou - 1e-6


def released_miou(confusions, seed, renewed):
    """The search released with SEA, from its description: a swap is compared with what the swaps before did not lower.

    ``renewed`` tells whether the threshold follows after each 'image' or after each 'round'.
    """
    attacks, images = confusions.shape[:2]
    order, choices = random.Random(seed), [0] * images
    threshold, before = pooled_miou(confusions, choices), 10.0
    while before - threshold > 1e-6:
        before = threshold
        for image in order.sample(range(images), images):
            for attack in range(attacks):
                swapped = [*choices[:image], attack, *choices[image + 1 :]]
                if pooled_miou(confusions, swapped) < threshold:
                    choices = swapped
            if renewed == 'image':
                threshold = pooled_miou(confusions, choices)
        threshold = pooled_miou(confusions, choices)
    return threshold


@pytest.mark.parametrize('renewed', ['image', 'round'])
def test_on_small_cases_the_minimum_and_never_above_the_search_released_with_sea(renewed):
    for seed in range(8):
        confusions = random_confusions(seed, images=6)
        found = worst_case_miou(confusions).miou
        assert found == pytest.approx(min(pooled_miou(confusions, choices) for choices in product(range(3), repeat=6)))
        assert found <= released_miou(confusions, seed, renewed) + 1e-6


@pytest.mark.parametrize('seed', [2, 7])
def test_a_threshold_that_is_not_lowered_after_each_swap_may_end_points_higher(seed):
    confusions = random_confusions(seed, images=30, classes=5)
    assert worst_case_miou(confusions).miou < released_miou(confusions, seed, 'round') - 0.02


def test_images_that_share_no_class_are_decided_one_by_one():
    confusions = np.zeros((2, 3, 6, 6), dtype=int)
    for image in range(3):
        good, bad = np.array([[9, 1], [1, 9]]), np.array([[2, 8], [7, 3]])
        block = slice(2 * image, 2 * image + 2)
        confusions[image % 2, image, block, block] = good
        confusions[1 - image % 2, image, block, block] = bad
    found = worst_case_miou(confusions)
    assert found.choices == (1, 0, 1)
    assert found.miou == pytest.approx(min(pooled_miou(confusions, choices) for choices in product(range(2), repeat=3)))


def test_a_worse_image_may_raise_the_pooled_miou():
    """Why the images cannot be decided by their own mIoU, or accuracy: the pool weighs classes, not pixels."""
    confusions = random_confusions(seed=3, images=6)
    accuracy = np.trace(confusions, axis1=2, axis2=3).argmin(axis=0)
    assert worst_case_miou(confusions).miou <= pooled_miou(confusions, accuracy) + 1e-12


def test_a_class_that_occurs_nowhere_does_not_count():
    confusions = random_confusions(seed=0)
    padded = np.pad(confusions, ((0, 0), (0, 0), (0, 2), (0, 2)))
    assert worst_case_miou(padded) == worst_case_miou(confusions)


def test_one_attack_is_its_own_worst_case_and_the_seed_decides_the_order():
    confusions = random_confusions(seed=1)
    alone = worst_case_miou(confusions[:1])
    assert alone.choices == (0,) * 5
    assert alone.miou == pytest.approx(pooled_miou(confusions, alone.choices))
    assert worst_case_miou(confusions, seed=4) == worst_case_miou(confusions, seed=4)


@pytest.mark.parametrize(
    ('confusions', 'message'),
    [
        (np.ones((2, 3, 4)), r'shape \(attacks, images, K, K\); got shape \(2, 3, 4\)'),
        (np.ones((2, 3, 4, 5)), r'got shape \(2, 3, 4, 5\)'),
        (np.ones((0, 3, 4, 4)), r'got shape \(0, 3, 4, 4\)'),
        (-np.ones((1, 1, 2, 2)), r'counts of at least 0'),
        (np.zeros((1, 1, 2, 2)), r'at least one pixel'),
    ],
)
def test_what_is_no_table_of_confusion_matrices_is_refused(confusions, message):
    with pytest.raises(ValueError, match=message):
        worst_case_miou(confusions)
