"""Figures of the theory: robust feature weights against radii, and the radii of equal weight."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from samat_mm.theory import (
    FeatureModel,
    adversarial_weight,
    all_weights_sam_weight,
    exact_matching_radius,
    exact_sam_weight,
    matching_radius_corrected,
    matching_radius_paper,
    sam_weight_corrected,
    sam_weight_paper,
    standard_weight,
)
from samat_mm.visualization.style import COLOURS, STYLE, STYLES

POINTS = 81
TOP = 2.8  # W_R in units of W_ST up to which the weights are drawn
OF_ROOT = r'SAM radius $\epsilon / \sqrt{n}$'


def draw_weights(model: FeatureModel, trained: Sequence[Mapping[str, Any]] = ()) -> Figure:
    """Draw W_R against the radius: of AT on the left, of SAM on the right.

    Args:
        model: the model.
        trained: rows of trainings of this model, drawn as points with two standard errors on either side.
    """
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = _figure(7.2, 3.3, 2)
        standard = standard_weight(model)
        shares = np.linspace(0, 1, POINTS)
        for axes in (left, right):
            axes.axhline(standard, color='#666666', linestyle=':', label='ST')
        weights = [adversarial_weight(model, share * model.eta) for share in shares[:-1]]
        left.plot(shares[:-1], weights, color=COLOURS[0], label='AT, theorem 4.2')
        curves = {
            'SAM, exact': exact_sam_weight,
            'corrected formula': sam_weight_corrected,
            "paper's formula": sam_weight_paper,
        }
        for number, (label, weight) in enumerate(curves.items()):
            values = [weight(model, share * model.spread) for share in shares]
            right.plot(shares, values, label=label, color=COLOURS[number], linestyle=STYLES[number])
        _points(left, trained, ('ST', 'AT'), model.eta)
        _points(right, trained, ('ST', 'SAM'), model.spread)
        left.set(ylim=(0, TOP * standard), ylabel='robust feature weight $W_R$', xlabel=r'AT radius $\epsilon / \eta$')
        right.set(xlabel=OF_ROOT)
        for axes in (left, right):
            axes.set_xlim(-0.03, 1.03)
        left.legend(loc='lower right')
        right.legend(loc='upper right')
        figure.suptitle(_name(model), fontsize=10)
    return figure


def draw_radii(model: FeatureModel) -> Figure:
    """Draw the radius of AT that gives the W_R of SAM, against SAM's radius."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _figure(4.8, 3.3, 1)
        shares = np.linspace(0, 2, POINTS)
        curves = {
            'exact': exact_matching_radius,
            r'corrected: $2 + 6n / \epsilon_{SAM}^2 = 2\eta / \epsilon_{AT}$': matching_radius_corrected,
            r'paper: $2 + 3 / \epsilon_{SAM}^2 = 2\eta / \epsilon_{AT}$': matching_radius_paper,
        }
        for number, (label, radius) in enumerate(curves.items()):
            values = [radius(model, share * model.spread) / model.eta for share in shares]
            axes.plot(shares, values, label=label, color=COLOURS[number], linestyle=STYLES[number])
        axes.set(xlabel=OF_ROOT, ylabel=r'AT radius of equal $W_R$, $\epsilon / \eta$', ylim=(0, 1.0), xlim=(0, 2))
        axes.legend(loc='upper right', bbox_to_anchor=(1, 0.82))
        axes.set_title(_name(model), fontsize=10)
    return figure


def draw_all_weights(models: Sequence[FeatureModel]) -> Figure:
    """Draw W_R of SAM relative to W_ST, over w_1 alone and over all weights, a colour per model.

    Args:
        models: models with the same p and n.
    """
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = _figure(4.8, 3.3, 1)
        shares = np.linspace(0, 0.6, POINTS // 2)
        for number, model in enumerate(models):
            ratio = model.weight / model.spread
            for style, over, weight in (
                ('-', 'all weights', all_weights_sam_weight),
                ('--', '$w_1$ alone', exact_sam_weight),
            ):
                values = [weight(model, share * model.spread) / standard_weight(model) for share in shares]
                label = rf'{over}, $\eta$ = {model.eta:g}, $w^*/\sqrt{{n}}$ = {ratio:.2f}'
                axes.plot(shares, values, style, label=label, color=COLOURS[number % len(COLOURS)])
        axes.axhline(1, color='#888888', linewidth=0.8, zorder=0)
        axes.set(xlabel=OF_ROOT, ylabel=r'$W_{SAM} / W_{ST}$', xlim=(0, shares[-1]))
        axes.legend(loc='upper left')
        axes.set_title(rf'$p$ = {models[0].p:g}, $n$ = {models[0].n}', fontsize=10)
    return figure


def _points(axes: Axes, rows: Sequence[Mapping[str, Any]], methods: Sequence[str], unit: float) -> None:
    shown = [row for row in rows if row['method'] in methods]
    if shown:
        axes.errorbar(
            [row['eps'] / unit for row in shown],
            [row['W_trained'] for row in shown],
            [2 * row['standard_error'] for row in shown],
            fmt='o',
            markersize=4,
            color='black',
            capsize=2,
            elinewidth=1,
            label='trained',
        )


def _figure(width: float, height: float, columns: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False, sharey=True)[0]


def _name(model: FeatureModel) -> str:
    return rf'$p$ = {model.p:g}, $\eta$ = {model.eta:g}, $n$ = {model.n}'
