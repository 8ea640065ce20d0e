"""Training in Python: seeds, the model in memory, learning rates, and what the terminal shows."""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import segmentor, segmentor_config
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS, METRICS
from rich.console import Console

import samat_mm
from samat_mm.runners import console

ITERATIONS = 3


def training(work_dir, **more):
    data = dict(type='RegisteredImages', count=4, test_mode=False)
    return Config(
        dict(
            default_scope='mmseg',
            model=segmentor_config().to_dict(),
            train_dataloader=dict(batch_size=2, sampler=dict(type='InfiniteSampler', shuffle=True), dataset=data),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=ITERATIONS, val_interval=ITERATIONS),
            optim_wrapper=dict(type='SAMOptimWrapper', rho=0.1, optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=ITERATIONS, by_epoch=False)),
            work_dir=str(work_dir),
            **more,
        )
    )


def weights(runner):
    return torch.cat([parameter.detach().flatten() for parameter in runner.model.parameters()])


def test_a_seed_repeats_a_training_and_another_one_does_not(tmp_path, capfd):
    runs = [
        samat_mm.train(training(tmp_path / str(number)), seed=seed, deterministic=seed == 1)
        for number, seed in enumerate((1, 1, 2))
    ]
    torch.use_deterministic_algorithms(False)
    one, same, other = map(weights, runs)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert runs[0].cfg.randomness.to_dict() == dict(seed=1, deterministic=True)
    said = capfd.readouterr().out.splitlines()
    assert len(said) < 12 * len(runs), '\n'.join(said)
    assert said[0].split() == ['config', 'in', 'memory']
    assert any('over weights by SAM(rho=0.1)' in line for line in said)
    assert said[-1] == f'Checkpoint: {tmp_path / "2" / f"iter_{ITERATIONS}.pth"}'
    log = next((tmp_path / '0').rglob('*.log')).read_text()
    assert 'Hooks will be executed in the following order' in log and 'Saving checkpoint at 3 iterations' in log


def test_a_model_in_memory_is_trained_itself_from_its_own_weights(tmp_path):
    model, given = segmentor(), training(tmp_path)
    torch.save({'state_dict': segmentor(seed=5).state_dict()}, tmp_path / 'other.pth')
    torch.save(segmentor(seed=5).backbone.state_dict(), tmp_path / 'backbone.pth')
    given.load_from = str(tmp_path / 'other.pth')
    given.default_hooks.pretrained = dict(type='PretrainedBackboneHook', checkpoint=str(tmp_path / 'backbone.pth'))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    still = {'train_cfg.max_iters': 1, 'optim_wrapper.optimizer.lr': 0.0}
    runner = samat_mm.train(given, model, cfg_options=still)
    assert runner.model is model and runner.iter == 1
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    samat_mm.train(given, model, cfg_options={'train_cfg.max_iters': 1})
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert runner.cfg.model == given.model and 'experiment_name' not in runner.cfg
    assert 'ModelInMemory' not in ''.join(path.read_text() for path in tmp_path.glob('*.py'))


def test_the_config_that_was_given_stays_as_it_is(tmp_path):
    given = training(tmp_path, auto_scale_lr=dict(enable=False, base_batch_size=2), randomness=None)
    before = given.pretty_text
    options = {'optim_wrapper': dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))}
    copied = copy.deepcopy(options)
    runner = samat_mm.train(given, amp=True, auto_scale_lr=True, seed=3, cfg_options=options)
    assert runner.cfg.randomness.seed == 3
    assert options == copied
    assert given.pretty_text == before


@METRICS.register_module()
class OneNumber(BaseMetric):
    """Returns its number as an array, as metrics of others do."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {'array': np.array([0.25]), 'tensor': torch.tensor(0.5), 'text': 'none'}


def test_a_training_that_fails_leaves_the_terminal_and_odd_metrics_are_printed(tmp_path, monkeypatch, capfd):
    consoles = []
    monkeypatch.setattr(console, 'Console', lambda **options: consoles.append(Terminal(**options)) or consoles[-1])
    given = training(tmp_path)
    data = dict(type='RegisteredImages', count=2, test_mode=True)
    loader = dict(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False), dataset=data)
    given.merge_from_dict(dict(val_dataloader=loader, val_cfg=dict(), val_evaluator=dict(type='OneNumber')))
    given.custom_hooks = [dict(type='FailsLate')]
    with pytest.raises(RuntimeError, match='late'):
        samat_mm.train(given, cfg_options={'train_cfg.val_interval': 1})
    said = capfd.readouterr().out
    assert 'After 1 iterations: array 0.25, tensor 0.5.' in said
    assert said.count('\x1b[?25l') == said.count('\x1b[?25h') > 0  # the cursor is hidden and shown again
    assert not consoles[0]._live_stack


class Terminal(Console):
    def __init__(self, **options):
        super().__init__(force_terminal=True, **options)


@HOOKS.register_module()
class FailsLate(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 2:
            raise RuntimeError('late')


def test_the_learning_rate_is_scaled_to_the_batch(tmp_path):
    given = training(tmp_path, auto_scale_lr=dict(enable=False, base_batch_size=8))
    runner = samat_mm.train(given, auto_scale_lr=True)
    assert runner.optim_wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(0.1 * 2 / 8)
    with pytest.raises(ValueError, match=r'--auto-scale-lr needs .* in the config; got None'):
        samat_mm.train(training(tmp_path), auto_scale_lr=True)


def test_what_is_missing_is_said(tmp_path):
    given = training(tmp_path)
    given.pop('optim_wrapper')
    with pytest.raises(ValueError, match='the config has no optim_wrapper, which training needs'):
        samat_mm.train(given)
    with pytest.raises(ValueError, match='--resume expects the path of a checkpoint'):
        samat_mm.train(training(tmp_path), resume_from='')


def test_warnings_of_libraries_wait_for_the_log(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, 'showwarning', lambda message, *rest: shown.append(str(message)))
    monkeypatch.setattr(MMLogger, '_instance_dict', {})
    with console.console_of(verbose=False):
        warnings.showwarning('of a library', UserWarning, str(Path(np.__file__)), 1)
        warnings.showwarning('of my own', UserWarning, str(Path(__file__)), 1)
        MMLogger.get_instance('waiting', log_file=str(tmp_path / 'log'))
    assert shown == ['of my own']
    assert 'of a library' in (tmp_path / 'log').read_text()
