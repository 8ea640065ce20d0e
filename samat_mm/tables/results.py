"""The document of a table: what the finished evaluations say, next to the published numbers."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samat_mm.files.outputs import write_text
from samat_mm.tables.cells import Training, checkpoint_of
from samat_mm.tables.evidence import CLEAN, Evidence, evidence_of
from samat_mm.tables.statistics import summary_of
from samat_mm.tables.table import Row, Table
from samat_mm.tables.verdict import answers_of


def collect(trainings: Iterable[Training], path: Path) -> dict[str, Any]:
    """Write the document of a table from the reports of its evaluations, and return it.

    Args:
        trainings: The trainings of one table. Cells without a report are missing.
        path: The file.

    Raises:
        OSError: if a report cannot be read, or the document cannot be written.
    """
    known = list(trainings)
    found: dict[str, dict[int, Evidence]] = {}
    commands = {}
    for training in known:
        evidence = evidence_of(training)
        if evidence is not None:
            found.setdefault(training.row.key, {})[training.seed] = evidence
            commands[training.name] = commands_of(training)
    document = document_of(known[0].table, found, commands)
    write_text(path, json.dumps(document, indent=2) + '\n')
    return document


def document_of(
    table: Table, found: Mapping[str, Mapping[int, Evidence]], commands: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the document of a table.

    Args:
        table: The table.
        found: By the key of a row and by seed, what is known about the training.
        commands: By training, the commands that gave its results.
    """
    everything = [evidence for by_seed in found.values() for evidence in by_seed.values()]
    return {
        'table': table.name.removeprefix('table'),
        'title': table.title,
        'budget': table.budget.name,
        'schedule': table.budget.description,
        'protocol': table.protocol,
        'metric': table.metric,
        'column_metrics': dict(table.column_metrics),
        'seeds': list(table.seeds),
        'samples': sorted({evidence.samples for evidence in everything}),
        'unit': next((evidence.unit for evidence in everything), 'image'),
        'columns': {name: list(attacks) for name, attacks in table.columns.items()},
        'attacks': table.attack_configs(),
        'rows': [_row(table, row, list(found.get(row.key, {}).values())) for row in table.rows],
        'radii': [attack for asked in table.questions if asked['ask'] == 'radius' for attack in asked['attacks']],
        'verdict': answers_of(table, found),
        'commands': {name: list(lines) for name, lines in commands.items()},
        'versions': dict(everything[0].versions) if everything else {},
    }


def value_of(evidence: Evidence, attacks: Sequence[str], metric: str) -> float | None:
    """Return the number of a column for one training: the mean over its attacks, or the natural metric.

    None if one of them is missing, or it is not a number.
    """
    found = [evidence.results.get(name, {}).get(metric) for name in attacks or (CLEAN,)]
    known = [value for value in found if value is not None]
    return statistics.mean(known) if len(known) == len(found) else None


def commands_of(training: Training) -> list[str]:
    """Return the commands that gave the results of a training.

    Raises:
        OSError: if the training is not done.
    """
    work, checkpoint = training.work_dir(), checkpoint_of(training)
    commands = [f'samat-mm train {training.config_file} --resume --work-dir {work}']
    for evaluation in training.evaluations:
        if evaluation.report_file.exists():
            twin = evaluation.twin
            surrogate = [] if twin is None else [f'--surrogate {twin.config_file} {checkpoint_of(twin)}']
            test = [f'samat-mm test {evaluation.config_file} {checkpoint}', *surrogate]
            commands.append(' '.join([*test, f'--work-dir {work}/{evaluation.name} --out {evaluation.report_file}']))
    return commands


def _row(table: Table, row: Row, found: Sequence[Evidence]) -> dict[str, Any]:
    cells = {}
    for column, attacks in table.columns.items():
        values = [value_of(evidence, attacks, table.metric_of(column)) for evidence in found]
        cells[column] = {
            **summary_of(values),
            'published': row.published[column],
            **({'note': row.notes[column]} if column in row.notes else {}),
        }
    return {'name': row.name, 'settings': dict(row.settings), 'cells': cells}
