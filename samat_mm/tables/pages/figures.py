"""The figures of a table: natural against robust performance, and robustness against the radius of a method."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from samat_mm.perturbations.units import parse_radius
from samat_mm.tables.pages.wording import Document
from samat_mm.visualization.legends import narrow_figure, put_legend
from samat_mm.visualization.page import svg
from samat_mm.visualization.style import COLOURS, MARKERS, STYLE

Row = Mapping[str, Any]
SCALES = {'rho': (1.0, 'rho'), 'eps': (255.0, 'eps of training in 1/255')}


def figures_of(document: Document) -> dict[str, Markup]:
    """Return the figures that the finished rows allow, as SVG, by caption."""
    rows = [row for row in document['rows'] if all(cell['mean'] is not None for cell in row['cells'].values())]
    found = {}
    with matplotlib.rc_context({**STYLE, 'text.parse_math': False}):
        if len(rows) > 1 and len(document['columns']) > 1 and not document.get('column_metrics'):
            found['Natural against robust performance'] = _trade_off(document, rows)
        for method, (parameter, members) in _families(rows).items():
            found[f'{method}: performance against its radius'] = _curve(document, parameter, members)
        if document['radii'] and rows:
            found['Performance against the radius of the attack'] = _radii(document, rows)
        return {caption: svg(figure, f'figure{number}') for number, (caption, figure) in enumerate(found.items())}


def _trade_off(document: Document, rows: Sequence[Row]) -> Figure:
    """Draw a point for each row: its first column against the mean of the others."""
    figure, axes = narrow_figure()
    natural, *robust = document['columns']
    for number, row in enumerate(rows):
        values = [row['cells'][column]['mean'] for column in robust]
        look: dict[str, Any] = {'color': COLOURS[number % len(COLOURS)], 'marker': MARKERS[number % len(MARKERS)]}
        axes.plot(row['cells'][natural]['mean'], sum(values) / len(values), linestyle='', label=row['name'], **look)
    axes.set_xlabel(f'{document["metric"]}, {natural}')
    axes.set_ylabel(f'{document["metric"]}, mean under attack')
    put_legend(figure, axes)
    return figure


def _curve(document: Document, parameter: str, rows: Sequence[Row]) -> Figure:
    """Draw a line for each column over the radius of one method."""
    figure, axes = narrow_figure()
    factor, label = SCALES[parameter]
    radii = [factor * parse_radius(row['settings'][parameter], parameter) for row in rows]
    for number, column in enumerate(_alike(document)):
        look: dict[str, Any] = {'color': COLOURS[number % len(COLOURS)], 'marker': MARKERS[number % len(MARKERS)]}
        axes.plot(radii, [row['cells'][column]['mean'] for row in rows], label=column, markersize=5, **look)
    axes.set_xlabel(label)
    axes.set_ylabel(document['metric'])
    put_legend(figure, axes)
    return figure


def _radii(document: Document, rows: Sequence[Row]) -> Figure:
    """Draw a line for each row over the radius of an attack, from the natural performance on."""
    figure, axes = narrow_figure()
    by_column = {column: attacks[0] for column, attacks in document['columns'].items() if len(attacks) == 1}
    known = {attack: column for column, attack in by_column.items()}
    shown = [attack for attack in document['radii'] if attack in known]
    radii = [0.0, *(parse_radius(document['attacks'][attack]['eps'], 'eps') for attack in shown)]
    for number, row in enumerate(rows):
        look: dict[str, Any] = {'color': COLOURS[number % len(COLOURS)], 'marker': MARKERS[number % len(MARKERS)]}
        columns = [next(iter(document['columns'])), *(known[attack] for attack in shown)]
        values = [row['cells'][column]['mean'] for column in columns]
        axes.plot(radii, values, label=row['name'], markersize=5, **look)
    axes.set_xlabel('radius of the attack')
    axes.set_ylabel(document['metric'])
    put_legend(figure, axes)
    return figure


def _alike(document: Document) -> list[str]:
    """Return the columns that show the metric of the table."""
    return [column for column in document['columns'] if column not in document.get('column_metrics', {})]


def _families(rows: Sequence[Row]) -> dict[str, tuple[str, list[Row]]]:
    """Return the rows of each method that the table has at three radii or more, with the name of the radius."""
    members = defaultdict(list)
    for row in rows:
        for parameter in SCALES:
            if parameter in row['settings']:
                model = row['settings'].get('model')
                name = row['settings']['method'] if model is None else f'{model}, {row["settings"]["method"]}'
                members[name, parameter].append(row)
    return {name: (parameter, found) for (name, parameter), found in members.items() if len(found) > 2}
