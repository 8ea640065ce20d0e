"""Where results go: names for files, and folders and files that are tried before the work rather than after it."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from samat_mm.errors import FileError, InputError

LONGEST_NAME = 80  # characters; file systems take 255 bytes


def file_name(name: str) -> str:
    """Return what an attack, or anything else with a name, is called on the disk: 'pgd-linf@0.5-255'.

    The name of one folder or the beginning of one file's, whatever ``name`` holds.
    """
    kept = re.sub(r'[^\w@.,+=~-]+', '-', name)
    return re.sub(r'^\.*$|^\.+', '_', kept)[:LONGEST_NAME]


def writable_folder(path: str | Path, option: str) -> Path:
    """Make a folder if there is none, and write something into it that is gone at once.

    Args:
        path: of the folder.
        option: what asks for it, as '--show-dir'.

    Raises:
        ValueError: if the path is empty.
        OSError: if it cannot be made or written to; the message names it.
    """
    if not str(path).strip():
        raise InputError(f'{option} needs the path of a folder; got {str(path)!r}.')
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path, buffering=0) as probe:
            probe.write(bytes(4096))
    except FileExistsError as error:
        raise FileError(f'{option} needs a folder, and {path} is a file; give another path.') from error
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise FileError(f'{option} {path} cannot be written to ({reason}); give a folder that can.') from error
    return Path(path)


def writable_report(path: str | Path, option: str, inputs: Iterable[str | Path], beside: str | None = None) -> Path:
    """Return the path of a JSON file that can be written, into a folder that is made if there is none.

    Args:
        path: of the file.
        option: what asks for it, as '--out'.
        inputs: files that must not be overwritten.
        beside: suffix of another file, of the same name, that is going to be written too.

    Raises:
        ValueError: if it is no JSON file, or one of the inputs.
        OSError: if it cannot be written; the message names it.
    """
    file = Path(path)
    if file.suffix.lower() != '.json' or file.is_dir():
        raise InputError(f'{option} needs the name of a .json file; got {str(path)!r}.')
    writable_folder(file.parent, option)
    for written in (file, *([file.with_suffix(beside)] if beside else [])):
        if any(written.resolve() == Path(given).resolve() for given in inputs):
            raise InputError(f'{option} {path} would overwrite {written}, which is read; give another name.')
        if written.exists() and not written.is_file():
            raise FileError(f'{option} {path} needs {written}, which is no ordinary file; give another name.')
        try:
            if written.exists():
                written.open('ab').close()
        except OSError as error:
            raise FileError(f'{option}: {written} cannot be written ({error.strerror}); give another name.') from error
    return file
