"""Radii as people write them."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samat_mm.perturbations.units import parse_radius


@pytest.mark.parametrize(
    ('written', 'number'),
    [
        ('8/255', 8 / 255),
        (' 8 / 255 ', 8 / 255),
        ('0.5/255', 0.5 / 255),
        ('255/255', 1.0),
        ('0.03', 0.03),
        ('0', 0.0),
        ('3e-2', 0.03),
        (0.25, 0.25),
        (0, 0.0),
        (1, 1.0),
        (Fraction(1, 4), 0.25),
        # Exponents whose digits nobody could write out: a number too small for a float is 0.
        ('1e-999999999', 0.0),
        ('0e999999999', 0.0),
        ('1e-999999999/255', 0.0),
        ('8e-300/1e-300', 8.0),
    ],
)
def test_numbers_and_fractions(written, number):
    assert parse_radius(written, 'eps') == pytest.approx(number, rel=1e-15)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(numerator=st.integers(0, 255), denominator=st.integers(1, 1000))
def test_a_fraction_is_the_quotient_to_the_last_bit(numerator, denominator):
    assert parse_radius(f'{numerator}/{denominator}', 'eps') == numerator / denominator


@pytest.mark.parametrize(
    'wrong',
    [
        *('abc', '', '/', '8/', '/255', '8/255/2', '8/0', '1 2', '1/1e-999999999'),
        *(None, [8], (1, 2), 1j),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_anything_else_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=r"^step_size must be a number or a fraction such as '8/255'; got"):
        parse_radius(wrong, 'step_size')


@pytest.mark.parametrize(
    'endless',
    [
        *(
            'nan',
            'inf',
            '1e400',
            '1e200/1e-200',
            '1e999999999',
            '-1e999999999',
            '1/1e99999999',
            '1e999999999/1e999999999',
        ),
        *(float('nan'), float('inf'), -float('inf'), 10**400),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_what_is_not_finite_is_refused_by_name(endless):
    with pytest.raises(
        ValueError, match=r'^step_size must be a finite number of at least 0, in \[0, 1\] pixel units; got'
    ):
        parse_radius(endless, 'step_size')


@pytest.mark.parametrize('negative', [-1, -0.01, '-8/255', '8/-255'])
def test_a_negative_radius_is_refused(negative):
    with pytest.raises(ValueError, match=r'eps must be a finite number of at least 0'):
        parse_radius(negative, 'eps')
