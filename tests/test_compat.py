"""Configs that refer to other projects, torchvision, and checkpoints that would like to run code."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ClassificationImages, classifier, runner, state_of
from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from samat_mm import compat

# ------------------------------------------------------------------------------------------------- configs


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
    monkeypatch.setattr(compat, 'is_installed', lambda name: name == 'onedl-mmpretrain')
    compat.map_config_references()
    assert mapping == {**original, 'mmpretrain': 'onedl-mmpretrain'}


def test_what_is_installed_is_told_from_what_is_not():
    assert compat.is_installed('torch')
    assert not compat.is_installed('no-such-distribution-anywhere')


def test_torchvision_imports_and_its_models_work():
    import torchvision

    with torch.no_grad():
        assert torchvision.models.resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_the_versions_in_a_report_are_those_of_what_is_installed():
    versions = compat.versions()
    assert versions['torch'].partition('+')[0] == torch.__version__.partition('+')[0]
    assert {'samat-mm', 'torch'} <= set(versions)
    assert all(isinstance(value, str) for value in versions.values())


# ------------------------------------------------------------------------------------- hostile checkpoints


class Hostile:
    """Calls ``function(*args)`` when it is unpickled."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def attempts(victim):
    """Ways of a pickle to create the file ``victim``."""
    return {
        'os.system': Hostile(os.system, f'touch {victim}'),
        'os.mkdir': Hostile(os.mkdir, str(victim)),
        'open': Hostile(open, str(victim), 'w'),
        'eval': Hostile(eval, f'open({str(victim)!r}, "w")'),
        'subprocess': Hostile(subprocess.check_call, ['touch', str(victim)]),
        'pathlib': Hostile(Path.touch, victim),
    }


ATTEMPTS = sorted(attempts(Path('x')))
each_attempt = pytest.mark.parametrize('attempt', ATTEMPTS)


@pytest.fixture
def victim(tmp_path, monkeypatch):
    monkeypatch.delenv(compat.TRUST_VARIABLE, raising=False)
    return tmp_path / 'created'


def write(path, content, form='zip'):
    if form == 'pickle':
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == 'zip')
    return path


@each_attempt
@pytest.mark.parametrize('form', ['zip', 'legacy', 'pickle'])
def test_a_hostile_checkpoint_is_refused_and_told_how_to_be_trusted(attempt, form, victim, tmp_path):
    content = {'state_dict': {'weight': torch.ones(1)}, 'meta': attempts(victim)[attempt]}
    if form == 'pickle':
        del content['state_dict']
    path = write(tmp_path / 'hostile.pth', content, form)
    with pytest.raises(ValueError, match=r'hostile.pth was refused.*SAMAT_MM_TRUST_CHECKPOINTS=1') as error:
        compat.load_checkpoint_file(path)
    assert '\n' not in str(error.value)
    assert not victim.exists()


@pytest.mark.parametrize('way', ['CheckpointLoader', 'load_checkpoint', 'runner', 'resume'])
def test_mmengines_own_ways_to_load_refuse_it_too(way, victim, tmp_path):
    path = write(tmp_path / 'hostile.pth', {'state_dict': {}, 'meta': attempts(victim)['open']})
    model = classifier()
    with pytest.raises(ValueError, match=r'was refused.*SAMAT_MM_TRUST_CHECKPOINTS=1'):
        if way == 'CheckpointLoader':
            CheckpointLoader.load_checkpoint(str(path))
        elif way == 'load_checkpoint':
            load_checkpoint(model, str(path))
        else:
            run = runner(model, tmp_path / 'run', train=ClassificationImages(2))
            (run.load_checkpoint if way == 'runner' else run.resume)(str(path))
    assert not victim.exists()


def test_a_trusted_checkpoint_is_loaded_whatever_it_holds(victim, tmp_path, monkeypatch):
    path = write(tmp_path / 'trusted.pth', {'meta': attempts(victim)['open']})
    monkeypatch.setenv(compat.TRUST_VARIABLE, '1')
    compat.load_checkpoint_file(path)
    assert victim.exists()


@pytest.mark.parametrize('value', ['0', '', 'yes', 'true'])
def test_only_the_value_1_means_trust(value, victim, tmp_path, monkeypatch):
    path = write(tmp_path / 'hostile.pth', {'meta': attempts(victim)['open']})
    monkeypatch.setenv(compat.TRUST_VARIABLE, value)
    with pytest.raises(ValueError, match=r'was refused'):
        compat.load_checkpoint_file(path)
    assert not victim.exists()


# ----------------------------------------------------------------------------------- damaged and honest ones


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing.pth is not a file'):
        compat.load_checkpoint_file(tmp_path / 'nothing.pth')
    with pytest.raises(FileNotFoundError, match=r'is not a file'):
        compat.load_checkpoint_file(tmp_path)  # a folder


