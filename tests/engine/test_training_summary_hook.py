"""Every training says what it maximises its loss over, in the first line of its log."""

import logging

import pytest
import torch
from helpers import ClassificationImages, classifier, runner
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapperDict
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from small_models import PlainNet, plain_batches

from samat_mm.api.training import log_the_maximisations
from samat_mm.engine.hooks.training_summary_hook import log_summary
from samat_mm.engine.training_summary import attack_summary
from samat_mm.presets import build_attacks
from samat_mm.registry import ATTACKS

SGD = dict(type='SGD', lr=0.01)
PGD = dict(type='PGD', norm='linf', eps='8/255', step_size='2/255', steps=10)
AT = dict(type='AdversarialTrainingHook', attack=PGD)
SAID_PGD = 'PGD(norm=linf, eps=8/255, step_size=2/255, steps=10)'
SUMMARY = dict(type='TrainingSummaryHook')
BEGINNING = 'This training maximises its loss '


class Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def log_of(logger):
    log = Log()
    logger.addHandler(log)
    logger.setLevel('INFO')
    return log


def lines_of(tmp_path, hooks=(), **more):
    """What the log of a training of one iteration says."""
    run = runner(
        classifier(), tmp_path, train=ClassificationImages(4), iterations=1, hooks=[*map(HOOKS.build, hooks)], **more
    )
    log = log_of(run.logger)
    run.train()
    return log.lines


def said(tmp_path, hooks=(), **more):
    lines = lines_of(tmp_path, hooks, **more)
    found = [line for line in lines if line.startswith(BEGINNING)]
    assert len(found) == 1, found
    return found[0].removeprefix(BEGINNING)


def wrapper(**values):
    return dict(optimizer=SGD, **values)


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        (dict(type='SAMOptimWrapper'), 'SAM(rho=0.05)'),
        (
            dict(type='AmpASAMOptimWrapper', rho=0.2, eta=0.1),
            'ASAM(rho=0.2, eta=0.1)',
        ),
        (
            dict(
                type='SAMOptimWrapper', perturbation=dict(type='LookSAM', rho=0.1, direction=dict(type='ASAM', eta=1))
            ),
            'LookSAM(rho=0.1, interval=5, direction=ASAM(eta=1))',
        ),
        (
            dict(type='SAMOptimWrapper', rho=0.1, interval=3),
            'SAM(rho=0.1) (at every 3 steps only)',
        ),
        (
            dict(type='SAMOptimWrapper', rho=0.1, start_iter=7),
            'SAM(rho=0.1) (from step 8 on, which is after the last of 1)',
        ),
        (
            dict(type='SAMOptimWrapper', rho=0),
            'SAM(rho=0) (a radius that moves nothing)',
        ),
        (
            dict(type='SAMOptimWrapper', paramwise_cfg=dict(custom_keys={'head': dict(rho_mult=0.0)})),
            'SAM(rho=0 to 0.05)',
        ),
    ],
    ids=str,
)
def test_what_is_maximised_over_weights(values, expected, tmp_path):
    found = said(tmp_path, [SUMMARY], optim_wrapper=wrapper(**values))
    assert found == f'over weights by {expected}, not over inputs.'


RAMP = dict(type='LinearParamScheduler', start_factor=0.1, end=10, by_epoch=False)


