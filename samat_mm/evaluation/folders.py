"""The folder of an evaluation: found again where it is to be resumed, and locked while it is in use."""

import itertools
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mmengine.logging import print_log

from samat_mm.errors import FileError, InputError
from samat_mm.evaluation.fingerprint import FILE, Fingerprint, differences, read_fingerprint, write_fingerprint
from samat_mm.evaluation.scores_file import mend


@contextmanager
def open_folder(parent: Path, fingerprint: Fingerprint, name: str, must_resume: bool) -> Iterator[tuple[Path, bool]]:
    """Enter the folder of an evaluation, which is marked as finished on leaving it without an error.

    The latest unfinished evaluation with the same fingerprint continues. An evaluation that another process is running,
    or a different one, is never touched.

    Args:
        parent: folder with a folder for each evaluation.
        fingerprint: everything that the numbers of the evaluation depend on; an attack that only one of two evaluations
            has does not make them differ.
        name: name of a new folder.
        must_resume: continue the latest one, finished or not; it is an error if there is none.

    Yields:
        The folder, and whether its evaluation was begun before.

    Raises:
        ValueError: if ``must_resume`` and no evaluation was begun, or only a different one (the message says how it
            differs), or the one that was begun is running, or the latest cannot be told because it is damaged.
    """
    begun, damaged = _fingerprints(parent)
    unfinished = {folder: before for folder, before in begun.items() if not (folder / 'finished').is_file()}
    same = [
        folder
        for folder, before in (begun if must_resume else unfinished).items()
        if not differences(before, fingerprint)
    ]
    if must_resume and any(folder > max(same, default=parent) for folder in damaged):
        raise InputError(
            f'{damaged[-1] / FILE} is damaged, so its evaluation cannot be resumed; remove the folder, or leave out '
            '--resume to begin another one.'
        )
    for folder in damaged:
        print_log(f'{folder / FILE} is damaged; its evaluation is left alone.', 'current', logging.WARNING)
    candidates = reversed(same) if must_resume else itertools.chain(reversed(same), _new_folders(parent, name))
    found = next(((folder, claim) for folder in candidates if (claim := _claim(folder)) is not None), None)
    if found is None:
        latest = (same or [*unfinished] or [*begun])[-1:]
        raise InputError(_refusal(parent, latest, begun, fingerprint))
    folder, claim = found
    with closing(claim):
        known = begun[folder]['attacks'] if folder in same else {}
        mend(folder)
        write_fingerprint(folder, {**fingerprint, 'attacks': {**known, **fingerprint['attacks']}})
        (folder / 'finished').unlink(missing_ok=True)
        yield folder, folder in same
        (folder / 'finished').touch()


def _new_folders(parent: Path, name: str) -> Iterator[Path]:
    """Make folders that no other evaluation has, not even one that was begun in the same second."""
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f'{name}-{number}')
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            yield folder


def _claim(folder: Path) -> sqlite3.Connection | None:
    """Return a lock that ends with the process, however it ends; None while another evaluation holds it."""
    file = folder / 'running.sqlite'
    claim: sqlite3.Connection | None = None
    try:
        claim = sqlite3.connect(file, timeout=0, isolation_level=None)
        claim.execute('BEGIN EXCLUSIVE')
    except sqlite3.OperationalError as error:
        if claim is not None:
            claim.close()
        if 'locked' not in str(error):
            raise FileError(f'the folder {folder} cannot be locked ({error}); give another --work-dir.') from error
        return None
    except sqlite3.DatabaseError:  # damaged, and held by nobody
        if claim is not None:
            claim.close()
        file.unlink()
        return _claim(folder)
    return claim


def _refusal(parent: Path, latest: list[Path], begun: Mapping[Path, Fingerprint], fingerprint: Fingerprint) -> str:
    """Return why no evaluation can be resumed."""
    if not latest:
        return f'there is no evaluation to resume in {parent}; leave out --resume to begin one.'
    changes = differences(begun[latest[0]], fingerprint)
    if not changes:
        return f'the evaluation in {latest[0]} is running; wait for it, or leave out --resume to begin another one.'
    return (
        f'the evaluation in {latest[0]} cannot be resumed, because {"; ".join(changes[:3])}. '
        'Resume it with the settings it was begun with, or leave out --resume to begin another one.'
    )


def _fingerprints(parent: Path) -> tuple[dict[Path, Fingerprint], list[Path]]:
    """Return the fingerprints of the evaluations in a folder, in their order, and the folders whose own is damaged."""
    begun, damaged = {}, []
    for folder in sorted(folder for folder in parent.glob('*') if (folder / FILE).is_file()):
        found = read_fingerprint(folder)
        if found is None:
            damaged.append(folder)
        else:
            begun[folder] = found
    return begun, damaged
