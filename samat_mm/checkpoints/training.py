"""What a checkpoint says about the training that it is from."""

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samat_mm.compat import load_checkpoint_file

# Entries of a config that tell trainings of one method apart, or do not touch the training:
SEEDS_AND_OUTPUTS = ('randomness', 'work_dir', 'experiment_name', 'launcher', 'load_from', 'resume', 'log_level')
EVALUATION = ('val_', 'test_', 'tta_', 'vis')


def training_of(path: str | Path) -> dict[str, Any]:
    """Return the seed and a digest of the settings of the training that wrote a checkpoint.

    Trainings of one method that differ in the seed have the same ``settings``: the SHA-256 of the config that MMEngine
    keeps in a checkpoint, without the seed, the folders, and what is for validation and tests only.

    Args:
        path: a local checkpoint.

    Returns:
        ``seed`` and ``settings``; {} if the file does not have them, such as a bare state_dict.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it cannot be loaded safely.
    """
    content = load_checkpoint_file(path)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping) or not isinstance(meta.get('cfg'), str):
        return {}
    return {'seed': meta.get('seed'), 'settings': digest_of_settings(meta['cfg'])}


def digest_of_settings(text: str) -> str:
    """Return the SHA-256 of the settings of a training, in hexadecimal, from the text of its config."""
    return hashlib.sha256(_settings(text).encode()).hexdigest()


def _settings(text: str) -> str:
    """Return the assignments of a config that make up the method, in one order; the text is read, never run."""
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    entries = {
        target.id: ast.dump(statement.value)
        for statement in statements
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    kept = [name for name in entries if name not in SEEDS_AND_OUTPUTS and not name.startswith(EVALUATION)]
    return '\n'.join(f'{name} = {entries[name]}' for name in sorted(kept))
