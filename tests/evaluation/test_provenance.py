"""What a report says about the origin of its numbers."""

import hashlib
import json
import subprocess
from types import SimpleNamespace

import pytest
import torch
from helpers import segmentor
from mmengine.config import Config
from mmseg.datasets import ADE20KDataset

from samat_mm.evaluation import provenance as module
from samat_mm.evaluation.provenance import code_state, file_digest, provenance, settings_digest
from samat_mm.files.configs import configs_folder

DIGITS = configs_folder() / 'deeplabv3_digits_sam.py'


def config(**changes):
    found = Config.fromfile(DIGITS)
    found.merge_from_dict(changes)
    return found


def test_the_digest_is_that_of_the_settings_however_they_are_written(tmp_path):
    expected = settings_digest(config())
    (tmp_path / 'other.py').write_text(config(work_dir='there', launcher='slurm', log_level='ERROR').pretty_text)
    assert settings_digest(Config.fromfile(tmp_path / 'other.py')) == expected
    entries = config().to_dict()
    assert settings_digest(Config(dict(reversed(entries.items())))) == expected
    outputs = {
        'experiment_name': 'x',
        'resume': True,
        'randomness.seed': 5,
        'default_hooks.checkpoint.out_dir': '/elsewhere',
        'visualizer.vis_backends': [dict(type='LocalVisBackend', save_dir='/elsewhere')],
    }
    assert settings_digest(config(**outputs)) == expected
    dumping = config()
    dumping.test_evaluator = [dumping.test_evaluator, dict(type='DumpResults', out_file_path='predictions.pkl')]
    assert settings_digest(dumping) == expected


@pytest.mark.parametrize(
    'changes',
    [
        {'optim_wrapper.rho': 0.06},
        {'randomness.deterministic': True},
        {'test_dataloader.dataset.seed': 7},
        {'load_from': 'weights.pth'},
        {'test_evaluator.output_format': 'x'},
        {'model.decode_head.init_cfg': None},
    ],
)
def test_another_setting_has_another_digest(changes):
    assert settings_digest(config(**changes)) != settings_digest(config())


def test_classes_count_by_their_names():
    one, again, other = ([ADE20KDataset, ADE20KDataset, SimpleNamespace][number] for number in range(3))
    digests = [settings_digest(Config(dict(model=dict(type=kind)))) for kind in (one, again, other)]
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 64


def test_everything_that_a_number_depends_on_is_stated(tmp_path):
    file = tmp_path / 'weights.pth'
    torch.save({'state_dict': {}, 'meta': {'seed': 7, 'cfg': 'a = 1'}}, file)
    found = json.loads(json.dumps(provenance(config(work_dir='here'), file, 'test_dataloader', samples=123)))
    content = file.read_bytes()
    assert found['checkpoint'] == {'sha256': hashlib.sha256(content).hexdigest(), 'bytes': len(content)}
    assert found['training']['seed'] == 7
    assert found['data']['type'] == 'DigitScenes'
    assert found['data']['samples'] == 123
    assert 'pipeline' not in json.dumps(found['data'])
    (tmp_path / 'again.py').write_text(found['config']['text'])
    again = Config.fromfile(tmp_path / 'again.py')
    assert again.to_dict() == config(work_dir='here').to_dict()
    assert settings_digest(again) == found['config']['sha256']
    assert found['code'] == code_state()


def test_weights_in_hand_and_data_in_hand_are_stated_as_far_as_possible():
    given = config()
    given.test_dataloader = dict(dataset=SimpleNamespace())
    one, two = (provenance(given, segmentor(seed=seed), 'test_dataloader', samples=4) for seed in (0, 1))
    assert one['checkpoint'].keys() == {'weights'}
    assert one['checkpoint'] != two['checkpoint']
    assert one['data'] == {'type': 'types.SimpleNamespace', 'samples': 4}


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / 'nothing.pth')


def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path, monkeypatch):
    assert code_state(tmp_path) == {}  # as where a wheel is installed

    def git(*arguments):
        identity = ('-c', 'user.name=a', '-c', 'user.email=a@b')
        command = ['git', '-C', str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / 'code.py').write_text('a = 1\n')
    git('init', '--quiet')
    assert code_state(tmp_path) == {}  # no commit yet
    git('add', '.')
    git('commit', '--quiet', '--message', 'first')
    git('tag', 'v1')
    commit = git('rev-parse', 'HEAD')
    assert code_state(tmp_path) == {'commit': commit, 'dirty': False}
    (tmp_path / 'code.py').write_text('a = 2\n')
    assert code_state(tmp_path) == {'commit': commit, 'dirty': True}
    (tmp_path / 'site-packages').mkdir()
    assert code_state(tmp_path / 'site-packages') == {}  # installed in an environment in somebody's repository
    monkeypatch.setattr(module.subprocess, 'run', lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError('git')))
    assert code_state(tmp_path) == {}
