"""The radius over time: MMEngine's schedules, in every hook that perturbs images."""

import itertools
import warnings

import pytest
import torch
from helpers import (
    STD,
    ClassificationImages,
    Recorder,
    SegmentationImages,
    assert_same_state,
    classifier,
    runner,
    segmentor,
    state_of,
)
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from samat_mm.engine.hooks.radius_schedule import scaled
from samat_mm.perturbations.inputs import APGD, FAB, FGSM, PGD, SegPGD

EPS = 8 / 255
PGD_CONFIG = dict(type='PGD', norm='linf', eps=EPS, step_size=EPS / 2, steps=2)
KINDS = {
    'pgd': dict(type='AdversarialTrainingHook', attack=PGD_CONFIG),
    'free': dict(replays=2, perturbation=dict(eps=EPS)),  # arguments of a loop
    'trades': dict(type='TRADESHook', attack=PGD_CONFIG),
}
BY_ITERATION = dict(type='LinearParamScheduler', param_name='eps', start_factor=0.25, end=4, by_epoch=False)
BY_EPOCH = dict(type='MultiStepParamScheduler', param_name='eps', milestones=[1, 2], gamma=0.5, by_epoch=True)
HOOK = pytest.mark.parametrize('kind', list(KINDS))


class Logged(Hook):
    """Keeps the eps that is logged at each iteration, and can end a run as a crash does."""

    priority = 'LOWEST'

    def __init__(self, stop=None):
        self.stop, self.eps = stop, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.stop:
            raise KeyboardInterrupt

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.eps.append(runner.message_hub.get_scalar('train/eps').current())


def train(
    kind, scheduler, tmp_path, *, name='run', stop=None, iterations=6, epochs=None, build=classifier, count=6, **more
):
    logged, recorder = Logged(stop), Recorder()
    parts = KINDS[kind]
    loop = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=10**6)
    if epochs is not None:
        loop = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
    if 'type' in parts:
        hooks = [HOOKS.build({**parts, 'eps_scheduler': scheduler})]
    else:
        perturbation = {**parts['perturbation'], 'eps_scheduler': scheduler}
        loop, hooks = {**loop, **parts, 'type': f'Free{loop["type"]}', 'perturbation': perturbation}, []
    model = build()
    data = (ClassificationImages if build is classifier else SegmentationImages)(count)
    hooks = [HOOKS.build(dict(type='ReproducibleResumeHook')), *hooks, logged, recorder]
    runner(model, tmp_path / name, train=data, train_cfg=loop, hooks=hooks, **more).train()
    return model, logged.eps, recorder.inputs


def factors(eps):
    return [round(value / EPS, 6) for value in eps]


@HOOK
@pytest.mark.parametrize('build', [classifier, segmentor])
def test_the_radius_rises_by_iterations_and_is_logged(kind, build, tmp_path):
    _, eps, _ = train(kind, BY_ITERATION, tmp_path, build=build)
    assert factors(eps) == [0.25, 0.5, 0.75, 1, 1, 1]


@HOOK
def test_the_radius_changes_by_epochs(kind, tmp_path):
    _, eps, _ = train(kind, BY_EPOCH, tmp_path, epochs=3)
    assert factors(eps) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_several_schedules_and_epochs_made_into_iterations(tmp_path):
    _, eps, _ = train('pgd', [BY_ITERATION, BY_EPOCH], tmp_path, epochs=2)
    assert factors(eps) == [0.25, 0.5, 0.75, 0.5, 0.5, 0.5]
    converted = dict(
        type='LinearParamScheduler',
        param_name='eps',
        start_factor=0.5,
        end=2,
        by_epoch=True,
        convert_to_iter_based=True,
    )
    _, eps, _ = train('pgd', converted, tmp_path, epochs=2, name='converted')
    assert factors(eps) == [0.5, 0.6, 0.7, 0.8, 0.9, 1]


def test_the_end_is_that_of_the_training_unless_given(tmp_path):
    scheduler = {key: value for key, value in BY_ITERATION.items() if key != 'end'}
    _, eps, _ = train('pgd', scheduler, tmp_path)
    assert factors(eps) == [0.25, 0.4, 0.55, 0.7, 0.85, 1]


def test_images_are_as_far_from_the_clean_ones_as_is_due(tmp_path):
    """The step size follows: two steps of half the radius reach its edge whatever it is."""
    _, eps, fed = train('pgd', BY_ITERATION, tmp_path, optim_wrapper=dict(type='OptimWrapper', optimizer=STILL))
    clean = Recorder()
    runner(
        classifier(),
        tmp_path / 'clean',
        train=ClassificationImages(6),
        iterations=6,
        hooks=[clean],
        optim_wrapper=dict(type='OptimWrapper', optimizer=STILL),
    ).train()
    std = torch.tensor(STD).reshape(3, 1, 1) / 255
    for due, adversarial, original in zip(eps, fed, clean.inputs, strict=True):
        assert float(((adversarial - original) * std).abs().max()) == pytest.approx(due, rel=1e-3)


STILL = dict(type='SGD', lr=0.0)


