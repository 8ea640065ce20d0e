"""Whatever MMEngine loads, and wherever from: nothing runs, and nothing reaches the network unasked."""

import io
import shutil

import pytest
import torch
from helpers import ClassificationImages, classifier, runner
from hostile import attempts
from mmengine.runner import CheckpointLoader, checkpoint

from samat_mm import compat


@pytest.fixture
def victim(tmp_path, monkeypatch):
    monkeypatch.delenv(compat.TRUST_VARIABLE, raising=False)
    return tmp_path / 'created'


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A file that every download brings."""
    file = tmp_path / 'served.pth'
    monkeypatch.setattr('torch.hub.download_url_to_file', lambda url, path, **_: shutil.copy(file, path))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    return file


URLS = ['http://a.b/c.pth', 'https://a.b/c.pth?x=1', 'torchvision://resnet18', 'mmcls://resnet50_v1d']


@pytest.mark.parametrize('url', URLS)
def test_a_download_is_loaded_as_a_local_file_is(url, served, victim):
    torch.save({'weight': torch.ones(2)}, served)
    kept = CheckpointLoader.load_checkpoint(url)  # mmcls:// keeps the backbone only
    assert url.startswith('mmcls') or torch.equal(kept['weight'], torch.ones(2))
    shutil.rmtree(torch.hub.get_dir(), ignore_errors=True)
    torch.save({'weight': torch.ones(2), 'more': attempts(victim)['os.system']}, served)
    for _ in range(2):  # also when it comes from the cache
        with pytest.raises(ValueError, match=r'was refused: it holds posix.system'):
            CheckpointLoader.load_checkpoint(url)
    assert not victim.exists()


def test_a_download_that_fails_is_a_sentence(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError('no route to host')

    monkeypatch.setattr('torch.hub.download_url_to_file', fail)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(OSError, match=r'http://a.b/c.pth could not be downloaded \(no route to host\); fetch it'):
        CheckpointLoader.load_checkpoint('http://a.b/c.pth')


def test_remote_stores_are_no_way_around(victim):
    """s3://, petrel:// and pavi:// end in one function of MMEngine's, with a file or its content."""
    content = io.BytesIO()
    torch.save(attempts(victim)['eval'], content)
    content.seek(0)
    with pytest.raises(ValueError, match=r'was refused: it holds eval'):
        checkpoint._safe_torch_load(content, map_location='cpu', weights_only=False)
    assert not victim.exists()


SAVE = dict(type='CheckpointHook', by_epoch=False, interval=1)


def test_a_program_in_the_place_of_a_config_is_not_run_on_resuming(victim, tmp_path, monkeypatch):
    """MMEngine runs it, to look for the number of GPUs."""

    def training(name, iterations, **more):
        data = ClassificationImages(2)
        return runner(classifier(), tmp_path / name, train=data, iterations=iterations, checkpoint=SAVE, **more)

    training('first', 1).train()
    path = tmp_path / 'first' / 'iter_1.pth'
    saved = compat.load_checkpoint_file(path)
    program = f'import os\nos.system("touch {victim}")\n'
    saved['meta'] |= {'config': program, 'cfg': program}
    saved['message_hub']['runtime_info'] |= {'cfg': program, 'config': program}
    torch.save(saved, path)
    resumed = training('second', 2, resume=True, load_from=str(path))
    resumed.train()
    assert resumed.iter == 2
    assert not victim.exists()
    monkeypatch.setenv(compat.TRUST_VARIABLE, '1')
    training('third', 2, resume=True, load_from=str(path)).train()
    assert victim.exists()  # so the test can fail


@pytest.mark.parametrize('place', ['message_hub', 'meta'])
def test_an_inferencer_asks_for_the_config(place, victim, tmp_path, monkeypatch):
    from mmseg.apis import MMSegInferencer

    info = {'cfg': f'open({str(victim)!r}, "w")'}
    torch.save({'state_dict': {}, 'message_hub': {'runtime_info': info}, place: info}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'a.pth is described in it by a program, which was not run. Give the config'):
        MMSegInferencer(None, weights=str(tmp_path / 'a.pth'), device='cpu')
    assert not victim.exists()
