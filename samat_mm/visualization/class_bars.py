"""The effect of attacks on each class."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from samat_mm.visualization.document import CLEAN, attacks_of, family_of
from samat_mm.visualization.legends import narrow_figure
from samat_mm.visualization.style import COLOURS, STYLE

MOST_ATTACKS = 6
MOST_CLASSES = 24
ONE_COLUMN = 10  # classes; more are set in two columns
NAME = 20  # letters
CLEAN_COLOUR = '#B4B4B4'


def draw_class_bars(report: Mapping[str, Any]) -> list[Figure]:
    """Draw a bar per class for the clean images, and within it a thinner one for each attack.

    Classes are sorted by their loss of score, averaged over the attacks shown, with the largest first. The first 24
    classes are drawn, and up to six attacks: one radius of every attack before the next radius of any. The page has
    the key to the colours, which is :func:`class_key`.

    Args:
        report: the document of an evaluation.

    Returns:
        One figure, two for more than ten classes, or none if the document has no values per class.
    """
    per_class, names = report.get('per_class'), shown_attacks(report)
    if not per_class or not names:
        return []
    values = np.array([per_class['values'][name] for name in (CLEAN, *names)], dtype=float)  # None becomes NaN
    shown = sorted_by_drop(values)[:MOST_CLASSES]
    columns = np.array_split(shown, 1 if len(shown) <= ONE_COLUMN else 2)
    row_height = max(0.24, 0.14 + 0.065 * len(names))  # inches
    classes = [_short(name) for name in per_class['classes']]
    figures = []
    with matplotlib.rc_context({**STYLE, 'text.parse_math': False, 'axes.grid.axis': 'x'}):
        for column in columns:
            figure, axes = narrow_figure(row_height * len(columns[0]) + 0.7)
            _draw_column(axes, values[:, column], names)
            axes.set_ylim(len(columns[0]) - 0.5, -0.5)
            axes.set_yticks(range(len(column)), [classes[index] for index in column])
            axes.set_xlabel(f'{per_class["metric"]} (%)')
            figures.append(figure)
    return figures


def class_key(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the colours of the bars, as '#RRGGBB', and whose they are."""
    return [(CLEAN_COLOUR, CLEAN), *zip(COLOURS, shown_attacks(report), strict=False)]


def shown_attacks(report: Mapping[str, Any]) -> list[str]:
    """Return the names of the attacks to draw, in the order of the report."""
    known = [name for name in attacks_of(report) if name in (report.get('per_class') or {}).get('values', {})]
    rank = {name: [other for other in known if family_of(other) == family_of(name)].index(name) for name in known}
    chosen = sorted(known, key=rank.__getitem__)[:MOST_ATTACKS]
    return [name for name in known if name in chosen]


def sorted_by_drop(values: np.ndarray) -> np.ndarray:
    """Return the indices of the classes in the clean images, sorted by the loss of score, largest first.

    Args:
        values: the metric of each class, shape (1 + attacks, classes), clean images first; NaN for absent classes.
    """
    known = np.flatnonzero(np.isfinite(values[0]))
    clean, attacked = values[0, known], values[1:, known]
    drops = clean - np.where(np.isfinite(attacked), attacked, clean).mean(axis=0)
    return known[np.argsort(-drops, kind='stable')]


def drawn_classes(report: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of drawn classes, and the number of classes in the clean images."""
    known = [value for value in (report.get('per_class') or {}).get('values', {}).get(CLEAN, []) if value is not None]
    return min(len(known), MOST_CLASSES), len(known)


def _draw_column(axes: Axes, values: np.ndarray, names: list[str]) -> None:
    rows = np.arange(values.shape[1])
    thickness = min(0.36, 0.72 / len(names))
    axes.barh(rows, values[0], height=0.86, color=CLEAN_COLOUR, label=CLEAN)
    for number, (name, attacked) in enumerate(zip(names, values[1:], strict=True)):
        offset = (number - (len(names) - 1) / 2) * thickness
        axes.barh(rows + offset, attacked, height=thickness, color=COLOURS[number], label=name)
    axes.set_xlim(0, 100)
    axes.tick_params(axis='y', length=0)


def _short(name: str) -> str:
    return name if len(name) <= NAME else f'{name[: NAME - 1].rstrip()}…'
