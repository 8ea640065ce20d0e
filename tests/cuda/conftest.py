"""Tests of a device, in the order of what they say: ``pytest tests/cuda`` on one with CUDA, ``--device cpu`` elsewhere.

They call the tests of the suite with models and batches on the device where these have what there is to see.
"""

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

# Read when CUDA starts; without it, cuBLAS has no deterministic algorithms.
os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')

import pytest
import torch

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / folder) for folder in ('engine', 'models', 'perturbations')]


def pytest_sessionstart() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whose time is over still writes what it has found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failure at once: a lent machine may be gone before the end."""
    report = yield
    if report.failed:
        item.config.get_terminal_writer().line(f'\n{report.nodeid}\n{report.longreprtext}')
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    absent = config.getoption('--device') == 'cuda' and not torch.cuda.is_available()
    skip = pytest.mark.skip(reason='there is no CUDA device; --device cpu runs what can be seen on a CPU')
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cuda)
            if absent:
                item.add_marker(skip)


@pytest.fixture(scope='session')
def device(request: pytest.FixtureRequest) -> torch.device:
    """Return where tests run, with its number."""
    return torch.device('cpu') if request.config.getoption('--device') == 'cpu' else torch.device('cuda', 0)


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """Return the device, and skip a test that has no form on a CPU."""
    if device.type != 'cuda':
        pytest.skip('only CUDA has this')
    return device


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Compute in single precision as it is meant, and alike every time, unless a test says otherwise."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32 = False, True, False, False
    yield
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, matmul.allow_tf32 = before
    torch.use_deterministic_algorithms(False)
