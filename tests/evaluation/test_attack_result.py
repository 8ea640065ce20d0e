"""The results of attacks, and the worst of several."""

import itertools
import math

import numpy as np
import pytest
from mmengine.evaluator import BaseMetric, Evaluator

from samat_mm.evaluation import worst_case_miou
from samat_mm.evaluation.attack_result import AttackResult, attack_result, attack_results, ensemble_result
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.perturbations.inputs import PGD, SEA

IMAGES, CLASSES = 5, 3
NAMES = ('a', 'b', 'c')


class Kept(BaseMetric):
    """What it kept of the images, in order."""

    def process(self, data_batch, data_samples):
        self.results.append(None)

    def compute_metrics(self, results):
        return {'kept': list(results)}


def confusions(seed=0):
    """Pixel counts of three attacks on five images."""
    return np.random.default_rng(seed).integers(0, 20, (3, IMAGES, CLASSES, CLASSES))


def score(confusion, kept):
    right = np.diag(confusion)
    total = confusion.sum(0) + confusion.sum(1) - right
    counts = [(k, int(right[k]), int(total[k])) for k in range(CLASSES) if total[k]]
    wrong = 1 - right.sum() / max(1, confusion.sum())
    cost = dict(forwards=1.0, backwards=2.0, seconds=0.5)
    return ImageScore([[kept]], wrong=float(wrong), counts=counts, classes=CLASSES, sizes=((8, 8), (8, 8)), **cost)


def members_of(counts):
    def read(name):
        attack = NAMES.index(name)
        return [score(confusion, f'{name}{image}') for image, confusion in enumerate(counts[attack])]

    return {name: attack_result(Evaluator([Kept()]), read(name)) for name in NAMES}, read


@pytest.mark.parametrize('seed', range(3))
def test_the_worst_of_several_attacks_image_by_image(seed):
    counts = confusions(seed)
    members, read = members_of(counts)
    found = ensemble_result(Evaluator([Kept()]), members, read, seed=seed)
    accuracies = np.array([[np.trace(image) / image.sum() for image in attack] for attack in counts])
    assert found.metrics['kept'] == [f'{NAMES[attack]}{image}' for image, attack in enumerate(accuracies.argmin(0))]
    assert found.metrics['worst_case_aAcc'] == pytest.approx(100 * accuracies.min(0).mean())
    reference = worst_case_miou(counts, seed)
    assert found.metrics['worst_case_mIoU'] == pytest.approx(100 * reference.miou)
    assert found.metrics['worst_case_mIoU'] <= 100 * min(reference.single)
    assert found.wrong == pytest.approx(1 - accuracies.min(0).mean())
    assert found.cost() == {'seconds': 0.5 * 3 * IMAGES, 'forwards': 3, 'backwards': 6}
    assert all(one.results == [] for one in found.scores)


def test_the_greedy_search_finds_the_worst_of_all_combinations_of_few():
    counts = confusions(7)[:, :3]
    members, read = members_of(counts)
    found = ensemble_result(Evaluator([Kept()]), members, read, seed=0).metrics['worst_case_mIoU']
    lowest = min(
        np.mean([pooled[k, k] / (pooled[k].sum() + pooled[:, k].sum() - pooled[k, k]) for k in range(CLASSES)])
        for choice in itertools.product(range(3), repeat=3)
        for pooled in [sum(counts[attack, image] for image, attack in enumerate(choice))]
    )
    assert found == pytest.approx(100 * lowest, rel=0.02)
    assert found >= 100 * lowest - 1e-9


def test_images_without_a_label_are_no_success_of_the_model():
    """They stay out of the pixel accuracy."""
    counts = confusions()
    counts[:, 0] = 0
    members, read = members_of(counts)
    found = ensemble_result(Evaluator([Kept()]), members, read, seed=0)
    accuracies = np.array([[np.trace(image) / image.sum() for image in attack[1:]] for attack in counts])
    assert found.metrics['worst_case_aAcc'] == pytest.approx(100 * accuracies.min(0).mean())


@pytest.mark.parametrize('labelled', [False, True], ids=['nothing labelled', 'labels without a size'])
def test_no_worst_case_of_maps_where_there_are_none(labelled):
    scores = [ImageScore([[1]], wrong=1.0, counts=[(0, 0, 1)] if labelled else [], classes=2, sizes=((4, 4), ()))]
    members = {name: AttackResult({}, scores) for name in NAMES}
    found = ensemble_result(Evaluator([Kept()]), members, lambda name: list(scores), seed=0)
    assert set(found.metrics) == {'kept'}


def test_an_image_that_no_attack_was_judged_on_does_not_hide_the_others():
    unknown, wrong = ImageScore([['unknown']]), ImageScore([['wrong']], wrong=0.0)
    members = {'a': AttackResult({}, [unknown]), 'b': AttackResult({}, [wrong])}
    found = ensemble_result(Evaluator([Kept()]), members, lambda name: [{'a': unknown, 'b': wrong}[name]], seed=0)
    assert found.metrics['kept'] == ['wrong']


def test_results_by_attack_hold_one_attacks_results_at_a_time():
    """An ensemble reads its members again, one after the other."""
    sea, asked = SEA('linf', '4/255', steps=3), []
    counts = confusions()
    names = [f'sea/{member.objective.name}' for member in sea.members]

    def read(name):
        asked.append(name)
        attack = names.index(name) if name in names else 0
        return [score(confusion, name) for confusion in counts[attack]]

    evaluators = {name: Evaluator([Kept()]) for name in ('clean', 'pgd', *names)}
    results = attack_results(evaluators, {'pgd': PGD(), 'sea': sea}, read)
    assert list(results) == ['clean', 'pgd', *names, 'sea']
    assert asked == [*reversed(names), 'pgd', 'clean', *names]  # clean last: its files are not written over
    assert results['pgd'].metrics == {'kept': ['pgd'] * IMAGES}
    assert all(one.results == [] for result in results.values() for one in result.scores)


def test_means_of_nothing_are_nan():
    result = AttackResult({}, [])
    assert math.isnan(result.wrong)
    assert math.isnan(result.loss)
    assert result.per_class is None
    assert result.cost()['seconds'] == 0
