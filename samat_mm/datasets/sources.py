"""The source of a data set: folders and archives, listed and copied in the same way."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from samat_mm.errors import InputError
from samat_mm.files.access import reading, writing

LONGEST_PATH = 4096  # limit of Linux


@dataclass
class Source:
    """The files of a source.

    Attributes:
        copy: function that writes a named file below a folder.
        sizes: bytes of each file, in the order in which they are read fastest.
        folders: the folders.
    """

    copy: Callable[[str, Path], None]
    sizes: dict[str, int] = field(default_factory=dict)
    folders: set[PurePosixPath] = field(default_factory=set)

    def add(self, name: str, size: int) -> None:
        """Add a file; among files of the same name the last counts, as it would overwrite the others.

        Raises:
            ValueError: if a file cannot have such a name.
        """
        self.add_folder(str(PurePosixPath(name).parent))
        self.sizes.pop(name, None)
        self.sizes[name] = size

    def add_folder(self, name: str) -> None:
        """Add a folder and its parents.

        Raises:
            ValueError: if a folder cannot have such a name.
        """
        if len(name) > LONGEST_PATH:
            raise InputError(f'the source has a name of {len(name):,} characters, {name[:40]!r}...; give another one.')
        for folder in (PurePosixPath(name), *PurePosixPath(name).parents):
            if folder in self.folders:
                break
            self.folders.add(folder)


def too_large(path: Path, limit: int) -> InputError:
    """Return the error for a source with more bytes than the limit."""
    return InputError(f'{path} holds more than {limit / 1e6:,.0f} MB, too much for this data set; is it another one?')


def list_folder(path: Path) -> Source:
    """Return the contents of a folder, following links; nothing is read yet."""
    source = Source(partial(_copy_file, path))
    for folder, files in _walk(path):
        source.add_folder(str(folder.relative_to(path)))
        for file in files:
            source.add(str(file.relative_to(path)), file.stat().st_size if file.is_file() else 0)
    return source


def _walk(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each folder and its files, following links except those that lead back to a parent."""
    for path, folders, names in os.walk(root, followlinks=True):
        here = Path(path)
        if any((here / name).is_symlink() for name in folders):
            above = {folder.resolve() for folder in (here, *here.absolute().parents)}
            folders[:] = [name for name in folders if (here / name).resolve() not in above]
        yield here, [here / name for name in names]


def _copy_file(root: Path, name: str, folder: Path) -> None:
    """Copy the content but not the permissions: a read-only folder could not be renamed into place."""
    path, copy = root / name, folder / name
    if not path.is_file():
        raise InputError(f'{path} is a device, a pipe, a socket or a broken link; remove it.')
    with reading(path):
        file = path.open('rb')
    with file, writing(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open('wb') as written:
            shutil.copyfileobj(file, written)
