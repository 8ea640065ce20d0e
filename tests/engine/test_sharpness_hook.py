"""Sharpness next to the validation metrics, without a trace in the training."""

import json
import math
from pathlib import Path

import cv2
import pytest
import torch
from helpers import (
    ClassificationImages,
    SegmentationImages,
    assert_same_state,
    classifier,
    runner,
    segmentor,
    state_of,
)
from mmengine.hooks import Hook
from torch import distributed, multiprocessing

from samat_mm.engine.hooks import AttackEvaluationHook, SharpnessHook
from samat_mm.perturbations.weights import SAM
from samat_mm.sharpness import Measurement, draw_batches, loss_rises, loss_surface, prepare

KINDS = {'maps': (segmentor, SegmentationImages), 'classes': (classifier, ClassificationImages)}
NAMES = {
    *('sam', 'sam-2-step', 'asam', 'asam-2-step'),
    *('top_eigenvalue', 'top_eigenvalue_error', 'trace', 'trace_standard_error'),
}
each_kind = pytest.mark.parametrize('kind', KINDS)


class Metrics(Hook):
    """Keeps what the hooks of lowest priority see."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def after_val_epoch(self, runner, metrics=None):
        self.seen.append(dict(metrics))


def small_hook(**changes):
    return SharpnessHook(**{**dict(batches=1, steps=2, probes=2, landscape='none'), **changes})


def training(kind, tmp_path, hooks, **more):
    build, data = KINDS[kind]
    more = {'train': data(8), 'evaluate': data(2), 'iterations': 4, 'val_interval': 2, **more}
    return runner(build(), tmp_path, hooks=hooks, **more)


class Noisy(ClassificationImages):
    """Images that get noise from the global generator, as augmentation does."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        sample['inputs'] = (sample['inputs'] * torch.rand(3, 1, 1)).byte()
        return sample


@each_kind
def test_a_training_ends_with_the_same_bits_as_without_the_hook(kind, tmp_path):
    wrapper = dict(type='SAMOptimWrapper', rho=0.05, optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    states = []
    for hooks in ([small_hook(landscape='1d')], []):
        run = training(
            kind,
            tmp_path / str(len(hooks)),
            hooks,
            optim_wrapper=dict(wrapper),
            **({'train': Noisy(8)} if kind == 'classes' else {}),
        )
        run.train()
        states.append((state_of(run.model), run.optim_wrapper.optimizer.state_dict()['state'], torch.get_rng_state()))
    (watched, momenta, random), (alone, momenta_alone, random_alone) = states
    assert_same_state(watched, alone)
    for first, second in zip(momenta.values(), momenta_alone.values(), strict=True):
        assert torch.equal(first['momentum_buffer'], second['momentum_buffer'])
    assert torch.equal(random, random_alone)


def test_a_training_from_a_config_ends_with_the_same_bits_too(tmp_path):
    """With a data set, a shuffling sampler and a loader that MMEngine builds."""
    dataloader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(type='RegisteredImages', count=8),
    )
    states = []
    for hooks in ([dict(type='SharpnessHook', batches=1, steps=1, probes=0, landscape='none')], []):
        run = training('maps', tmp_path / str(len(hooks)), hooks, train_dataloader=dataloader)
        run.train()
        states.append(state_of(run.model))
    assert_same_state(*states)


