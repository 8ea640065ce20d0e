"""Tell mistakes in a config from bugs in the code that it names.

MMEngine raises all kinds of exceptions for both. A mistake becomes a sentence with MMEngine's reason; a bug keeps its
traceback. The code that the exception passed through decides which one it is.
"""

import linecache
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

from mmengine.config import Config

from samat_mm.errors import InputError, UserError
from samat_mm.runners.config_parts import name_of
from samat_mm.runners.sentences import DEBUG_VARIABLE, message_of, sentence_of
from samat_mm.runners.traces import built_by, frames_of, is_user_code, module_of

LONGEST = 400  # characters of a reason
# Functions of runners and loops:
BUILDING = ('from_cfg', '__init__', 'scale_lr', 'wrap_model', '_maybe_compile')  # and all build_... functions
RUNNING = ('train', 'val', 'test')
REFUSED_ARGUMENTS = re.compile(r'([\w.<>]+)\.__init__\(\) (?:got|missing|takes) ')


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn errors in a config file, or in a file that it inherits from, into an :class:`InputError`.

    Errors from modules that the config imports are not changed, because these modules are separate code.
    """
    try:
        yield
    except UserError:
        raise
    except SystemExit as end:
        place = _place_in_config(end, path)
        raise InputError(
            f'config {path} ends the program (exit status {end.code or 0}) while it is read{place}; remove that.'
        ) from end
    except Exception as error:
        first = _first_import_error(error)
        after = frames_of(first)[_position(first, 'mmengine') :]
        configs = _config_files(after)
        if any(is_user_code(frame) and frame.f_code.co_filename not in configs for frame in after):
            raise
        what = f'config {path} cannot be read{_place_in_config(error, path)}'
        if isinstance(error, RecursionError) and not configs:
            raise InputError(f'{what}: its _base_ leads back to itself; remove one file from the circle.') from error
        raise _mistake(what, first) from error


@contextmanager
def merging(config: Config) -> Iterator[None]:
    """Turn errors in options that are merged into a config into an :class:`InputError`."""
    try:
        yield
    except Exception as error:
        raise _mistake(f'--cfg-options do not fit {name_of(config)}', error) from error


@contextmanager
def building(config: Config) -> Iterator[None]:
    """Turn errors of building from a config into an :class:`InputError`.

    The block may also run the runner, because MMEngine builds many parts only when it needs them. An error that passed
    through code outside MMEngine and other libraries is not changed, unless it says that a constructor does not accept
    the arguments from the config.
    """
    try:
        yield
    except UserError:
        raise
    except SystemExit as end:
        if not any(map(_builds, frames_of(end))):
            raise
        part = _part(frames_of(end))
        raise InputError(
            f'{name_of(config)}: {part} ends the program (exit status {end.code or 0}) while it is built; remove that.'
        ) from end
    except Exception as error:
        frames = frames_of(error)
        if sentence_of(error) is not None or not _is_mistake(error, frames):
            raise
        raise _mistake(f'{name_of(config)} cannot be built: {_part(frames)}', error) from error


def _mistake(what: str, error: BaseException) -> InputError:
    reason, kind = message_of(error).rstrip('.'), type(error).__name__
    if ' ' not in reason:  # no message, or the bare key of a KeyError
        frame, line = list(walk_tb(error.__traceback__))[-1]
        reason = f'{reason} in {linecache.getline(frame.f_code.co_filename, line).strip()}'.strip()
    reason = f'{reason[:LONGEST]} ...' if len(reason) > LONGEST else reason
    return InputError(f'{what}: {reason} ({kind}; {DEBUG_VARIABLE}=1 shows where).')


def _is_mistake(error: Exception, frames: Sequence[FrameType]) -> bool:
    last = frames[-1]
    if module_of(last).startswith('mmengine.runner') and last.f_code.co_name in RUNNING:
        return error.__context__ is None  # a check of the runner itself
    inside = _being_built(frames)
    if inside is None:
        return False
    return _are_arguments_refused(error, last) or not any(map(is_user_code, _without_derived(inside)))


def _being_built(frames: Sequence[FrameType]) -> Sequence[FrameType] | None:
    """Return the frames below the innermost part that was being built; None if nothing was being built."""
    builders = [number for number, frame in enumerate(frames) if _builds(frame)]
    return frames[builders[-1] + 1 :] if builders else None


def _without_derived(frames: Sequence[FrameType]) -> list[FrameType]:
    """Return the frames without constructors that had called their base class's constructor in a library."""
    bases = [built_by(frame) for frame in frames if not is_user_code(frame)]
    return [frame for frame in frames if all(built_by(frame) is None or built_by(frame) is not base for base in bases)]


def _builds(frame: FrameType) -> bool:
    module, function = module_of(frame), frame.f_code.co_name
    if module.startswith('mmengine.runner'):
        return function in BUILDING or function.startswith('build_')
    return module == 'mmengine.registry.build_functions'


def _part(frames: Sequence[FrameType]) -> str:
    """Return the config's name for the part that was being built."""
    for frame in reversed(frames):
        if module_of(frame) == 'mmengine.registry.build_functions':
            given: Any = frame.f_locals.get('cfg')
            part = given.get('type', given.get('runner_type')) if isinstance(given, (dict, Config)) else None
            if part is not None:
                return str(getattr(part, '__name__', part))
        elif _builds(frame):
            break
    return 'Runner'


def _are_arguments_refused(error: Exception, frame: FrameType) -> bool:
    """Tell whether a constructor passed arguments to its base class that neither of them accepts."""
    refused = REFUSED_ARGUMENTS.match(message_of(error)) if isinstance(error, TypeError) else None
    if refused is None or built_by(frame) is None:
        return False
    return any(refused[1] in (cls.__name__, cls.__qualname__) for cls in type(built_by(frame)).__mro__)


def _config_files(frames: Sequence[FrameType]) -> set[str]:
    """Return the config files that MMEngine was executing."""
    return {
        frame.f_code.co_filename
        for caller, frame in pairwise(frames)
        if module_of(caller).startswith('mmengine.config') and is_user_code(frame)
    }


def _place_in_config(error: BaseException, path: str | Path) -> str:
    """Return the line and file of the error in a config, if they are known."""
    trace = list(walk_tb(error.__traceback__))
    configs = _config_files([frame for frame, _ in trace])
    for frame, line in reversed(trace):
        if frame.f_code.co_filename in configs:
            return f' (line {line} of {frame.f_code.co_filename})'
    read = [frame.f_locals.get('filename') for frame, _ in trace if module_of(frame).startswith('mmengine.config')]
    inner = next((Path(file) for file in reversed(read) if file and Path(file).exists()), Path(path))
    return '' if inner.resolve() == Path(path).resolve() else f' (in {inner})'


def _first_import_error(error: BaseException) -> BaseException:
    """Return the original import error, which MMEngine catches and raises again with another message."""
    while isinstance(error, ImportError) and (error.__cause__ or error.__context__) is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return error


def _position(error: BaseException, package: str) -> int:
    return next((i for i, frame in enumerate(frames_of(error)) if module_of(frame).startswith(package)), 0)
