"""Fixtures that the tests of several modules share."""

import functools
import os

# The models are tiny: threads cost more than they bring, and processes that tests start would fight for the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import mmengine.runner.runner as mmengine_runner
import pytest
import yapf.yapflib.yapf_api
from mmengine.registry import DefaultScope
from small_models import training_case

__all__ = ['training_case']


@pytest.fixture(autouse=True, scope='module')
def no_scope_of_other_modules():
    """Forget the default scopes that runs of other modules have left: they decide where MMEngine looks names up."""
    DefaultScope._instance_dict.clear()


@pytest.fixture(autouse=True, scope='session')
def quick_logs():
    """Leave out what MMEngine does for the looks of its log at every run: lay out the config, describe the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf.yapflib.yapf_api, 'FormatCode', lambda text, **_: (text, True))
        patch.setattr(mmengine_runner, 'collect_env', functools.cache(mmengine_runner.collect_env))
        yield
