"""Which evaluation is which: a folder for each, and what its numbers depend on."""

import hashlib
import itertools
import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from samat_mm.compat import versions
from samat_mm.errors import FileError, InputError
from samat_mm.evaluation.scores_file import mend

Fingerprint = dict[str, Any]
RULES = 2  # by which images are attacked and scored; another number where the same settings give other results
FILE = 'fingerprint.json'
CHECKSUM = 'checksum'  # a damaged name of an attack would let its scores pass for those of any other


def fingerprint(
    config: Mapping[str, Any], model: nn.Module, settings: Mapping[str, Any], attacks: Mapping[str, Any]
) -> Fingerprint:
    """Return all that the numbers of an evaluation depend on, in plain types.

    Args:
        config: of the run.
        model: with the weights that are evaluated.
        settings: of the evaluation.
        attacks: the parameters of each attack.
    """
    parts = {name: config.get(name) for name in ('model', 'data_preprocessor', 'test_evaluator')}
    parts['dataset'] = (config.get('test_dataloader') or {}).get('dataset')
    document = {
        'rules': RULES,
        **parts,
        'weights': digest(model),
        **settings,
        'versions': versions(),
        'attacks': dict(attacks),
    }
    return json.loads(json.dumps(document, default=str))


def digest(model: nn.Module) -> str:
    """Return a number that changes with the weights and statistics, in hexadecimal."""
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


@contextmanager
def open_folder(parent: Path, fingerprint: Fingerprint, name: str, must_resume: bool) -> Iterator[tuple[Path, bool]]:
    """Enter the folder of an evaluation, which is marked as finished on leaving it without an error.

    The latest unfinished evaluation goes on if it is the same. One that another process is at, or another one, is
    never touched.

    Args:
        parent: holds a folder for each evaluation.
        fingerprint: what its numbers depend on; attacks that only one of two evaluations has do not make them differ.
        name: of a new folder.
        must_resume: go on with the latest one, finished or not; it is a mistake if there is none.

    Yields:
        The folder, and whether its evaluation was begun before.

    Raises:
        ValueError: if ``must_resume`` and nothing was begun, or something else (the message says what changed), or what
            was begun is running, or it cannot be told what was begun last.
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
        _write_fingerprint(folder, {**fingerprint, 'attacks': {**known, **fingerprint['attacks']}})
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
    """Return why nothing goes on."""
    if not latest:
        return f'there is no evaluation to resume in {parent}; leave out --resume to begin one.'
    changes = differences(begun[latest[0]], fingerprint)
    if not changes:
        return f'the evaluation in {latest[0]} is running; wait for it, or leave out --resume to begin another one.'
    return (
        f'the evaluation in {latest[0]} cannot be resumed, because {"; ".join(changes[:3])}. '
        'Resume it with the settings it was begun with, or leave out --resume to begin another one.'
    )


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Return in words what differs; an attack that only one of them has does not count."""
    shared = [name for name in now['attacks'] if name in before['attacks']]
    old = {**before, 'attacks': {name: before['attacks'][name] for name in shared}}
    new = {**now, 'attacks': {name: now['attacks'][name] for name in shared}}
    return [
        f'{key} was {was!r} and is {value!r} now' for key, was, value in _compared(old, json.loads(json.dumps(new)), '')
    ]


def _compared(old: Any, new: Any, path: str) -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(key for key in new if key not in old)]:
            found += _compared(old.get(key), new.get(key), f'{path}.{key}' if path else str(key))
        return found
    return [] if old == new else [(path, old, new)]


def _fingerprints(parent: Path) -> tuple[dict[Path, Fingerprint], list[Path]]:
    """Return the fingerprints of the evaluations in a folder, in their order, and the folders whose own is damaged."""
    begun, damaged = {}, []
    for folder in sorted(folder for folder in parent.glob('*') if (folder / FILE).is_file()):
        found = _read_fingerprint(folder)
        if found is None:
            damaged.append(folder)
        else:
            begun[folder] = found
    return begun, damaged


def _read_fingerprint(folder: Path) -> Fingerprint | None:
    """Return a fingerprint, or None if it is not as it was written."""
    try:
        found = json.loads((folder / FILE).read_text(encoding='utf-8'))
    except (ValueError, OSError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get('attacks'), dict):
        return None
    checksum = found.pop(CHECKSUM, None)  # older versions wrote none
    return found if checksum in (None, _checksum(found)) else None


def _write_fingerprint(folder: Path, fingerprint: Fingerprint) -> None:
    fingerprint = json.loads(json.dumps(fingerprint))
    partial = folder / f'{FILE}.partial'
    partial.write_text(json.dumps({**fingerprint, CHECKSUM: _checksum(fingerprint)}, indent=1), encoding='utf-8')
    partial.replace(folder / FILE)


def _checksum(fingerprint: Fingerprint) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
