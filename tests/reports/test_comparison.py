"""Methods by attacks: numbers are those of plain statistics; numbers that do not belong together are refused."""

import copy
import csv
import io
import json
import statistics
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from rich.console import Console

from samat_mm.reports import Comparison, Report
from samat_mm.reports.figures import figures_of
from samat_mm.reports.text import as_terminal_table

CLEAN = {'sgd': [74.0, 75.0, 76.5], 'sam': [75.25, 75.75]}
ROBUST = {'sgd': [10.0, 12.0, 11.0], 'sam': [20.0, 21.0]}


def report(method='sgd', seed=0, **changes):
    results = {
        'clean': {'mIoU': CLEAN[method][seed], 'aAcc': 90.0},
        'pgd-linf': {
            'mIoU': ROBUST[method][seed],
            'aAcc': 1.0,
            'attack': {'type': 'PGD', 'norm': 'linf', 'eps': 4 / 255, 'step_size': 1 / 255, 'steps': 10, 'seed': 0},
        },
    }
    return {
        'config': f'configs/voc_{method}.py', 'checkpoint': f'work_dirs/{method}/seed{seed}.pth', 'seed': 0,
        'samples': 100, 'results': results,
        'evaluation': {'unit': 'image', 'protocol': 'strict', 'selection': '100 of 1449', 'label_size': '64x64'},
        'per_class': {'metric': 'IoU', 'classes': ['a', 'b'], 'values': {}},
        'versions': {'torch': '2.13.0'}, **changes,
    }  # fmt: skip


def all_reports():
    return [Report(report(method, seed)) for method, values in CLEAN.items() for seed in range(len(values))]


def changed(section, **changes):
    document = copy.deepcopy(report('sam'))
    document[section].update(changes)
    return document


# ------------------------------------------------------------------------------------------------------- numbers


def test_mean_and_sample_deviation_over_the_trainings_of_a_config():
    comparison = Comparison.of(all_reports())
    assert [method.name for method in comparison.methods] == ['voc_sgd', 'voc_sam']
    assert comparison.columns == {'clean': 'clean', 'pgd-linf': 'pgd-linf, 4/255'}
    for method in CLEAN:
        for column, values in (('clean', CLEAN[method]), ('pgd-linf', ROBUST[method])):
            cell = comparison.cell(f'voc_{method}', column)
            assert cell['mean'] == pytest.approx(np.mean(values), abs=1e-4)
            assert cell['std'] == pytest.approx(statistics.stdev(values), abs=1e-4)
            assert cell['n'] == len(values)
    assert len(comparison.rows()) == 4 and comparison.rows()[1] == {
        'method': 'voc_sgd', 'attack': 'pgd-linf', 'norm': 'linf', 'eps': 4 / 255, 'metric': 'mIoU',
        'mean': 11, 'std': 1.0, 'n': 3,
    }  # fmt: skip


def test_the_best_is_marked_only_where_the_spread_separates_it():
    comparison = Comparison.of(all_reports())
    assert comparison.best('pgd-linf') == 'voc_sam'  # 20.5 ± 0.7 and 11 ± 1
    assert comparison.best('clean') is None  # 75.5 ± 0.35 and 75.2 ± 1.3
    single = Comparison.of([Report(report('sgd')), Report(report('sam'))])
    assert single.best('pgd-linf') is None  # one training says nothing about others
    assert any('ranks no methods' in note for note in _notes(single))
    other = copy.deepcopy(all_reports())
    for each in other:
        for values in each.document['results'].values():
            values['coco/bbox_mAP'] = values.pop('mIoU')
            values.pop('aAcc')
    assert Comparison.of(other).best('pgd-linf') is None  # whether more is better is not known of every metric


def test_methods_by_name_and_reports_of_other_attacks_on_the_same_checkpoint():
    rest = {'mIoU': 5.0, 'attack': {'type': 'APGD', 'norm': 'l2', 'eps': 0.5}}
    extra = report('sgd', 0)
    extra['results'] = {'clean': extra['results']['clean'], 'apgd-l2': rest}
    comparison = Comparison.of({'SGD': [Report(report('sgd', 0)), Report(extra)], 'SAM': Report(report('sam'))})
    assert comparison.cell('SGD', 'apgd-l2') == {'mean': 5.0, 'std': None, 'n': 1}
    assert comparison.cell('SGD', 'clean')['n'] == 1  # one training, not two
    assert comparison.cell('SAM', 'apgd-l2') == {'mean': None, 'std': None, 'n': 0}
    mixed = Comparison.of({'both': [Report(report('sgd')), Report(report('sam'))]})
    assert 'both combines the configs configs/voc_sgd.py, configs/voc_sam.py.' in mixed.remarks


