"""The report, as a document and as a table."""

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from samat_mm.evaluation import build_report, print_report
from samat_mm.presets import build_attacks

METRICS = {
    'mIoU': np.float32(80.5),
    'aAcc': 90.0,
    'pgd-linf/mIoU': torch.tensor(10.25),
    'pgd-linf/aAcc': 20.0,
    'pgd-l2/mIoU': 5.0,
    'pgd-l2/aAcc': 7.0,
}


def report_of(metrics, names=('pgd-linf', 'pgd-l2')):
    return build_report(
        metrics, build_attacks(list(names)), config='configs/a.py', checkpoint='a.pth', seed=3, samples=12
    )


def test_the_documents_structure():
    """{config, checkpoint, seed, samples, results: {clean: {...}, attack: {..., attack: {...}}}, versions}"""
    report = json.loads(json.dumps(report_of(METRICS)))
    assert list(report) == ['config', 'checkpoint', 'seed', 'samples', 'results', 'versions']
    assert (report['config'], report['checkpoint'], report['seed'], report['samples']) == (
        'configs/a.py',
        'a.pth',
        3,
        12,
    )
    assert list(report['results']) == ['clean', 'pgd-linf', 'pgd-l2']
    assert report['results']['clean'] == {'mIoU': 80.5, 'aAcc': 90.0}
    linf = report['results']['pgd-linf']
    assert (linf['mIoU'], linf['aAcc']) == (10.25, 20.0)
    assert linf['attack']['type'] == 'PGD'
    assert linf['attack']['norm'] == 'linf'
    assert linf['attack']['eps'] == pytest.approx(1 / 255)
    assert linf['attack']['steps'] == 10
    assert report['results']['pgd-l2']['attack']['norm'] == 'l2'
    assert report['versions']['torch'].partition('+')[0] == torch.__version__.partition('+')[0]


def test_a_classifiers_metric_keeps_its_slash():
    report = report_of({'accuracy/top1': 90.0, 'pgd-linf/accuracy/top1': 30.0}, ['pgd-linf'])
    assert report['results']['clean'] == {'accuracy/top1': 90.0}
    assert report['results']['pgd-linf']['accuracy/top1'] == 30.0


def test_what_metrics_return_arrives_whole_and_as_numbers():
    """Tensors, arrays, dicts and lists of any size; NaN is null."""
    metrics = {
        'matrix': torch.arange(2000.0).reshape(40, 50),
        'per class': {'cat': np.float32(0.5), 3: np.array([1, 2]), 'dog': float('nan')},
        'list': [torch.tensor(1), (np.int64(2), 'three', None, True)],
        'text': 'fine',
        'count': 7,
    }
    clean = json.loads(json.dumps(report_of(metrics, [])))['results']['clean']
    assert clean['matrix'] == metrics['matrix'].tolist()
    assert clean['per class'] == {'cat': 0.5, '3': [1, 2], 'dog': None}
    assert clean['list'] == [1, [2, 'three', None, True]]
    assert (clean['text'], clean['count']) == ('fine', 7)


def test_metrics_called_as_what_stands_beside_them_keep_a_name():
    metrics = {'seconds': 50.0, 7: 1.0, 'pgd-linf/seconds': 20.0, 'pgd-linf/attack': 3.0}
    report = report_of(metrics, ['pgd-linf'])
    assert report['results']['clean'] == {'metric/seconds': 50.0, '7': 1.0}
    assert report['results']['pgd-linf']['metric/seconds'] == 20.0
    assert report['results']['pgd-linf']['attack']['type'] == 'PGD'


def test_a_clean_report_has_no_attacks():
    assert report_of({'mIoU': 1.0}, [])['results'] == {'clean': {'mIoU': 1.0}}


def test_an_attack_may_be_named_by_its_radius():
    """``name='pgd-8/255'``, or a sentence that says that it may not."""
    try:
        attacks = build_attacks([dict(type='PGD', eps='8/255', name='pgd-8/255')])
    except ValueError as error:
        assert 'name' in str(error)
        return
    metrics = {'mIoU': 80.0, 'pgd-8/255/mIoU': 3.0}
    report = build_report(metrics, attacks, config='c', checkpoint='p', seed=0, samples=1)
    assert report['results']['clean'] == {'mIoU': 80.0}
    assert report['results']['pgd-8/255']['mIoU'] == 3.0


def printed(*reports):
    console = Console(file=io.StringIO(), width=150)
    print_report(*reports, console=console)
    return console.file.getvalue()


def test_the_table_has_a_line_per_attack_with_its_radius():
    lines = printed(report_of(METRICS)).splitlines()
    assert lines[0].strip() == 'a' and '12 images, seed 3' in lines[1]
    (clean,) = (line for line in lines if 'clean' in line)
    (linf,) = (line for line in lines if 'pgd-linf' in line)
    (l2,) = (line for line in lines if 'pgd-l2' in line)
    assert '80.50' in clean
    assert '90.00' in clean
    assert '1/255' in linf
    assert '10.25' in linf
    assert '255/255' in l2
    assert '7.00' in l2


def test_several_models_have_a_table_each():
    first, second = report_of(METRICS), {**report_of({**METRICS, 'mIoU': 12.34}), 'config': 'configs/b.py'}
    text = printed(first, second)
    assert text.count('pgd-linf') == 2
    assert text.splitlines()[0].strip() == 'a' and '\n' in text
    assert any(line.strip() == 'b' for line in text.splitlines())
    assert text.index('80.50') < text.index('12.34')


def test_metrics_that_only_attacks_have_and_no_radius():
    report = {
        'config': 'configs/film.py',
        'seed': 0,
        'samples': 4,
        'results': {'clean': {'accuracy/top1': 75.0}, 'pso': {'accuracy/top1': 25.0, 'success_rate': 66.67}},
        'evaluation': {'unit': 'sentence'},
    }
    text = printed(report)
    assert '4 sentences, seed 0' in text and 'radius' not in text
    (line,) = (line for line in text.splitlines() if 'pso' in line)
    assert '66.67' in line
