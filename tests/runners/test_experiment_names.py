"""Runners that one process builds within a second do not share what MMEngine keeps by their names."""

import time
from types import SimpleNamespace

import mmengine.runner.runner as mmengine_runner
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from samat_mm.files.configs import configs_folder
from samat_mm.runners.builders import build_runner

CONFIGS = ('smallcnn_handwriting_sgd.py', 'deeplabv3_digits_sgd.py')  # of two scopes


@pytest.fixture
def stopped_clock(monkeypatch):
    clock = SimpleNamespace(time=lambda: 1e9, strftime=time.strftime, localtime=time.localtime)
    monkeypatch.setattr(mmengine_runner, 'time', clock)


def config_of(base, folder, **changes):
    """A config of the same file name as the others, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.py').write_text(f"_base_ = {str(configs_folder() / base)!r}\nlog_level = 'ERROR'\n")
    config = Config.fromfile(folder / 'config.py')
    config.merge_from_dict({'work_dir': str(folder), **changes})
    return config


def test_runners_of_one_second_have_their_own_scopes_and_visualizers(tmp_path, stopped_clock):
    first, second, again = (
        build_runner(config_of(base, tmp_path / name)) for base, name in zip((*CONFIGS, CONFIGS[1]), 'abc', strict=True)
    )
    assert len({runner.experiment_name for runner in (first, second, again)}) == 3
    assert first.timestamp == second.timestamp  # the clock stands still
    assert [runner.log_dir for runner in (first, second)] == [str(tmp_path / name / first.timestamp) for name in 'ab']
    scopes = [runner.default_scope.scope_name for runner in (first, second)]
    assert scopes == ['mmpretrain', 'mmseg']
    assert type(second.visualizer).__name__ == 'SegLocalVisualizer'
    for part in ('default_scope', 'logger', 'message_hub', 'visualizer'):
        assert len({id(getattr(runner, part)) for runner in (first, second, again)}) == 3, part
    assert DefaultScope.get_current_instance() is again.default_scope


def test_a_name_that_the_config_sets_is_kept(tmp_path, stopped_clock):
    runner = build_runner(config_of(CONFIGS[0], tmp_path, experiment_name='mine'))
    assert runner.experiment_name == f'mine_{runner.timestamp}'


def test_a_training_resumes_under_another_number(tmp_path):
    """Checkpoints keep the name, and nothing is looked up by it."""
    short = {'train_cfg.max_epochs': 1, 'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None}
    short = {**short, 'default_hooks.checkpoint.interval': 1}
    names, written = [], []
    for epochs in (1, 2):
        config = config_of(CONFIGS[0], tmp_path / 'run', **{**short, 'train_cfg.max_epochs': epochs})
        config.resume = epochs == 2
        runner = build_runner(config)
        assert 'experiment_name' not in config  # the caller's config is as it was
        runner.train()
        names.append(runner.experiment_name)
        checkpoint = torch.load(tmp_path / 'run' / f'epoch_{epochs}.pth', weights_only=False)
        assert checkpoint['meta']['experiment_name'] == runner.experiment_name
        written.append((tmp_path / 'run' / 'epoch_1.pth').stat().st_mtime_ns)
    assert names[0] != names[1]
    assert written[0] == written[1]  # the first epoch was not trained again
