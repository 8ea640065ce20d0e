"""The fingerprint of an evaluation: everything that its numbers depend on, in a file that shows damage."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from samat_mm.compat import versions

Fingerprint = dict[str, Any]
RULES = 2  # of attacking and scoring images; another number where the same settings give other results
FILE = 'fingerprint.json'
ADDRESS = re.compile(r' at 0x[0-9a-f]+')  # in memory, of a function in the description of a module
CHECKSUM = 'checksum'  # a damaged name of an attack would let its scores pass for those of another


def fingerprint(
    config: Mapping[str, Any], model: nn.Module, settings: Mapping[str, Any], attacks: Mapping[str, Any]
) -> Fingerprint:
    """Return everything that the numbers of an evaluation depend on, in plain types.

    Args:
        config: config of the run.
        model: the model with the weights that are evaluated.
        settings: settings of the evaluation.
        attacks: parameters of each attack, by name.
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


def identity(model: nn.Module) -> dict[str, str]:
    """Return what tells a model without a config from others, in hexadecimal: its weights, and how it is built."""
    preprocessor = getattr(model, 'data_preprocessor', None) or nn.Identity()
    statistics = {name: value.tolist() for name, value in preprocessor.named_buffers()}
    plain = {name: value for name, value in vars(preprocessor).items() if isinstance(value, (int, float))}
    settings = {**plain, 'training': None, 'test_cfg': getattr(model, 'test_cfg', None), **statistics}
    built = ADDRESS.sub('', f'{model!r} {settings}')
    return {'weights': digest(model), 'built': hashlib.sha256(built.encode()).hexdigest()[:16]}


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Return the differences in words; an attack that only one of the two has does not count."""
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


def read_fingerprint(folder: Path) -> Fingerprint | None:
    """Return the fingerprint in a folder, or None if it is damaged."""
    try:
        found = json.loads((folder / FILE).read_text(encoding='utf-8'))
    except (ValueError, OSError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get('attacks'), dict):
        return None
    checksum = found.pop(CHECKSUM, None)  # older versions wrote none
    return found if checksum in (None, _checksum(found)) else None


def write_fingerprint(folder: Path, fingerprint: Fingerprint) -> None:
    """Write a fingerprint with its checksum, in one piece."""
    fingerprint = json.loads(json.dumps(fingerprint))
    partial = folder / f'{FILE}.partial'
    partial.write_text(json.dumps({**fingerprint, CHECKSUM: _checksum(fingerprint)}, indent=1), encoding='utf-8')
    partial.replace(folder / FILE)


def _checksum(fingerprint: Fingerprint) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
