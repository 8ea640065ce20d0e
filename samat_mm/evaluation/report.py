"""The report of an evaluation: a JSON document and a table."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from samat_mm.compat import versions
from samat_mm.perturbations.inputs import Attack


def build_report(
    metrics: Mapping[str, Any], attacks: Mapping[str, Attack], *, config: str, checkpoint: str, seed: int, samples: int
) -> dict[str, Any]:
    """Sort the flat metrics of a run by attack.

    Args:
        metrics: as MMEngine returns them, those under attack prefixed by its name: 'pgd-linf/mIoU'.
        attacks: the attacks that were run, by name.
        config: the config's path.
        checkpoint: the checkpoint's path.
        seed: of the random starts.
        samples: number of images.

    Returns:
        The document that ``tools/test.py --out`` writes.
    """
    results: dict[str, dict[str, Any]] = {'clean': {}, **{name: {} for name in attacks}}
    for key, value in metrics.items():
        name = max((name for name in attacks if key.startswith(f'{name}/')), key=len, default=None)
        results[name or 'clean'][key.removeprefix(f'{name}/')] = _plain(value)
    for name, attack in attacks.items():
        results[name]['attack'] = attack.describe()
    return {
        'config': config,
        'checkpoint': checkpoint,
        'seed': seed,
        'samples': samples,
        'results': results,
        'versions': versions(),
    }


def _plain(value: Any) -> Any:
    """Return a metric as JSON has it: a number, None for NaN, or what is no number as a text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value if isinstance(value, (str, list)) else str(value)
    return number if math.isfinite(number) else None


def print_report(*reports: Mapping[str, Any], console: Console | None = None) -> None:
    """Print one table over all reports, a line per model and attack."""
    first = next(iter(reports[0]['results'].values()))
    metrics = [key for key, value in first.items() if isinstance(value, float)]
    table = Table(title=f'{reports[0]["samples"]} images, seed {reports[0]["seed"]}')
    table.add_column('config', overflow='fold')
    table.add_column('attack')
    table.add_column('radius', justify='right')
    for metric in metrics:
        table.add_column(metric, justify='right')
    for report in reports:
        for position, (name, values) in enumerate(report['results'].items()):
            attack = values.get('attack')
            radius = f'{attack["eps"] * 255:g}/255' if attack and 'eps' in attack else ''
            cells = [f'{values[metric]:.2f}' if isinstance(values.get(metric), float) else '' for metric in metrics]
            table.add_row(report['config'] if position == 0 else '', name, radius, *cells)
        table.add_section()
    (console or Console()).print(table)
