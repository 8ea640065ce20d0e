"""tools/slurm_train.sh and slurm_test.sh, with a program in the place of srun that runs the command on one process."""

import json
import os
import socket
import subprocess
import sys

import pytest
from helpers import ROOT

SRUN = """#!{python}
import json, os, sys
options = [word for word in sys.argv[1:] if word.startswith('-')]
command = sys.argv[1:]
while command[0].startswith('-'):
    command.pop(0)
json.dump([options[: len(sys.argv) - 1 - len(command)], command], open('srun.json', 'w'))
os.environ.update(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0', SLURM_NODELIST='this', MASTER_ADDR='127.0.0.1')
os.environ['MASTER_PORT'] = os.environ['FREE_PORT']
os.execvp(command[0], command)
"""
WITHOUT_CUDA = """#!/usr/bin/env bash
exec {python} -W ignore {folder}/without_cuda.py "$@"
"""
DRIVER = """
import runpy, sys
import torch

torch.cuda.set_device = lambda device: None  # MMEngine calls it in every process that Slurm starts
torch.cuda.is_available = lambda: False
sys.argv = sys.argv[2:]  # after -u
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def program(path, text, folder):
    path.write_text(text.format(python=sys.executable, folder=folder))
    path.chmod(0o755)


@pytest.fixture
def run_script(tmp_path, free_port):
    """Run a script with srun's stand-in; returns the process, srun's options and the command."""
    (tmp_path / 'bin').mkdir()
    program(tmp_path / 'bin' / 'srun', SRUN, tmp_path)

    def run(name, *arguments, python='true', **variables):
        environment = {
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'PYTHON': python,
            'FREE_PORT': str(free_port),
            **variables,
        }
        environment['PATH'] = f'{tmp_path / "bin"}{os.pathsep}{environment["PATH"]}'
        command = [str(ROOT / 'tools' / name), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        called = json.loads((tmp_path / 'srun.json').read_text()) if (tmp_path / 'srun.json').exists() else None
        return done, called

    return run


@pytest.fixture
def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def test_the_options_come_from_the_arguments_and_the_environment(run_script):
    more = dict(GPUS='12', GPUS_PER_NODE='4', CPUS_PER_TASK='3', SRUN_ARGS='--quotatype=spot --time=10')
    done, (options, command) = run_script('slurm_train.sh', 'gpu', 'my job', 'a b.py', '--work-dir', 'w d', **more)
    assert done.returncode == 0, done.stderr
    assert options == [
        '--partition=gpu',
        '--job-name=my job',
        '--gres=gpu:4',
        '--ntasks=12',
        '--ntasks-per-node=4',
        '--cpus-per-task=3',
        '--kill-on-bad-exit=1',
        '--quotatype=spot',
        '--time=10',
    ]
    script = str(ROOT / 'tools/train.py')
    assert command == ['true', '-u', script, 'a b.py', '--launcher', 'slurm', '--work-dir', 'w d']
    given = ('gpu', 'job', 'a.py', 'b.pth', '--attack', 'pgd-linf')
    done, (options, command) = run_script('slurm_test.sh', *given, python='false', GPUS='2')
    assert done.returncode == 1  # the status of the command
    assert {'--gres=gpu:2', '--ntasks=2', '--ntasks-per-node=2', '--cpus-per-task=5'} <= set(options)
    script = str(ROOT / 'tools/test.py')
    assert command == ['false', '-u', script, 'a.py', 'b.pth', '--launcher', 'slurm', '--attack', 'pgd-linf']


@pytest.mark.parametrize(
    ('name', 'given'), [('slurm_train.sh', ['gpu', 'job']), ('slurm_test.sh', ['gpu', 'job', 'a.py'])]
)
def test_a_missing_argument_is_named(name, given, run_script):
    done, called = run_script(name, *given)
    assert done.returncode == 2
    assert called is None
    assert done.stderr.startswith(f'usage: tools/{name} PARTITION JOB_NAME CONFIG')


def test_a_process_of_slurm_trains(run_script, tmp_path):
    """One process over gloo; MMEngine reads its rank from the variables of Slurm."""
    program(tmp_path / 'bin' / 'python', WITHOUT_CUDA, tmp_path)
    (tmp_path / 'without_cuda.py').write_text(DRIVER)
    (tmp_path / 'short.py').write_text(
        "_base_ = 'samat_mm::smallcnn_handwriting_sam.py'\n"
        'train_cfg = dict(max_epochs=1)\n'
        'val_cfg = val_dataloader = val_evaluator = None\n'
        'default_hooks = dict(checkpoint=dict(interval=1))\n'
        "env_cfg = dict(dist_cfg=dict(backend='gloo'))\n"
        "model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)\n"
    )
    python = str(tmp_path / 'bin' / 'python')
    done, _ = run_script('slurm_train.sh', 'gpu', 'job', 'short.py', '--work-dir', 'run', python=python, GPUS='1')
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()
    log = next((tmp_path / 'run').glob('*/*.log')).read_text()
    assert 'Distributed launcher: slurm' in log
