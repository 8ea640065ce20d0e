"""The messages of the command line tools for errors that a user can fix; for bugs, they show the traceback."""

import errno
import io
import logging
import re
from pathlib import Path
from urllib.error import URLError

from samat_mm.errors import UserError
from samat_mm.runners.traces import PACKAGE, frames_of, is_user_code

DEBUG_VARIABLE = 'SAMAT_MM_DEBUG'  # if it is 1, the commands show where an error was raised
OPENMMLAB = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain')

ADVICE = {
    errno.ENOSPC: 'free some space or write somewhere else',
    errno.EDQUOT: 'free some space or write somewhere else',
    errno.EROFS: 'write somewhere else',
    errno.EACCES: 'change its permissions or give another one',
    errno.EPERM: 'change its permissions or give another one',
    errno.ENOENT: 'check the path',
    errno.ENOTDIR: 'check the path',
    errno.EISDIR: 'give a file',
    errno.EFBIG: 'write somewhere else',
    errno.EIO: 'check the disk',
}


def sentence_of(error: BaseException) -> str | None:
    """Return an error in one line, for a user who did not write the code.

    Sentences exist for the package's own errors, for errors of the operating system and for lack of memory. MMEngine
    raises some errors of hooks again as its own; these count as the original errors.

    Returns:
        The sentence, or None if the error is a bug in the package or in the user's code.
    """
    for known in (error, error.__cause__, error.__context__):
        if isinstance(known, UserError) and (known is error or str(known) in str(error)):
            return message_of(known)
    if isinstance(error, URLError):
        return f'a file could not be downloaded ({error.reason}); connect to the network, or give a local file.'
    if isinstance(error, ModuleNotFoundError) and error.name in OPENMMLAB:
        return f'{error.name} is not installed; run `pip install samat-mm[mm]`, or install it yourself.'
    if isinstance(error, OSError):
        return _refusal_of_system(error)
    if isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError':  # the latter is torch's
        return f'out of memory ({message_of(error).rstrip(".")}); make batches or images smaller.'
    return None


def message_of(error: BaseException) -> str:
    """Return the message of an error in one line, without the trace that a data loader's worker adds."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        text = text.rpartition(f'{type(error).__name__}: ')[2]
    return ' '.join(text.split())


def _is_in_code_of_user(error: BaseException) -> bool:
    """Tell whether an error was raised in, or called from, code that is neither ours nor a library's."""
    own = [frame for frame in frames_of(error) if is_user_code(frame)]
    return bool(own) and PACKAGE not in Path(own[-1].f_code.co_filename).parents


def _refusal_of_system(error: OSError) -> str | None:
    """Return the operating system's error as a sentence, None for one of a library or of the user's own code.

    Without its number, an error comes from a library; without a file, one in the user's code is not about their files.
    """
    number, reason, file = error.errno, error.strerror, _file_of(error)
    wrapped = re.fullmatch(r"\[Errno (\d+)\] (.*?)(?:: '(.*)')?", message_of(error))
    if number is None and wrapped is not None:  # from a worker, as text
        number, reason, file = int(wrapped[1]), wrapped[2], wrapped[3]
    if number is None or (file is None and _is_in_code_of_user(error)):
        return None
    subject = f'{file} cannot be read or written' if file else 'the operating system refused the operation'
    advice = f'; {ADVICE[number]}' if number in ADVICE else ''
    return f'{subject} ({reason}){advice}.'


def _file_of(error: OSError) -> str | None:
    """Return the file of an error: the one it names, or the last one that was open where it was raised."""
    if error.filename is not None:
        return str(error.filename)
    for frame in reversed(frames_of(error)):
        for value in frame.f_locals.values():
            stream = value.stream if isinstance(value, logging.StreamHandler) else value
            if isinstance(stream, io.IOBase) and isinstance(getattr(stream, 'name', None), str):
                return str(stream.name)  # type: ignore[attr-defined]
    return None
