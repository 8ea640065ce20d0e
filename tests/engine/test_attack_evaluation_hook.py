"""Robust metrics next to the clean ones: in validation, in tests, in any batch size, without a trace in training."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from helpers import (
    ClassificationImages,
    Recorder,
    SegmentationImages,
    assert_same_state,
    classifier,
    labelled_by,
    runner,
    segmentor,
    state_of,
)
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from torch.nn import functional as F

from samat_mm.engine.hooks import AttackEvaluationHook
from samat_mm.perturbations.inputs import PGD

LINF = dict(type='PGD', norm='linf', eps='32/255', steps=3)
L2 = dict(type='PGD', norm='l2', eps=4.0, steps=3)
KINDS = {
    'maps': (segmentor, SegmentationImages, 'mIoU'),
    'classes': (classifier, ClassificationImages, 'accuracy/top1'),
}
each_kind = pytest.mark.parametrize('kind', KINDS)


def evaluate(kind, tmp_path, attacks, *, phase='test', count=5, evaluator=None, changes=None, val_cfg=None, **more):
    """The metrics of one test or validation of a model on images that it labels right."""
    build, data, _ = KINDS[kind]
    model = build(**(changes or {}))
    hooks = [] if attacks is None else [AttackEvaluationHook(attacks, **more.pop('hook', {}))]
    run = runner(
        model,
        tmp_path,
        evaluate=labelled_by(model, data(count)),
        hooks=hooks,
        evaluator=copy.deepcopy(evaluator),
        **more,
        **({'val_cfg': val_cfg} if val_cfg else {}),
    )
    return run.test() if phase == 'test' else run.val()


@each_kind
@pytest.mark.parametrize('phase', ['val', 'test'])
def test_robust_metrics_are_added_to_the_clean_ones_which_do_not_change(kind, phase, tmp_path):
    metric = KINDS[kind][2]
    clean = evaluate(kind, tmp_path / 'clean', None, phase=phase)
    both = evaluate(kind, tmp_path / 'both', [LINF, L2, 'fgsm-linf'], phase=phase)
    assert clean[metric] == 100
    assert {key: both[key] for key in clean} == clean
    names = ('pgd-linf', 'pgd-l2', 'fgsm-linf')
    assert set(both) == set(clean) | {f'{name}/{key}' for name in names for key in clean}
    assert both[f'pgd-linf/{metric}'] < 90
    assert both[f'pgd-l2/{metric}'] < 100
    assert both[f'pgd-linf/{metric}'] <= both[f'fgsm-linf/{metric}'] <= 100  # 1/255 in one step is weaker


DENSE = [dict(type=name, norm='linf', eps='16/255', steps=10) for name in ('SegPGD', 'CosPGD', 'SEA')]


def test_dense_attacks_on_a_segmentor_and_on_a_classifier_that_they_refuse(tmp_path):
    metrics = evaluate('maps', tmp_path / 'maps', DENSE, count=2)
    for name in ('segpgd-linf', 'cospgd-linf', 'sea-linf'):
        assert metrics[f'{name}/aAcc'] < 90 < metrics['aAcc']
    with pytest.raises(ValueError, match=r'segpgd weighs the pixels of a segmentation.*Use PGD or APGD'):
        evaluate('classes', tmp_path / 'classes', DENSE, count=2)


@each_kind
def test_apgd_serves_both_tasks(kind, tmp_path):
    metric = KINDS[kind][2]
    metrics = evaluate(kind, tmp_path, [dict(type='APGD', norm='linf', eps='32/255', steps=5)], count=2)
    assert metrics[f'apgd-linf/{metric}'] < metrics[metric]


class LossMetric(BaseMetric):
    """The cross-entropy of what predict says, averaged over the images: sensitive to every bit of an image."""

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            if 'seg_logits' in sample:
                logits, target = sample['seg_logits']['data'][None], sample['gt_sem_seg']['data'].long()
                loss = F.cross_entropy(logits.double(), target, ignore_index=255)
            else:
                loss = F.nll_loss(sample['pred_score'].double().log()[None], sample['gt_label'])
            self.results.append(float(loss))

    def compute_metrics(self, results):
        return {'loss': float(np.mean(results)), 'images': len(results)}


@each_kind
def test_radius_zero_gives_the_clean_metrics_to_the_last_bit(kind, tmp_path):
    metrics = evaluate(kind, tmp_path, [dict(type='PGD', eps=0, name='zero'), LINF], evaluator=[LossMetric()])
    assert metrics['zero/loss'] == metrics['loss']
    assert metrics['pgd-linf/loss'] > metrics['loss'] * 1.05
    assert metrics['zero/images'] == metrics['images'] == 5


@pytest.mark.parametrize(
    'changes',
    [
        {'test_cfg': {'mode': 'slide', 'crop_size': (16, 16), 'stride': (12, 12)}},
        {'preprocessor': {'test_cfg': {'size': (40, 48)}}},
    ],
    ids=['slide', 'padded'],
)
def test_radius_zero_gives_the_clean_metrics_in_every_test_mode(changes, tmp_path):
    metrics = evaluate(
        'maps', tmp_path, [dict(type='PGD', eps=0, name='zero'), LINF], evaluator=[LossMetric()], changes=changes
    )
    assert metrics['zero/loss'] == metrics['loss']
    assert metrics['pgd-linf/loss'] > metrics['loss'] * 1.05


def test_radius_zero_gives_the_clean_metrics_in_a_validation_in_half_precision(tmp_path):
    """``val_cfg=dict(fp16=True)``: clean and attacked images must be scored in the same precision."""
    metrics = evaluate(
        'classes',
        tmp_path,
        [dict(type='PGD', eps=0, name='zero')],
        phase='val',
        evaluator=[LossMetric()],
        val_cfg=dict(type='ValLoop', fp16=True),
    )
    assert metrics['zero/loss'] == metrics['loss']


@each_kind
def test_the_batch_size_changes_no_adversarial_image(kind, tmp_path):
    """Five images, one by one and in batches of four and one."""
    one, four = (
        evaluate(kind, tmp_path / str(size), [LINF, L2], evaluator=[LossMetric()], eval_batch_size=size)
        for size in (1, 4)
    )
    assert one.keys() == four.keys()
    for key, value in one.items():
        assert four[key] == pytest.approx(value, rel=2e-5), key


def test_the_metric_is_that_of_the_images_that_the_attack_makes(tmp_path):
    """Against the attack on plain torch functions, image by image."""
    model = classifier()
    data = labelled_by(model, ClassificationImages(3))
    attack = PGD('linf', '32/255', steps=3, seed=4)
    mean, std = model.data_preprocessor.mean / 255, model.data_preprocessor.std / 255

    def predict(pixels):
        return model((pixels - mean) / std, mode='tensor')

    expected = []
    for index in range(3):
        pixels = data.raw[index].flip(0)[None] / 255
        target = torch.tensor([data.labels[index]])
        adversarial = attack(predict, pixels, target, indices=[index])
        with torch.no_grad():
            expected.append(float(F.cross_entropy(predict(adversarial), target)))
    metrics = evaluate('classes', tmp_path, {'mine': attack}, evaluator=[LossMetric()], count=3)
    assert metrics['mine/loss'] == pytest.approx(np.mean(expected), rel=1e-4)


# ------------------------------------------------------------------------------------------- in training


class Metrics(Hook):
    """Keeps what the hooks of lowest priority see."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def after_val_epoch(self, runner, metrics=None):
        self.seen.append(dict(metrics))


