"""Fixtures that the tests of several modules share."""

import functools
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace

# The models are tiny: threads cost more than they bring, and processes that tests start would fight for the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import mmengine.dataset.base_dataset
import mmengine.device.utils
import mmengine.runner.loops as mmengine_loops
import mmengine.runner.runner as mmengine_runner
import pytest
import yapf.yapflib.yapf_api
from mmengine.registry import DefaultScope
from small_models import training_case

__all__ = ['training_case']


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--device', default='cuda', choices=['cuda', 'cpu'], help='where tests/cuda runs; cuda by default')


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption('--device') == 'cpu':
        mmengine.device.utils.DEVICE = 'cpu'  # MMEngine takes whatever accelerator it sees


@pytest.fixture(autouse=True, scope='module')
def no_scope_of_other_modules():
    """Forget the default scopes that runs of other modules have left: they decide where MMEngine looks names up."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True, scope='session')
def quick_runs():
    """Leave out steps that cost MMEngine time in every run.

    These are the layout of the config for the log, the description of the machine, the 2 seconds that an
    iteration-based training waits after each pass over its data, for the workers of the loader, and the search for
    garbage in the whole process when a data set is made.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf.yapflib.yapf_api, 'FormatCode', lambda text, **_: (text, True))
        patch.setattr(mmengine_runner, 'collect_env', functools.cache(mmengine_runner.collect_env))
        patch.setattr(mmengine.dataset.base_dataset, 'gc', SimpleNamespace(collect=lambda: 0))
        patch.setattr(mmengine_loops, 'time', SimpleNamespace(sleep=lambda seconds: None))
        yield


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Callable[..., tuple]:
    """Run a command in this process; returns its status, output and errors."""
    from samat_mm.command_line.main import run_command
    from samat_mm.compat import TRUST_VARIABLE

    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    monkeypatch.delenv('SAMAT_MM_DEBUG', raising=False)
    monkeypatch.setenv('COLUMNS', '200')

    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [f'tools/{name}.py', *map(str, arguments)])
        capfd.readouterr()
        try:
            status = run_command(name.replace('_', '-'), program=name)
        except SystemExit as end:
            status = end.code
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run
