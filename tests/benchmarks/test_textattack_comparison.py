"""The comparison with TextAttack, without it: the problem is the same every time, and any difference is found."""

import copy
import importlib
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def comparison(monkeypatch):
    monkeypatch.setattr(sys, 'path', [str(FOLDER), *sys.path])
    return importlib.import_module('textattack_comparison')


def test_the_problem_is_the_same_every_time(comparison, tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    assert comparison.make_problem(tmp_path / 'a', 5) == comparison.make_problem(tmp_path / 'b', 5)
    files = sorted(path.name for path in (tmp_path / 'a').iterdir())
    assert files == ['candidates.pkl', 'problem.json', 'vectors.npy', 'words.pkl']
    assert all((tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes() for name in files)
    rows = pickle.loads((tmp_path / 'a' / 'words.pkl').read_bytes())
    assert len(rows) == len(np.load(tmp_path / 'a' / 'vectors.npy'))
    labels = json.loads((tmp_path / 'a' / 'problem.json').read_text())['labels']
    assert set(labels) <= {0, 1}


def test_probabilities_are_exact_in_single_precision(comparison):
    found = comparison.probabilities(['a b', 'b', ''], {'a': 1.3, 'b': -0.4}, 0.1)
    assert (found.astype(np.float32) == found).all()
    assert (found.sum(1) == 1).all()
    assert found[:, 1] == pytest.approx(1 / (1 + np.exp([-1.0, 0.3, -0.1])), abs=1e-6)


def test_any_difference_is_found(comparison):
    ours = [{'queries': ['a', 'b'], 'success': True, 'text': 'b'}, {'queries': ['c'], 'success': False, 'text': 'c'}]
    theirs = [{**found, 'counted': 9} for found in copy.deepcopy(ours)]
    row = comparison.compared('PSO', ours, theirs)
    assert row['sentences with other queries'] == []
    assert (row['queries'], row['same success'], row['same text']) == (3, 2, 2)
    for change in (['b', 'a'], ['a'], ['a', 'b', 'c']):  # the order counts, too
        theirs[0]['queries'] = change
        assert comparison.compared('PSO', ours, theirs)['sentences with other queries'] == [0]
    theirs[1].update(success=True, text='d')
    row = comparison.compared('PSO', ours, theirs)
    assert (row['same success'], row['same text'], row['successes, TextAttack']) == (1, 1, 2)
