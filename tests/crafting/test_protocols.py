"""A test by the protocol of the code released with the duality paper: other attacks, the same scores."""

import pytest
from helpers import ClassificationImages, SegmentationImages, classifier, labelled_by, runner, segmentor

from samat_mm.evaluation import SanityChecks
from samat_mm.perturbations.inputs import PGD

STRONG = dict(type='PGD', norm='linf', eps='8/255', steps=4)


def evaluation(model, data, folder, **options):
    loop = dict(type='AttackTestLoop', attacks=[STRONG], **options)
    return runner(model, folder, evaluate=data, test_cfg=loop)


def test_natural_metrics_are_the_same_and_a_model_that_normalises_looks_more_robust(tmp_path):
    model = segmentor()
    data = labelled_by(model, SegmentationImages(4))
    strict = evaluation(model, data, tmp_path / 'strict').test()
    compat = evaluation(model, data, tmp_path / 'compat', protocol='paper-compat').test()
    assert compat['mIoU'] == strict['mIoU'] == 100
    lost = {name: 100 - found['pgd-linf/aAcc'] for name, found in (('strict', strict), ('compat', compat))}
    assert lost['strict'] > 2 * lost['compat'] > 1


def test_the_two_never_mix_in_one_ledger(tmp_path):
    model, data = segmentor(), SegmentationImages(2)
    first = evaluation(model, data, tmp_path, protocol='strict')
    first.test()
    with pytest.raises(ValueError, match=r"because protocol was 'strict' and is 'paper-compat' now"):
        evaluation(model, data, tmp_path, protocol='paper-compat', resume=True).test()
    other = evaluation(model, data, tmp_path, protocol='paper-compat')
    other.test()
    assert other.test_loop.result.folder != first.test_loop.result.folder
    again = evaluation(model, data, tmp_path, protocol='paper-compat', resume=True)
    again.test()
    assert again.test_loop.result.folder == other.test_loop.result.folder
    assert again.test_loop.result.metrics == other.test_loop.result.metrics


def test_classifiers_sanity_checks_and_unknown_protocols_are_refused(tmp_path):
    model, data = classifier(), ClassificationImages(2)
    with pytest.raises(ValueError, match=r'does to segmentors, and this model is none.*use this'):
        evaluation(model, data, tmp_path, protocol='paper-compat').test()
    checks = SanityChecks(PGD('linf', '4/255', steps=2))
    with pytest.raises(ValueError, match=r'attacks another function; leave out --sanity'):
        evaluation(segmentor(), SegmentationImages(2), tmp_path, protocol='paper-compat', checks=checks).test()
    with pytest.raises(ValueError, match=r"protocol must be one of strict, paper-compat; got 'loose'"):
        evaluation(model, data, tmp_path, protocol='loose').test()
    assert not (tmp_path / 'attack_results').exists()