def test_configs_of_one_file_name_in_several_folders_are_several_methods():
    documents = [report(seed=seed, config=f'cells/{name}/seed/test.py') for seed, name in enumerate(('SGD', 'SAM'))]
    comparison = Comparison.of(map(Report, documents))
    assert [method.name for method in comparison.methods] == ['SGD/seed/test', 'SAM/seed/test']


def test_an_attack_at_one_radius_is_one_column_however_its_test_called_it():
    several = report('sam')
    several['results']['pgd-linf@4/255'] = several['results'].pop('pgd-linf')
    several['results']['pgd-linf@8/255'] = {'mIoU': 1.0, 'attack': {'norm': 'linf', 'eps': 8 / 255}}
    comparison = Comparison.of([Report(report('sgd')), Report(several)])
    assert list(comparison.columns.values()) == ['clean', 'pgd-linf, 4/255', 'pgd-linf, 8/255']
    assert comparison.cell('voc_sgd', 'pgd-linf@4/255')['mean'] == ROBUST['sgd'][0]
    assert comparison.cell('voc_sam', 'pgd-linf@4/255')['mean'] == ROBUST['sam'][0]
    assert comparison.cell('voc_sgd', 'pgd-linf@8/255')['n'] == 0
    several['results']['pgd-linf@4/255']['attack']['steps'] = 11
    with pytest.raises(ValueError, match='steps of pgd-linf@4/255 is 10 in'):
        Comparison.of([Report(report('sgd')), Report(several)])


def test_a_number_that_is_missing_is_left_out_and_said():
    documents = [report('sgd', seed) for seed in range(3)]
    documents[1]['results']['pgd-linf']['mIoU'] = None
    comparison = Comparison.of(map(Report, documents))
    assert comparison.cell('voc_sgd', 'pgd-linf') == {'mean': 10.5, 'std': 0.7071, 'n': 2}
    console = Console(file=io.StringIO(), width=80)
    console.print(as_terminal_table(comparison.as_document()))
    assert '10.50 ± 0.71 (n=2)' in console.file.getvalue()


# ------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ('document', 'sentence'),
    [
        ({**report('sam'), 'samples': 99}, 'the number of samples is 100 in report 1 and 99 in report 2; test all'),
        (changed('evaluation', selection='all 100'), 'the selection of the samples is 100 of 1449 in .* and all 100'),
        (changed('evaluation', label_size='32x32'), 'the size of the labels'),
        (changed('evaluation', unit='sentence'), 'what is tested is images in .* and sentences'),
        (changed('evaluation', protocol='paper-compat'), 'the protocol is strict in .* and paper-compat'),
        (changed('evaluation', pixel_range=[0, 1]), None),  # the others do not say
        (
            changed('evaluation', made_on={'checkpoint': 'a.pth'}),
            'the model that attacks were made on is .* a.pth',
        ),
        (changed('per_class', classes=['a', 'c']), 'the list of classes'),
        ({**report('sam'), 'results': {'clean': {'accuracy/top1': 9.0}}}, 'the main metric is mIoU in'),
    ],
)
def test_reports_that_were_not_measured_alike_are_refused(document, sentence):
    reports = [Report(report('sgd')), Report(document)]
    if sentence is None:
        assert any('do not state the range of the pixels' in remark for remark in Comparison.of(reports).remarks)
        return
    with pytest.raises(ValueError, match=f'cannot be compared: {sentence}'):
        Comparison.of(reports)


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'eps': 1 / 255}, r'eps of pgd-linf is 4/255 in report 1 and 1/255 in report 2'),
        ({'steps': 100}, 'steps of pgd-linf is 10 in'),
        ({'type': 'APGD'}, 'type of pgd-linf is PGD in'),
        ({'goal': 'error'}, 'goal of pgd-linf is None in'),
        ({'attack': {'type': 'PGD', 'eps': 1.0}}, 'attack of pgd-linf'),
    ],
)
def test_attacks_of_one_name_need_the_same_parameters(change, sentence):
    document = report('sam')
    document['results']['pgd-linf']['attack'].update(change)
    with pytest.raises(ValueError, match=sentence):
        Comparison.of([Report(report('sgd')), Report(document)])


