"""From the reports of tests to a document, and from a document to pages."""

import csv
import io
import json
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from samat_mm.tables.evidence import Evidence
from samat_mm.tables.pages import PAGES, write_pages
from samat_mm.tables.pages.figures import figures_of
from samat_mm.tables.pages.terminal import as_terminal_table
from samat_mm.tables.reading import read_table
from samat_mm.tables.results import document_of, value_of

METRIC = 'accuracy/top1'


def report(natural, attacked, samples=500):
    results = {'clean': {METRIC: natural}, **{name: {METRIC: value} for name, value in attacked.items()}}
    return Evidence(results, samples, versions={'torch': '2.13.0'})


@pytest.fixture
def document():
    """Table 5 with three seeds of SGD, two of SAM at three radii, and nothing of the rest."""
    table = read_table('table5', 'smoke')
    reports = {'SGD': {seed: report(90.0 + seed, {'autoattack-l2': 10.0, 'stadv': 20.0}) for seed in range(3)}}
    for number, key in enumerate(('SAM_rho-0.1', 'SAM_rho-0.2', 'SAM_rho-0.3')):
        reports[key] = {seed: report(91.0, {'autoattack-l2': 10.0 + number, 'stadv': 21.0 + seed}) for seed in range(2)}
    return document_of(table, reports, {'SGD/seed0': ['samat-mm train a_b.py']})


def row(document, name):
    return next(row for row in document['rows'] if row['name'] == name)


def test_cells_are_mean_and_sample_deviation_over_seeds(document):
    assert document['table'] == '5' and document['budget'] == 'smoke' and document['protocol'] == 'strict'
    cells = row(document, 'SGD')['cells']
    assert cells['natural'] == {'mean': 91.0, 'std': 1.0, 'n': 3, 'published': 94.5}
    assert cells['AutoAttack'] == {'mean': 10.0, 'std': 0.0, 'n': 3, 'published': 31.7}
    assert row(document, 'SAM (rho = 0.1)')['cells']['StAdv'] == {'mean': 21.5, 'std': 0.71, 'n': 2, 'published': 39.3}


def test_a_missing_cell_is_missing(document):
    assert row(document, 'Adam')['cells']['natural'] == {'mean': None, 'std': None, 'n': 0, 'published': 93.9}
    table = read_table('table5', 'smoke')
    partial = document_of(table, {'SGD': {0: report(90.0, {'stadv': 20.0}), 1: report(92.0, {})}}, {})
    cells = row(partial, 'SGD')['cells']
    assert [cells[column]['n'] for column in ('natural', 'AutoAttack', 'StAdv')] == [2, 0, 1]
    assert cells['StAdv']['std'] is None


def test_an_average_needs_all_its_attacks():
    whole = report(90.0, {'pgd-linf': 10.0, 'stadv': 20.0})
    assert value_of(whole, ('pgd-linf', 'stadv'), METRIC) == 15.0
    assert value_of(whole, ('pgd-linf', 'pixle'), METRIC) is None
    assert value_of(report(None, {}), (), METRIC) is None


def test_csv_has_a_line_for_each_cell(document):
    lines = list(csv.DictReader(io.StringIO(PAGES['csv'](document))))
    assert len(lines) == len(document['rows']) * 3
    assert lines[0] == dict(row='SGD', column='natural', mean='91.0', std='1.0', n='3', published='94.5')
    assert lines[3] == dict(row='Adam', column='natural', mean='', std='', n='0', published='93.9')


def test_markdown_and_latex_set_ours_next_to_the_papers(document):
    markdown, latex = PAGES['md'](document), PAGES['tex'](document)
    assert '| SGD | 91.0 ± 1.0 (94.5) | 10.0 ± 0.0 (31.7) | 20.0 ± 0.0 (35.2) |' in markdown
    assert '| Adam | -- (93.9) | -- (13.9) | -- (20.4) |' in markdown
    assert r'SGD & 91.0 $\pm$ 1.0 (94.5) & 10.0 $\pm$ 0.0 (31.7) & 20.0 $\pm$ 0.0 (35.2) \\' in latex
    assert 'samat-mm train a_b.py' in markdown
    assert latex.count(r'\toprule') == latex.count(r'\bottomrule') == 1
    for text in (markdown, latex):  # the contradiction within the paper carries a mark and its explanation
        assert '(57.8*)' in text and 'table 2 of the paper has 47.8' in text
        assert 'compare the order of the rows' in text


def test_the_page_needs_nothing_but_itself(document, tmp_path):
    written = write_pages(document, tmp_path / 'table5.json')
    pages = [path.name for path in written]
    assert pages == [*(f'table5.{kind}' for kind in ('md', 'tex', 'csv', 'html')), 'metafile.yml', 'model-index.yml']
    page = (tmp_path / 'table5.html').read_text()
    assert 'src="http' not in page and '<script' not in page and page.count('<svg') == 2
    assert '57.8*' in page and '91.0 ± 1.0' in page
    assert page == PAGES['html'](json.loads(json.dumps(document)))  # the same page each time


def test_the_terminal_shows_our_numbers(document):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(as_terminal_table(document))
    lines = console.export_text().splitlines()
    assert any('SGD' in line and '91.0 ± 1.0' in line and '20.0 ± 0.0' in line for line in lines)


def test_figures_show_the_rows_that_are_done(document):
    figures = figures_of(document)
    assert list(figures) == ['Natural against robust performance', 'SAM: performance against its radius']
    for svg in figures.values():
        assert ET.fromstring(svg).tag.endswith('svg')
    empty = document_of(read_table('table5'), {}, {})
    assert figures_of(empty) == {} and empty['samples'] == [] and empty['versions'] == {}
    assert 'on no images' in PAGES['md'](empty)


def test_hostile_text_is_text(document):
    hostile = {**document, 'title': '<script>alert(1)</script> & 100 %'}
    assert '<script>' not in PAGES['html'](hostile) and r'\& 100 \%' in PAGES['tex'](hostile)
