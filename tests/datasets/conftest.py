import os
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope, init_default_scope

REAL_DATA = Path(os.environ.get('SAMAT_TEST_DATA', Path(__file__).parents[2] / '../shared/data'))


@pytest.fixture
def use_scope():
    """Return a function that sets MMEngine's default scope, as a runner does, until the test ends."""
    yield init_default_scope
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def real_data():
    """Return a function that prepares one of the real data sets, or skips where it is not at hand."""
    return _prepare_real


def _prepare_real(dataset: str, archive: str, out: Path) -> Path:
    from samat_mm.datasets.preparation import LAYOUTS, prepare

    if not (REAL_DATA / archive).is_file():
        pytest.skip(f'{archive} is not in {REAL_DATA}')
    root, findings = prepare(REAL_DATA / archive, out, LAYOUTS[dataset], lambda items, title: items)
    assert not findings.problems
    return root
