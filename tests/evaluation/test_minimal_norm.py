"""The length of every perturbation, and the distance to the nearest error in the report."""

import copy
import json
import math

import pytest
import torch
from helpers import ClassificationImages, SegmentationImages, classifier, labelled_by, runner, segmentor

from samat_mm.evaluation import build_report
from samat_mm.evaluation.attack_result import AttackResult
from samat_mm.evaluation.attack_run import AttackRun
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.ledger import Ledger
from samat_mm.perturbations.inputs import FAB, FMN, PGD
from samat_mm.presets import build_attacks

LENGTHS = {'linf': lambda d: d.abs().max(), 'l2': lambda d: d.square().sum().sqrt(), 'l1': lambda d: d.abs().sum()}


def evaluated(model, data, folder, attacks, **options):
    run = runner(model, folder, evaluate=data, test_cfg=dict(type='AttackTestLoop', attacks=attacks, **options))
    run.test()
    return run.test_loop.result


@pytest.fixture
def crafted(monkeypatch):
    """The changes of the pixels of every image, by attack and number."""
    found, original = {}, AttackRun.run

    def record(self, batch, numbers):
        predict = batch.predict

        def remember(pixels=None):
            if pixels is not None:
                for number, change in zip(numbers, (pixels - batch.space.pixels).double(), strict=True):
                    found[self.name, number] = change
            return predict(pixels)

        batch.predict = remember
        return original(self, batch, numbers)

    monkeypatch.setattr(AttackRun, 'run', record)
    return found


# ------------------------------------------------------------------------------------------------------ scores


@pytest.mark.parametrize('norm', LENGTHS)
@pytest.mark.parametrize(('build', 'images'), [(classifier, ClassificationImages), (segmentor, SegmentationImages)])
def test_every_score_has_the_length_of_its_perturbation(build, images, norm, crafted, tmp_path):
    eps = {'linf': 4 / 255, 'l2': 0.5, 'l1': 5.0}[norm]
    result = evaluated(build(), images(3), tmp_path, [dict(type='PGD', norm=norm, eps=eps, steps=2, name='pgd')])
    kept = Ledger(result.folder, 0).read('pgd')
    for number, score in enumerate(result.by_attack['pgd'].scores):
        assert score.more['distance'] == pytest.approx(float(LENGTHS[norm](crafted['pgd', number])), rel=1e-5)
        assert 0.5 * eps < score.more['distance'] <= eps * (1 + 1e-5)
        assert kept[number].more == score.more  # on disk too
    assert not any(score.more for score in result.clean.scores)


def test_padding_has_no_length(crafted, tmp_path):
    """Images of 20 pixels in inputs of 32."""
    data, model = SegmentationImages(2, 20), segmentor(dict(test_cfg=dict(size_divisor=32)))
    result = evaluated(model, data, tmp_path, [dict(type='PGD', norm='l2', eps=1.0, steps=2, name='pgd')])
    change = crafted['pgd', 1]
    assert change.shape[1:] == (32, 32)
    assert float(change[:, 20:].abs().max()) == float(change[:, :, 20:].abs().max()) == 0
    inside = float(change[:, :20, :20].square().sum().sqrt())
    assert result.by_attack['pgd'].scores[1].more['distance'] == pytest.approx(inside, rel=1e-5)


def test_an_attack_without_a_norm_and_exported_files_have_no_distance(tmp_path):
    attacks = [dict(type='Pixle', restarts=1, iterations=2), dict(type='FMN', steps=2)]
    result = evaluated(
        classifier(), ClassificationImages(2), tmp_path / 'run', attacks, export_dir=str(tmp_path / 'files')
    )
    assert not any('distance' in score.more for score in result.by_attack['pixle'].scores)
    assert all('distance' in score.more for score in result.by_attack['fmn'].scores)
    assert all(set(score.more) == {'largest_change'} for score in result.by_attack['fmn/exported'].scores)


@pytest.mark.parametrize('kind', ['FAB', 'FMN'])
def test_images_that_are_wrong_without_an_attack_are_at_distance_0(kind, tmp_path):
    model = classifier()
    data = labelled_by(model, ClassificationImages(6))
    for number in (1, 4):
        data.labels[number] = (data.labels[number] + 1) % 4
    result = evaluated(model, data, tmp_path, [dict(type=kind, norm='linf', eps='64/255', steps=20, name='near')])
    scores = result.by_attack['near'].scores
    for number, score in enumerate(scores):
        assert score.wrong == 0 or (score.more['distance'] == 0) == (number in (1, 4))
    norms = result.by_attack['near'].minimal_norms(result.clean.scores)
    assert [norm == 0 for norm in norms] == [number in (1, 4) for number in range(6)]
    assert sum(math.isfinite(norm) for norm in norms) > 2


