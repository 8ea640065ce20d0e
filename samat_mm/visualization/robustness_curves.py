"""The score as a function of the radius of an attack."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from samat_mm.visualization.document import CLEAN, attacks_of, family_of, main_metric
from samat_mm.visualization.landscape import COLOURS, MARKERS, STYLE, STYLES

Curve = list[tuple[float, float]]


def draw_curves(report: Mapping[str, Any]) -> Figure | None:
    """Draw the main metric against the radius, a line per attack and axes per norm.

    Args:
        report: the document of an evaluation. An attack that was run at several radii is called 'NAME@RADIUS'; all
            entries of one NAME form one line, which starts with the clean images at radius 0.

    Returns:
        The figure, or None if no attack has a curve.
    """
    norms = curves_of(report)
    if not norms:
        return None
    with matplotlib.rc_context({**STYLE, 'text.parse_math': False}):
        figure = Figure(figsize=(4.9 if len(norms) == 1 else 3.9 * len(norms), 3.6), layout='constrained')
        FigureCanvasAgg(figure)
        every_axes = figure.subplots(1, len(norms), squeeze=False, sharey=True)[0]
        for axes, (norm, curves) in zip(every_axes, norms.items(), strict=True):
            for number, (name, curve) in enumerate(curves.items()):
                radii, values = zip(*curve, strict=True)
                look: dict[str, Any] = {
                    'color': COLOURS[number % len(COLOURS)],
                    'linestyle': STYLES[number % len(STYLES)],
                    'marker': MARKERS[number % len(MARKERS)],
                }
                axes.plot([255 * radius for radius in radii], values, label=name, markersize=5, clip_on=False, **look)
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(f'radius ({norm}) in 1/255')
            axes.legend(loc='lower left', bbox_to_anchor=(0, 1), ncols=2, columnspacing=1.2)
        every_axes[0].set_ylabel(main_metric(report))
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
