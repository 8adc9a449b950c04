"""Size and fonts of figures: for the screen by default, or for a column or a page of a journal."""

import numbers
from contextlib import contextmanager
from contextvars import ContextVar

from .._utils.optional import require

__all__ = ["style"]

_WIDTHS = {"column": 3.4, "page": 7.0}  # inches
_STACKED = 5  # inches; panels of narrower figures are below each other
_PRINT = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3,
    "pdf.fonttype": 42,  # TrueType
    "ps.fonttype": 42,
    "savefig.dpi": 300,
}
_width = ContextVar("width", default=None)  # inches, within `style`


@contextmanager
def style(width="column"):
    """
    Make figures for print: a context in which new figures of this package have the width of a column or a page.

    Text has 7 and 8 points, and PDF and EPS files that are saved within the context embed TrueType fonts. The settings
    of matplotlib are as before afterwards. Save without ``bbox_inches="tight"``, which changes the width.

    Parameters
    ----------
    width : str or float
        ``"column"`` (3.4 inches), ``"page"`` (7 inches), or a width in inches.

    Raises
    ------
    ValueError
        If ``width`` is neither.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> with plotting.style("column"):
    ...     figure = truth.plot().figure
    ...     figure.savefig("truth.pdf")
    >>> float(figure.get_figwidth())
    3.4
    """
    inches = _WIDTHS.get(width, width) if isinstance(width, str) else width
    if not isinstance(inches, numbers.Real) or not 1 <= inches <= 100:
        raise ValueError(f'width: needs "column", "page" or a width of 1 to 100 inches, got {width!r}')
    token = _width.set(float(inches))
    try:
        with require("matplotlib", "plot").rc_context(_PRINT):
            yield
    finally:
        _width.reset(token)


def print_width():
    """Return the width of new figures in inches within `style`, or None."""
    return _width.get()


def stacked(figure=None):
    """Return whether panels of the figure, by default of a new one, are below each other."""
    width = print_width() if figure is None else figure.get_figwidth() if hasattr(figure, "get_figwidth") else None
    return width is not None and width < _STACKED


def new_figure(width, height, layout="constrained"):
    """Create a figure; within `style` it has the width of the style, and the same shape."""
    inches = print_width()
    if inches is not None:
        width, height = inches, height * inches / width
    return require("matplotlib.pyplot", "plot").figure(figsize=(width, height), layout=layout)


def small():
    """Return the size in points of labels and of text below the titles, 7 within `style`."""
    return 0.875 * require("matplotlib", "plot").rcParams["font.size"]


def trimmed(figure, height=None):
    """Reduce the height of a figure, or this height, to that of its content, and return the figure."""
    if height is not None:
        figure.set_figheight(height)
    legends, figure.legends = figure.legends, []  # they are at the edge of the figure
    figure.get_layout_engine().execute(figure)
    height = figure.get_tightbbox().height + 0.1
    figure.legends = legends
    height += sum(legend.get_window_extent().height / figure.dpi + 0.1 for legend in legends)
    figure.set_figheight(height)
    return figure
