"""A report on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from samat_mm.visualization.document import RESERVED, is_number

WIDE = 24  # characters of an attack's name that are kept on one line


def print_report(*reports: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a table for each report, a line per attack."""
    console = console or Console()
    for report in reports:
        console.print(_table(report))


def _table(report: Mapping[str, Any]) -> Table:
    results, metrics = report['results'], _metrics(report)
    unit = report.get('evaluation', {}).get('unit', 'image')
    said = f'{report["samples"]} {unit}s, seed {report["seed"]}{_attacked(report)}'
    table = Table(title=f'{Path(report["config"]).stem}\n{said}')
    table.add_column('attack', overflow='fold', no_wrap=max(map(len, results)) <= WIDE)
    radii = any(map(_radius, results.values()))
    if radii:
        table.add_column('radius', justify='right')
    for metric in metrics:  # 'accuracy/' above 'top1'
        table.add_column(metric.replace('/', '/\n').replace('_', ' '), justify='right', overflow='fold')
    costs = any('forwards' in values for values in results.values())
    for column in ('passes', 'seconds') if costs else ():
        table.add_column(column, justify='right')
    for name, values in results.items():
        cells = [name, *([_radius(values)] if radii else [])]
        cells += [f'{values[metric]:.2f}' if is_number(values.get(metric)) else '' for metric in metrics]
        if costs:
            passes = f'{values["forwards"]:.0f}+{values["backwards"]:.0f}' if 'forwards' in values else ''
            cells += [passes, f'{values["seconds"]:.0f}' if 'seconds' in values else '']
        table.add_row(*cells)
    return table


def _radius(values: Mapping[str, Any]) -> str:
    attack = values.get('attack') or {}
    return f'{attack["eps"] * 255:g}/255' if 'eps' in attack else ''


def _metrics(report: Mapping[str, Any]) -> list[str]:
    """Return the metrics that are numbers, those of the clean samples first, then those that only attacks have."""
    found = [key for values in report['results'].values() for key, value in values.items() if is_number(value)]
    return [key for key in dict.fromkeys(found) if key not in RESERVED]


def _attacked(report: Mapping[str, Any]) -> str:
    """Return how the attacks of a report differ from attacks on the scored function, for the title of a table."""
    evaluation = report.get('evaluation', {})
    protocol, made_on = evaluation.get('protocol', 'strict'), evaluation.get('made_on')
    return ('' if protocol == 'strict' else f', {protocol}') + (f', made on {made_on["checkpoint"]}' if made_on else '')


def print_verdicts(verdicts: Sequence[Mapping[str, str]], console: Console | None = None) -> None:
    """Print a line for each sanity check of a report, if there are any."""
    if not verdicts:
        return
    table = Table(title='sanity checks')
    table.add_column('')
    table.add_column('check', overflow='fold')
    table.add_column('measured', overflow='fold')
    for verdict in verdicts:
        colour = {'pass': 'green', 'FAIL': 'bold red', 'no evidence': 'yellow'}.get(verdict['verdict'], 'dim')
        table.add_row(f'[{colour}]{verdict["verdict"]}[/]', verdict['check'], verdict['detail'])
    (console or Console()).print(table)
