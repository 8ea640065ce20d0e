"""The modules that importing samat_mm loads, and its changes to the process, in either order of it and MMEngine."""

import subprocess
import sys
from importlib import import_module, reload
from importlib.util import find_spec

import pytest
from helpers import ROOT

from samat_mm.compat.imports import when_imported

PLAIN = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'matplotlib', 'torchvision'):
            asked.append(name)
            raise ModuleNotFoundError(f'no module named {name}', name=name)

asked = []
sys.meta_path.insert(0, Refuse())
import samat_mm.perturbations
import torch
from samat_mm.perturbations.inputs import PGD, Problem
from samat_mm.perturbations.weights import SAM, perturbed_step

images = torch.full((2, 1, 2, 2), 0.5)
problem = Problem(lambda images: images.flatten(1), images, torch.tensor([0, 1]), (0, 1))
assert (PGD(eps='8/255').search(problem).images - images).abs().max() <= 8 / 255 + 1e-6
from samat_mm import compat
compat.repair_process()
assert asked == [], asked
"""

ONLY_MMENGINE = """
import importlib.util
import sys

import samat_mm

found, absent = importlib.util.find_spec, ('mmcv', 'mmseg', 'mmpretrain')
importlib.util.find_spec = lambda name, package=None: None if name in absent else found(name, package)
sys.modules.update(dict.fromkeys(absent))

from mmengine.registry import DATASETS, HOOKS, MODELS

assert HOOKS.get('AdversarialTrainingHook') and MODELS.get('PreActResNet')
assert DATASETS.get('TinyImageNet') and DATASETS.get('RottenTomatoes')
data = DATASETS.build(dict(type='HandwrittenDigits', split='test'))
assert (len(data), data[0]['img'].shape) == (500, (8, 8, 1))
assert DATASETS.get('DigitScenes') is None  # of mmsegmentation's kind
"""


def run(*arguments):
    command = [sys.executable, '-W', 'ignore', *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_plain_torch_asks_for_nothing_of_openmmlab():
    run('-c', PLAIN)


def test_parts_that_need_mmengine_only_are_registered_where_nothing_else_is_installed():
    run('-c', ONLY_MMENGINE)


def test_parts_are_registered_and_files_are_data_where_samat_mm_comes_first(tmp_path):
    """Also in the spawned worker of a data loader, where a module that imports MMEngine comes first."""
    run(ROOT / 'tests' / 'import_order.py', tmp_path)


def test_parts_are_registered_at_once_where_mmengine_comes_first():
    """As in this process, and wherever a config has custom_imports."""
    from mmengine.registry import OPTIM_WRAPPERS, Registry

    assert 'samat_mm.registration' in sys.modules
    assert OPTIM_WRAPPERS.module_dict['SAMOptimWrapper'].__module__.startswith('samat_mm.')
    assert (Registry.get.__module__, type(Registry.module_dict)) == ('mmengine.registry.registry', property)


def test_an_action_waits_for_the_import_and_looking_for_the_module_is_none(tmp_path, monkeypatch):
    (tmp_path / 'watched_module.py').write_text('value = 1')
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    for number in (1, 2):
        when_imported('watched_module', lambda number=number: seen.append(number + sys.modules['watched_module'].value))
    assert find_spec('watched_module') is not None
    assert seen == []
    module = import_module('watched_module')
    assert seen == [2, 3]
    when_imported('watched_module', lambda: seen.append('at once'))
    reload(module)
    assert seen == [2, 3, 'at once']


def test_an_action_that_fails_is_called_again_and_finders_of_old_libraries_are_skipped(tmp_path, monkeypatch):
    (tmp_path / 'failing_module.py').write_text('value = 1')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, 'meta_path', [*sys.meta_path, object()])
    seen = []

    def fail_once():
        seen.append(sys.modules['failing_module'].value)
        if len(seen) == 1:
            raise OSError('no memory')

    when_imported('failing_module', fail_once)
    with pytest.raises(OSError, match='no memory'):
        import_module('failing_module')
    assert import_module('failing_module').value == 1
    assert seen == [1, 1]
