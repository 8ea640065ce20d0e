"""Configs that refer to other projects, torchvision, and versions."""

import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.config import utils as config_utils

from samat_mm import compat
from samat_mm.compat import distributions

compat.repair_process()


@pytest.fixture
def no_subprocess(monkeypatch):
    """MMEngine runs ``pip install`` for a distribution that it does not find."""

    def refuse(*args, **kwargs):
        raise AssertionError(f'a subprocess was started: {args}')

    for name in ('Popen', 'check_call', 'check_output', 'call', 'run'):
        monkeypatch.setattr(subprocess, name, refuse)
    monkeypatch.setattr(os, 'system', refuse)


@pytest.mark.parametrize(
    ('reference', 'key'),
    [
        ('mmseg::_base_/models/deeplabv3_r50-d8.py', 'decode_head'),
        ('mmpretrain::_base_/models/resnet18_cifar.py', 'head'),
    ],
)
def test_a_config_of_another_project_is_found_without_any_subprocess(reference, key, no_subprocess, tmp_path):
    (tmp_path / 'config.py').write_text(f"_base_ = ['{reference}']\nmodel = dict(train_cfg=None)\n")
    config = Config.fromfile(tmp_path / 'config.py')
    assert key in config.model
    assert config.model.train_cfg is None


def test_references_lead_to_the_forks_that_are_installed_and_to_no_other(monkeypatch):
    original = {'mmseg': 'mmsegmentation', 'mmpretrain': 'mmpretrain', 'mmdet': 'mmdet'}
    mapping = dict(original)
    monkeypatch.setattr(config_utils, 'MODULE2PACKAGE', mapping)
    monkeypatch.setattr(distributions, 'is_installed', lambda name: name == 'onedl-mmpretrain')
    distributions.map_config_references()
    assert mapping == {**original, 'mmpretrain': 'onedl-mmpretrain'}


def test_what_is_installed_is_told_from_what_is_not():
    assert compat.is_installed('torch')
    assert not compat.is_installed('no-such-distribution-anywhere')


def test_torchvision_imports_and_its_models_work():
    import torchvision

    with torch.no_grad():
        assert torchvision.models.resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.parametrize('first', ['', 'with contextlib.suppress(RuntimeError):\n    import torchvision\n'])
def test_torchvision_imports_after_samat_mm_also_where_it_failed_before(first):
    """It fails where it is built for CUDA and torch is not."""
    code = f'import contextlib\n{first}import samat_mm\nimport torchvision\nassert torchvision.models.resnet18'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_versions_in_a_report_are_those_of_what_is_installed():
    versions = compat.versions()
    assert torch.__version__.startswith(versions['torch'])  # which a build may add to
    assert {'samat-mm', 'torch'} <= set(versions)
    assert all(isinstance(value, str) for value in versions.values())


def test_the_hub_does_not_install_what_is_missing(monkeypatch):
    from mmengine.hub import get_config

    monkeypatch.setattr('subprocess.check_call', lambda *_, **__: pytest.fail('a process was started'))
    with pytest.raises(ModuleNotFoundError, match='mmdet is not installed'):
        get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')


def test_the_hub_reads_what_is_installed(monkeypatch):
    from mmengine.hub import get_config

    monkeypatch.setattr('subprocess.check_call', lambda *_, **__: pytest.fail('a process was started'))
    assert get_config('mmpretrain::resnet/resnet18_8xb16_cifar10.py').model.type == 'ImageClassifier'
    assert get_config('mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py').model.type == 'EncoderDecoder'
