"""What a checkpoint says about its training: the seed, and whether the settings are those of another."""

import pytest
import torch

from samat_mm.checkpoints.training import training_of

CONFIG = {
    'optim_wrapper': "dict(type='SAMOptimWrapper', rho=0.05)",
    'train_dataloader': 'dict(batch_size=8)',
    'randomness': 'dict(seed=0)',
    'work_dir': "'a'",
    'val_dataloader': 'dict(batch_size=8)',
    'vis_backends': "[dict(type='LocalVisBackend')]",
}


def settings_of(tmp_path, *, seed=0, **changes):
    text = '\n'.join(f'{name} = {value}' for name, value in {**CONFIG, **changes}.items())
    torch.save({'state_dict': {}, 'meta': {'seed': seed, 'cfg': text}}, tmp_path / 'a.pth')
    found = training_of(tmp_path / 'a.pth')
    assert found['seed'] == seed
    return found['settings']


@pytest.mark.parametrize(
    'changes',
    [
        dict(seed=3, randomness='dict(seed=3, deterministic=True)'),
        dict(work_dir="'b'", resume='True'),
        dict(val_dataloader='dict(batch_size=2)', vis_backends='[]', test_cfg='dict()'),
        dict(train_dataloader='dict(\n    batch_size=8,\n)'),  # written in another way
    ],
)
def test_seeds_folders_and_evaluation_are_no_settings(changes, tmp_path):
    assert settings_of(tmp_path, **changes) == settings_of(tmp_path)


@pytest.mark.parametrize(
    'changes',
    [
        dict(optim_wrapper="dict(type='SAMOptimWrapper', rho=0.1)"),
        dict(train_dataloader='dict(batch_size=16)'),
        dict(custom_hooks="[dict(type='AdversarialTrainingHook')]"),
    ],
)
def test_everything_else_is(changes, tmp_path):
    assert settings_of(tmp_path, **changes) != settings_of(tmp_path)


def test_a_checkpoint_without_a_config_says_nothing_and_one_with_a_program_is_not_run(tmp_path):
    for content in ({'weight': torch.zeros(1)}, {'state_dict': {}, 'meta': {}}, {'state_dict': {}, 'meta': {'cfg': 3}}):
        torch.save(content, tmp_path / 'a.pth')
        assert training_of(tmp_path / 'a.pth') == {}
    program = f'open({str(tmp_path / "made")!r}, "w")'
    for text in (program, f'a = {program}', 'no python'):
        torch.save({'meta': {'cfg': text, 'seed': None}}, tmp_path / 'a.pth')
        assert training_of(tmp_path / 'a.pth')['seed'] is None
    assert not (tmp_path / 'made').exists()
