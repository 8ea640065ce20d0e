"""Bringing a downloaded archive or folder into the layout that the data sets read.

Everything is unpacked beside the target and checked there; only a folder that passed is renamed into place. So a target
that exists is whole, and a run that was killed leaves nothing that the next one does not clear away.
"""

import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from samat_mm.datasets import voc
from samat_mm.datasets.verification import Findings, Track, check_stanford, check_voc
from samat_mm.errors import InputError, MissingFileError

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Layout:
    """How a data set lies on the disk."""

    target: str  # below the output folder
    parts: tuple[str, ...]  # folders that it consists of
    root: str  # the usual name of the folder that holds them
    check: Callable[[Path, Track], Findings]


def prepare(source: Path, out: Path, layout: Layout, track: Track) -> tuple[Path, Findings]:
    """Put a data set into place, or check the one that is there already.

    Args:
        source: archive (.tar, .tar.gz, .zip ...) or folder, which is copied.
        out: folder that is to hold the data sets.
        layout: which data set.
        track: shows progress.

    Returns:
        The folder of the data set, and what the check found. If there are problems, nothing was put into place.

    Raises:
        FileNotFoundError: if there is no such source, or the data set's folders are not in it.
        ValueError: if the source is no archive, is damaged, or would write outside the folder it is unpacked to.
    """
    target = out / layout.target
    if target.exists():
        return target, layout.check(target, track)
    if not source.exists():
        raise MissingFileError(f'{source} does not exist; give the archive or the folder of the data set.')
    with _staging_folder(out, target.name) as staging:
        if source.is_dir():
            root = _copy(_find_root(source, layout), staging / 'copy')
        else:
            root = _find_root(_unpack(source, staging / 'unpacked', track), layout)
        findings = layout.check(root, track)
        if not findings.problems:
            target.parent.mkdir(parents=True, exist_ok=True)
            root.rename(target)
    return target, findings


@contextmanager
def _staging_folder(out: Path, name: str) -> Iterator[Path]:
    """Make a folder to work in on the file system of the target, and leave no trace of it."""
    existed = out.exists()
    staging = out / f'.{name}.partial'
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if not existed and not any(out.iterdir()):
            out.rmdir()


def _copy(source: Path, folder: Path) -> Path:
    """Copy the contents but not the permissions: a read-only folder could not be renamed into place."""
    for path, _, names in os.walk(source, followlinks=True):
        here = folder / Path(path).relative_to(source)
        here.mkdir()
        for name in names:
            shutil.copyfile(Path(path, name), here / name)
    return folder


def _unpack(archive: Path, folder: Path, track: Track) -> Path:
    """Unpack a tar or zip file, refusing members that would land outside the folder."""
    folder.mkdir()
    try:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                for member in track(tar.getmembers(), 'unpacking'):
                    tar.extract(member, folder, filter='data')
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for name in track(zipped.namelist(), 'unpacking'):
                    path = PurePosixPath(name.replace('\\', '/'))
                    if path.is_absolute() or '..' in path.parts:  # zipfile would quietly put it elsewhere
                        raise InputError(f'{archive} was refused: its member {name!r} would land outside the folder.')
                    zipped.extract(name, folder)
        else:
            raise InputError(f'{archive} is neither a folder nor a tar or zip archive.')
    except tarfile.FilterError as error:
        raise InputError(f'{archive} was refused: {error}.') from error
    except DAMAGED as error:
        raise InputError(f'{archive} cannot be unpacked ({error}); if it is damaged, download it again.') from error
    return folder


def _find_root(folder: Path, layout: Layout) -> Path:
    """Return the folder that holds the parts: one with the usual name if there is, else the outermost."""
    candidates = []
    for path, folders, _ in os.walk(folder):
        missing = [part for part in layout.parts if not Path(path, part).is_dir()]
        if len(missing) < len(layout.parts):
            candidates.append((len(missing), Path(path).name != layout.root, len(path), Path(path), missing))
        if not missing:
            folders.clear()  # the data itself is not searched
    if not candidates:
        raise MissingFileError(f'the source holds no folder with {", ".join(layout.parts)}; give another one.')
    *_, root, missing = min(candidates)
    if missing:
        raise MissingFileError(f'the source lacks the folder(s) {", ".join(missing)}; get the rest of the data set.')
    return root


LAYOUTS = {
    'stanford': Layout('stanford_background', ('images', 'labels'), 'iccv09Data', check_stanford),
    'voc': Layout('VOCdevkit/VOC2012', (voc.IMAGES, voc.LABELS, voc.LISTS), 'VOC2012', check_voc),
}
