"""The tables of the theory on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from samat_mm.theory.adversarial import INPUT_BALLS
from samat_mm.theory.grid import shift_ratios

Rows = Sequence[Mapping[str, Any]]
MODEL = ('p', 'eta', 'n', 'eps')


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
    table = Table(title='Robust feature weight W_R; for SAM, relative to W_ST', caption='-: no finite weight is best')
    for name in (*MODEL, 'W_ST', 'W_AT', 'SAM, exact', 'corrected', 'paper', 'all weights', 'per sample'):
        table.add_column(name, justify='right')
    for row in rows:
        gains = [
            _cell(row[name], row['W_ST'])
            for name in ('W_SAM_exact', 'W_SAM_corrected', 'W_SAM_paper', 'W_SAM_all_weights', 'W_SAM_per_sample')
        ]
        table.add_row(*(f'{row[name]:g}' for name in MODEL), _cell(row['W_ST']), _cell(row['W_AT']), *gains)
    return table


def _ball_table(rows: Rows) -> Table:
    first = rows[0]
    table = Table(
        title=f'W_R of AT in other balls, p={first["p"]:g}, eta={first["eta"]:g}, n={first["n"]}',
        caption='at a share of eta (linf) or of eta sqrt(n) (l2); all: x_1 is attacked as well',
    )
    for name in ('share', *INPUT_BALLS):
        table.add_column(name, justify='right')
    for row in rows:
        table.add_row(f'{row["share"]:g}', *(_cell(row[ball]) for ball in INPUT_BALLS))
    return table


def _trained_table(rows: Rows) -> Table:
    first = rows[0]
    table = Table(
        title=f'Trained W_R, p={first["p"]:g}, eta={first["eta"]:g}, n={first["n"]}',
        caption=f'{first["data_sets"]} data sets of {first["samples"]} samples, seed {first["seed"]}',
    )
    for name in ('method', 'eps', 'exact', 'trained', 'difference in standard errors'):
        table.add_column(name, justify='left' if name == 'method' else 'right')
    for row in rows:
        deviation = (row['W_trained'] - row['W_exact']) / row['standard_error']
        table.add_row(
            row['method'],
            f'{row["eps"]:g}',
            _cell(row['W_exact']),
            f'{row["W_trained"]:.4f} ± {row["standard_error"]:.4f}',
            f'{deviation:+.2f}',
        )
    return table


def _cell(value: float | None, relative_to: float | None = None) -> str:
    if value is None:
        return '-'
    return f'{value:.4f}' if relative_to is None else f'{value / relative_to:.6f}'