def test_the_numbers_are_logged_and_are_those_of_the_model(tmp_path):
    """By LoggerHook and the visualizer, for scalars.json, TensorBoard and the like."""
    metrics = Metrics()
    run = training('classes', tmp_path, [small_hook(), metrics], val_interval=2)
    run.train()
    first, seen = metrics.seen
    assert {key for key in seen if key.startswith('sharpness/')} == {f'sharpness/{name}' for name in NAMES}
    assert all(math.isfinite(seen[f'sharpness/{name}']) for name in NAMES)
    assert 0 < seen['sharpness/sam'] <= seen['sharpness/sam-2-step']
    batches = prepare(run.model, draw_batches(run.train_dataloader, 1, 0))
    with loss_surface(run.model, batches) as surface:
        assert loss_rises(surface, SAM(0.05), 1) == [pytest.approx(seen['sharpness/sam'], rel=1e-5)]
    (file,) = tmp_path.rglob('vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    logged = [line for line in lines if 'sharpness/sam' in line]
    for metrics_seen, line in zip((first, seen), logged, strict=True):
        for name in NAMES:
            assert line[f'sharpness/{name}'] == pytest.approx(metrics_seen[f'sharpness/{name}'])


def test_interval_measures_every_second_validation_and_the_others_are_nan(tmp_path):
    metrics = Metrics()
    hooks = [small_hook(interval=2, probes=0), metrics]
    training('classes', tmp_path, hooks, val_interval=1).train()
    assert [math.isfinite(seen['sharpness/sam']) for seen in metrics.seen] == [True, False, True, False]
    assert all('accuracy/top1' in seen for seen in metrics.seen)


@pytest.mark.parametrize('error', [FloatingPointError, ValueError])
def test_a_loss_that_cannot_be_measured_does_not_end_the_training(error, tmp_path, monkeypatch):
    def refuse(self, surface):
        raise error('the reason')

    monkeypatch.setattr(Measurement, 'measure', refuse)
    metrics = Metrics()
    training('classes', tmp_path, [small_hook(), metrics]).train()
    assert all(math.isnan(seen['sharpness/sam']) for seen in metrics.seen)
    assert len(metrics.seen) == 2


@pytest.mark.parametrize('first', [0, 1])
def test_beside_attacks_neither_repeats_the_metrics_of_the_other(first, tmp_path):
    metrics = Metrics()
    attack = AttackEvaluationHook([dict(type='PGD', norm='linf', eps='8/255', steps=1)], interval=2)
    hooks = [attack, small_hook(probes=0)]
    training('classes', tmp_path, [hooks[first], hooks[1 - first], metrics]).train()
    for seen in metrics.seen:
        assert [key for key in seen if key.startswith('pgd-linf/')] == ['pgd-linf/accuracy/top1']


def test_the_best_checkpoint_may_be_the_flattest(tmp_path):
    checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=10, save_best='sharpness/sam', rule='less', save_last=False
    )
    training('classes', tmp_path, [small_hook(probes=0, interval=2)], checkpoint=checkpoint).train()
    assert list(tmp_path.glob('best_sharpness_sam_iter_2.pth'))


def test_the_landscape_is_drawn_once_at_the_end(tmp_path):
    training('classes', tmp_path, [small_hook(landscape='1d', probes=0)], iterations=2).train()
    (file,) = tmp_path.rglob('loss_landscape_*.png')
    assert cv2.imread(str(file)).std() > 10
    assert file.parent.name == 'vis_image'


def test_a_validation_outside_training_is_measured_if_there_is_training_data(tmp_path):
    run = training('classes', tmp_path / 'with', [small_hook(probes=0)])
    assert math.isfinite(run.val()['sharpness/sam'])
    alone = training('classes', tmp_path / 'without', [small_hook()], train=None)
    with pytest.raises(ValueError, match='needs a train_dataloader'):
        alone.val()


@pytest.mark.parametrize(
    ('setting', 'sentence'),
    [
        (dict(interval=0), 'interval must be at least 1; got 0'),
        (dict(batches=0), 'batches must be at least 1; got 0'),
        (dict(landscape='3d'), "landscape must be one of none, 1d, 2d; got '3d'"),
        (dict(rho=-0.1), 'rho must be a finite number'),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        SharpnessHook(**setting)


def measure(work_dir):
    metrics = Metrics()
    training('classes', Path(work_dir), [small_hook(), metrics], iterations=1, val_interval=1).val()
    return {key: float(value) for key, value in metrics.seen[0].items() if key.startswith('sharpness/')}


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    Path(folder, f'{rank}.json').write_text(json.dumps(measure(f'{folder}/two')))
    distributed.destroy_process_group()


def test_two_processes_report_what_one_does(tmp_path):
    # Importing everything anew in two processes takes longer than all these tests, but CUDA cannot be forked.
    method = 'spawn' if torch.cuda.is_available() else 'fork'
    multiprocessing.start_processes(one_of_two, args=(str(tmp_path),), nprocs=2, start_method=method)
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    assert first == second == pytest.approx(measure(tmp_path / 'one'), rel=1e-6)