def train(kind, tmp_path, hooks, **more):
    build, data, _ = KINDS[kind]
    model = build()
    run = runner(
        model,
        tmp_path,
        train=data(8),
        evaluate=labelled_by(model, data(3)),
        iterations=4,
        val_interval=1,
        hooks=hooks,
        **more,
    )
    run.train()
    return run


@each_kind
def test_training_is_not_changed_by_being_watched(kind, tmp_path):
    """Weights, statistics, momentum and random state: as without the hook, to the bit."""
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
    watched, alone = (
        train(kind, tmp_path / str(number), hooks, optim_wrapper=dict(wrapper))
        for number, hooks in enumerate(([AttackEvaluationHook([LINF, L2])], []))
    )
    assert_same_state(state_of(watched.model), state_of(alone.model))
    momenta = (run.optim_wrapper.optimizer.state_dict()['state'] for run in (watched, alone))
    for first, second in zip(*(state.values() for state in momenta), strict=True):
        assert torch.equal(first['momentum_buffer'], second['momentum_buffer'])
    assert all(parameter.requires_grad for parameter in watched.model.parameters())


def test_interval_attacks_every_second_validation(tmp_path):
    metrics = Metrics()
    train('classes', tmp_path, [AttackEvaluationHook([LINF], interval=2), metrics])
    measured = [math.isfinite(seen.get('pgd-linf/accuracy/top1', math.nan)) for seen in metrics.seen]
    assert measured == [True, False, True, False]
    assert all('accuracy/top1' in seen for seen in metrics.seen)


