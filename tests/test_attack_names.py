"""Attacks at several radii, and names that would be mistaken for others."""

import pytest

from samat_mm.presets import build_attacks


def test_each_radius_makes_an_attack_of_its_own():
    built = build_attacks(['pgd-linf', 'pgd-l2'], ['0.5/255', '4/255'], steps=3)
    assert list(built) == ['pgd-linf@0.5/255', 'pgd-linf@4/255', 'pgd-l2@0.5/255', 'pgd-l2@4/255']
    assert [attack.eps * 255 for attack in built.values()] == pytest.approx([0.5, 4, 0.5, 4])
    assert all(attack.step_size == attack.eps / 4 for attack in built.values())


def test_one_radius_changes_no_name():
    assert list(build_attacks(['pgd-linf'], ['4/255'])) == ['pgd-linf']


def test_an_attack_without_a_radius_is_there_once():
    assert list(build_attacks(['pixle', 'pgd-linf'], ['1/255', '2/255'])) == [
        'pixle',
        'pgd-linf@1/255',
        'pgd-linf@2/255',
    ]


@pytest.mark.parametrize('radii', [['4/255', '1/255'], ['1/255', '1/255'], ['1/255', 1 / 255]])
def test_radii_rise(radii):
    with pytest.raises(ValueError, match=r'several radii must rise; got .* after .*Give them as'):
        build_attacks(['pgd-linf'], radii)


def test_two_attacks_of_one_name_are_refused_at_several_radii_too():
    with pytest.raises(ValueError, match=r"'pgd-linf@1/255' is given twice"):
        build_attacks(['pgd-linf', dict(type='PGD', norm='linf')], ['1/255', '2/255'])


def test_no_attack_is_called_as_the_clean_results_are():
    with pytest.raises(ValueError, match=r"cannot be called 'clean'"):
        build_attacks([dict(type='PGD', name='clean')])


def test_an_attack_needs_a_type():
    with pytest.raises(ValueError, match=r"needs a type, such as 'PGD'; got {'eps': 0.1}"):
        build_attacks([dict(eps=0.1)])
