"""samat-mm theory as its users meet it: tables, a file, figures, or one sentence."""

import json
import sys

import pytest

from samat_mm.command_line.main import run_command
from samat_mm.theory import (
    FeatureModel,
    adversarial_weight,
    exact_sam_weight,
    sam_weight_corrected,
    sam_weight_paper,
    standard_weight,
)

ONE = ('--p', 0.9, '--eta', 0.2, '--n', 25, '--eps', 0.1, 1)
QUICK = (*ONE, '--samples', 40, '--data-sets', 2)


@pytest.fixture
def tool(monkeypatch, capsys):
    """Run the command in this process; returns its status, output and errors."""
    monkeypatch.setenv('COLUMNS', '160')
    monkeypatch.delenv('SAMAT_MM_DEBUG', raising=False)

    def run(*options):
        monkeypatch.setattr(sys, 'argv', ['tools/theory.py', *map(str, options)])
        try:
            status = run_command('theory')
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_document_the_tables_and_the_figures(tool, tmp_path):
    out = tmp_path / 'new' / 'theory.json'
    status, text, errors = tool(*QUICK, '--out', out, '--figures', tmp_path / 'figures')
    assert status == 0, errors
    document, model = json.loads(out.read_text()), FeatureModel(0.9, 0.2, 25)
    small, large = document['rows']
    for row, eps in ((small, 0.1), (large, 1.0)):
        assert {name: row[name] for name in ('p', 'eta', 'n', 'eps')} == dict(p=0.9, eta=0.2, n=25, eps=eps)
        assert row['W_ST'] == standard_weight(model)
        assert row['W_SAM_exact'] == exact_sam_weight(model, eps)
        assert row['W_SAM_paper'] == sam_weight_paper(model, eps)
        assert row['W_SAM_corrected'] == sam_weight_corrected(model, eps)
    assert small['W_AT'] == adversarial_weight(model, 0.1)
    assert large['W_AT'] is None
    assert {row['method'] for row in document['trained']} == {'ST', 'AT', 'AT, l2', 'SAM', 'SAM, one side'}
    assert all(row['samples'] == 40 for row in document['trained'])
    assert f'{small["W_AT"]:.4f}' in text
    assert f'{75 * (large["W_SAM_exact"] / large["W_ST"] - 1):.3f}' in text
    assert f'{document["trained"][0]["W_trained"]:.4f} ± {document["trained"][0]["standard_error"]:.4f}' in text
    assert 'linf-all' in text
    assert 'W_SAM_paper: ' in text
    names = ['theory_all_weights.png', 'theory_radii.png', 'theory_weights.png']
    assert sorted(path.name for path in (tmp_path / 'figures').iterdir()) == names


def test_the_default_grid_without_trainings(tool, tmp_path):
    out = tmp_path / 'theory.json'
    status, text, errors = tool('--samples', 0, '--out', out)
    assert status == 0, errors
    document = json.loads(out.read_text())
    assert len(document['rows']) == 3 * 2 * 3 * 5
    assert document['trained'] == []
    assert 'Trained' not in text
    for row in document['rows']:
        assert (row['W_AT'] is None) == (row['eps'] >= row['eta'])
        assert row['W_SAM_exact'] > row['W_ST']


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (['--p', 0.9, 0.5], 'p, the accuracy of the robust feature, must be above 0.5'),
        (['--eta', 0], 'eta, the mean of a non-robust feature, must be above 0; got 0.'),
        (['--n', 0], 'n must be a whole number of at least 1; got 0.'),
        (['--eps', -1], 'eps must be a finite number of at least 0; got -1.0.'),
        (['--model', 0.9, 0.2, 2.5], '--model takes a whole number as N'),
        (['--data-sets', 1], 'data_sets must be at least 2'),
        (['--samples', -1], 'samples must be a whole number of at least 1; got -1.'),
        (['--out', 'theory.txt'], '--out needs the name of a .json file'),
    ],
)
def test_mistakes_get_one_sentence(tool, options, sentence):
    status, text, errors = tool(*options)
    assert (status, text) == (1, '')
    assert errors.startswith('error: ')
    assert sentence in errors
    assert errors.count('\n') == 1