@pytest.mark.parametrize('place', ['custom_hooks', 'default_hooks'])
def test_a_robust_metric_can_choose_the_best_checkpoint(place, tmp_path):
    metrics, name = Metrics(), 'pgd-linf/mIoU'
    hook = dict(type='AttackEvaluationHook', attacks=[{**LINF, 'eps': '8/255'}])
    more = {} if place == 'custom_hooks' else {'named_hooks': {'attack_evaluation': hook}}
    checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=10, save_best=name, rule='greater', save_last=False
    )
    train('maps', tmp_path, [metrics] if more else [hook, metrics], checkpoint=checkpoint, **more)
    scores = [seen[name] for seen in metrics.seen]
    best = 1 + scores.index(max(scores))
    assert [path.name for path in tmp_path.glob('best_*.pth')] == [f'best_pgd-linf_mIoU_iter_{best}.pth']


def test_a_robust_metric_can_choose_the_best_checkpoint_where_not_every_validation_is_attacked(tmp_path):
    """A validation without the metric must not end the training."""
    hook = AttackEvaluationHook([LINF], interval=2)
    checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=10, save_best='pgd-linf/mIoU', rule='greater')
    train('maps', tmp_path, [hook], checkpoint=checkpoint)
    assert list(tmp_path.glob('best_pgd-linf_mIoU_iter_*.pth'))


def test_the_robust_metrics_are_logged(tmp_path):
    """By LoggerHook, for the terminal, the log file, TensorBoard and the like."""
    train('classes', tmp_path, [AttackEvaluationHook([LINF])])
    (file,) = tmp_path.rglob('scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert sum('accuracy/top1' in line for line in lines) == 4
    assert sum('pgd-linf/accuracy/top1' in line for line in lines) == 4


def test_an_attack_does_not_see_the_hooks_of_training(tmp_path):
    """The recorder counts forwards in training mode: one per iteration, however often attacks run."""
    recorder = Recorder()
    train('classes', tmp_path, [recorder, AttackEvaluationHook([LINF])])
    assert len(recorder.inputs) == 4


def test_after_an_error_in_the_middle_the_next_evaluation_works(tmp_path):
    """In a notebook: repair the model and run again in the same process."""
    model = classifier()
    data = labelled_by(model, ClassificationImages(2))
    weight = model.head.fc.weight.detach().clone()
    with torch.no_grad():
        model.head.fc.weight.fill_(float('nan'))
    run = runner(model, tmp_path, evaluate=data, hooks=[AttackEvaluationHook([LINF])])
    with pytest.raises(FloatingPointError, match=r'not finite'):
        run.test()
    with torch.no_grad():
        model.head.fc.weight.copy_(weight)
    again = runner(model, tmp_path, evaluate=data, hooks=[AttackEvaluationHook([LINF])])
    assert again.test()['accuracy/top1'] == 100


# ----------------------------------------------------------------------------------------------- pictures


@each_kind
def test_show_dir_gets_a_picture_per_image_and_attack(kind, tmp_path):
    import cv2

    evaluate(kind, tmp_path / 'run', [LINF, L2], count=3, hook={'show_dir': str(tmp_path / 'shown')})
    files = sorted(str(path.relative_to(tmp_path / 'shown')) for path in (tmp_path / 'shown').rglob('*.*'))
    assert files == [f'{name}/{index:06d}-image{index}.png' for name in ('pgd-l2', 'pgd-linf') for index in range(3)]
    first, second = (
        cv2.imread(str(tmp_path / 'shown' / 'pgd-linf' / f'{index:06d}-image{index}.png')) for index in range(2)
    )
    assert first.std() > 10
    assert first.shape != second.shape or (first != second).any()


# ---------------------------------------------------------------------------------------------- bad values


@pytest.mark.parametrize('interval', [0, -1])
def test_interval_must_be_at_least_one(interval):
    with pytest.raises(ValueError, match=f'interval must be at least 1; got {interval}'):
        AttackEvaluationHook([LINF], interval=interval)


def test_an_unknown_preset_is_refused_when_the_config_is_built():
    with pytest.raises(ValueError, match=r"'pgd-l7' is unknown; the known ones are .*pgd-linf"):
        AttackEvaluationHook(['pgd-l7'])


def test_two_attacks_of_the_same_name_are_refused():
    with pytest.raises(ValueError, match=r"'pgd-linf' is given twice"):
        AttackEvaluationHook([LINF, 'pgd-linf'])


def test_a_resumed_run_may_begin_with_a_validation_that_is_skipped():
    """A checkpoint hook that saves the best by a robust metric must find it although nothing was attacked yet."""
    metrics = {'mIoU': 50.0}
    AttackEvaluationHook([LINF, L2], interval=2).after_val_epoch(runner=None, metrics=metrics)
    assert metrics.pop('mIoU') == 50.0
    assert metrics.keys() == {'pgd-linf/mIoU', 'pgd-l2/mIoU'}
    assert all(math.isnan(value) for value in metrics.values())
