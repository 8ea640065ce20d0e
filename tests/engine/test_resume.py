"""A run that was killed ends as if it had not been, and one that went bad keeps its last good checkpoint."""

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from processes import start_tool
from torch import Tensor

from samat_mm.command_line.main import run_command
from samat_mm.engine.hooks import NonFiniteGuardHook

# A project of its own: a model with dropout, and samples augmented with the random numbers of three libraries.
PROJECT = """
import os
import random
import time

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.nn import functional as F


@DATASETS.register_module(force=True)
class RandomlyAugmented(torch.utils.data.Dataset):
    metainfo = {}

    def __init__(self, length=12, test=False):
        self.length, self.test = length, test

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        time.sleep(float(os.environ.get('TOY_DELAY', 0)))
        image = torch.linspace(-1, 1, 18).reshape(2, 3, 3) * (index - 5)
        if not self.test:
            image = image * (1 + random.random()) + np.random.rand() + torch.randn(2, 3, 3)
            if random.random() < 0.5:
                image = image.flip(2)
        return {'inputs': image.float(), 'labels': torch.tensor(index % 3)}


@MODELS.register_module(force=True)
class ToyNet(BaseModel):
    def __init__(self, sampled=False):
        super().__init__()
        self.loss = nn.CrossEntropyLoss() if sampled else F.cross_entropy
        self.conv = nn.Conv2d(2, 4, 2)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, inputs, labels=None, mode='tensor'):
        features = self.norm(self.conv(torch.stack(list(inputs)))).relu().mean((2, 3))
        logits = self.head(self.dropout(features))
        if mode == 'loss':
            return {'loss': self.loss(logits, torch.stack(list(labels)))}
        return logits.argmax(1).tolist()


@METRICS.register_module(force=True)
class Predictions(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return {'mean': sum(results) / len(results)}
"""

CONFIG = """
custom_imports = dict(imports=['samat_mm', 'toy_project'], allow_failed_imports=False)
default_scope = 'mmengine'
model = dict(type='ToyNet')
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type='RandomlyAugmented'),
    sampler=dict(type='InfiniteSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type='RandomlyAugmented', length=5, test=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
val_evaluator = dict(type='Predictions')
val_cfg = dict()
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20, val_interval=4)
optim_wrapper = dict(
    type='SAMOptimWrapper',
    rho=0.3,
    interval=2,
    accumulative_counts=1,
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-3),
)
param_scheduler = [
    dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=20, by_epoch=False),
    dict(type='LinearParamScheduler', param_name='rho', start_factor=0.1, begin=0, end=15, by_epoch=False),
]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=5, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=4, max_keep_ckpts=2),
    reproducible_resume=dict(type='ReproducibleResumeHook'),
    non_finite_guard=dict(type='NonFiniteGuardHook'),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=3)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project and its config, importable here and in the processes started here."""
    (tmp_path / 'toy_project.py').write_text(PROJECT)
    (tmp_path / 'toy.py').write_text(CONFIG)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'toy_project', raising=False)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')]))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    return tmp_path


def weights_of(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=False)['state_dict']


def assert_bitwise_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


# Kill and resume


def kill_in_the_middle(process: BaseProcess, checkpoint: Path) -> None:
    deadline = time.monotonic() + 120
    pointer = checkpoint.parent / 'last_checkpoint'
    while not (pointer.is_file() and pointer.read_text().endswith(checkpoint.name)):
        assert process.is_alive()
        assert time.monotonic() < deadline, f'{checkpoint.name} never came'
        time.sleep(0.01)
    time.sleep(0.2)  # some way into the iterations after the checkpoint, which take 0.4 s each
    process.kill()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_run_resumes_bit_for_bit(project: Path, capfd: pytest.CaptureFixture) -> None:
    """Through the command line: SIGKILL after iteration 8 or a little later, --resume, and the same end.

    Weights, momentum, running statistics, schedules of lr and rho, interval, augmentation and dropout all have to
    carry on; a validation run, which draws random numbers too, lies between the checkpoint and the next iteration.
    """
    command = ('train', project / 'toy.py', '--work-dir', project / 'killed')
    kill_in_the_middle(start_tool(*command, TOY_DELAY='0.1'), project / 'killed/iter_8.pth')
    assert not (project / 'killed/iter_20.pth').exists()
    runner_of(project, 'whole').train()

    capfd.readouterr()
    resumed = start_tool(*command, '--resume')
    resumed.join(120)
    said = ''.join(capfd.readouterr())
    assert resumed.exitcode == 0, said[-2000:]
    assert 'Resumes from' in said
    found, expected = (torch.load(project / run / 'iter_20.pth', weights_only=False) for run in ('killed', 'whole'))
    assert_bitwise_same(found['state_dict'], expected['state_dict'])
    moments = [[entry['momentum_buffer'] for entry in run['optimizer']['state'].values()] for run in (found, expected)]
    assert all(torch.equal(one, other) for one, other in zip(*moments, strict=True))
    groups = [run['optimizer']['param_groups'][0] for run in (found, expected)]
    assert groups[0] == groups[1]
    assert groups[0]['rho'] == pytest.approx(0.3)


