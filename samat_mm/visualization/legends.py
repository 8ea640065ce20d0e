"""Legends that fit their figure, however long the names are."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from samat_mm.terminal import fold

WIDTH, HEIGHT = 4.7, 3.2  # inches, at which a phone shows letters of a readable size
LETTERS = 46  # of a name on one line of a legend of that width
COLUMNS = 3


def narrow_figure(height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return a figure that a phone can show, with its axes.

    Args:
        height: height of the axes in inches.
    """
    figure = Figure(figsize=(WIDTH, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def put_legend(figure: Figure, axes: Axes) -> None:
    """Put the legend of the axes above them, in as many columns as fit, and make the figure higher by its height."""
    handles, labels = axes.get_legend_handles_labels()
    names = ['\n'.join(fold(label, LETTERS)) for label in labels]
    for columns in range(min(COLUMNS, len(names)), 0, -1):
        legend = figure.legend(
            handles, names, loc='outside upper left', ncols=columns, handlelength=1.8, columnspacing=1.4
        )
        extent = legend.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
        if extent.width <= figure.bbox.width or columns == 1:
            figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
            return
        legend.remove()
