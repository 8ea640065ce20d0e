"""A report on the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from samat_mm.terminal import Entry, FittingTable, print_entries
from samat_mm.visualization.document import RESERVED, config_path, family_of, in_255ths, is_number, units

COLOURS = {'pass': 'green', 'FAIL': 'bold red', 'no evidence': 'yellow'}


def print_report(*reports: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a table for each report, a line per attack."""
    console = console or Console()
    for report in reports:
        console.print(_table(report))
        if any('forwards' in values for values in report['results'].values()):
            console.print(f'passes: forward + backward, mean of the {units(report)}', style='dim')


def _table(report: Mapping[str, Any]) -> FittingTable:
    results, metrics = report['results'], _metrics(report['results'].values())
    said = f'{report["samples"]} {units(report)}, seed {report["seed"]}{_attacked(report)}'
    has_radii = any(map(_radius, results.values()))
    has_costs = any('forwards' in values for values in results.values())
    radius, cost = ['radius'] if has_radii else [], ['passes', 'seconds'] if has_costs else []
    titles = [metric.replace('_', ' ') for metric in metrics]
    table = FittingTable(f'{config_path(report).stem}\n{said}', ('attack', *radius, *titles, *cost))
    for name, values in results.items():
        cells = [_radius(values)] if has_radii else []
        cells += [f'{values[metric]:.2f}' if is_number(values.get(metric)) else '' for metric in metrics]
        if has_costs:
            passes = f'{values["forwards"]:.0f}+{values["backwards"]:.0f}' if 'forwards' in values else ''
            cells += [passes, f'{values["seconds"]:.0f}' if 'seconds' in values else '']
        table.add_row(family_of(name) if _radius(values) else name, *cells)
    return table


def _radius(values: Mapping[str, Any]) -> str:
    attack = values.get('attack') or {}
    return in_255ths(attack['eps']) if 'eps' in attack else ''


def _metrics(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the metrics that are numbers, those of the clean samples first, then those that only attacks have."""
    found = [key for values in results for key, value in values.items() if is_number(value)]
    return [key for key in dict.fromkeys(found) if key not in RESERVED]


def _attacked(report: Mapping[str, Any]) -> str:
    """Return how the attacks of a report differ from attacks on the scored function, for the title of a table."""
    evaluation = report.get('evaluation', {})
    protocol, made_on = evaluation.get('protocol', 'strict'), evaluation.get('made_on')
    return ('' if protocol == 'strict' else f', {protocol}') + (f', made on {made_on["checkpoint"]}' if made_on else '')


def print_verdicts(verdicts: Sequence[Mapping[str, str]], console: Console | None = None) -> None:
    """Print each sanity check of a report, if there are any: its verdict, and beneath it what was measured."""
    entries = [
        Entry(verdict['verdict'], COLOURS.get(verdict['verdict'], 'dim'), (verdict['check'], verdict['detail']))
        for verdict in verdicts
    ]
    if entries:
        print_entries('sanity checks', entries, console or Console())
