"""Load intact checkpoints without executing code from them."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from samat_mm.errors import InputError
from samat_mm.files.inputs import checkpoint_file

TRUST_VARIABLE = 'SAMAT_MM_TRUST_CHECKPOINTS'

# Exceptions that readers of pickles and archives raise for arbitrary file content.
UNREADABLE = (
    RuntimeError,
    EOFError,
    LookupError,
    ValueError,
    AttributeError,
    OSError,
    TypeError,
    AssertionError,
    ImportError,
    ArithmeticError,
    pickle.PickleError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_ZIP = b'PK\x03\x04'


def is_trusted() -> bool:
    """Tell whether the user allows files to run code."""
    return os.environ.get(TRUST_VARIABLE) == '1'


def load_checkpoint_file(filename: str | Path, map_location: Any = 'cpu') -> Any:
    """Load a local checkpoint without letting it run code.

    Only tensors, plain containers and the log buffers that MMEngine stores are accepted, unless the environment
    variable ``SAMAT_MM_TRUST_CHECKPOINTS=1`` declares the file trusted. The checksums of the file are compared, which
    torch does not do; the format before torch 1.6 has none.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not a checkpoint, is damaged, or holds objects that loading would have to execute.
    """
    path = checkpoint_file(filename)
    _refuse_damage(path, str(path))
    return _load(path, str(path), map_location=map_location)


def load_checkpoint_bytes(content: bytes, origin: str, map_location: Any = 'cpu') -> Any:
    """Load a checkpoint from bytes, like :func:`load_checkpoint_file`.

    Args:
        content: content of the checkpoint.
        origin: source of the checkpoint, for errors.
        map_location: device of its tensors.

    Raises:
        ValueError: if it is not a checkpoint, is damaged, or holds objects that loading would have to execute.
    """
    _refuse_damage(io.BytesIO(content), origin)
    return _load(io.BytesIO(content), origin, map_location=map_location)


def peek_checkpoint_file(filename: str | Path) -> Any:
    """Load a local checkpoint with tensors that are only read on use, without checking that they are intact.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not a checkpoint, or holds objects that loading would have to execute.
    """
    path = checkpoint_file(filename)
    try:
        with path.open('rb') as file:
            mappable = file.read(len(_ZIP)) == _ZIP
    except OSError as error:
        raise InputError(f'checkpoint {path} cannot be read: {error.strerror or error}.') from None
    return _load(path, str(path), map_location='cpu', mmap=mappable)


def _refuse_damage(source: Path | io.BytesIO, origin: str) -> None:
    """Compare the checksums of a zip archive, which torch does not do."""
    try:
        with source.open('rb') if isinstance(source, Path) else source as file:
            if file.read(len(_ZIP)) != _ZIP:
                return
            with zipfile.ZipFile(file) as archive:
                # torch.serialization.set_crc32_options(False) writes zeros
                damaged = archive.testzip() if any(member.CRC for member in archive.infolist()) else None
    except UNREADABLE as error:
        raise InputError(f'checkpoint {origin} is damaged or not a checkpoint: {_cause(error)}') from None
    if damaged is not None:
        raise InputError(f'checkpoint {origin} is damaged: the checksum of {damaged} in it does not match.')


def _load(source: Path | io.BytesIO, origin: str, **options: Any) -> Any:
    import torch

    try:
        if is_trusted():
            return torch.load(source, weights_only=False, **options)
        with torch.serialization.safe_globals(_admitted_types()):
            return _without_program(torch.load(source, weights_only=True, **options))
    except torch.OutOfMemoryError:
        raise  # not an error of the file
    except UNREADABLE as error:
        if isinstance(error, pickle.UnpicklingError) and 'unsupported global' in str(error).lower():
            refused = str(error).partition('GLOBAL ')[2].split(' ')[0] or 'an unknown object'
            raise InputError(
                f'checkpoint {origin} was refused: it holds {refused}, which loading would have to execute. '
                f'If you trust the file, set {TRUST_VARIABLE}=1 and run again.'
            ) from None
        raise InputError(f'checkpoint {origin} is damaged or not a checkpoint: {_cause(error)}') from None


def _without_program(checkpoint: Any) -> Any:
    """Drop ``meta['config']``, the text of a config in old checkpoints, which MMEngine executes on resuming.

    It only reads the number of GPUs from that config; its own checkpoints have ``meta['cfg']``.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


def _cause(error: BaseException) -> str:
    """Return the first sentence of the cause, without torch's advice to let the file run code."""
    text = str(error).strip()
    text = text.partition('WeightsUnpickler error: ')[2] or text
    return text.partition('\n')[0].partition('. ')[0].rstrip('.') or f'it cannot be read ({type(error).__name__})'


def _admitted_types() -> list[Any]:
    """Return the types that MMEngine's checkpoints contain besides tensors: log buffers and numpy scalars."""
    import numpy
    from mmengine.logging.history_buffer import HistoryBuffer

    core = numpy._core if hasattr(numpy, '_core') else numpy.core
    dtypes = [type(numpy.dtype(name)) for name in ('float64', 'float32', 'int64', 'int32', 'bool', 'uint8')]
    return [
        HistoryBuffer,
        core.multiarray._reconstruct,
        core.multiarray.scalar,
        numpy.ndarray,
        numpy.dtype,
        numpy.float64,
        numpy.int64,
        *dtypes,
        # By their names in the files: methods of log buffers, and the arrays of numpy 1.
        (_method_of_log_buffer, 'builtins.getattr'),
        (core.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
    ]


def _method_of_log_buffer(owner: Any, name: str) -> Any:
    """Replace the ``getattr`` with which log buffers store their statistics."""
    from mmengine.logging.history_buffer import HistoryBuffer

    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise pickle.UnpicklingError('Unsupported global: GLOBAL getattr was not an allowed global')
    return getattr(owner, name)
