"""Figures of loss landscapes, and of the rise of the loss with the radius."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from samat_mm.sharpness.landscape import Landscape
from samat_mm.visualization.style import COLOURS, MARKERS, STYLE, STYLES

LEVELS = 12
LOGARITHMIC_FROM = 20  # larger ratios of losses cannot be read off a linear axis
ALONG = 'step along a random direction (filter norms)'


def draw_lines(landscapes: Mapping[str, Landscape]) -> Figure:
    """Draw the loss along one direction, a curve per model.

    Args:
        landscapes: landscapes by legend label; for a plane, the line through the weights is drawn.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.8, 3.3)
        lines = {label: landscape.line() for label, landscape in landscapes.items()}
        for number, (label, line) in enumerate(lines.items()):
            axes.plot(line.positions, line.losses, label=label, **_line_style(number))
        axes.axvline(0, color='#888888', linewidth=0.8, zorder=0)
        axes.margins(x=0)
        axes.set_xticks(_ticks(next(iter(lines.values())).positions.numpy()))
        axes.set_xlabel(ALONG)
        axes.set_ylabel('training loss')
        if _needs_logarithm(np.concatenate([line.losses.numpy() for line in lines.values()])):
            axes.set_yscale('log')
            axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            axes.yaxis.set_major_formatter('{x:g}')
            axes.yaxis.set_minor_formatter('{x:g}')
        _legend(axes, lines)
    return figure


def draw_plane(landscape: Landscape, title: str = '') -> Figure:
    """Draw the contours of the loss along two directions; a cross marks the weights."""
    with matplotlib.rc_context({**STYLE, 'axes.grid': False}):
        figure, axes = _figure(4.8, 3.7)
        losses, positions = np.ma.masked_invalid(landscape.losses.numpy().T), landscape.positions.numpy()
        levels = _levels(losses)
        logarithmic = _needs_logarithm(losses)
        norm = matplotlib.colors.LogNorm(levels[0], levels[-1]) if logarithmic else None
        filled = axes.contourf(positions, positions, losses, levels, norm=norm, cmap='viridis')
        lines = axes.contour(positions, positions, losses, levels, colors='white', linewidths=0.6)
        axes.clabel(lines, levels[1::2], fmt='%.3g', fontsize=8)
        axes.plot(0, 0, marker='P', markersize=9, color='white', markeredgecolor='black')
        place = axes.inset_axes((1.04, 0, 0.05, 1))
        bar = figure.colorbar(filled, cax=place, label='training loss', ticks=levels[::2], format='%.3g')
        bar.minorticks_off()
        axes.set(xlabel='step along direction 1 (filter norms)', ylabel='step along direction 2 (filter norms)')
        axes.set(xticks=_ticks(positions), yticks=_ticks(positions), aspect='equal')
        axes.set_title(title, fontsize=10)
    return figure


def draw_rises(rises: Mapping[str, Sequence[float]], radii: Sequence[float]) -> Figure:
    """Draw the rise of the loss at the point to which SAM moves the weights, a curve per model.

    Args:
        rises: one rise per radius, by legend label.
        radii: radii in the units of the weights.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(4.8, 3.3)
        for number, (label, values) in enumerate(rises.items()):
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(radii, values, label=label, marker=marker, markerfacecolor='white', **_line_style(number))
        axes.margins(x=0.02)
        axes.axhline(0, color='#888888', linewidth=0.8, zorder=0)
        axes.set_xlabel(r'radius $\rho$ (Euclidean length in weight space)')
        axes.set_ylabel(r'loss rise $L(w + \rho\, g / \|g\|) - L(w)$')
        _legend(axes, rises)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure; the file suffix selects the format."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)


def to_rgb(figure: Figure) -> np.ndarray:
    """Return a figure as an 8-bit picture, shape (H, W, 3)."""
    figure.set_dpi(150)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _line_style(number: int) -> dict[str, Any]:
    return {'color': COLOURS[number % len(COLOURS)], 'linestyle': STYLES[number % len(STYLES)]}


def _legend(axes: Axes, labels: Mapping[str, object]) -> None:
    if any(labels):
        axes.legend()


def _needs_logarithm(losses: np.ndarray) -> bool:
    finite = losses[np.isfinite(losses)]
    return bool(finite.size and finite.min() > 0 and finite.max() > LOGARITHMIC_FROM * finite.min())


def _levels(losses: np.ndarray) -> np.ndarray:
    """Return increasing contour levels, at round numbers, that enclose every finite loss."""
    finite = losses[np.isfinite(losses)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if high <= low:
        high = low + max(abs(low), 1.0) * 1e-6
    if not _needs_logarithm(losses):
        return np.asarray(MaxNLocator(LEVELS).tick_values(low, high))
    levels = np.geomspace(low, high, LEVELS)
    return np.array([low, *(float(f'{level:.2g}') for level in levels[1:-1]), high])


def _ticks(positions: np.ndarray) -> np.ndarray:
    return np.linspace(positions.min(), positions.max(), 5)
