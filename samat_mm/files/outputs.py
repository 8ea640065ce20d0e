"""Names of result files, and checks before the work that results can be written."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from samat_mm.errors import FileError, InputError
from samat_mm.files.access import writing

LONGEST_NAME = 80  # characters; file systems take 255 bytes


def file_name(name: str) -> str:
    """Return the name on disk of an attack or anything else with a name: 'pgd-linf@0.5-255'.

    It is valid as the name of a folder or the start of a file name, whatever ``name`` contains.
    """
    kept = re.sub(r'[^\w@.,+=~-]+', '-', name)
    return re.sub(r'^\.*$|^\.+', '_', kept)[:LONGEST_NAME]


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whenever the process is killed.

    Raises:
        OSError: if it cannot be written.
    """
    partial = path.with_name(f'{path.name}.partial')
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding='utf-8')
        partial.replace(path)


def writable_folder(path: str | Path, option: str) -> Path:
    """Create a folder if necessary, and check that it can be written to.

    Args:
        path: path of the folder.
        option: the option that needs it, such as '--show-dir'.

    Raises:
        ValueError: if the path is empty.
        OSError: if the folder cannot be created or written to; the message names it.
    """
    if not str(path).strip():
        raise InputError(f'{option} needs the path of a folder; got {str(path)!r}.')
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, buffering=0) as probe:
            probe.write(bytes(4096))
    except FileExistsError as error:
        raise FileError(f'{option} needs a folder, but {path} is a file; give another path.') from error
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise FileError(f'{option} {path} cannot be written to ({reason}); give a writable folder.') from error
    return Path(path)


def writable_report(
    path: str | Path, option: str, inputs: Iterable[str | Path], page_suffix: str | None = None
) -> Path:
    """Return the path of a JSON file after checking that it can be written, see :func:`writable_file`.

    Args:
        path: path of the file.
        option: the option that needs it, such as '--out'.
        inputs: files that must not be overwritten.
        page_suffix: suffix of another file with the same stem that will also be written.
    """
    inputs = list(inputs)
    file = writable_file(path, option, inputs, '.json')
    if page_suffix is not None:
        writable_file(file.with_suffix(page_suffix), option, inputs, page_suffix)
    return file


def writable_file(path: str | Path, option: str, inputs: Iterable[str | Path], suffix: str) -> Path:
    """Return the path of a file after checking that it can be written; create its folder if necessary.

    Args:
        path: path of the file.
        option: the option that needs it, such as '--out'.
        inputs: files that must not be overwritten.
        suffix: suffix that it must have, such as '.json'.

    Raises:
        ValueError: if it has another suffix, or is one of the inputs.
        OSError: if it cannot be written; the message names it.
    """
    file = Path(path)
    if file.suffix.lower() != suffix:
        raise InputError(f'{option} needs the name of a {suffix} file; got {str(path)!r}.')
    writable_folder(file.parent, option)
    if any(file.resolve() == Path(given).resolve() for given in inputs):
        raise InputError(f'{option} {path} would overwrite the input {file}; give another name.')
    if file.exists() and not file.is_file():
        raise FileError(f'{option} {path} needs {file}, which is not a regular file; give another name.')
    try:
        if file.exists():
            file.open('ab').close()
    except OSError as error:
        raise FileError(f'{option}: {file} cannot be written ({error.strerror}); give another name.') from error
    return file
