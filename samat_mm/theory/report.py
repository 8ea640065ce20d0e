"""The tables of the theory on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from samat_mm.theory.adversarial import INPUT_BALLS
from samat_mm.theory.grid import shift_ratios

Rows = Sequence[Mapping[str, Any]]
MODEL = ('p', 'eta', 'n', 'eps')
SHIFTS = {  # by the corrected formula, the factor is 1
    'exact': 'W_SAM_exact',
    'paper': 'W_SAM_paper',
    'all w': 'W_SAM_all_weights',
    'per sample': 'W_SAM_per_sample',
}


def print_report(document: Mapping[str, Rows], console: Console | None = None) -> None:
    """Print the tables of a document with the rows of the grid, the balls and the trainings."""
    console = console or Console()
    console.print(_grid_table(document['rows']))
    for formula in ('W_SAM_corrected', 'W_SAM_paper'):
        ratios = shift_ratios(document['rows'], formula)
        if ratios:
            console.print(
                f'{formula}: {min(ratios):.3g} to {max(ratios):.4g} times the exact shift W_SAM - W_ST, in the '
                f'{len(ratios)} rows within the range of theorem 4.4'
            )
    console.print(_ball_table(document['balls']))
    if document['trained']:
        console.print(_trained_table(document['trained']))


def _grid_table(rows: Rows) -> Table:
    table = Table(
        title='W_R of ST and AT, and for SAM the factor c in W_SAM = W_ST (1 + c eps^2 / (3n))',
        caption='-: no finite weight is best',
    )
    for name in (*MODEL, 'W_ST', 'W_AT', *SHIFTS):
        table.add_column(name, justify='right')
    for row in rows:
        factors = (_factor(row, column) for column in SHIFTS.values())
        table.add_row(*(f'{row[name]:g}' for name in MODEL), _cell(row['W_ST']), _cell(row['W_AT']), *factors)
    return table


def _ball_table(rows: Rows) -> Table:
    first = rows[0]
    table = Table(
        title=f'W_R of AT in other balls, p={first["p"]:g}, eta={first["eta"]:g}, n={first["n"]}',
        caption='share: of eta, in l2 of eta sqrt(n)\nall: x_1 is attacked, too',
    )
    for name in ('share', *INPUT_BALLS):
        table.add_column(name, justify='right')
    for row in rows:
        table.add_row(f'{row["share"]:g}', *(_cell(row[ball]) for ball in INPUT_BALLS))
    return table


def _trained_table(rows: Rows) -> Table:
    first = rows[0]
    data = f'{first["data_sets"]} data sets of {first["samples"]} samples, seed {first["seed"]}'
    table = Table(
        title=f'Trained W_R, p={first["p"]:g}, eta={first["eta"]:g}, n={first["n"]}',
        caption=f'{data}; deviation in standard errors',
    )
    for name in ('method', 'eps', 'exact', 'trained ± standard error', 'deviation'):
        table.add_column(name, justify='left' if name == 'method' else 'right')
    for row in rows:
        difference, error = row['W_trained'] - row['W_exact'], row['standard_error']
        deviation = f'{difference / error:+.2f}' if error else '-'
        trained = f'{row["W_trained"]:.4f} ± {error:.4f}'
        table.add_row(row['method'], f'{row["eps"]:g}', _cell(row['W_exact']), trained, deviation)
    return table


def _cell(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'


def _factor(row: Mapping[str, Any], column: str) -> str:
    if row[column] is None or row['eps'] == 0:
        return '-'
    factor = (row[column] / row['W_ST'] - 1) * 3 * row['n'] / row['eps'] ** 2
    return f'{factor:.3f}' if abs(factor) < 10 else f'{factor:.1f}'