def test_the_command_line_says_what_it_resumes(project: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """A fresh folder is begun and said to be; a torn checkpoint and an empty pointer are passed by."""

    def train(*resume: str) -> str:
        name = f'experiment_name=cli-{next(run_numbers)}'
        options = ('--cfg-options', name, 'train_cfg.max_iters=8', 'val_cfg=None', 'val_dataloader=None')
        command = ['train.py', str(project / 'toy.py'), '--work-dir', str(run), *resume, *options, 'val_evaluator=None']
        monkeypatch.setattr(sys, 'argv', command)
        capfd.readouterr()
        run_command('train')
        return ''.join(capfd.readouterr())

    run = project / 'run'
    assert f'nothing to resume in {run}: the training starts from the beginning.' in train('--resume')
    (run / 'last_checkpoint').write_text('')
    torn = run / 'iter_8.pth'
    torn.write_bytes(torn.read_bytes()[:-3000])
    said = train('--resume')
    assert f'skipped: checkpoint {torn} is damaged' in said
    assert f'Resumes from {run / "iter_4.pth"}, after 4 of 8 iterations.' in said
    assert torch.load(torn, weights_only=False)['meta']['iter'] == 8
    with pytest.raises(SystemExit) as end:
        train('--resume', '')
    assert end.value.code == 1
    assert (
        "error: --resume expects the path of a checkpoint, or nothing for the newest one; got ''."
        in capfd.readouterr().err
    )


class StopAt(Hook):
    """Ends a run in the middle as a crash does."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


run_numbers = itertools.count()


def runner_of(project: Path, work_dir: str, hooks: list[Hook] | None = None, **changes: Any) -> Runner:
    config = Config.fromfile(project / 'toy.py')
    # an experiment of mmengine's is found again by its name, which the time alone does not make unique
    config.merge_from_dict({'work_dir': str(project / work_dir), 'experiment_name': f'run-{next(run_numbers)}'})
    for key, value in changes.items():
        if '.' in key:
            config.merge_from_dict({key: value})
        else:
            config[key] = value
    runner = Runner.from_cfg(config)
    for hook in hooks or []:
        runner.register_hook(hook)
    return runner


EPOCHS = {
    'train_cfg': dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1),
    'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True),
    'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=True, interval=1),
    'param_scheduler': [dict(type='MultiStepLR', milestones=[1, 3], by_epoch=True)],
}


@pytest.mark.parametrize(
    ('changes', 'stop', 'last'),
    [
        (EPOCHS, 8, 'epoch_4.pth'),
        ({'optim_wrapper.accumulative_counts': 2}, 11, 'iter_20.pth'),
        ({'optim_wrapper.type': 'AmpASAMOptimWrapper', 'optim_wrapper.same_dropout': True}, 11, 'iter_20.pth'),
    ],
    ids=['epochs', 'accumulation', 'amp'],
)
def test_a_stopped_run_resumes_bit_for_bit(project: Path, changes: dict, stop: int, last: str) -> None:
    runner_of(project, 'whole', **changes).train()
    with pytest.raises(KeyboardInterrupt):
        runner_of(project, 'stopped', [StopAt(stop)], **changes).train()
    assert not (project / 'stopped' / last).exists()
    torch.rand(7)  # whatever else the process drew
    runner_of(project, 'stopped', resume=True, **changes).train()
    assert_bitwise_same(weights_of(project / 'stopped' / last), weights_of(project / 'whole' / last))


METHODS = {
    'LookSAM': dict(interval=4),  # stopped between two looks
    'FriendlySAM': dict(),
    'SSAMD': dict(update_interval=3, decay_ascents=20),
    'SSAMF': dict(samples=20, update_interval=8),  # stopped while squared gradients are collected
    'ESAM': dict(),
    'StaleSAM': dict(),
}


@pytest.mark.parametrize('method', METHODS)
def test_a_memory_outlives_a_stopped_run(project: Path, method: str) -> None:
    """Direction, average, mask and random numbers come back with the checkpoint of iteration 8."""
    changes = {
        'model': dict(type='ToyNet', sampled=True),
        'optim_wrapper.interval': 1,
        'optim_wrapper.perturbation': dict(type=method, **METHODS[method]),
        'train_cfg.max_iters': 16,
        'val_evaluator': None,
        'val_cfg': None,
        'val_dataloader': None,
    }
    whole = runner_of(project, 'whole', **changes)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        runner_of(project, 'stopped', [StopAt(11)], **changes).train()
    resumed = runner_of(project, 'stopped', resume=True, **changes)
    resumed.train()
    assert_bitwise_same(weights_of(project / 'stopped/iter_16.pth'), weights_of(project / 'whole/iter_16.pth'))
    memories = [run.optim_wrapper.method.state_dict() for run in (resumed, whole)]
    assert memories[0].keys() == memories[1].keys() != set()
    for key, value in memories[0].items():
        found, expected = (memory if isinstance(memory, dict) else {'': memory} for memory in (value, memories[1][key]))
        assert found.keys() == expected.keys()
        assert all(torch.equal(torch.as_tensor(found[name]), torch.as_tensor(expected[name])) for name in found)


def test_without_the_hook_a_resumed_run_differs(project: Path) -> None:
    """So the tests above can fail: augmentation and dropout are really random here."""
    hooks = Config.fromfile(project / 'toy.py').default_hooks
    del hooks['reproducible_resume']
    runner_of(project, 'whole', default_hooks=hooks).train()
    with pytest.raises(KeyboardInterrupt):
        runner_of(project, 'stopped', [StopAt(11)], default_hooks=hooks).train()
    runner_of(project, 'stopped', resume=True, default_hooks=hooks).train()
    found, expected = (weights_of(project / run / 'iter_20.pth') for run in ('stopped', 'whole'))
    assert not torch.equal(found['conv.weight'], expected['conv.weight'])


def test_the_seed_decides(project: Path) -> None:
    ends = []
    for name, seed in (('a', 3), ('b', 3), ('c', 4)):
        runner_of(project, name, **{'randomness.seed': seed, 'train_cfg.max_iters': 8}).train()
        ends.append(weights_of(project / name / 'iter_8.pth')['conv.weight'])
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


# Numbers that are not finite


class Spoil(Hook):
    """Makes a weight not finite just before or after the training step of an iteration (counted from 1)."""

    priority = 'VERY_HIGH'  # ahead of the guard, as the step itself is

    def __init__(self, iteration: int, when: str, value: float) -> None:
        self.iteration, self.when, self.value = iteration, when, value

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._spoil(runner, 'before')

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._spoil(runner, 'after')

    def _spoil(self, runner: Runner, when: str) -> None:
        if when == self.when and runner.iter + 1 == self.iteration:
            runner.model.head.weight.data[0, 0] = self.value


def files_of(work_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in work_dir.glob('iter_*.pth')}


@pytest.fixture
def good_run(project: Path) -> Callable[[int], tuple[Path, dict[str, bytes]]]:
    """Return a function that trains for 8 iterations, keeping so many checkpoints."""

    def train(keep: int) -> tuple[Path, dict[str, bytes]]:
        runner_of(project, 'run', **{'train_cfg.max_iters': 8, 'default_hooks.checkpoint.max_keep_ckpts': keep}).train()
        return project / 'run', files_of(project / 'run')

    return train


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('iteration', [11, 12])
def test_a_loss_that_is_not_finite_stops_the_run(
    project: Path, good_run: Callable, value: float, iteration: int
) -> None:
    """Also at iteration 12, where a checkpoint is due."""
    folder, before = good_run(2)
    assert set(before) == {'iter_4.pth', 'iter_8.pth'}
    runner = runner_of(project, 'run', [Spoil(iteration, 'before', value)], resume=True)
    with pytest.raises(FloatingPointError, match=f'the loss is .* at iteration {iteration}; .*last good checkpoint'):
        runner.train()
    assert files_of(folder) == before
    assert (folder / 'last_checkpoint').read_text().endswith('iter_8.pth')
    assert bool(torch.isfinite(weights_of(folder / 'iter_8.pth')['head.weight']).all())


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_weights_that_are_not_finite_are_not_saved(project: Path, good_run: Callable, keep: int) -> None:
    """The loss was still good, but the step broke the weights: whatever is kept, a good checkpoint remains."""
    folder, before = good_run(keep)
    changes = {'default_hooks.checkpoint.max_keep_ckpts': keep}
    runner = runner_of(project, 'run', [Spoil(12, 'after', float('nan'))], resume=True, **changes)
    with pytest.raises(FloatingPointError, match=r'head\.weight is not finite'):
        runner.train()
    assert (folder / 'last_checkpoint').read_text().endswith('iter_8.pth')
    assert 'iter_12.pth' not in files_of(folder)
    assert files_of(folder).get('iter_8.pth') == before['iter_8.pth']


def test_a_good_run_is_not_stopped(good_run: Callable) -> None:
    folder, before = good_run(2)
    assert (folder / 'last_checkpoint').read_text().endswith('iter_8.pth')
    assert set(before) == {'iter_4.pth', 'iter_8.pth'}


def test_a_weight_that_is_not_finite_is_named_even_if_the_loss_is_fine(project: Path) -> None:
    runner = runner_of(project, 'run')
    guard, outputs = NonFiniteGuardHook(), {'loss': torch.tensor(0.5)}
    guard.after_train_iter(runner, 0, outputs=outputs)
    runner.model.head.bias.data[1] = float('nan')
    with pytest.raises(FloatingPointError, match=r'head\.bias is not finite'):
        guard.after_train_iter(runner, 0, outputs=outputs)
