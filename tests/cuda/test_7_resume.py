"""A run that stops on the device and goes on ends as one that did not, to the bit, with deterministic algorithms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_resume
import torch
from mmengine.runner import Runner
from test_resume import project

__all__ = ['project']


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    """Have every run of those tests refuse operations whose result is left to chance, and run where it should."""
    runner_of: Callable[..., Runner] = test_resume.runner_of

    def strict(*args: Any, **changes: Any) -> Runner:
        runner = runner_of(*args, **changes, randomness=dict(seed=3, deterministic=True))
        assert next(runner.model.parameters()).device == device
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(3, device=device)  # the device's random state is not that of a fresh process
        return runner

    monkeypatch.setattr(test_resume, 'runner_of', strict)


AMP = {'optim_wrapper.type': 'AmpASAMOptimWrapper', 'optim_wrapper.same_dropout': True}


@pytest.mark.parametrize('changes', [{'optim_wrapper.accumulative_counts': 2}, AMP], ids=['accumulation', 'amp'])
def test_a_stopped_run_resumes_bit_for_bit(project: Path, changes: dict) -> None:
    test_resume.test_a_stopped_run_resumes_bit_for_bit(project, changes, 11, 'iter_20.pth')


@pytest.mark.parametrize('method', test_resume.METHODS)
def test_a_memory_outlives_a_stopped_run(project: Path, method: str) -> None:
    test_resume.test_a_memory_outlives_a_stopped_run(project, method)
