"""A table rebuilt under Slurm: the numbers of a local run, and a GPU for each job."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from helpers import ROOT
from one_node import one_node, reason_not_to_start
from processes import start_tool

from samat_mm.tables.cells import checkpoint_of, trainings
from samat_mm.tables.reading import read_table
from samat_mm.tables.results import collect

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
    '--slurm-init-seconds-before-status-checks=4',  # each wait until a job has ended is 10 seconds longer than the last
    '--default-resources',
    'slurm_partition=main',
    'mem_mb=1000',
    'runtime=10',
]


def missing():
    if find_spec('snakemake_executor_plugin_slurm') is None:
        return 'needs snakemake-executor-plugin-slurm (pip install samat-mm[tables-slurm])'
    return reason_not_to_start()


def rebuilt_under_slurm(folder, cluster):
    """Rebuild the table in the folder, and return what Slurm says about each job."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    environment = {**cluster, 'PYTHONPATH': path}
    command = [sys.executable, str(ROOT / 'tools' / 'reproduce.py'), 'tiny.py', '--budget', 'smoke', '--out', 'out']
    done = subprocess.run([*command, *SLURM], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return subprocess.check_output(['scontrol', '-o', 'show', 'jobs'], text=True, env=environment).splitlines()


def tool(name, *arguments):
    process = start_tool(name, *arguments)
    process.join()
    assert process.exitcode == 0


def rebuilt_here(table, out):
    """Rebuild the table in processes of this machine."""
    for training in trainings(table, out):
        training.write_configs()
        work = training.work_dir()
        tool('train', training.config_file, '--work-dir', work)
        training.trained_file.write_text((work / 'last_checkpoint').read_text())
        for evaluation in training.evaluations:
            files = (evaluation.config_file, checkpoint_of(training), '--out', evaluation.report_file)
            tool('test', *files, '--work-dir', work / 'test')
    return collect(trainings(table, out), out / 'tiny.json')


@pytest.mark.slow
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_slurm_gives_the_numbers_of_a_local_run(tmp_path):
    (tmp_path / 'tiny.py').write_text(TABLE)
    with one_node() as cluster:
        jobs = rebuilt_under_slurm(tmp_path, cluster)
    assert len(jobs) == 4  # two trainings and two tests; the table and its pages are made without the cluster
    assert all('JobState=COMPLETED' in job and 'TresPerJob=gres:gpu:1' in job for job in jobs)
    there = json.loads((tmp_path / 'out' / 'tiny.json').read_text())
    here = rebuilt_here(read_table(str(tmp_path / 'tiny.py'), 'smoke'), tmp_path / 'here')
    assert there['rows'] == here['rows'] and there['samples'] == here['samples'] == [64]
    assert [cell['n'] for row in here['rows'] for cell in row['cells'].values()] == [1, 1, 1, 1]
