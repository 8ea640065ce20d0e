"""Bring a downloaded archive or folder into the layout that the data sets read.

The whole archive is read and listed before anything is written. The data set is unpacked next to the target and checked
there; only a folder that passes is renamed into place. So an existing target is complete, and the leftovers of a killed
run are removed by the next one.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from samat_mm.datasets import rotten_tomatoes, voc
from samat_mm.datasets.archives import list_archive
from samat_mm.datasets.sources import Source, list_folder, too_large
from samat_mm.datasets.verification import Findings, Track, check_rotten_tomatoes, check_stanford, check_voc
from samat_mm.errors import FileError, InputError, MissingFileError
from samat_mm.files.access import reading, writing


@dataclass(frozen=True)
class Layout:
    """The layout of a data set on disk."""

    target: str  # below the output folder
    parts: tuple[str, ...]  # its folders or files
    root: str  # usual name of the folder that contains these
    most_bytes: int  # four times the published size; a larger source is another data set
    check: Callable[[Path, Track], Findings]


def prepare(source: Path, out: Path, layout: Layout, track: Track) -> tuple[Path, Findings]:
    """Put a data set into place, or check one that is already there.

    Args:
        source: archive (.tar, .tar.gz, .zip ...) or folder, which is copied.
        out: folder for the data sets.
        layout: layout of the data set.
        track: shows progress.

    Returns:
        The folder of the data set, and the findings of the check. If there are problems, nothing was put into place.

    Raises:
        FileNotFoundError: if the source does not exist, or lacks the folders of the data set.
        OSError: if the source cannot be read, or the data set cannot be written.
        ValueError: if the source is not an archive, is damaged, is too large, would write outside the folder it is
            unpacked to, or overlaps with it.
    """
    target, staging = out / layout.target, out / f'.{Path(layout.target).name}.partial'
    with reading(source):
        _refuse_overlap(source, out, (target, staging))
    with reading(target):
        there = target.exists()
    if there:
        return target, layout.check(target, track)
    with ExitStack() as stack:
        held = _open(source, layout.most_bytes, stack)
        root = _find_root(held.folders, held.sizes, layout)
        chosen = {name: size for name, size in held.sizes.items() if PurePosixPath(name).is_relative_to(root)}
        stack.enter_context(_staging_folder(staging, out))
        _refuse_excess(source, sum(chosen.values()), layout.most_bytes, staging)
        for name in track(list(chosen), 'copying'):
            held.copy(name, staging)
        findings = layout.check(staging / root, track)
        if not findings.problems:
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                (staging / root).rename(target)
    return target, findings


def _refuse_overlap(source: Path, out: Path, made: Iterable[Path]) -> None:
    """Refuse to copy a folder into itself, or from a folder that will be created."""
    if not source.is_dir():
        return
    here = os.path.realpath(source)
    if Path(os.path.realpath(out)).is_relative_to(here):
        raise InputError(f'{out}, the destination of the data set, is inside {source}; give another --out.')
    if inside := next((path for path in made if Path(here).is_relative_to(os.path.realpath(path))), None):
        raise InputError(f'{source} is inside {inside}, which will be created; give the downloaded archive or folder.')


def _open(source: Path, limit: int, stack: ExitStack) -> Source:
    """Return the contents of a folder or an archive, which stays open as long as the stack."""
    if not source.exists():
        raise MissingFileError(f'{source} does not exist; give the archive or the folder of the data set.')
    if source.is_dir():
        return list_folder(source)
    if not source.is_file():
        raise InputError(f'{source} is a device, a pipe or a socket; give the archive or the folder of the data set.')
    if not source.stat().st_size:
        raise InputError(f'{source} is empty; download it again.')
    if source.stat().st_size > limit:
        raise too_large(source, limit)
    return list_archive(source, limit, stack)


def _find_root(folders: Iterable[PurePosixPath], files: Iterable[str], layout: Layout) -> PurePosixPath:
    """Return the folder that contains the parts: one with the usual name if there is one, else the outermost."""
    known, candidates = {*folders, *map(PurePosixPath, files)}, []
    for folder in set(folders):
        missing = [part for part in layout.parts if folder / part not in known]
        if len(missing) < len(layout.parts):
            candidates.append((len(missing), folder.name != layout.root, len(folder.parts), folder, missing))
    if not candidates:
        raise MissingFileError(f'the source has no folder with {", ".join(layout.parts)}; give another one.')
    *_, root, missing = min(candidates)
    if missing:
        raise MissingFileError(f'the source lacks {", ".join(missing)}; get the rest of the data set.')
    return root


def _refuse_excess(source: Path, size: int, limit: int, staging: Path) -> None:
    """Refuse a source that is too large for the data set or the disk, before anything is written."""
    if size > limit:
        raise too_large(source, limit)
    free = shutil.disk_usage(staging).free
    if size > free:
        raise FileError(
            f'{source} holds {size / 1e6:,.0f} MB, but {staging.parent} has {free / 1e6:,.0f} MB left; free some space.'
        )


@contextmanager
def _staging_folder(staging: Path, out: Path) -> Iterator[None]:
    """Create a working folder on the file system of the target, and remove it afterwards."""
    existed = out.exists()
    shutil.rmtree(staging, ignore_errors=True)  # left by a killed run
    try:
        with writing(staging):
            staging.mkdir(parents=True)
        yield
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # it is not empty
                out.rmdir()


LAYOUTS = {
    'rotten-tomatoes': Layout(
        'rotten_tomatoes', tuple(rotten_tomatoes.FILES.values()), 'rt-polaritydata', 5_000_000, check_rotten_tomatoes
    ),
    'stanford': Layout('stanford_background', ('images', 'labels'), 'iccv09Data', 480_000_000, check_stanford),
    'voc': Layout('VOCdevkit/VOC2012', (voc.IMAGES, voc.LABELS, voc.LISTS), 'VOC2012', 8_000_000_000, check_voc),
}
