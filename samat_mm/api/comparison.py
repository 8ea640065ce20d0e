"""Compare methods by the reports of their evaluations."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from samat_mm.reports import Comparison, Report

Given = Report | str | Path


def compare(reports: Iterable[Given] | Mapping[str, Given | Iterable[Given]]) -> Comparison:
    """Compare methods: each under each attack, with mean and spread over the trainings of a method.

    Args:
        reports: reports or their JSON files; those of one config are trainings of one method. Or the report or reports
            of each method by its name.

    Raises:
        ValueError: if a file is no report, or the reports were not measured alike.
        OSError: if a file cannot be read.

    Example:
        >>> import samat_mm
        >>> comparison = samat_mm.compare({'SGD': 'sgd.json', 'SAM': 'sam.json'})
        >>> comparison.best('clean') is None  # one training each has no spread
        True
        >>> comparison.save('comparison.tex')
    """
    if isinstance(reports, Mapping):
        return Comparison.of({name: _loaded(given) for name, given in reports.items()})
    return Comparison.of(_loaded(reports))


def _loaded(given: Given | Iterable[Given]) -> list[Report]:
    listed = [given] if isinstance(given, (Report, str, Path)) else list(given)
    return [each if isinstance(each, Report) else Report.load(each) for each in listed]
