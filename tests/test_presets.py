"""Attacks by name."""

import pytest
from mmengine.config import Config

import samat_mm.presets
from samat_mm.files.configs import configs_folder
from samat_mm.perturbations.inputs import PGD, Attack
from samat_mm.presets import attack_config, build_attacks, presets
from samat_mm.registry import ATTACKS
from samat_mm.words.attacks import WordAttack

NAMES = sorted(path.stem for path in (configs_folder() / '_base_' / 'attacks').glob('*.py'))


def test_every_file_is_a_preset():
    assert sorted(presets()) == NAMES
    assert {'pgd-linf', 'pgd-l2', 'fgsm-linf'} <= set(NAMES)


def test_each_preset_is_read_when_it_is_asked_for_and_once(monkeypatch):
    read, original = [], Config.fromfile
    monkeypatch.setattr(Config, 'fromfile', lambda file: read.append(file.stem) or original(file))
    samat_mm.presets._read.cache_clear()
    build_attacks(['pgd-linf'])
    assert read == ['pgd-linf']
    build_attacks(list(presets()))
    assert sorted(read) == NAMES
    presets()['pgd-l2']['attack']['eps'] = 7  # which is the caller's own
    assert build_attacks(['pgd-l2'])['pgd-l2'].eps == 1


@pytest.mark.parametrize('name', NAMES)
def test_every_preset_names_its_source_and_builds(name):
    assert len(presets()[name]['source']) > 20
    attack = build_attacks([name])[name]
    assert isinstance(attack, (Attack, WordAttack))
    assert 0 < attack.describe().get('eps', 1) <= 1


def test_the_papers_settings():
    """Tables 2, 8 and 9: ten steps of a quarter of the radius."""
    linf, l2 = (build_attacks([name])[name].describe() for name in ('pgd-linf', 'pgd-l2'))
    assert (linf['norm'], linf['eps'], linf['step_size'], linf['steps']) == ('linf', 1 / 255, 1 / 255 / 4, 10)
    assert (l2['norm'], l2['eps'], l2['step_size'], l2['steps']) == ('l2', 1.0, 0.25, 10)


def test_overrides_replace_the_parameters_of_every_attack_and_none_leaves_them():
    built = build_attacks(['pgd-linf', 'pgd-l2'], eps='4/255', steps=3, step_size=None, restarts=2, seed=7)
    for attack in built.values():
        description = attack.describe()
        assert description['eps'] == 4 / 255
        assert description['steps'] == 3
        assert description['step_size'] == description['eps'] / 4  # follows the radius
        assert description['restarts'] == 2
        assert description['seed'] == 7


def test_a_given_step_size_follows_a_new_radius_unless_it_is_given_too():
    config = dict(type='PGD', eps='8/255', step_size='2/255')
    assert build_attacks([config], eps='1/255')['pgd'].step_size == 1 / 255 / 4
    assert build_attacks([config], eps='1/255', step_size='0.5/255')['pgd'].step_size == 0.5 / 255


def test_building_does_not_change_what_was_given():
    config = dict(type='PGD', eps='8/255', step_size='2/255', name='mine')
    before = dict(config)
    build_attacks([config], eps='1/255', seed=3)
    assert config == before
    assert build_attacks([config])['mine'].step_size == 2 / 255


@pytest.mark.parametrize(
    ('config', 'name'),
    [
        (dict(type='PGD'), 'pgd'),
        (dict(type='PGD', norm='l2'), 'pgd-l2'),
        (dict(type='FGSM', norm='linf'), 'fgsm-linf'),
        (dict(type='PGD', norm='l2', name='strong'), 'strong'),
    ],
)
def test_the_name_of_a_config(config, name):
    found, parameters = attack_config(config)
    assert found == name
    assert 'name' not in parameters


def test_errors_are_sentences_that_list_what_is_known():
    with pytest.raises(
        ValueError, match=r"attack 'pgd' is unknown; the known ones are .*fgsm-linf, fmn-linf, iga, pgd-l2.*, pgd-linf"
    ):
        build_attacks(['pgd'])
    with pytest.raises(ValueError, match=r"'pgd-l2' is given twice; give one of them another name="):
        build_attacks(['pgd-l2', 'pgd-l2'])
    with pytest.raises(ValueError, match=r"Did you mean '8/255'"):
        build_attacks(['pgd-linf'], eps='8')


def test_an_override_reaches_the_attacks_that_have_the_parameter():
    built = build_attacks(['fgsm-linf', 'pgd-linf'], steps=3, eps='4/255')
    assert {name: attack.steps for name, attack in built.items()} == {'fgsm-linf': 1, 'pgd-linf': 3}
    assert all(attack.eps == pytest.approx(4 / 255) for attack in built.values())


def test_queries_are_those_of_square_and_autoattack():
    built = build_attacks(['square-linf', 'autoattack-l2', 'pgd-linf'], queries=7)
    assert [getattr(attack, 'queries', None) for attack in built.values()] == [7, 7, None]


@pytest.mark.parametrize(
    ('name', 'override'),
    [('pgd-linf', 'queries'), ('fgsm-linf', 'steps'), ('square-linf', 'step_size'), ('pixle', 'eps')],
)
def test_an_override_that_no_attack_has_is_refused_but_for_the_seed(name, override):
    with pytest.raises(ValueError, match=rf'none of the attacks \({name}\) takes {override}'):
        build_attacks([name], seed=3, **{override: 1})
    build_attacks([name], seed=3)


def test_a_bug_in_a_constructor_is_not_taken_for_a_wrong_parameter(monkeypatch):
    with pytest.raises(ValueError, match=r'PGD does not accept these parameters: .*surplus'):
        ATTACKS.build(dict(type='PGD', surplus=1))

    def broken(self, eps=1):
        self.eps = None + eps

    monkeypatch.setattr(PGD, '__init__', broken)
    with pytest.raises(TypeError, match='unsupported operand'):
        ATTACKS.build(dict(type='PGD', eps=1))


@pytest.mark.parametrize('given', ['pgd-linf', 3, None, [dict(type='PGD')]])
def test_what_is_no_attack_is_refused(given):
    with pytest.raises(ValueError, match='attack must be a config such as'):
        ATTACKS.build(given)
