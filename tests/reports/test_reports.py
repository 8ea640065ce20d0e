"""A report as a value: what any version wrote is read, anything else is refused, and it is saved in four formats."""

import csv
import doctest
import io
import json
import sys
import types

import pytest

import samat_mm.reports.comparison
import samat_mm.reports.methods
import samat_mm.reports.report
from samat_mm import terminal
from samat_mm.reports import Comparison, Report

FIRST_VERSION = {  # all that the first version wrote
    'config': 'configs/deeplabv3_voc_sam.py',
    'checkpoint': 'work_dirs/voc/iter_30000.pth',
    'seed': 3,
    'samples': 12,
    'results': {
        'clean': {'mIoU': 74.5, 'aAcc': 93.0},
        'pgd-linf': {'mIoU': 12.25, 'aAcc': 40.0, 'attack': {'type': 'PGD', 'norm': 'linf', 'eps': 1 / 255}},
    },
    'versions': {'torch': '2.7.0'},
}
LATER = {
    **FIRST_VERSION,
    'results': {
        'clean': {'mIoU': 74.5, 'metric/seconds': 5.0, 'confusion': [[1, 2], [3, 4]]},
        'pgd-linf@1/255': {
            'mIoU': None,
            'attack': {'type': 'PGD', 'norm': 'linf', 'eps': 1 / 255, 'steps': 10},
            'exported': {'mIoU': 11.0},
            'minimal_norm': {'quartiles': [0, None, None]},
            'forwards': 11.0,
            'backwards': 10.0,
            'seconds': 1.5,
        },
    },
    'evaluation': {'unit': 'image', 'protocol': 'strict'},
    'something': 'that a later version may add',
}


def written(document, tmp_path, name='report.json'):
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize('document', [FIRST_VERSION, LATER])
def test_a_report_is_read_whatever_version_wrote_it_and_saved_as_it_was(document, tmp_path):
    report = Report.load(written(document, tmp_path))
    assert report.document == document
    assert report.name == 'deeplabv3_voc_sam'
    for suffix in ('json', 'html', 'tex', 'csv'):
        report.save(tmp_path / 'new' / f'again.{suffix}')
    assert Report.load(tmp_path / 'new' / 'again.json') == report == Report(document)
    assert 'deeplabv3_voc_sam' in (tmp_path / 'new' / 'again.html').read_text().replace('<wbr>', '')


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('{"config": ', 'it is not JSON'),
        ('\x00\x01', 'it is not JSON'),
        ('[' * 100000, 'it is not JSON'),
        ('[1, 2]', 'it is not a JSON object'),
        ('{"rows": [], "balls": []}', 'it lacks config, checkpoint, samples, results'),
        ({**FIRST_VERSION, 'results': {'sam': 0.5}}, 'no results on clean samples'),  # of the command sharpness
        ({**FIRST_VERSION, 'results': {'clean': {'mIoU': 1.0}, 'pgd': 3.0}}, 'results under pgd are not metrics'),
        ({**FIRST_VERSION, 'evaluation': 'strict'}, 'its evaluation is of another kind'),
        ({**FIRST_VERSION, 'samples': '12'}, 'it lacks samples'),
    ],
)
def test_what_is_no_report_is_refused_with_a_sentence(content, reason, tmp_path):
    path = written(content, tmp_path)
    with pytest.raises(ValueError, match=reason) as refused:
        Report.load(path)
    assert str(refused.value).startswith(f'{path} is no report') and '--out' in str(refused.value)


def test_the_nan_of_an_old_version_is_no_number(tmp_path):
    text = json.dumps(FIRST_VERSION).replace('12.25', 'NaN')
    assert Report.load(written(text, tmp_path)).metrics['pgd-linf/mIoU'] is None


def test_a_file_that_is_missing_or_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.json is missing'):
        Report.load(tmp_path / 'nowhere.json')
    with pytest.raises(OSError, match='cannot be read'):
        Report.load(tmp_path)


def test_metrics_have_the_names_of_mmengine():
    assert Report(FIRST_VERSION).metrics == {
        'mIoU': 74.5, 'aAcc': 93.0, 'pgd-linf/mIoU': 12.25, 'pgd-linf/aAcc': 40.0,
    }  # fmt: skip
    assert Report(LATER).metrics == {
        'mIoU': 74.5, 'seconds': 5.0, 'confusion': [[1, 2], [3, 4]], 'pgd-linf@1/255/mIoU': None,
    }  # fmt: skip


def test_a_row_for_each_attack_and_radius_with_the_same_keys():
    clean, attacked = Report(LATER).rows()
    assert clean['attack'] == 'clean' and clean['mIoU'] == 74.5 and clean['eps'] is clean['forwards'] is None
    assert attacked == {
        'attack': 'pgd-linf@1/255', 'norm': 'linf', 'eps': 1 / 255, 'steps': 10, 'mIoU': None,
        'forwards': 11.0, 'backwards': 10.0, 'seconds': 1.5,
    } | {key: None for key in clean if key not in attacked}  # fmt: skip
    assert list(clean) == list(attacked)


def test_a_frame_of_pandas_or_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pandas', None)
    for value in (Report(LATER), Comparison.of([Report(LATER)])):
        with pytest.raises(ImportError, match='pip install pandas'):
            value.to_frame()
    monkeypatch.setitem(sys.modules, 'pandas', types.SimpleNamespace(DataFrame=lambda rows: ('frame', rows)))
    assert Report(LATER).to_frame() == ('frame', Report(LATER).rows())


def test_a_single_report_as_csv_and_latex_is_the_comparison_of_one(tmp_path):
    report = Report(FIRST_VERSION)
    for suffix in ('csv', 'tex'):
        report.save(tmp_path / f'one.{suffix}')
        Comparison.of([report]).save(tmp_path / f'compared.{suffix}')
        assert (tmp_path / f'one.{suffix}').read_text() == (tmp_path / f'compared.{suffix}').read_text()
    rows = list(csv.DictReader(io.StringIO((tmp_path / 'one.csv').read_text())))
    assert [(row['attack'], row['mean'], row['std'], row['n']) for row in rows] == [
        ('clean', '74.5', '', '1'), ('pgd-linf', '12.25', '', '1'),
    ]  # fmt: skip
    assert 'ranks no methods' not in (tmp_path / 'one.tex').read_text()


@pytest.mark.parametrize('name', ['report.pdf', 'report', 'report.'])
def test_another_suffix_is_refused_before_anything_is_written(name, tmp_path):
    for value in (Report(FIRST_VERSION), Comparison.of([Report(FIRST_VERSION)])):
        with pytest.raises(ValueError, match=r'saved as \.json, \.html, \.tex or \.csv; got'):
            value.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_the_table():
    html = Report(FIRST_VERSION)._repr_html_()
    assert '12.25' in html and html.count('<table') == 1 and '<html' not in html and '<style' not in html
    assert repr(Report(FIRST_VERSION)) == (
        'Report(deeplabv3_voc_sam: mIoU 74.50 on 12 clean images, 12.25 under pgd-linf.)'
    )
    assert repr(Report({**FIRST_VERSION, 'results': {'clean': {}}})) == 'Report(deeplabv3_voc_sam: no metrics)'


@pytest.mark.parametrize(
    'module', [samat_mm.reports.report, samat_mm.reports.comparison, samat_mm.reports.methods, terminal]
)
def test_the_examples(module):
    failed, attempted = doctest.testmod(module)
    assert attempted and not failed