def test_a_training_counts_once(tmp_path):
    with pytest.raises(ValueError, match=r'seed0\.pth twice under pgd-linf, in report 1 and report 2; the spread is'):
        Comparison.of([Report(report()), Report({**report(), 'seed': 7})])
    (tmp_path / 'a.json').write_text(json.dumps(report()))
    with pytest.raises(ValueError, match=r'a\.json is given twice'):
        Comparison.of([Report.load(tmp_path / 'a.json'), Report.load(tmp_path / 'a.json')])
    with pytest.raises(ValueError, match='at least one report; got none'):
        Comparison.of([])


def with_provenance(method, seed, weights, data, settings='s'):
    checkpoint, config = {'sha256': weights, 'bytes': 1}, {'sha256': settings, 'text': ''}
    return Report({**report(method, seed), 'provenance': {'checkpoint': checkpoint, 'data': data, 'config': config}})


def test_the_digests_of_a_report_say_which_trainings_and_data_it_is_of():
    data = {'type': 'DigitScenes', 'data_root': 'here', 'samples': 100}
    first = with_provenance('sgd', 0, 'a', data)
    with pytest.raises(ValueError, match='twice under pgd-linf'):  # the path is another one, the weights are not
        Comparison.of([first, with_provenance('sgd', 1, 'a', data)])
    same_path = Report({**first.document, 'provenance': with_provenance('sgd', 0, 'b', data).document['provenance']})
    assert Comparison.of([first, same_path]).cell('voc_sgd', 'clean')['n'] == 2  # trained on two machines
    elsewhere = with_provenance('sam', 0, 'c', {**data, 'data_root': 'there'})
    assert Comparison.of([first, elsewhere]).remarks == ()
    with pytest.raises(ValueError, match='the data set is'):
        Comparison.of([first, with_provenance('sam', 0, 'c', {**data, 'type': 'VOC'})])
    edited = with_provenance('sgd', 1, 'b', data, settings='t')
    assert Comparison.of([first, edited]).remarks == (
        'The reports of voc_sgd have several settings of configs/voc_sgd.py; see their provenance.',
    )


def trained(seed, settings, checkpoint):
    document = report('sgd', checkpoint)
    provenance = {'checkpoint': {'sha256': str(checkpoint)}, 'training': {'seed': seed, 'settings': settings}}
    return Report({**document, 'provenance': provenance})


def test_reports_of_one_config_are_one_method_only_if_the_trainings_differ_in_the_seed():
    same = Comparison.of([trained(0, 'rho 0.1', 0), trained(1, 'rho 0.1', 1)])
    assert [method.name for method in same.methods] == ['voc_sgd'] and same.remarks == ()
    several = [trained(0, 'rho 0.1', 0), trained(1, 'rho 0.2', 1), trained(2, 'rho 0.1', 2)]
    apart = Comparison.of(several)
    assert [(method.name, len(method.results)) for method in apart.methods] == [
        ('voc_sgd, settings 1', 2), ('voc_sgd, settings 2', 1),
    ]  # fmt: skip
    older = Comparison.of([trained(0, 'rho 0.1', 0), Report(report('sgd', 1))])
    assert [method.name for method in older.methods] == ['voc_sgd']
    assert Comparison.of({'all': several}).remarks == ('all combines trainings of several settings.',)
    (remark,) = Comparison.of([trained(0, 'rho 0.1', 0), trained(0, 'rho 0.1', 1)]).remarks
    assert remark.startswith('voc_sgd has several checkpoints of the training seed 0; their spread is not')


def test_models_in_memory_are_told_apart_by_their_weights():
    first, second = ({**report('sgd', 0), 'checkpoint': 'a model in memory'} for _ in range(2))
    with pytest.raises(ValueError, match='the checkpoint a model in memory twice'):
        Comparison.of([Report(first), Report(second)])
    for number, document in enumerate((first, second)):
        document['provenance'] = {'checkpoint': {'weights': str(number)}}
    (method,) = Comparison.of([Report(first), Report(second)]).methods
    assert method.checkpoints == ('a model in memory', 'a model in memory') and len(method.results) == 2


