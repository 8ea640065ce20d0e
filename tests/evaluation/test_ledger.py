"""Scores on disk: what was written is there, whatever happened to the process."""

import math
import os
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import torch

from samat_mm.compat import TRUST_VARIABLE
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.ledger import Ledger


def score(number=0, **changes):
    kept = [[(torch.tensor([number, 2]), np.float64(0.5), np.array([1, 2])), {'name': 'a', 'values': [1, None]}], []]
    known = dict(wrong=0.25, loss=1.5, counts=[(3, 1, 2)], classes=4, forwards=2.5, backwards=2.0, seconds=0.1)
    return ImageScore(kept, **{**known, 'sizes': ((4, 5), ()), 'more': {'largest_change': 0.1}, **changes})


def test_what_was_written_is_read(tmp_path):
    Ledger(tmp_path, 0).write({'clean': {0: score(0), 2: score(2)}, 'pgd@4/255': {0: score(7)}})
    Ledger(tmp_path, 3).write({'clean': {1: score(1, wrong=math.nan, counts=None)}})
    ledger = Ledger(tmp_path, 1)
    assert ledger.images('clean') == {0, 1, 2}
    assert ledger.images('pgd@4/255') == {0}
    assert ledger.images('unknown') == set()
    read = ledger.read('clean')
    assert sorted(read) == [0, 1, 2]
    assert math.isnan(read[1].wrong)
    assert read[1].counts is None
    first, expected = read[2].to_dict(), score(2).to_dict()
    (kept, _), (wanted, _) = first.pop('results'), expected.pop('results')
    assert first == expected
    assert torch.equal(kept[0][0], wanted[0][0])
    assert (kept[0][2] == wanted[0][2]).all()
    assert kept[1] == wanted[1]


def test_the_first_images_in_their_order(tmp_path):
    ledger = Ledger(tmp_path, 0)
    ledger.write({'clean': {number: score(loss=float(number)) for number in (3, 1, 0, 2)}})
    assert [one.loss for one in ledger.read_images([0, 2, 1], 'clean')] == [0, 2, 1]


def test_written_again_it_counts_once(tmp_path):
    ledger = Ledger(tmp_path, 0)
    ledger.write({'clean': {0: score(loss=1.0)}})
    ledger.write({'clean': {0: score(loss=2.0)}})
    assert [one.loss for one in ledger.read('clean').values()] == [2.0]


def test_a_process_that_died_before_it_had_a_table(tmp_path):
    """The file exists from the first moment, its table from a later one."""
    (tmp_path / 'scores-5.sqlite').touch()
    ledger = Ledger(tmp_path, 0)
    ledger.write({'clean': {0: score()}})
    assert ledger.images('clean') == {0}
    assert Ledger(tmp_path, 5).images('clean') == {0}


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    ledger = Ledger(tmp_path, 0)
    with pytest.raises(ValueError, match=r'was refused: it holds'):
        ledger.write({'clean': {0: ImageScore([[tmp_path]])}})
    assert ledger.images('clean') == set()


WRITER = """
import os, signal, sqlite3, sys
from pathlib import Path
from samat_mm.evaluation.image_score import ImageScore
from samat_mm.evaluation.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), 0)
ledger.write({'clean': {0: ImageScore([], loss=1.0)}})
database = sqlite3.connect(ledger.file, isolation_level=None)
database.execute('PRAGMA cache_size = 1')  # so that the transaction spills into the file before it ends
database.execute('BEGIN')
for number in range(1, 500):
    database.execute('INSERT INTO scores VALUES (?, ?, ?, ?)', ('clean', number, bytes(2000), b''))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_within_a_transaction_the_ledger_is_as_before_it(tmp_path):
    done = subprocess.run([sys.executable, '-c', WRITER, str(tmp_path)], check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert os.path.getsize(tmp_path / 'scores-0.sqlite-journal') > 0
    ledger = Ledger(tmp_path, 1)
    assert ledger.images('clean') == {0}
    assert ledger.read('clean')[0].loss == 1.0


def test_one_score_of_a_thousand_classes_is_small(tmp_path):
    """50,000 images under an attack are a matter of megabytes: no table of all classes for each image."""
    ledger = Ledger(tmp_path, 0)
    ledger.write({'clean': {number: ImageScore([], counts=[(999, 1, 1)], classes=1000) for number in range(200)}})
    with sqlite3.connect(ledger.file) as database:
        (largest,) = database.execute('SELECT MAX(LENGTH(score)) FROM scores').fetchone()
    assert largest < 2000
