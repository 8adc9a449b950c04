"""Figures of measurements of a map and its samples: detection, power spectrum, peak counts."""

import math

import astropy.units as u
import numpy as np

from .._utils.optional import require
from ..analysis.quantiles import probability_interval
from .style import new_figure, small, stacked

_LEVEL = 0.68  # credible level of the interval of a probability
_BLUE, _RED, _INK = "#3a76af", "#c44e43", "#222222"
_MARKER = 4


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
        va="top", fontsize=small(), color=_INK,
    )  # fmt: skip
    lower, upper = probability_interval(above, len(values), _LEVEL)
    result = f"above the threshold: {above} of {len(values)} samples, {above / len(values):.0%} "
    result += "\n" if stacked(figure) else ""
    result += f"({_LEVEL:.0%} interval: {lower:.0%} to {upper:.0%})"
    title = ax.set_title(f"{label}\n{result}" if label else result, fontsize="medium", loc="left")
    title.set_parse_math(False)
    return figure


def plot_spectrum(table, theory=None, *, noise=None, figure=None):
    """
    Plot the angular power spectrum of a map and of its samples, with theory and noise.

    Power of the samples that is missing in the map is not constrained by the data: where it is most of the power, the
    samples follow the prior.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of `astro_massmap.analysis.angular_power.spectrum_table`.
    theory : callable, optional
        C_ell of an array of ell, such as a `~astro_massmap.PowerSpectrum`.
    noise : `~astropy.units.Quantity`, float or callable, optional
        C_ell of the shape noise: a solid angle, such as ``0.26**2 / (30 / u.arcmin**2)`` for 30 galaxies per square
        arcminute with a shape noise of 0.26 per component, a number in steradian, or a function of ell. The area where
        it exceeds the theory is grey.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into and return; by default a new one.

    Examples
    --------
    >>> import astropy.units as u
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import PowerSpectrum, datasets, plotting
    >>> table = datasets.demo_truth().power_spectrum()
    >>> noise = 0.26**2 / (30 / u.arcmin**2)
    >>> figure = plotting.plot_spectrum(table, PowerSpectrum.default(), noise=noise, figure=Figure())
    >>> [text.get_text() for text in figure.axes[0].get_legend().texts]
    ['map', 'theory', 'shape noise', 'noise > theory']
    """
    low, high, ell, cl, of_samples, lower, upper = (
        np.asarray(table[name], dtype=float) for name in ("low", "high", "ell", "cl", "cl_samples", "lower", "upper")
    )
    low, scale = np.maximum(low, ell / 2), ell * (ell + 1) / (2 * np.pi)
    figure = new_figure(6.4, 5) if figure is None else figure
    ax = plain_axes(figure, r"multipole $\ell$", r"$\ell(\ell+1)\,C_\ell\,/\,2\pi$")
    floor = _smallest_positive(scale * cl, scale * lower, scale * of_samples) / 3
    _boxes(ax, low, high, scale * of_samples, np.maximum(scale * lower, floor), scale * upper, table)
    good = cl > 0
    ax.plot(ell[good], (scale * cl)[good], "o", color=_INK, markersize=_MARKER, label="map")
    x = np.geomspace(np.nanmin(low), np.nanmax(high), 400)
    of_theory, of_noise = (None if f is None else x * (x + 1) / (2 * np.pi) * f(x) for f in (theory, _spectrum(noise)))
    if theory is not None:
        ax.plot(x, of_theory, "--", color=_INK, label="theory")
    if noise is not None:
        ax.plot(x, of_noise, ":", color=_RED, label="shape noise")
    ax.set(xscale="log", yscale="log")
    if noise is not None and theory is not None and (of_noise > of_theory).any():
        where = {"where": of_noise > of_theory, "transform": ax.get_xaxis_transform()}
        ax.fill_between(x, 0, 1, color="0.9", linewidth=0, zorder=0, label="noise > theory", **where)
    ax.set_xlim(x[0], x[-1])
    ax.xaxis.set_minor_locator(require("matplotlib.ticker", "plot").LogLocator(subs=(2, 4)))  # labels do not overlap
    _legend(ax, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, columnspacing=1.2, handlelength=1.6)
    return figure


def _spectrum(noise):
    """Return C_ell of the noise as a function of ell, or None."""
    if noise is None or callable(noise):
        return noise
    level = u.Quantity(noise, u.sr if not hasattr(noise, "unit") else None).to_value(u.sr)
    if np.ndim(level) or not 0 < level < np.inf:
        raise ValueError(f"noise: needs one positive C_ell or a function of ell, got {noise!r}")
    return lambda ell: np.full(np.shape(ell), level)


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
    ax.plot((low + high) / 2, of_map, "o", color=_INK, markersize=_MARKER, label="map", clip_on=False, zorder=3)
    ax.set_yscale("symlog", linthresh=1)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(bottom=0)
    _legend(ax, loc="upper right")
    return figure


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


def _legend(ax, **place):
    named = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    last = ("theory", "shape noise", "noise > theory")
    order = sorted(
        named, key=lambda label: (label != "map", "mean" not in label, label in last and last.index(label) + 1)
    )
    ax.legend([named[label] for label in order], order, frameon=False, **place)
