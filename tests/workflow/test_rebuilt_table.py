"""A table from nothing to its pages by tools/reproduce.py, in a folder whose name a shell would split."""

import json
import os
import subprocess
import sys

import pytest
from helpers import ROOT

TABLE = """
title = 'A training of seconds'
config = 'smallcnn_handwriting_sgd.py'
metric = 'accuracy/top1'
metrics = [dict(type='CalibrationError')]
seeds = [0]
pgd = dict(type='PGD', norm='linf', eps=0.05, steps=2)
attacks = {'pgd': pgd, 'transfer': pgd}
surrogates = {'transfer': 'SGD'}
columns = {'natural': [], 'PGD': ['pgd'], 'made on SGD': ['transfer']}
rows = [dict(method='SGD', published=[50.0, 40.0, 45.0])]
examinations = ['sanity', 'sharpness']
roles = dict(reference='SGD', claim='SGD', yardstick='SGD', attack='pgd')
questions = [dict(ask='transfer', own='pgd', transferred='transfer'), dict(ask='sanity')]
smoke = dict(share=0.05, max_samples=32)
"""


@pytest.mark.slow
def test_a_table_is_rebuilt_and_follows_its_file(tmp_path):
    pytest.importorskip('snakemake')
    folder = tmp_path / "it's my folder"
    folder.mkdir()
    table, out = folder / 'tiny table.py', folder / 'out of it'
    table.write_text(TABLE)

    def rebuild(*more):
        command = [
            sys.executable,
            str(ROOT / 'tools' / 'reproduce.py'),
            str(table),
            '--budget',
            'smoke',
            '--out',
            str(out),
        ]
        environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
        done = subprocess.run([*command, *more], capture_output=True, text=True, cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr + done.stdout
        return done, json.loads((out / 'tiny table.json').read_text())

    _, document = rebuild()
    cells = document['rows'][0]['cells']
    assert cells['natural']['n'] == 1 and cells['PGD']['published'] == 40.0
    assert cells['PGD']['mean'] == cells['made on SGD']['mean'] < cells['natural']['mean']  # its own twin
    verdicts = {answer['question']: answer['verdict'] for answer in document['verdict']}
    assert verdicts['Does PGD pass the sanity checks on every model?'] in ('yes', 'no')  # measured
    report = json.loads((out / 'cells/SGD/seed0/sanity.json').read_text())
    assert report['results']['pgd']['attack']['eps'] == 0.05 and report['samples'] == 32  # as in the columns
    assert 'calibration/ECE' in report['results']['clean']
    assert not list(out.rglob('*.partial'))

    table.write_text(TABLE.replace('A training', 'One training').replace('50.0', '55.0'))
    done, document = rebuild()
    assert 'localrule train' not in done.stderr and 'localrule evaluate' not in done.stderr
    assert (
        document['title'] == 'One training of seconds' and document['rows'][0]['cells']['natural']['published'] == 55.0
    )
    assert 'One training of seconds' in (out / 'tiny table.html').read_text()

    (out / 'cells/SGD/seed0/transfer.json').unlink()
    _, document = rebuild('partial')
    assert document['rows'][0]['cells']['made on SGD']['mean'] is None
    assert document['rows'][0]['cells']['PGD'] == cells['PGD']
