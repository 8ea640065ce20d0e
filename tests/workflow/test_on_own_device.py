"""samat_mm/workflow/on_own_device.py: which device a job gets, and when another job can have it."""

import os
import runpy
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from helpers import ROOT

SCRIPT = ROOT / 'samat_mm/workflow/on_own_device.py'
devices = SimpleNamespace(**runpy.run_path(str(SCRIPT), run_name='on_own_device'))

SHOW = 'import os, time; print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True); time.sleep({seconds})'


def job(folder, visible, seconds=60):
    environment = {**os.environ, 'TMPDIR': str(folder), 'CUDA_VISIBLE_DEVICES': visible}
    command = [sys.executable, SCRIPT, sys.executable, '-c', SHOW.format(seconds=seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def device_of(process):
    return process.stdout.readline().strip()


def end(process):
    process.kill()
    process.communicate()


def test_each_job_has_its_own_device_and_a_killed_one_frees_it(tmp_path):
    first, second = job(tmp_path, '4,GPU-9a'), job(tmp_path, '4,GPU-9a')
    named = {device_of(first): first, device_of(second): second}
    assert set(named) == {'4', 'GPU-9a'}
    third = job(tmp_path, '4,GPU-9a')
    time.sleep(2 * devices.LOOK)
    assert third.poll() is None
    named['GPU-9a'].send_signal(signal.SIGKILL)
    assert device_of(third) == 'GPU-9a'
    for process in (first, second, third):
        end(process)


@pytest.mark.parametrize('visible', ['', '0'])
def test_without_a_choice_jobs_run_side_by_side(visible, tmp_path):
    jobs = [job(tmp_path, visible) for _ in range(2)]
    assert [device_of(each) for each in jobs] == [visible, visible]
    assert not list(tmp_path.iterdir())
    for process in jobs:
        end(process)


def test_the_exit_status_is_that_of_the_command(tmp_path):
    environment = {**os.environ, 'TMPDIR': str(tmp_path), 'CUDA_VISIBLE_DEVICES': '0,1'}
    command = [sys.executable, SCRIPT, 'sh', '-c', 'exit 7']
    assert subprocess.run(command, env=environment).returncode == 7


def test_a_device_stays_taken_while_a_child_of_the_job_lives(tmp_path):
    work = 'import subprocess; print(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, close_fds=False).pid)'
    environment = {**os.environ, 'TMPDIR': str(tmp_path), 'CUDA_VISIBLE_DEVICES': '0,1'}
    command = [sys.executable, SCRIPT, sys.executable, '-c', work]
    child = int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True).stdout)
    try:
        (folder,) = tmp_path.iterdir()
        assert devices.take(['0', '1'], folder) == '1'
    finally:
        os.kill(child, signal.SIGKILL)


def test_visible_devices_are_those_of_the_variable(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', ' 3, MIG-GPU-1/2/0 ,')
    assert devices.visible() == ['3', 'MIG-GPU-1/2/0']
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    monkeypatch.setitem(devices.visible.__globals__, 'DRIVERS', ('null',))  # a device file that is everywhere
    assert devices.visible() == ['0', '1']
    monkeypatch.setitem(devices.visible.__globals__, 'DRIVERS', ('no-such-driver[0-9]*',))
    assert devices.visible() == []


def test_a_device_may_have_a_slash_in_its_name(tmp_path):
    assert devices.take(['MIG-GPU-1/2/0'], tmp_path) == 'MIG-GPU-1/2/0'
    assert [path.name for path in tmp_path.iterdir()] == ['MIG-GPU-1_2_0']


def test_a_command_is_needed():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith('give the command.\n')
