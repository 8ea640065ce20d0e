"""Where a number comes from: the settings, the weights, the data and the code."""

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from samat_mm.checkpoints.training import digest_of_settings, training_of
from samat_mm.evaluation.fingerprint import digest

CHECKOUT = Path(__file__).parents[2]
# Entries of a config that say where something is written or how a run is started, wherever they are:
OUTPUTS = ('work_dir', 'out_dir', 'save_dir', 'output_dir', 'out_file_path', 'outfile_prefix')
RUN = ('experiment_name', 'launcher', 'resume', 'log_level')
DUMPS = 'DumpResults'  # a metric that only writes a file


def provenance(
    config: Config, checkpoint: str | Path | nn.Module, loader: str, samples: int | None = None
) -> dict[str, Any]:
    """Return what a number can be made again from.

    Args:
        config: the config, as it was before a runner was built from it.
        checkpoint: the file of the weights, or the model itself.
        loader: where the config has the data, 'test_dataloader' for instance.
        samples: number of samples of the data set, before a selection.

    Returns:
        ``config``: the whole text, in which everything inherited and overridden is resolved, and
        :func:`settings_digest`. ``checkpoint``: SHA-256 and bytes of the file, or a digest of the model's weights.
        ``data``: the entries of the data set in the config, without its pipeline, and its number of samples.
        ``code``: :func:`code_state`; {} if samat_mm is installed from a distribution, whose version the report has.
        ``training``: :func:`training_of` the file, or what the config says for a model in memory. Paths are as they
        were given; nothing else of the machine is in it.
        The commands add their ``command``.

    Raises:
        OSError: if the checkpoint cannot be read.
        ValueError: if it cannot be loaded safely.
    """
    data = _plain(config[loader].dataset)
    named = _without(data, ('pipeline',)) if isinstance(data, dict) else {'type': data}
    return {
        'config': {'sha256': settings_digest(config), 'text': config.pretty_text},
        'checkpoint': {'weights': digest(checkpoint)} if isinstance(checkpoint, nn.Module) else file_digest(checkpoint),
        'data': {**named, **({} if samples is None else {'samples': samples})},
        'code': code_state(),
        'training': _in_memory(config) if isinstance(checkpoint, nn.Module) else training_of(checkpoint),
    }


def _in_memory(config: Config) -> dict[str, Any]:
    """Return the settings of the training of a model in memory, whose config is that of its test."""
    if not config.get('optim_wrapper'):
        return {}
    return {'seed': (config.get('randomness') or {}).get('seed'), 'settings': digest_of_settings(config.pretty_text)}


def settings_digest(config: Config) -> str:
    """Return the SHA-256 of the settings of a config, in hexadecimal.

    It covers every entry of the resolved config, whatever the order of the keys and however the entries were spread
    over files and options, but for those that cannot change a number: where something is written (``work_dir``,
    ``out_dir``, ``save_dir``, ``output_dir``, ``out_file_path``, ``outfile_prefix``, and metrics that dump
    predictions), how the run is started and logged (``experiment_name``, ``launcher``, ``resume``, ``log_level``), and
    the seed of the process, on which neither attacks nor samples depend. Paths of data and of ``load_from`` count as
    they are written.
    """
    settings = _without(_plain(config.to_dict()), (*OUTPUTS, *RUN))
    settings['randomness'] = _without(settings.get('randomness') or {}, ('seed',))
    for name in ('val_evaluator', 'test_evaluator'):
        given = settings.get(name) or []
        metrics = given if isinstance(given, list) else [given]
        settings[name] = [metric for metric in metrics if not _dumps(metric)]
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | Path) -> dict[str, Any]:
    """Return the SHA-256 of a file, in hexadecimal, and its number of bytes.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, 'rb') as stream:
        return {'sha256': hashlib.file_digest(stream, 'sha256').hexdigest(), 'bytes': Path(path).stat().st_size}


def code_state(folder: Path = CHECKOUT) -> dict[str, Any]:
    """Return the Git commit of a checkout, and whether tracked files were changed; {} for any other folder.

    Args:
        folder: the folder that has the package.
    """
    if not (folder / '.git').exists():  # a repository further up is not ours
        return {}
    command = ['git', '-C', str(folder), 'describe', '--always', '--exclude=*', '--abbrev=40', '--dirty']
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {'commit': found.removesuffix('-dirty'), 'dirty': found.endswith('-dirty')}


def _dumps(metric: Any) -> bool:
    return isinstance(metric, dict) and str(metric.get('type')).endswith(DUMPS)


def _without(value: Any, names: Sequence[str]) -> Any:
    """Return a value of JSON's types without the entries of these names, at any depth."""
    if isinstance(value, dict):
        return {key: _without(entry, names) for key, entry in value.items() if key not in names}
    return [_without(entry, names) for entry in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return the entries of a config in JSON's types, classes and functions by their full names."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    named = value if hasattr(value, '__qualname__') else type(value)
    return f'{named.__module__}.{named.__qualname__}'
