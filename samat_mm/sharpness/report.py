"""The report of a measurement of sharpness: a JSON document and a table."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from samat_mm.compat import versions
from samat_mm.errors import InputError
from samat_mm.sharpness.measurement import Measurement
from samat_mm.terminal import FittingTable

ERRORS = {'top_eigenvalue': 'top_eigenvalue_error', 'trace': 'trace_standard_error'}


def build_report(
    results: Mapping[str, float],
    measurement: Measurement,
    curves: Mapping[str, Any],
    *,
    config: str,
    checkpoint: str | None,
    samples: int,
) -> dict[str, Any]:
    """Return the document for one checkpoint that ``samat-mm sharpness --out`` writes.

    Args:
        results: the measured values by name.
        measurement: the settings of the measurement.
        curves: the data of the figures, as lists of numbers.
        config: path of the config.
        checkpoint: path of the checkpoint; None for a model in memory.
        samples: number of training images.
    """
    return {
        'config': config,
        'checkpoint': checkpoint,
        'seed': measurement.seed,
        'samples': samples,
        'results': _plain(results),
        'settings': dataclasses.asdict(measurement),
        'curves': _plain(curves),
        'versions': versions(),
    }


def _plain(value: Any) -> Any:
    """Return numbers in JSON form, with None for values that are not finite."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [_plain(entry) for entry in value]
    return float(value) if math.isfinite(value) else None


def labels_of(checkpoints: Sequence[str]) -> list[str]:
    """Return short names for checkpoints: the parts of their paths that differ.

    Raises:
        ValueError: if a checkpoint is given twice.
    """
    paths = [Path(checkpoint).absolute().with_suffix('').parts for checkpoint in checkpoints]
    if len(set(paths)) < len(paths):
        raise InputError('a checkpoint is given twice; give each once.')
    if len(paths) == 1:
        return ['/'.join(paths[0][-2:])]
    shortest = min(map(len, paths))
    first = next(i for i in range(shortest + 1) if len({path[: i + 1] for path in paths}) > 1)
    last = next(i for i in range(shortest + 1) if len({path[len(path) - i - 1 :] for path in paths}) > 1)
    labels = ['/'.join(path[first : len(path) - last]) for path in paths]
    return labels if len(set(labels)) == len(labels) and all(labels) else list(checkpoints)


def print_report(reports: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print one table, with a row per value and a column per checkpoint."""
    first = reports[0]
    settings = first['settings']
    title = (
        f'{first["samples"]} training images, seed {first["seed"]}, rho {settings["rho"]:g} (SAM) and '
        f'{settings["asam_rho"]:g} (ASAM)'
    )
    table = FittingTable(title, ['sharpness', *labels_of([report['checkpoint'] for report in reports])])
    for name in first['results']:
        if name not in ERRORS.values():
            table.add_row(name, *(_cell(report['results'], name) for report in reports))
    (console or Console()).print(table)


def _cell(results: Mapping[str, float | None], name: str) -> str:
    numbers = [results[key] for key in (name, ERRORS.get(name)) if key is not None]
    return ' ± '.join('not finite' if number is None else f'{number:.4g}' for number in numbers)
