"""Read values for figures and pages from the document that ``samat-mm test --out`` writes."""

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from samat_mm.errors import InputError
from samat_mm.files.configs import PREFIX

CLEAN = 'clean'
MAIN_METRICS = ('mIoU', 'accuracy/top1')
RESERVED = ('attack', 'exported', 'minimal_norm', 'forwards', 'backwards', 'seconds')  # keys next to the metrics


def config_path(document: Mapping[str, Any]) -> PurePath:
    """Return the path of the config of a report, without the prefix of a config of samat-mm."""
    return PurePath(document['config'].removeprefix(PREFIX))


def main_metric(report: Mapping[str, Any]) -> str:
    """Return the name of the metric that compares models: mIoU, top-1 accuracy, or else the first one.

    Raises:
        ValueError: if the clean results have no metric.
    """
    name = _metric(report)
    if name is not None:
        return name
    raise InputError('the report must have at least one metric on clean images; it has none. Test the model again.')


def has_metric(report: Mapping[str, Any]) -> bool:
    """Tell whether the clean results have a number; with ``format_only`` metrics write files and return none."""
    return _metric(report) is not None


def _metric(report: Mapping[str, Any]) -> str | None:
    clean = report['results'][CLEAN]
    numbers = [name for name, value in clean.items() if value is None or isinstance(value, (int, float))]
    return next((name for name in (*MAIN_METRICS, *numbers) if name in numbers), None)


def attacks_of(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the results under each attack, by name."""
    return {name: values for name, values in report['results'].items() if name != CLEAN}


def family_of(name: str) -> str:
    """Return the common name of attacks that differ only in the radius: 'pgd-linf' for 'pgd-linf@4/255'."""
    return name.partition('@')[0]


def in_255ths(radius: float) -> str:
    """Return a radius in [0, 1] pixel units in its usual notation: '4/255'."""
    return f'{255 * radius:g}/255'


def units(report: Mapping[str, Any]) -> str:
    """Return what was tested, in the plural: 'images', 'sentences'."""
    return f'{report.get("evaluation", {}).get("unit", "image")}s'


def is_number(value: Any) -> bool:
    """Tell whether a metric is a number that a table can show."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def title_of(name: str, attack: Mapping[str, Any]) -> str:
    """Return the name of an attack with its radius: 'pgd-linf, 4/255'."""
    family, _, radius = name.partition('@')
    eps = radius or (in_255ths(attack['eps']) if is_number(attack.get('eps')) else '')
    return f'{family}, {eps}' if eps else family
