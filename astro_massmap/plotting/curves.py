"""Figures of measurements of a map and its samples: detection, power spectrum, peak counts."""

import math

import numpy as np

from .._utils.optional import require
from ..analysis.quantiles import probability_interval

_LEVEL = 0.68  # credible level of the interval of a probability
_BLUE, _RED, _INK = "#3a76af", "#c44e43", "#222222"


def plot_detection(values, threshold, *, label="", figure=None):
    """
    Plot the mean convergence of a region over the samples, and the fraction above a threshold with its 68 % interval.

    Parameters
    ----------
    values : array-like
        Mean convergence of each sample, ``(n_samples,)``, such as a column of
        `astro_massmap.analysis.detection.region_means`; ValueError if not finite, as for a region outside the field.
    threshold : float
        Mean convergence above which a structure counts as detected.
    label : str
        Name of the region.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into and return; by default a new one.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import plotting
    >>> figure = plotting.plot_detection([0.01, 0.03, 0.04], 0.02, label="cluster A", figure=Figure())
    >>> print(figure.axes[0].get_title(loc="left"))
    cluster A
    above the threshold: 2 of 3 samples, 67% (68% interval: 39% to 86%)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"values: needs finite numbers (n_samples,), got the shape {values.shape}; they are NaN outside the field"
        )
    above = int((values > threshold).sum())
    figure = new_figure(6, 3.8) if figure is None else figure
    ax = plain_axes(figure, r"mean convergence $\kappa$ of the region", "samples")
    edges = _edges_through(threshold, values)
    for part, color in ((values[values <= threshold], _BLUE), (values[values > threshold], _RED)):
        ax.hist(part, edges, color=color, edgecolor="white", linewidth=0.8)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.axvline(threshold, color=_INK, linestyle="--", linewidth=1.2)
    ax.margins(x=0.08, y=0.25)
    on_the_left = threshold > sum(ax.get_xlim()) / 2
    ax.annotate(
        f"threshold {threshold:g}", (threshold, 0.97), xycoords=("data", "axes fraction"),
        xytext=(-5 if on_the_left else 5, 0), textcoords="offset points", ha="right" if on_the_left else "left",
        va="top", fontsize=9, color=_INK,
    )  # fmt: skip
    lower, upper = probability_interval(above, len(values), _LEVEL)
    result = f"above the threshold: {above} of {len(values)} samples, {above / len(values):.0%} "
    result += f"({_LEVEL:.0%} interval: {lower:.0%} to {upper:.0%})"
    title = ax.set_title(f"{label}\n{result}" if label else result, fontsize=10, loc="left")
    title.set_parse_math(False)
    return figure


def plot_spectrum(table, theory=None, *, figure=None):
    """
    Plot the angular power spectrum of a map and of its samples, with the interval over the samples.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of `astro_massmap.analysis.angular_power.spectrum_table`.
    theory : callable, optional
        C_ell of an array of ell, such as a `~astro_massmap.PowerSpectrum`.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into and return; by default a new one.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import PowerSpectrum, datasets, plotting
    >>> table = datasets.demo_truth().power_spectrum()
    >>> figure = plotting.plot_spectrum(table, PowerSpectrum.default(), figure=Figure())
    >>> [text.get_text() for text in figure.axes[0].get_legend().texts]
    ['map', 'theory']
    """
    low, high, ell, cl, of_samples, lower, upper = (
        np.asarray(table[name], dtype=float) for name in ("low", "high", "ell", "cl", "cl_samples", "lower", "upper")
    )
    low, scale = np.maximum(low, ell / 2), ell * (ell + 1) / (2 * np.pi)
    figure = new_figure(6.4, 4.4) if figure is None else figure
    ax = plain_axes(figure, r"multipole $\ell$", r"$\ell(\ell+1)\,C_\ell\,/\,2\pi$")
    floor = _smallest_positive(scale * cl, scale * lower, scale * of_samples) / 3
    _boxes(ax, low, high, scale * of_samples, np.maximum(scale * lower, floor), scale * upper, table)
    good = cl > 0
    ax.plot(ell[good], (scale * cl)[good], "o", color=_INK, markersize=5, label="map")
    if theory is not None:
        x = np.geomspace(np.nanmin(low), np.nanmax(high), 200)
        ax.plot(x, x * (x + 1) / (2 * np.pi) * theory(x), "--", color=_INK, linewidth=1.2, label="theory")
    ax.set(xscale="log", yscale="log")
    ax.xaxis.set_minor_locator(require("matplotlib.ticker", "plot").LogLocator(subs=(2, 4)))  # labels do not overlap
    _legend(ax, "lower left")
    return figure


def plot_peak_counts(table, *, figure=None):
    """
    Plot the number of peaks by height, of a map and of its samples, with the interval over the samples.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of `astro_massmap.analysis.peaks.peak_counts`.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into and return; by default a new one.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import datasets, plotting
    >>> from astro_massmap.analysis.peaks import peak_counts
    >>> truth = datasets.demo_truth()
    >>> table = peak_counts(truth.data, [truth.data] * 6, truth.wcs, None, [0.05, 0.1, 0.2, 0.4])
    >>> plotting.plot_peak_counts(table, figure=Figure()).axes[0].get_ylabel()
    'number of peaks'
    """
    low, high, of_map, count, lower, upper = (
        np.asarray(table[name], dtype=float) for name in ("low", "high", "mean_map", "count", "lower", "upper")
    )
    what = "minima" if table.meta.get("minima") else "peaks"
    figure = new_figure(6.4, 4.4) if figure is None else figure
    ax = plain_axes(figure, rf"convergence $\kappa$ of the {what}", f"number of {what}")
    _boxes(ax, low, high, count, lower, upper, table)
    ax.plot((low + high) / 2, of_map, "o", color=_INK, markersize=5, label="map", clip_on=False, zorder=3)
    ax.set_yscale("symlog", linthresh=1)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=0)
    _legend(ax, "upper right")
    return figure


def new_figure(width, height):
    return require("matplotlib.pyplot", "plot").figure(figsize=(width, height), layout="constrained")


def plain_axes(figure, xlabel, ylabel):
    """Add axes without a frame above and on the right."""
    ax = figure.add_subplot()
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _edges_through(threshold, values):
    """Return edges of equal bins over the range of the values, one of them at the threshold."""
    width = np.ptp(values) / np.clip(np.sqrt(2 * len(values)), 4, 40) or 1e-3
    first, last = (math.floor((values.min() - threshold) / width), math.ceil((values.max() - threshold) / width))
    return threshold + width * np.arange(first, max(last, first + 1) + 1)


def _smallest_positive(*arrays):
    values = np.concatenate(arrays)
    values = values[np.isfinite(values) & (values > 0)]
    return values.min() if len(values) else 1.0


def _boxes(ax, low, high, middle, lower, upper, table):
    """Draw the interval over the samples in each bin, and their mean."""
    known = np.isfinite(lower) & np.isfinite(upper)
    if not known.any():
        return
    level = table.meta.get("level", 0.68)
    ax.bar(low[known], (upper - lower)[known], (high - low)[known], lower[known], align="edge", color=_BLUE, alpha=0.3,
           linewidth=0, label=f"{level:.0%} of the samples")  # fmt: skip
    ax.hlines(middle[known], low[known], high[known], color=_BLUE, linewidth=2, label="mean of the samples")


def _legend(ax, where):
    named = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    order = sorted(named, key=lambda label: (label != "map", "mean" not in label, label == "theory"))
    ax.legend([named[label] for label in order], order, frameon=False, loc=where)
