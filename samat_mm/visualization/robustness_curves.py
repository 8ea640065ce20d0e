"""The score as a function of the radius of an attack."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from samat_mm.visualization.document import CLEAN, attacks_of, family_of, main_metric
from samat_mm.visualization.legends import narrow_figure, put_legend
from samat_mm.visualization.style import COLOURS, MARKERS, STYLE, STYLES

Curve = list[tuple[float, float]]


def draw_curves(report: Mapping[str, Any]) -> list[Figure]:
    """Draw the main metric against the radius, a line per attack and a figure per norm.

    Args:
        report: the document of an evaluation. An attack that was run at several radii is called 'NAME@RADIUS'; all
            entries of one NAME form one line, which starts with the clean images at radius 0.

    Returns:
        The figures, none if no attack has a curve.
    """
    norms = curves_of(report)
    top = max((value for curves in norms.values() for curve in curves.values() for _, value in curve), default=0.0)
    return [
        draw_lines(curves, f'radius ({norm}) in 1/255', main_metric(report), top=top) for norm, curves in norms.items()
    ]


def draw_lines(
    curves: Mapping[str, Curve],
    xlabel: str,
    ylabel: str,
    *,
    top: float,
    spreads: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw curves over the radius.

    Args:
        curves: (radius in [0, 1] pixel units, value) pairs by the name of their line.
        xlabel: title of the horizontal axis.
        ylabel: title of the vertical axis.
        top: the largest value of the figures that stand side by side.
        spreads: by name, how far the bar of each point extends in either direction; no bars by default.
    """
    with matplotlib.rc_context({**STYLE, 'text.parse_math': False}):
        figure, axes = narrow_figure()
        for number, (name, curve) in enumerate(curves.items()):
            radii, values = [255 * radius for radius, _ in curve], [value for _, value in curve]
            look: dict[str, Any] = {'color': COLOURS[number % len(COLOURS)]}
            if spreads and any(spreads[name]):
                axes.errorbar(radii, values, spreads[name], fmt='none', capsize=3, elinewidth=1, **look)
            look |= {'linestyle': STYLES[number % len(STYLES)], 'marker': MARKERS[number % len(MARKERS)]}
            axes.plot(radii, values, label=name, markersize=5, clip_on=False, **look)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.05 * top or 1)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        put_legend(figure, axes)
    return figure


def curves_of(report: Mapping[str, Any]) -> dict[str, dict[str, Curve]]:
    """Return the (radius, metric) pairs of each attack by norm and name, by increasing radius.

    NaN values are left out, and so are attacks with fewer than two points left.
    """
    metric = main_metric(report)
    points: dict[tuple[str, str], Curve] = defaultdict(list)
    for name, values in attacks_of(report).items():
        attack = values.get('attack', {})
        if '@' in name and 'eps' in attack and values.get(metric) is not None:
            points[attack.get('norm', 'eps'), family_of(name)].append((attack['eps'], values[metric]))
    clean = report['results'][CLEAN][metric]
    norms: dict[str, dict[str, Curve]] = defaultdict(dict)
    for (norm, name), attacked in points.items():
        curve = sorted(attacked if clean is None else [(0.0, clean), *attacked])
        if len(curve) > 1:
            norms[norm][name] = curve
    return dict(norms)
