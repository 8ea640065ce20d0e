"""The document of a table: what the finished tests say, next to the published numbers."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samat_mm.files.access import reading, writing
from samat_mm.tables.cells import Training, checkpoint_of
from samat_mm.tables.table import Row, Table

CLEAN = 'clean'  # name of the natural results in a report
Report = Mapping[str, Any]


def collect(trainings: Iterable[Training], path: Path) -> dict[str, Any]:
    """Write the document of a table from the reports of its evaluations, and return it.

    Args:
        trainings: The trainings of one table. Cells without a report are missing.
        path: The file.

    Raises:
        OSError: if a report cannot be read, or the document cannot be written.
    """
    known = list(trainings)
    table = known[0].table
    reports = {training.name: report for training in known if (report := merged_report(training)) is not None}
    found = {
        row.key: [reports[training.name] for training in known if training.row == row and training.name in reports]
        for row in table.rows
    }
    commands = {training.name: commands_of(training) for training in known if training.name in reports}
    document = document_of(table, found, commands)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + '\n', encoding='utf-8')
    return document


def merged_report(training: Training) -> Report | None:
    """Return the reports of a training's evaluations as one, with the results of all; None if none is finished.

    Raises:
        OSError: if one cannot be read.
    """
    reports = [
        read_json(evaluation.report_file) for evaluation in training.evaluations if evaluation.report_file.exists()
    ]
    if not reports:
        return None
    results = {name: result for report in reversed(reports) for name, result in report['results'].items()}
    return {**reports[0], 'results': results}


def document_of(
    table: Table, reports: Mapping[str, Sequence[Report]], commands: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the document of a table.

    Args:
        table: The table.
        reports: By the key of a row, the reports of its tests, one for each seed.
        commands: By training, the commands that gave its results.
    """
    everything = [report for found in reports.values() for report in found]
    return {
        'table': table.name.removeprefix('table'),
        'title': table.title,
        'budget': table.budget.name,
        'schedule': table.budget.description,
        'protocol': table.protocol,
        'metric': table.metric,
        'seeds': list(table.seeds),
        'samples': sorted({report['samples'] for report in everything}),
        'columns': {name: list(attacks) for name, attacks in table.columns.items()},
        'attacks': table.attack_configs(),
        'rows': [_row(table, row, reports.get(row.key, ())) for row in table.rows],
        'commands': {name: list(lines) for name, lines in commands.items()},
        'versions': everything[0]['versions'] if everything else {},
    }


def value_of(report: Report, attacks: Sequence[str], metric: str) -> float | None:
    """Return the number of a column in one report: the mean over its attacks, or the natural metric.

    None if the report lacks one of them, or it is not a number.
    """
    found = [report['results'].get(name, {}).get(metric) for name in attacks or (CLEAN,)]
    return None if None in found else statistics.mean(found)


def _row(table: Table, row: Row, reports: Sequence[Report]) -> dict[str, Any]:
    cells = {}
    for column, attacks in table.columns.items():
        values = [value_of(report, attacks, table.metric) for report in reports]
        cells[column] = {
            **_summary([value for value in values if value is not None]),
            'published': row.published[column],
            **({'note': row.notes[column]} if column in row.notes else {}),
        }
    return {'name': row.name, 'settings': dict(row.settings), 'cells': cells}


def _summary(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean and the sample standard deviation; None where there are too few values."""
    return {
        'mean': round(statistics.mean(values), 2) if values else None,
        'std': round(statistics.stdev(values), 2) if len(values) > 1 else None,
        'n': len(values),
    }


def read_json(path: Path) -> Any:
    """Return the contents of a JSON file.

    Raises:
        OSError: if it cannot be read.
    """
    with reading(path):
        return json.loads(path.read_text(encoding='utf-8'))


def commands_of(training: Training) -> list[str]:
    """Return the commands that gave the results of a training.

    Raises:
        OSError: if the training is not done.
    """
    work, checkpoint = training.work_dir(), checkpoint_of(training)
    commands = [f'python tools/train.py {training.config_file} --resume --work-dir {work}']
    for evaluation in training.evaluations:
        if evaluation.report_file.exists():
            twin = evaluation.twin
            surrogate = [] if twin is None else [f'--surrogate {twin.config_file} {checkpoint_of(twin)}']
            test = [f'python tools/test.py {evaluation.config_file} {checkpoint}', *surrogate]
            commands.append(' '.join([*test, f'--work-dir {work}/{evaluation.name} --out {evaluation.report_file}']))
    return commands