def test_details_that_differ_are_said():
    document = changed('evaluation', craft_dtype='bfloat16', device='cuda:0', mode='slide')
    document['versions']['torch'] = '2.7.0'
    document['seed'] = 5
    document['results']['pgd-linf']['attack']['seed'] = 5  # of the random start
    document['sanity'] = [{'check': 'more radius, less score', 'verdict': 'FAIL', 'detail': ''}]
    first = report('sgd')
    first['evaluation'].update(craft_dtype='float32', device='cpu', mode='whole')
    remarks = Comparison.of([Report(first), Report(document)]).remarks
    text = ' '.join(remarks)
    for words in (
        'float32, bfloat16',
        'cpu, cuda:0',
        'whole, slide',
        'version of torch',
        '0, 5',
        'Sanity checks failed',
    ):
        assert words in text
    assert len(remarks) == 6
    assert Comparison.of(all_reports()).remarks == ()


# ------------------------------------------------------------------------------------------------------- formats


def _notes(comparison):
    from samat_mm.reports.wording import notes

    return notes(comparison.as_document())


def swept():
    documents = [report(method, seed) for method in CLEAN for seed in range(2)]
    for document in documents:
        base = document['results']['clean']['mIoU']
        for number in (1, 2, 4):
            attack = {'type': 'PGD', 'norm': 'linf', 'eps': number / 255}
            document['results'][f'apgd@{number}/255'] = {'mIoU': base - 10 * number, 'attack': attack}
    return Comparison.of(map(Report, documents))


def test_several_radii_give_a_figure_with_a_line_for_each_method():
    comparison = swept()
    (figure,) = figures_of(comparison.as_document())
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in axes.lines if not line.get_label().startswith('_')}
    assert list(lines) == ['voc_sgd', 'voc_sam']
    for method, values in (('voc_sgd', CLEAN['sgd'][:2]), ('voc_sam', CLEAN['sam'])):
        np.testing.assert_allclose(lines[method], [[r, np.mean(values) - 10 * r] for r in (0, 1, 2, 4)], atol=1e-4)
    bars = [collection.get_segments() for collection in axes.collections]
    assert [len(segments) for segments in bars] == [4, 4]
    (low, high) = bars[0][0][:, 1]
    assert high - low == pytest.approx(2 * statistics.stdev(CLEAN['sgd'][:2]), abs=1e-3)
    assert figures_of(Comparison.of(all_reports()).as_document()) == []


def test_every_format_has_the_numbers(tmp_path):
    comparison = Comparison.of(all_reports())
    for suffix in ('html', 'tex', 'csv', 'json'):
        comparison.save(tmp_path / 'new' / f'table.{suffix}')
    text = {path.suffix: path.read_text() for path in (tmp_path / 'new').iterdir()}
    assert r'voc\_sam & 2 & 75.50 $\pm$ 0.35 & \textbf{20.50 $\pm$ 0.71} \\' in text['.tex']
    assert text['.tex'].count(r'\toprule') == text['.tex'].count(r'\bottomrule') == 1
    assert '<td class="best">20.50 ± 0.71</td>' in text['.html'] and text['.html'].count('class="best"') == 1
    rows = list(csv.DictReader(io.StringIO(text['.csv'])))
    assert [float(row['mean']) for row in rows] == [75.1667, 11, 75.5, 20.5]
    document = json.loads(text['.json'])
    assert document == comparison.as_document()
    assert document['methods'][1]['values'] == {'clean': CLEAN['sam'], 'pgd-linf': ROBUST['sam']}
    assert document['best'] == {'clean': None, 'pgd-linf': 'voc_sam'}


def test_the_page_needs_nothing_but_itself_and_names_are_text(tmp_path):
    documents = [report('sgd', seed) for seed in range(2)]
    for document in documents:
        document['results']['<script>&@1/255'] = document['results'].pop('pgd-linf')
        document['results']['<script>&@9/255'] = {'mIoU': 1.0, 'attack': {'eps': 9 / 255, 'norm': 'linf'}}
    comparison = Comparison.of({'<b>$x_1$ % \\': list(map(Report, documents))})
    comparison.save(tmp_path / 'page.html')
    comparison.save(tmp_path / 'table.tex')
    page, latex = (tmp_path / 'page.html').read_text(), (tmp_path / 'table.tex').read_text()
    assert '<script' not in page and '<b>' not in page and 'src="http' not in page and page.count('<svg') == 1
    ET.fromstring(page[page.index('<svg') : page.index('</svg>') + 6])
    assert r'<b>\$x\_1\$ \% \textbackslash{} & 2 &' in latex
    assert repr(swept()) == (
        'Comparison(mIoU on 100 images of voc_sgd, voc_sam under clean, pgd-linf, apgd@1/255, apgd@2/255, apgd@4/255)'
    )
    assert '<table' in comparison._repr_html_() and '<html' not in comparison._repr_html_()