# ------------------------------------------------------------------------------------------------------ report


def score(wrong, distance=None):
    return ImageScore([], wrong=wrong, more={} if distance is None else {'distance': distance})


def report_of(attack, scores, clean=None):
    clean = [score(float(entry.more.get('distance') == 0)) for entry in scores] if clean is None else clean
    results = {'near': AttackResult({}, scores), 'clean': AttackResult({}, clean)}
    document = build_report(
        {'accuracy/top1': 1.0, 'near/minimal_norm': 7.0},
        {'near': attack},
        config='c',
        checkpoint='p',
        seed=0,
        samples=len(scores),
        by_attack=results,
    )
    return json.loads(json.dumps(document, allow_nan=False))['results']['near']


def test_quartiles_count_wrong_images_as_0_and_images_that_stay_right_as_beyond():
    scores = [score(1.0, 0.0), score(1.0, 0.03), score(1.0, 0.01), score(0.0, 0.05), score(0.0, 0.0)]
    clean = [score(1.0), *(score(0.0) for _ in range(4))]
    found = report_of(FMN('linf', 0.05), scores, clean)
    assert found['minimal_norm'] == {'norm': 'linf', 'quartiles': [0.01, 0.03, None], 'found': 0.6}
    assert found['metric/minimal_norm'] == 7.0  # a metric of that name


@pytest.mark.parametrize('count', range(1, 9))
def test_a_quartile_is_the_smallest_distance_with_that_share_of_the_images(count):
    distances = torch.rand(count, generator=torch.Generator().manual_seed(count)).tolist()
    found = report_of(FAB('l2', 1.0), [score(1.0, distance) for distance in distances])['minimal_norm']
    for share, quartile in zip((0.25, 0.5, 0.75), found['quartiles'], strict=True):
        assert quartile in distances
        assert sum(distance <= quartile for distance in distances) >= share * count
        assert sum(distance < quartile for distance in distances) < share * count
    assert (found['norm'], found['found']) == ('l2', 1.0)


def test_an_image_that_is_wrong_cleanly_is_at_0_wherever_a_fast_copy_moved_it():
    found = report_of(FMN('linf', 0.05), [score(1.0, 0.02)], clean=[score(1.0)])
    assert found['minimal_norm']['quartiles'] == [0.0, 0.0, 0.0]


def test_no_error_and_no_label():
    assert report_of(FMN(), [score(0.0, 0.0)] * 2, [score(0.0)] * 2)['minimal_norm'] == {
        'norm': 'linf',
        'quartiles': [None, None, None],
        'found': 0.0,
    }
    unlabelled = [score(math.nan, 0.0), score(1.0, 0.04)]
    assert report_of(FMN(), unlabelled, [score(math.nan), score(0.0)])['minimal_norm']['quartiles'] == [0.04] * 3
    assert 'minimal_norm' not in report_of(FMN(), unlabelled[:1], [score(math.nan)])


def test_attacks_that_do_not_look_for_the_nearest_error_and_older_scores_have_none():
    scores = [score(1.0, 0.03)]
    assert 'minimal_norm' not in report_of(PGD(), scores, [score(0.0)])
    assert 'minimal_norm' not in report_of(FMN(), [score(1.0)], [score(0.0)])
    assert 'minimal_norm' in report_of(FMN(), scores, [score(0.0)])


def test_a_whole_evaluation_reports_them_at_each_radius(tmp_path):
    model = classifier()
    data = labelled_by(model, ClassificationImages(8))
    attacks = build_attacks([dict(type='FMN', norm='linf', steps=20)], ['1/255', '128/255'])
    result = evaluated(copy.deepcopy(model), data, tmp_path, attacks)
    document = build_report(
        result.metrics,
        result.attacks,
        config='c',
        checkpoint='p',
        seed=0,
        samples=8,
        by_attack=result.by_attack,
    )
    near, far = (document['results'][f'fmn-linf@{radius}']['minimal_norm'] for radius in ('1/255', '128/255'))
    assert near['found'] <= far['found']
    assert far['found'] > 0.5
    for values, radius in ((near, 1 / 255), (far, 128 / 255)):
        assert all(quartile is None or 0 < quartile <= radius for quartile in values['quartiles'])
    name = 'fmn-linf@128/255'
    assert far['found'] == pytest.approx(1 - document['results'][name]['accuracy/top1'] / 100)
