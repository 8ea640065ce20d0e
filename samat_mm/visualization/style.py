"""The look of all figures."""

from typing import Any

# Okabe and Ito's colours are distinct in every kind of colour blindness; the line styles are distinct in print.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
STYLES = ('-', '--', '-.', ':')
MARKERS = ('o', 's', '^', 'D', 'v')
STYLE: dict[Any, Any] = {
    'font.size': 10,
    'axes.labelsize': 10,
    'legend.fontsize': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.axisbelow': True,
    'axes.grid': True,
    'grid.color': '#E5E5E5',
    'grid.linewidth': 0.6,
    'lines.linewidth': 1.8,
    'legend.frameon': False,
}