@pytest.mark.parametrize(
    'content', [b'', b'just text\n', b'no checkpoint\n', b'\x80\x02.', b'PK\x03\x04broken', bytes(range(64))], ids=repr
)
def test_what_is_no_checkpoint_is_a_sentence(content, tmp_path):
    (tmp_path / 'file.pth').write_bytes(content)
    with pytest.raises(ValueError, match=r'file.pth is damaged or no checkpoint') as error:
        compat.load_checkpoint_file(tmp_path / 'file.pth')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.95])
def test_a_truncated_checkpoint_is_a_sentence(form, share, tmp_path):
    path = write(tmp_path / 'file.pth', {'state_dict': {'weight': torch.randn(100, 100)}}, form)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r'file.pth is damaged or no checkpoint'):
        compat.load_checkpoint_file(path)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_plain_contents_are_admitted(form, tmp_path):
    content = {
        'state_dict': {'weight': torch.randn(2, 3), 'count': torch.tensor(3)},
        'array': np.arange(6.0).reshape(2, 3),
        'integers': np.arange(3, dtype=np.int32),
        'scalar': np.float64(0.5),
        'meta': {'epoch': 3, 'seed': None, 'flags': [True, ('a', 1.5)]},
    }
    loaded = compat.load_checkpoint_file(write(tmp_path / 'file.pth', content, form))
    assert torch.equal(loaded['state_dict']['weight'], content['state_dict']['weight'])
    assert np.array_equal(loaded['array'], content['array'])
    assert np.array_equal(loaded['integers'], content['integers'])
    assert loaded['scalar'] == 0.5
    assert loaded['meta'] == content['meta']


def test_log_buffers_are_admitted_as_mmengine_stores_them(tmp_path):
    """They bring the names of their own methods along."""
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    buffer.update(6.0)
    loaded = compat.load_checkpoint_file(write(tmp_path / 'file.pth', {'message_hub': {'loss': buffer}}))
    assert loaded['message_hub']['loss'].mean() == 3
    assert loaded['message_hub']['loss'].statistics('max') == 6


def test_arrays_written_under_numpy_1_are_admitted(tmp_path):
    """As in the published checkpoints of mmsegmentation: numpy 2 has renamed the module that rebuilds them."""
    written = io.BytesIO()
    torch.save({'array': np.arange(3.0), 'scalar': np.float64(0.5)}, written)
    path = tmp_path / 'old.pth'
    with zipfile.ZipFile(written) as new, zipfile.ZipFile(path, 'w') as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b'numpy._core.', b'numpy.core.'))
    loaded = compat.load_checkpoint_file(path)
    assert loaded['array'].tolist() == [0, 1, 2]
    assert loaded['scalar'] == 0.5


def test_what_a_run_saves_can_be_loaded_evaluated_and_resumed(tmp_path, monkeypatch):
    """With the weights, the optimizer, and the message hub with its log buffers."""
    monkeypatch.delenv(compat.TRUST_VARIABLE, raising=False)
    data = ClassificationImages(4)
    checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2)
    sgd = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))

    def run(name, iterations, **more):
        made = runner(
            classifier(),
            tmp_path / name,
            train=data,
            evaluate=data,
            iterations=iterations,
            val_interval=1,
            checkpoint=checkpoint,
            optim_wrapper=dict(sgd),
            **more,
        )
        made.train()
        return made

    trained = run('first', 2)
    path = tmp_path / 'first' / 'iter_2.pth'
    loaded = compat.load_checkpoint_file(path)
    assert loaded['message_hub']['log_scalars'], 'the checkpoint should hold logs, or this test shows nothing'
    state = state_of(trained.model)
    assert all(torch.equal(loaded['state_dict'][key], value) for key, value in state.items())
    resumed = run('second', 4, resume=True, load_from=str(path))
    assert resumed.iter == 4


def test_importing_the_package_needs_neither_a_gpu_nor_openmmlabs_projects():
    """``import samat_mm.perturbations`` on its own pulls in torch only."""
    code = (
        'import sys\n'
        "sys.modules['mmengine'] = None\n"
        'import importlib.util\n'
        'find = importlib.util.find_spec\n'
        "importlib.util.find_spec = lambda name, *rest: None if name == 'mmengine' else find(name, *rest)\n"
        'from samat_mm.perturbations.inputs import PGD\n'
        "print(PGD().eps, sorted(name for name in sys.modules if name in ('mmseg', 'mmcv', 'mmpretrain', 'cv2')))\n"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == [str(8 / 255), '[]\n']


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
