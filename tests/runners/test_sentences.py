"""Errors that users see as a sentence, and errors that keep their traceback."""

import errno
import logging
from urllib.error import URLError

import pytest
import torch

from samat_mm.errors import InputError, UnsupportedError
from samat_mm.runners.sentences import sentence_of


def raised(action, *arguments):
    """The exception that an action raises, with its traceback."""
    try:
        action(*arguments)
    except Exception as error:
        return error
    raise AssertionError('nothing was raised')


def test_an_error_of_ours_is_said_in_one_line():
    assert sentence_of(InputError('a value of 3 does\nnot fit.')) == 'a value of 3 does not fit.'


def test_an_error_that_mmengine_raises_again_is_still_ours():
    def hook():
        try:
            raise UnsupportedError('models of this kind cannot be trained.')
        except TypeError as error:
            raise TypeError(f'{error} in <hook>') from None

    assert sentence_of(raised(hook)) == 'models of this kind cannot be trained.'


def test_a_bug_that_comes_up_while_an_error_of_ours_is_handled_stays_one():
    def handling():
        try:
            raise InputError('a value of 3 does not fit.')
        except ValueError:
            {}['key']

    assert sentence_of(raised(handling)) is None


@pytest.mark.parametrize(
    'error', [KeyError('x'), TypeError('x'), ValueError('no space left'), RuntimeError(), OSError('x')]
)
def test_a_bug_has_no_sentence(error):
    assert sentence_of(error) is None


def test_a_full_disk_names_the_file_that_was_open():
    """The system does not say which file; the frames do. /dev/full is always full."""

    def write():
        with open('/dev/full', 'w') as stream:
            stream.write('x' * 10**6)

    def log():
        handler = logging.StreamHandler(open('/dev/full', 'wb', buffering=0))  # noqa: SIM115
        handler.stream.write(b'x')

    for action in (write, log):
        said = sentence_of(raised(action))
        assert said == (
            '/dev/full cannot be read or written (No space left on device); free some space or write somewhere else.'
        )


def test_what_the_system_refuses_names_the_file(tmp_path):
    said = sentence_of(raised(open, tmp_path / 'nothing.png'))
    assert said == f'{tmp_path}/nothing.png cannot be read or written (No such file or directory); check the path.'
    said = sentence_of(OSError(errno.EROFS, 'Read-only file system', 'out/report.json'))
    assert said == 'out/report.json cannot be read or written (Read-only file system); write somewhere else.'
    said = sentence_of(OSError(errno.ECONNREFUSED, 'Connection refused'))
    assert said == 'the operating system refused the operation (Connection refused).'


class Broken(torch.utils.data.Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (InputError('labels a.png hold 9.'), 'labels a.png hold 9.'),
        (
            FileNotFoundError(errno.ENOENT, 'No such file or directory', 'a.png'),
            'a.png cannot be read or written (No such file or directory); check the path.',
        ),
        (KeyError('x'), None),
    ],
)
def test_a_worker_of_a_data_loader_adds_nothing(error, said):
    loader = torch.utils.data.DataLoader(Broken(error), num_workers=1)
    assert sentence_of(raised(next, iter(loader))) == said


def test_downloads_and_memory():
    assert 'could not be downloaded (no network)' in sentence_of(URLError('no network'))
    assert 'out of memory (tried to allocate 9 GiB)' in sentence_of(torch.OutOfMemoryError('tried to allocate 9 GiB.'))
