"""A table rebuilt under Slurm: the numbers of a local run, and a GPU for each job."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from helpers import ROOT
from one_node import one_node, reason_not_to_start

TABLE = """
title = 'Two trainings of a few seconds'
config = 'smallcnn_handwriting_sgd.py'
metric = 'accuracy/top1'
seeds = [0]
columns = {'natural': [], 'FGSM': ['fgsm-linf']}
rows = [dict(method='SGD'), dict(method='SAM', rho=0.1)]
smoke = dict(share=0.05, max_samples=64, attack_radii=dict(linf=12.75))
"""
SLURM = [
    '--executor=slurm',
    '--jobs=2',
    '--resources=gpu=2',
    '--slurm-status-command=squeue',
    '--seconds-between-status-checks=1',
    '--slurm-init-seconds-before-status-checks=1',
    '--default-resources',
    'slurm_partition=main',
    'mem_mb=1000',
    'runtime=10',
]


def missing():
    if find_spec('snakemake_executor_plugin_slurm') is None:
        return 'needs snakemake-executor-plugin-slurm (pip install samat-mm[tables-slurm])'
    return reason_not_to_start()


def start(out, *options, folder, environment):
    command = [sys.executable, str(ROOT / 'tools' / 'reproduce.py'), 'tiny.py', '--budget', 'smoke', '--out', out]
    with (folder / f'{out}.log').open('w') as log:
        return subprocess.Popen([*command, *options], stdout=log, stderr=log, cwd=folder, env=environment)


@pytest.mark.slow
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_slurm_gives_the_numbers_of_a_local_run(tmp_path):
    (tmp_path / 'tiny.py').write_text(TABLE)
    with one_node() as cluster:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
        environment = {**cluster, 'PYTHONPATH': path}
        (tmp_path / 'here').mkdir()
        (tmp_path / 'here' / 'tiny.py').write_text(TABLE)
        runs = {
            'there': start('there', *SLURM, folder=tmp_path, environment=environment),
            'here/out': start('out', '--cores=2', folder=tmp_path / 'here', environment=environment),
        }
        for out, run in runs.items():
            assert run.wait() == 0, (tmp_path / f'{out}.log').read_text()
        jobs = subprocess.check_output(['scontrol', '-o', 'show', 'jobs'], text=True, env=environment).splitlines()
    documents = [json.loads((tmp_path / out / 'tiny.json').read_text()) for out in runs]
    assert documents[0]['rows'] == documents[1]['rows'] and len(documents[0]['rows']) == 2
    assert all(cell['n'] == 1 for row in documents[0]['rows'] for cell in row['cells'].values())
    trained = [job for job in jobs if 'Comment=rule_train' in job]
    assert len(trained) == 2 and len(jobs) > 2  # the table and its pages are no jobs of the cluster
    assert all('JobState=COMPLETED' in job and 'TresPerJob=gres:gpu:1' in job for job in jobs)
