"""The configs: hooks stand where inheritance merges them, and methods of one data set can be compared."""

import copy
import functools
import re
from fractions import Fraction

import pytest
from helpers import ROOT
from mmengine.config import Config

from samat_mm.engine.hooks import FreePerturbationHook
from samat_mm.files.configs import configs_folder

CONFIGS = sorted([*configs_folder().glob('*.py'), *ROOT.glob('benchmarks/configs/*.py')])
RADIUS = '8/255'  # of every adversarial training of images whose name states no other
AT = 'adversarial_training'


@pytest.fixture(scope='module')
def configs():
    """All of them, every file read once although many inherit it."""
    read = functools.cache(Config._file2dict)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(lambda **given: copy.deepcopy(read(**given))))
        return {path.stem: Config(Config._file2dict(filename=str(path))[0]) for path in CONFIGS}


def test_every_hook_stands_where_inheritance_keeps_it(configs):
    """MMEngine merges dictionaries and replaces lists."""
    for name, config in configs.items():
        assert not config.get('custom_hooks'), name
        assert AT not in config, f'{name} has it at the top, where nothing reads it'
        assert config.default_hooks.training_summary.type == 'TrainingSummaryHook', name


def test_adversarial_training_is_at_one_radius_unless_the_name_states_another(configs):
    seen = {}
    for name, config in configs.items():
        hook, loop = config.default_hooks.get(AT), config.train_cfg
        free = str(loop.get('type')).startswith('Free')
        trained = re.search(r'_(.*-at|trades|awp|freelb)(-eps[\d.]+)?$', name)
        assert (hook is not None) + free == bool(trained), name
        if not trained or config.model.type == 'DistilBertClassifier':  # whose radii are in the units of embeddings
            continue
        stated = re.search(r'-eps([\d.]+)$', name)
        expected = Fraction(stated[1]) / 255 if stated else Fraction(RADIUS)
        eps = FreePerturbationHook(**loop.get('perturbation', {})).eps if free else float(Fraction(hook.attack.eps))
        assert eps == float(expected), name
        seen.setdefault(name.split('_')[1], set()).add(name.split('_')[2])
    assert {'pgd-at', 'fast-at', 'free-at', 'trades', 'segpgd-at'} <= seen['voc'] & seen['digits']
    assert {'pgd-at', 'pgd-at-eps1'} <= seen['voc'] & seen['stanford']


@pytest.mark.parametrize('name', ['deeplabv3_digits', 'deeplabv3_voc', 'resnet18_cifar10'])
def test_free_adversarial_training_has_the_length_and_schedules_of_plain_training(configs, name):
    plain, free = (configs[f'{name}_{method}'].to_dict() for method in ('sgd', 'free-at'))
    assert plain['train_cfg'].pop('type') == free['train_cfg'].pop('type').removeprefix('Free')
    assert free == plain


def test_one_pgd_at_for_all_models_and_the_papers_smallest(configs):
    usual, smallest = (
        {str(dict(config.default_hooks[AT])) for name, config in configs.items() if name.endswith(ending)}
        for ending in ('_pgd-at', '_pgd-at-eps1')
    )
    assert usual == {str(Config.fromfile(configs_folder() / '_base_/perturbations/pgd-at-linf.py')[AT])}
    attack = configs['resnet18_cifar10_pgd-at'].default_hooks[AT].attack
    assert attack == dict(type='PGD', norm='linf', eps='8/255', step_size='2/255', steps=10)
    attack = configs['deeplabv3_voc_pgd-at-eps1'].default_hooks[AT].attack
    assert attack == dict(type='PGD', norm='linf', eps='1/255', step_size='0.5/255', steps=5)
    assert len(usual) == len(smallest) == 1


CHILD = """
_base_ = {base!r}
custom_hooks = [dict(type='EMAHook')]
default_hooks = dict({hooks})
"""


@pytest.mark.parametrize(
    ('hooks', 'expected'),
    [
        ('', dict(type='AdversarialTrainingHook', attack=dict(type='PGD', norm='linf', eps='8/255', steps=10))),
        (
            f"{AT}=dict(attack=dict(eps='4/255'))",
            dict(type='AdversarialTrainingHook', attack=dict(type='PGD', norm='linf', eps='4/255', steps=10)),
        ),
        (f"{AT}=dict(_delete_=True, type='TRADESHook', beta=1)", dict(type='TRADESHook', beta=1)),
    ],
    ids=['kept', 'changed', 'replaced'],
)
def test_a_config_that_inherits_adversarial_training_and_adds_a_hook(hooks, expected, tmp_path):
    base = str(configs_folder() / 'resnet18_cifar10_pgd-at.py')
    (tmp_path / 'child.py').write_text(CHILD.format(base=base, hooks=hooks))
    config = Config.fromfile(tmp_path / 'child.py')
    found = config.default_hooks[AT].to_dict()
    found.get('attack', {}).pop('step_size', None)
    assert found == expected
    assert [hook.type for hook in config.custom_hooks] == ['EMAHook']
    assert config.default_hooks.checkpoint.type == 'CheckpointHook'


def test_learning_rates_are_for_the_batch_size_of_the_config(configs):
    for name in (path.stem for path in CONFIGS if path.parent == configs_folder()):
        config = configs[name]
        assert config.auto_scale_lr == dict(enable=False, base_batch_size=config.train_dataloader.batch_size), name
