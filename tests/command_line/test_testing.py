"""What a config states for its own test loop and evaluation hooks holds in ``tools/test.py``, too."""

from mmengine.config import Config

from samat_mm.command_line import testing
from samat_mm.command_line.testing import attacks_of_hooks, build_test_runner
from samat_mm.engine.hooks import AttackEvaluationHook

LINF, L2 = dict(type='PGD', norm='linf'), dict(type='PGD', norm='l2')


def config(**more):
    parts = dict(test_dataloader=dict(batch_size=1), test_evaluator=dict(type='IoUMetric'), **more)
    return Config(parts)


def test_attacks_of_loop_and_hooks_once_each():
    found = attacks_of_hooks(
        config(
            test_cfg=dict(type='AttackTestLoop', attacks=['pgd-linf', L2]),
            default_hooks=dict(evaluation=dict(type='mmengine.AttackEvaluationHook', attacks=[L2, LINF]), timer=None),
            custom_hooks=[dict(type=AttackEvaluationHook, attacks=['fgsm-linf']), dict(type='EMAHook')],
        )
    )
    assert found == ['pgd-linf', L2, LINF, 'fgsm-linf']


def test_settings_that_numbers_depend_on_are_those_of_the_config_unless_others_are_asked_for(monkeypatch):
    built = []

    class Built:
        def __init__(self, given):
            built.append(given)
            self.test_loop = self
            self.attacks = {}

    monkeypatch.setattr(testing, 'build_runner_and_model', Built)
    hook = dict(type='AttackEvaluationHook', attacks=[LINF], pixel_range=(0, 10000), craft_dtype='bfloat16')
    build_test_runner(config(custom_hooks=[hook]), {}, craft_dtype=None, max_samples=None)
    build_test_runner(config(custom_hooks=[hook]), {}, craft_dtype='float32', max_samples=3)
    loop = dict(type='AttackTestLoop', attacks=[LINF], pixel_range=(0, 1), max_samples=7)
    build_test_runner(config(custom_hooks=[hook], test_cfg=loop), {}, max_samples=None)
    first, second, third = (given.test_cfg for given in built)
    assert (first.pixel_range, first.craft_dtype, first.get('max_samples')) == ((0, 10000), 'bfloat16', None)
    assert (second.pixel_range, second.craft_dtype, second.max_samples) == ((0, 10000), 'float32', 3)
    assert (third.pixel_range, third.craft_dtype, third.max_samples) == ((0, 1), 'bfloat16', 7)
    assert all(given.custom_hooks == [] and 'attacks' not in given.test_cfg for given in built)
