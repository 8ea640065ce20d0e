"""What is known about one training: its results under all attacks, and what else was measured."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samat_mm.errors import InputError
from samat_mm.files.access import reading
from samat_mm.tables.cells import Training

CLEAN = 'clean'  # name of the natural results in a report


@dataclass(frozen=True)
class Evidence:
    """The finished measurements of one training.

    Attributes:
        results: By attack, 'clean' among them, its metrics as in the reports of samat-mm test.
        samples: Number of images, or of what ``unit`` says, that were tested.
        unit: What a sample is.
        versions: Versions of the packages.
        sanity: The verdicts of the sanity checks.
        sharpness: Values of samat-mm sharpness by name.
        seconds_per_step: Median time of a training step, None if no log tells it.
    """

    results: Mapping[str, Mapping[str, Any]]
    samples: int = 0
    unit: str = 'image'
    versions: Mapping[str, str] = field(default_factory=dict)
    sanity: tuple[Mapping[str, Any], ...] = ()
    sharpness: Mapping[str, float] = field(default_factory=dict)
    seconds_per_step: float | None = None


def evidence_of(training: Training) -> Evidence | None:
    """Return what is known about a training, None if no evaluation of it is finished.

    Raises:
        OSError: if a report cannot be read.
    """
    reports = [read_json(each.report_file) for each in training.evaluations if each.report_file.exists()]
    if not reports:
        return None
    examined = {name: training.examination_file(name) for name in training.table.examinations}
    found = {name: read_json(file) for name, file in examined.items() if file.exists()}
    return Evidence(
        results={name: result for report in reversed(reports) for name, result in report['results'].items()},
        samples=reports[0]['samples'],
        unit=reports[0].get('evaluation', {}).get('unit', 'image'),
        versions=reports[0]['versions'],
        sanity=tuple(found.get('sanity', {}).get('sanity', ())),
        sharpness=found.get('sharpness', {}).get('results', {}),
        seconds_per_step=seconds_per_step(training.work_dir()),
    )


def seconds_per_step(work_dir: Path) -> float | None:
    """Return the median time of a step in the logs of a training, however often it was resumed; None without logs."""
    times = []
    for log in work_dir.glob('*/vis_data/scalars.json'):
        with reading(log):
            lines = log.read_text(encoding='utf-8').splitlines()
        # Lines of the validation have a time as well, but no learning rate; a kill may have cut the last line.
        times += [entry['time'] for entry in map(_parsed, lines) if 'lr' in entry and 'time' in entry]
    return statistics.median(times) if times else None


def read_json(path: Path) -> Any:
    """Return the contents of a JSON file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged.
    """
    with reading(path):
        text = path.read_text(encoding='utf-8')
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f'{path} is damaged ({error}); remove it, and its measurement is made again.') from error


def _parsed(line: str) -> dict[str, Any]:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return {}