@pytest.mark.parametrize(
    ('hook', 'expected'),
    [
        (AT, SAID_PGD),
        (
            dict(AT, attack=dict(PGD, eps=0)),
            'PGD(norm=linf, eps=0/255, step_size=2/255, steps=10) (a radius',
        ),
        (dict(AT, eps_scheduler=dict(RAMP, param_name='eps')), f'{SAID_PGD} (eps by LinearParamScheduler)'),
        (
            dict(type='TRADESHook', beta=3),
            'TRADES(beta=3, attack=PGD(norm=linf, eps=8/255, step_size=2/255, steps=10, random_start=False))',
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize('summary', [[], [SUMMARY], [SUMMARY, SUMMARY]], ids=['none', 'one', 'two'])
def test_what_is_maximised_over_inputs(summary, hook, expected, tmp_path):
    """Once, whether or not the config has the hook for it, and if it has two."""
    assert said(tmp_path, [*summary, hook]).startswith(f'over inputs by {expected}')


@pytest.mark.parametrize('summary', [[], [SUMMARY]], ids=['none', 'one'])
def test_a_loop_that_maximises_over_inputs(summary, tmp_path):
    loop = dict(type='FreeIterBasedTrainLoop', max_iters=1, replays=2, perturbation=dict(norm='l2', eps=0.5))
    expected = 'over inputs by FreeAdversarialTraining(replays=2, norm=l2, eps=127.5/255, step_size=127.5/255)'
    assert said(tmp_path, summary, train_cfg=loop).startswith(expected)


@pytest.mark.parametrize('summary', [[], [SUMMARY]], ids=['absent', 'there'])
def test_both_and_before_anything_else_that_the_training_logs(summary, tmp_path):
    sam = wrapper(type='SAMOptimWrapper')
    schedule = dict(RAMP, param_name='rho')
    checkpoint = dict(type='CheckpointHook', by_epoch=False)
    lines = lines_of(tmp_path, [AT, *summary], checkpoint=checkpoint, optim_wrapper=sam, param_scheduler=schedule)
    expected = f'over weights by SAM(rho=0.05) (rho by LinearParamScheduler) and over inputs by {SAID_PGD}.'
    assert [line for line in lines if line.startswith(BEGINNING)] == [BEGINNING + expected]
    begun = next(index for index, line in enumerate(lines) if line.startswith('Checkpoints will be saved'))
    assert lines.index(BEGINNING + expected) < begun


# ------------------------------------------------------------------------------------- in tools of somebody's own


def test_a_loop_of_ones_own_is_told_once_what_its_wrapper_does():
    log = log_of(MMLogger.get_instance('a loop of ones own'))
    model = PlainNet().double()
    sam = OPTIM_WRAPPERS.build(dict(type='SAMOptimWrapper', optimizer=torch.optim.SGD(model.parameters(), lr=0.1)))
    for batch in plain_batches(2):
        model.train_step(batch, sam)
    expected = 'over weights by SAM(rho=0.05), and over inputs by no hook of samat-mm.'
    assert log.lines == [BEGINNING + expected]


def test_a_run_with_a_wrapper_only(tmp_path):
    assert said(tmp_path, optim_wrapper=wrapper(type='SAMOptimWrapper', rho=0.3)).startswith(
        'over weights by SAM(rho=0.3)'
    )


def test_plain_training(tmp_path):
    assert said(tmp_path, [SUMMARY]) == 'neither over weights nor over inputs.'


def test_several_optimizers(tmp_path):
    """As models with a training step of their own have."""
    run = runner(classifier(), tmp_path, train=ClassificationImages(4))
    parts = {
        name: OPTIM_WRAPPERS.build({**kind, 'optimizer': torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)})
        for name, kind in {'a': dict(type='OptimWrapper'), 'b': dict(type='ASAMOptimWrapper', rho=0.1)}.items()
    }
    run.optim_wrapper, run.param_schedulers = OptimWrapperDict(**parts), {'a': [], 'b': []}
    log = log_of(run.logger)
    log_summary(run)
    assert log.lines == [f'{BEGINNING}over weights by ASAM(rho=0.1), not over inputs.']


@pytest.mark.parametrize(
    ('hooks', 'changed'),
    [
        (dict(), dict(training_summary=SUMMARY)),
        (dict(default_hooks=dict(timer=dict(type='IterTimerHook'))), dict(timer=dict(type='IterTimerHook'))),
        (dict(default_hooks=dict(training_summary=None)), dict(training_summary=SUMMARY)),
        (dict(default_hooks=None), dict(training_summary=SUMMARY)),
    ],
    ids=str,
)
def test_the_tool_adds_the_hook_to_any_config(hooks, changed):
    config = Config(hooks)
    log_the_maximisations(config)
    assert config.default_hooks.to_dict() == {'training_summary': SUMMARY, **changed}


# ------------------------------------------------------------------------------------------------- what is refused


def test_two_hooks_that_perturb_the_images_are_refused(tmp_path):
    """One that was inherited and one that was added would undo each other."""
    run = runner(classifier(), tmp_path, train=ClassificationImages(4), hooks=[HOOKS.build(dict(type='TRADESHook'))])
    run.register_hook(dict(AT))
    with pytest.raises(ValueError, match=r'TRADESHook and AdversarialTrainingHook would each .*keep one'):
        run.train()


def test_a_hook_at_the_top_of_the_config_is_refused(tmp_path):
    """Where nothing reads it: left there by a config that takes one of ours as a base."""
    config = Config(dict(adversarial_training=AT))
    with pytest.raises(ValueError, match=r'adversarial_training stands at the top of the config.*default_hooks = dict'):
        lines_of(tmp_path, [SUMMARY], cfg=config)


# --------------------------------------------------------------------------------------------------- every attack


def test_every_preset_is_said():
    for name, attack in build_attacks(['pgd-l2', 'pgd-linf', 'segpgd-linf', 'pixle', 'stadv', 'autoattack-l2']).items():
        said = attack_summary(attack)
        assert said.startswith(f'{type(attack).__name__}('), name
        assert (' eps=' in said) == ('eps' in attack.describe()), name
    assert attack_summary(ATTACKS.build(dict(type='PGD', eps='4/255', seed=3, restarts=2))) == (
        'PGD(norm=linf, eps=4/255, step_size=1/255, steps=10, restarts=2)'
    )
