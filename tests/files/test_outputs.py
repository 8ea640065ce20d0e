"""File names are made in one way, and outputs are checked first."""

from pathlib import Path

import pytest

from samat_mm.files.outputs import file_name, writable_folder, writable_report
from samat_mm.presets import build_attacks


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('pgd-linf', 'pgd-linf'),
        ('pgd-linf@0.5/255', 'pgd-linf@0.5-255'),
        ('sea-linf/jensen-shannon', 'sea-linf-jensen-shannon'),
        ('/etc/passwd', '-etc-passwd'),
        ('../up', '_-up'),
        ('..', '_'),
        ('', '_'),
        ('.hidden', '_hidden'),
        ('größer als 1', 'größer-als-1'),
        ('a\0b\nc:d*?', 'a-b-c-d-'),
    ],
)
def test_a_name_is_one_part_of_a_path(name, expected):
    assert file_name(name) == expected
    assert len(Path(expected).parts) == 1


def test_a_long_name_is_cut():
    assert len(file_name('x' * 1000)) == 80


def test_two_attacks_whose_files_would_be_the_same_are_refused():
    names = ('at 1/255', 'at 1-255')
    with pytest.raises(ValueError, match=r"'at 1-255' is given twice"):
        build_attacks([dict(type='PGD', name=name) for name in names])


def test_what_is_tried_leaves_nothing_but_the_folder(tmp_path):
    assert writable_folder(tmp_path / 'new' / 'folder', '--x') == tmp_path / 'new' / 'folder'
    assert list((tmp_path / 'new' / 'folder').iterdir()) == []
    (tmp_path / 'report.json').write_text('kept')
    assert writable_report(tmp_path / 'report.json', '--out', [], page_suffix='.html') == tmp_path / 'report.json'
    assert [path.name for path in sorted(tmp_path.iterdir())] == ['new', 'report.json']
    assert (tmp_path / 'report.json').read_text() == 'kept'


def test_the_page_does_not_overwrite_an_input_either(tmp_path):
    (tmp_path / 'a.html').write_text('kept')
    with pytest.raises(ValueError, match=r'would overwrite the input .*a\.html'):
        writable_report(tmp_path / 'a.json', '--out', [tmp_path / 'a.html'], page_suffix='.html')
    writable_report(tmp_path / 'a.json', '--out', [tmp_path / 'a.html'])
