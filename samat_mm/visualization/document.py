"""What figures and pages read out of the document of an evaluation, as ``tools/test.py --out`` writes it."""

from collections.abc import Mapping
from typing import Any

from samat_mm.errors import InputError

CLEAN = 'clean'
MAIN_METRICS = ('mIoU', 'accuracy/top1')


def main_metric(report: Mapping[str, Any]) -> str:
    """Return the name of the metric by which models are compared: mIoU, top-1 accuracy, or else the first one.

    Raises:
        ValueError: if the clean results hold no metric.
    """
    name = _metric(report)
    if name is not None:
        return name
    raise InputError('the report must have at least one metric on clean images; it has none. Test the model again.')


def has_metric(report: Mapping[str, Any]) -> bool:
    """Tell whether the clean results hold a number; with ``format_only`` metrics write files and return none."""
    return _metric(report) is not None


def _metric(report: Mapping[str, Any]) -> str | None:
    clean = report['results'][CLEAN]
    numbers = [name for name, value in clean.items() if value is None or isinstance(value, (int, float))]
    return next((name for name in (*MAIN_METRICS, *numbers) if name in numbers), None)


def attacks_of(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the results under each attack, by name."""
    return {name: values for name, values in report['results'].items() if name != CLEAN}


def family_of(name: str) -> str:
    """Return what attacks that differ in the radius alone have in common: 'pgd-linf' of 'pgd-linf@4/255'."""
    return name.partition('@')[0]


def in_255ths(radius: float) -> str:
    """Return a radius in [0, 1] pixel units as people write it: '4/255'."""
    return f'{255 * radius:g}/255'
