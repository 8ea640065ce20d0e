"""Report errors of the operating system with the file name and the remedy."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from samat_mm.errors import FileError, MissingFileError, UserError

REMEDIES = {
    errno.ENOSPC: 'free some space or choose another disk',
    errno.EDQUOT: 'free some space, because your quota is used up',
    errno.EROFS: 'choose a disk that can be written',
    errno.EACCES: 'change the permissions or choose another place',
    errno.EPERM: 'change the permissions or choose another place',
    errno.ENOENT: 'check the path',
    errno.ENAMETOOLONG: 'choose a shorter name',
    errno.ENOTDIR: 'choose another name, because a part of this path is a file',
    errno.EEXIST: 'choose another name, because this one is taken',
    errno.EISDIR: 'choose another name, because this one is a folder',
    errno.EMFILE: 'allow more open files (ulimit -n) or use fewer workers',
}


@contextmanager
def writing(path: Any) -> Iterator[None]:
    """Name the file or folder in errors of writing; the error of a full disk does not name it.

    Args:
        path: path of the file or folder.

    Raises:
        OSError: with a sentence.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno is None:  # raised by encoders in Python, not by the operating system
            raise
        raise FileError(f'{path} cannot be written {_reason(error)}.') from error


@contextmanager
def reading(path: Any) -> Iterator[None]:
    """Name the file or folder in errors of reading.

    Args:
        path: path of the file or folder.

    Raises:
        OSError: with a sentence; FileNotFoundError if the file does not exist.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f'{path} is missing; restore it.') from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # decoders of damaged files seek beyond the end
            raise
        raise FileError(f'{path} cannot be read {_reason(error)}.') from error


def _reason(error: OSError) -> str:
    return f'({error.strerror}); {REMEDIES.get(error.errno or 0, "check whether the disk works")}'
