"""What the operating system refuses, with the name of the file and what to do."""

import errno
import os
from pathlib import Path

import pytest

from samat_mm.errors import FileError, InputError, MissingFileError
from samat_mm.files.access import reading, writing

FULL = Path('/dev/full')  # Linux has a disk that is always full


@pytest.mark.skipif(not FULL.exists(), reason='there is no /dev/full')
def test_a_full_disk_is_named():
    with (
        pytest.raises(FileError, match=r'^a\.json cannot be written \(No space left.*\); free'),
        writing('a.json'),
    ):
        FULL.write_text('text')


@pytest.mark.parametrize(
    ('number', 'remedy'),
    [(errno.EROFS, 'a disk that can be written'), (errno.EACCES, 'change the permissions'), (errno.EIO, 'disk works')],
)
@pytest.mark.parametrize(('context', 'done'), [(reading, 'read'), (writing, 'written')])
def test_what_is_refused_is_named(context, done, number, remedy):
    sentence = rf'^a\.png cannot be {done} \({os.strerror(number)}\); .*{remedy}.*\.$'
    with pytest.raises(FileError, match=sentence), context('a.png'):
        raise OSError(number, os.strerror(number), 'another name')


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r'^a\.png is missing; restore it\.$'), reading('a.png'):
        (tmp_path / 'a.png').read_bytes()


@pytest.mark.parametrize('context', [reading, writing])
@pytest.mark.parametrize(
    'error', [FileError('a sentence.'), MissingFileError('one.'), InputError('one.'), OSError('decoder')]
)
def test_what_has_a_sentence_or_is_no_refusal_stays(context, error):
    with pytest.raises(type(error)) as caught, context('a.png'):
        raise error
    assert caught.value is error
