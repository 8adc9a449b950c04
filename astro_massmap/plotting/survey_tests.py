"""Figures of checks: calibration on mock surveys, completeness of injected halos, null tests."""

import numpy as np

from .curves import plain_axes
from .style import new_figure, stacked


def plot_calibration(coverage_table, rank_table, tarp_table=None, *, figure=None):
    """
    Plot the coverage, the rank histogram and TARP of samples of mock surveys.

    Parameters
    ----------
    coverage_table, rank_table, tarp_table : `~astropy.table.QTable`
        Tables of `~astro_massmap.validation.diagnostics.coverage`,
        `~astro_massmap.validation.diagnostics.rank_histogram` and `~astro_massmap.validation.diagnostics.tarp`. Error
        bars and the grey band around the expected density are standard errors; dashes are the expected coverage of
        levels that need more samples.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into and return; by default a new one.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import plotting
    >>> from astro_massmap.validation.diagnostics import coverage, rank_histogram
    >>> draws = np.random.default_rng(0).normal(size=(40, 40, 9))
    >>> samples, truth = draws[:, 1:], draws[:, 0]
    >>> figure = plotting.plot_calibration(coverage(samples, truth), rank_histogram(samples, truth), figure=Figure())
    >>> [ax.get_ylabel() for ax in figure.axes]
    ['fraction of truths within', 'density']
    """
    below = stacked(figure)
    figure = new_figure(*((4.5, 7.5) if below else (9, 4))) if figure is None else figure
    left, right = figure.subplots(2, 1) if below else figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", lw=1)
    curves = {"credible intervals": coverage_table, "random points (TARP)": tarp_table}
    for (label, table), color in zip(curves.items(), ("C0", "C1"), strict=True):
        if table is not None:
            error = np.nan_to_num(table["error"])
            left.errorbar(table["level"], table["coverage"], error, fmt="o", ms=3, color=color, label=label)
    few = coverage_table[coverage_table["expected"] < coverage_table["level"] - 1e-9]
    if len(few):
        label = f"expected, {coverage_table.meta['n_samples']} samples"
        left.plot(few["level"], few["expected"], "_", ms=14, color="0.4", label=label)
    left.set(xlabel="level", ylabel="fraction of truths within", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.legend(loc="upper left", frameon=False)
    middle, width = 0.5 * (rank_table["low"] + rank_table["high"]), rank_table["high"] - rank_table["low"]
    right.axhline(1, color="0.6", lw=1)
    right.bar(middle, rank_table["density"], 0.92 * width, color="C0", alpha=0.5)
    error = np.nan_to_num(rank_table["error"])  # standard error, drawn around the expected density
    right.bar(middle, 2 * error, width, bottom=1 - error, color="0.6", alpha=0.4)
    right.set(xlabel="rank of the truth among the samples", ylabel="density", xlim=(0, 1))
    return figure


def plot_reliability(table, *, figure=None):
    """
    Plot the observed fraction of detections against their predicted probability.

    Parameters
    ----------
    table, figure
        Table of `~astro_massmap.validation.diagnostics.reliability`, and figure as for `plot_calibration`.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import plotting
    >>> from astro_massmap.validation.diagnostics import reliability
    >>> p, x = np.random.default_rng(0).random((2, 40, 50))
    >>> plotting.plot_reliability(reliability(p, x < p), figure=Figure()).axes[0].get_xlabel()
    'predicted probability'
    """
    figure = new_figure(4.6, 4.4) if figure is None else figure
    ax = plain_axes(figure, "predicted probability", "observed fraction")
    ax.plot([0, 1], [0, 1], color="0.6", lw=1)
    ax.errorbar(table["claimed"], table["true"], np.nan_to_num(table["error"]), fmt="o", color="C0", ms=4)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure


def plot_completeness(table, *, figure=None):
    """
    Plot the fraction of injected halos that are detected, by mass; dashed at the same positions without a halo.

    Parameters
    ----------
    table, figure
        Table of `~astro_massmap.validation.completeness.completeness`, and figure as for `plot_calibration`.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.table import QTable
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import plotting
    >>> table = QTable({"mass": [0, 1e14] * u.Msun, "completeness": [0.02, 0.9], "lower": [0, 0.8], "upper": [0.1, 1]})
    >>> plotting.plot_completeness(table, figure=Figure()).axes[0].get_ylabel()
    'fraction of halos detected'
    """
    figure = new_figure(5.6, 4) if figure is None else figure
    ax = plain_axes(figure, rf"mass $M_{{200c}}$ [{table['mass'].unit:latex_inline}]", "fraction of halos detected")
    with_halo = table["mass"].value > 0
    mass, detected = table["mass"].value[with_halo], np.array(table["completeness"])
    low, high = (np.abs(np.array(table[side])[with_halo] - detected[with_halo]) for side in ("lower", "upper"))
    ax.errorbar(mass, detected[with_halo], [low, high], fmt="o-", color="C0", ms=4)
    if not with_halo.all():
        ax.axhline(detected[~with_halo][0], color="0.5", lw=1, ls="--")
    ax.set(xscale="log", ylim=(-0.02, 1.05))
    return figure


def plot_b_modes(table, *, figure=None):
    """
    Plot the power of the E and the B mode, in bands of ell, divided by that of randomly rotated galaxies.

    Parameters
    ----------
    table, figure
        Table of `~astro_massmap.validation.null_tests.b_mode_test`, and figure as for `plot_calibration`.

    Examples
    --------
    >>> import astropy.units as u
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import datasets, plotting
    >>> from astro_massmap.validation.null_tests import b_mode_test
    >>> table = b_mode_test(datasets.demo(), 8, pixel_scale=3.2 * u.arcmin).table
    >>> figure = plotting.plot_b_modes(table, figure=Figure())
    >>> [text.get_text() for text in figure.axes[0].get_legend().texts]
    ['E mode', 'B mode']
    """
    figure = new_figure(5.6, 4) if figure is None else figure
    ax = plain_axes(figure, r"multipole $\ell$", "power / noise power")
    ax.axhline(1, color="0.6", lw=1)
    middle = np.sqrt(table["low"] * table["high"])
    for mode, color, shift in (("e", "C0", 0.97), ("b", "C3", 1.03)):
        noise = table[f"{mode}_noise"]
        ratio, error = table[f"{mode}_power"] / noise, table[f"{mode}_noise_std"] / noise
        ax.errorbar(shift * middle, ratio, error, fmt="o", color=color, ms=4, label=f"{mode.upper()} mode")
    ax.set(xscale="log")
    ax.legend(frameon=False)
    return figure
