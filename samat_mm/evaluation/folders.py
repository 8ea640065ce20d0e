"""Which evaluation is which: a folder for each, and what its numbers depend on."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samat_mm.compat import versions

Fingerprint = dict[str, Any]


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
    dataset = (config.get('test_dataloader') or {}).get('dataset')
    parts = {'model': config.get('model'), 'dataset': dataset, 'metrics': config.get('test_evaluator')}
    document = {**parts, 'weights': digest(model), **settings, 'versions': versions(), 'attacks': dict(attacks)}
    return json.loads(json.dumps(document, default=str))


def digest(model: nn.Module) -> str:
    """Return a number that changes with the weights and statistics, in hexadecimal."""
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def open_folder(parent: Path, fingerprint: Fingerprint, name: str, must_resume: bool) -> tuple[Path, bool]:
    """Return the folder of an evaluation, and whether it is one that was begun before.

    The latest unfinished evaluation goes on if it is the same. Another one is never touched.

    Args:
        parent: holds a folder for each evaluation.
        fingerprint: what its numbers depend on; attacks that only one of two evaluations has do not make them differ.
        name: of a new folder.
        must_resume: whether it is a mistake if there is nothing to go on with.

    Raises:
        ValueError: if ``must_resume`` and nothing was begun, or something else; the message says what changed.
    """
    begun = sorted(folder for folder in parent.glob('*') if (folder / 'fingerprint.json').is_file())
    unfinished = [folder for folder in begun if not (folder / 'finished').is_file()]
    latest = (unfinished or begun)[-1] if must_resume and begun else (unfinished[-1] if unfinished else None)
    if latest is not None:
        before = json.loads((latest / 'fingerprint.json').read_text(encoding='utf-8'))
        changes = differences(before, fingerprint)
        if not changes:
            _write_fingerprint(latest, {**fingerprint, 'attacks': {**before['attacks'], **fingerprint['attacks']}})
            return latest, True
        if must_resume:
            raise ValueError(
                f'the evaluation in {latest} cannot be resumed, because {"; ".join(changes[:3])}. '
                'Resume it with the settings it was begun with, or leave out --resume to begin another one.'
            )
    elif must_resume:
        raise ValueError(f'there is no evaluation to resume in {parent}; leave out --resume to begin one.')
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    _write_fingerprint(folder, fingerprint)
    return folder, False


def finish(folder: Path) -> None:
    """Mark an evaluation as whole."""
    (folder / 'finished').touch()


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


def _write_fingerprint(folder: Path, fingerprint: Fingerprint) -> None:
    partial = folder / 'fingerprint.json.partial'
    partial.write_text(json.dumps(fingerprint, indent=1), encoding='utf-8')
    partial.replace(folder / 'fingerprint.json')