@HOOK
def test_a_ramp_that_ends_or_begins_at_nothing(kind, tmp_path):
    """A radius of 0 trains on clean images; from there MMEngine's schedules never rise, and a tiny one is for that."""
    down = dict(
        type='CosineAnnealingParamScheduler', param_name='eps', T_max=2, eta_min=0, begin=0, end=3, by_epoch=False
    )
    _, eps, fed = train(kind, down, tmp_path)
    assert factors(eps) == [1, 0.5, 0, 0, 0, 0]
    if kind == 'trades':
        assert all(torch.equal(clean, attacked) for clean, attacked in zip(fed[6::3], fed[7::3], strict=True))
    tiny = {**BY_ITERATION, 'start_factor': 1e-6}
    model, eps, _ = train(kind, tiny, tmp_path, name='tiny')
    assert factors(eps) == [0.000001, pytest.approx(1 / 3, rel=1e-4), pytest.approx(2 / 3, rel=1e-4), 1, 1, 1]
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
    with pytest.raises(ValueError, match='never rises from 0; start at a small factor such as 1e-6'):
        train(kind, {**BY_ITERATION, 'start_factor': 0}, tmp_path)


@HOOK
@pytest.mark.parametrize('epochs', [None, 3], ids=['iterations', 'epochs'])
def test_a_killed_run_resumes_bit_for_bit(kind, epochs, tmp_path):
    schedules = [BY_ITERATION, BY_EPOCH] if epochs else [BY_ITERATION]
    interval = dict(type='CheckpointHook', by_epoch=bool(epochs), interval=1 if epochs else 2)
    whole, eps, _ = train(kind, schedules, tmp_path, name='whole', epochs=epochs, checkpoint=interval)
    with pytest.raises(KeyboardInterrupt):
        train(kind, schedules, tmp_path, name='killed', epochs=epochs, checkpoint=interval, stop=3 if not epochs else 4)
    resumed, rest, _ = train(kind, schedules, tmp_path, name='killed', epochs=epochs, checkpoint=interval, resume=True)
    assert rest == eps[-len(rest) :] and 0 < len(rest) < len(eps)
    assert_same_state(state_of(resumed), state_of(whole))


@pytest.mark.parametrize('count', [4, 10])
def test_a_resumed_run_has_counted_its_epochs_whatever_their_length_is_now(count, tmp_path):
    interval = dict(type='CheckpointHook', by_epoch=True, interval=1)
    train('pgd', BY_EPOCH, tmp_path, epochs=2, checkpoint=interval)
    _, eps, _ = train('pgd', BY_EPOCH, tmp_path, epochs=3, count=count, checkpoint=interval, resume=True)
    assert factors(eps) == [0.25] * (count // 2)


def test_nothing_warns_and_nothing_is_logged_without_a_schedule(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        warnings.filterwarnings('ignore', message='.*(MultiScaleDeformableAttention|lr_scheduler|metainfo|torch).*')
        train('pgd', BY_ITERATION, tmp_path)
    recorder = Recorder()
    run = runner(
        classifier(),
        tmp_path / 'constant',
        train=ClassificationImages(6),
        hooks=[HOOKS.build(dict(KINDS['pgd'])), recorder],
    )
    run.train()
    assert 'train/eps' not in run.message_hub.log_scalars


def test_a_scaled_attack_is_another_one():
    for attack, factor in itertools.product((PGD(), FGSM(), SegPGD(), APGD()), (0.0, 0.5)):
        changed = scaled(attack, factor)
        assert attack.eps == pytest.approx(EPS) and changed.eps == pytest.approx(factor * EPS)
        if isinstance(attack, PGD):
            assert changed.step_size == pytest.approx(factor * attack.step_size)
    assert scaled(attack, 1) is attack
    with pytest.raises(ValueError, match=r'eps_scheduler needs an attack by projected ascent.*got FAB'):
        scaled(FAB('linf', '8/255'), 0.5)


@pytest.mark.parametrize(
    'scheduler',
    [
        dict(type='LinearLR', start_factor=0.1),
        dict(type='LinearParamScheduler', param_name='rho'),
        'LinearParamScheduler',
        [5],
    ],
    ids=str,
)
@HOOK
def test_what_schedules_no_radius_is_refused(kind, scheduler, tmp_path):
    with pytest.raises(ValueError, match='eps_scheduler must be a config such as'):
        train(kind, scheduler, tmp_path)


def test_what_cannot_be_scheduled_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match='by projected ascent, such as PGD, APGD or SegPGD; got FAB'):
        HOOKS.build(dict(type='AdversarialTrainingHook', attack=dict(type='FAB'), eps_scheduler=BY_ITERATION))
    with pytest.raises(ValueError, match='use an eps_scheduler that needs no metrics'):
        train('pgd', dict(type='ReduceOnPlateauParamScheduler', param_name='eps', monitor='loss'), tmp_path)
    monkeypatch.setitem(KINDS, 'zero', dict(perturbation=dict(eps=0)))
    with pytest.raises(ValueError, match='must be greater than 0; got eps=0'):
        train('zero', BY_ITERATION, tmp_path)
