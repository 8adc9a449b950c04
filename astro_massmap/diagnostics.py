"""
Is a posterior right? Questions to mock surveys whose truths are known.

If a truth and n samples are drawn from the same posterior, the truth is as likely to stand in any place among them:
its rank r, the number of samples below it, is uniform on 0 ... n. Everything here is built on that, so that it is
exact for any number of samples. The truth then lies, in probability, in the interval [r / (n + 1), (r + 1) / (n + 1)];
the share of that interval which overlaps with the central L of [0, 1] has the mean L exactly.

Mock surveys are independent of each other, places within one are not: errors come from the scatter over surveys.
"""

from itertools import pairwise

import numpy as np
from astropy.table import QTable

from ._input import floats
from ._optional import require

__all__ = ["coverage", "plot_calibration", "rank_histogram", "ranks", "reliability", "tarp"]


def ranks(samples, truth, *, seed=0):
    """
    How many samples lie below the truth.

    Parameters
    ----------
    samples : array-like or sequence of ConvergenceMap
        ``(n_surveys, n_samples, ...)``.
    truth : array-like or sequence of ConvergenceMap
        ``(n_surveys, ...)``.
    seed : int
        Ties are broken at random.

    Returns
    -------
    ndarray of int
        ``(n_surveys, n_places)``, from 0 to the number of samples. Places where a number is not finite in any survey
        are left out.

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.diagnostics import ranks
    >>> ranks(np.arange(8.0).reshape(2, 4), np.array([1.5, 9.0])).ravel()
    array([2, 4])
    """
    samples, truth = _paired(samples, truth)
    ties = (samples == truth[:, None]).sum(axis=1)
    return (samples < truth[:, None]).sum(axis=1) + np.random.default_rng(seed).integers(0, ties + 1)


def coverage(samples, truth, levels=(0.68, 0.95), *, seed=0):
    """
    Share of truths within central credible intervals.

    Parameters
    ----------
    samples, truth, seed
        As for `ranks`.
    levels : sequence of float
        Of the intervals.

    Returns
    -------
    `~astropy.table.QTable`
        ``level``, ``coverage`` and its standard ``error`` over surveys (NaN for one). The coverage of a posterior that
        is right is its level, whatever the number of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.diagnostics import coverage
    >>> draws = np.random.default_rng(1).normal(size=(1000, 9))
    >>> table = coverage(draws[:, 1:], draws[:, 0])
    >>> bool(np.all(np.abs(table["coverage"] - table["level"]) < 3 * table["error"]))
    True
    """
    samples, truth = _paired(samples, truth)
    return _within(ranks(samples, truth, seed=seed), samples.shape[1], _levels(levels), central=True)


def rank_histogram(samples, truth, bins=None, *, seed=0):
    """
    How often the truth stands where among the samples.

    Parameters
    ----------
    samples, truth, seed
        As for `ranks`.
    bins : int, optional
        By default as many as samples plus one, 20 at most.

    Returns
    -------
    `~astropy.table.QTable`
        ``low`` and ``high`` (of the place, from 0 to 1), ``density`` (1 everywhere if the posterior is right) and its
        standard ``error`` over surveys.

    Raises
    ------
    ValueError
        If there are no bins.
    """
    samples, truth = _paired(samples, truth)
    n = samples.shape[1]
    bins = min(n + 1, 20) if bins is None else bins
    if bins < 1:
        raise ValueError(f"bins: need at least one, got {bins!r}")
    edges, r = np.linspace(0, 1, bins + 1), ranks(samples, truth, seed=seed)
    shares = [_overlap(r, n, low, high).mean(axis=1) for low, high in pairwise(edges)]
    density, error = _mean_over_surveys(bins * np.array(shares))
    table = QTable({"low": edges[:-1], "high": edges[1:], "density": density, "error": error})
    table.meta["n_samples"] = n
    return table


def tarp(samples, truth, *, n_references=100, seed=0, levels=None):
    """
    Coverage of balls around random points (TARP; Lemos et al. 2023): it sees the correlations of places too.

    The rank of the truth's distance from a random point, among those of the samples, is uniform if the posterior is
    right, as long as the point does not depend on the truth.

    Parameters
    ----------
    samples, truth
        As for `ranks`.
    n_references : int
        Random points for each survey: truths of the other surveys, with normal numbers of their scatter added.
    seed : int
        Of the points.
    levels : sequence of float, optional
        By default 0.1, 0.2, ... 0.9.

    Returns
    -------
    `~astropy.table.QTable`
        ``level``, ``coverage`` (the share of truths closer to the point than that share of the samples) and ``error``.

    Raises
    ------
    ValueError
        If there is only one survey.
    """
    samples, truth = _paired(samples, truth)
    if len(truth) < 2:
        raise ValueError("truth: random points are made from those of other surveys; there is only one")
    rng, scatter = np.random.default_rng(seed), truth.std(axis=0)
    scale = np.where(scatter > 0, scatter, 1)
    r = np.empty((len(truth), n_references), dtype=int)
    for i, (draws, x) in enumerate(zip(samples / scale, truth / scale, strict=True)):
        others = rng.choice(np.delete(np.arange(len(truth)), i), n_references)
        points = truth[others] / scale + rng.normal(size=(n_references, len(x)))
        distance = _distances(points, np.concatenate([x[None], draws]))
        r[i] = (distance[:, 1:] < distance[:, :1]).sum(axis=1)
    levels = np.linspace(0.1, 0.9, 9) if levels is None else levels
    return _within(r, samples.shape[1], _levels(levels), central=False)


def reliability(probability, truth, bins=10):
    """
    Of the claims made with some probability, the share that is true.

    Parameters
    ----------
    probability : array-like
        Of each claim, ``(n_surveys, n_claims)``; NaN for none.
    truth : array-like of bool
        Whether it is true, of the same shape.
    bins : int or array-like
        Number of bins of probability, or their edges.

    Returns
    -------
    `~astropy.table.QTable`
        ``low``, ``high``, ``claimed`` (mean probability of the claims in the bin), ``true`` (share of them), ``error``
        (jackknife over surveys) and ``n``. Bins without claims are left out. From n samples a probability is only known
        to ``sqrt(p (1 - p) / n)``, which moves claims between bins; with few samples the extreme bins suffer.

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree, or probabilities are not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.diagnostics import reliability
    >>> rng = np.random.default_rng(2)
    >>> p = rng.uniform(size=(50, 200))
    >>> table = reliability(p, rng.uniform(size=p.shape) < p, bins=4)
    >>> table["true"].round(1).tolist()
    [0.1, 0.4, 0.6, 0.9]
    """
    probability, truth = floats(probability, "probability"), np.asarray(truth)
    if truth.dtype != bool or truth.shape != probability.shape or truth.ndim != 2:
        raise ValueError(
            f"truth: needs a bool array of the shape (n_surveys, n_claims) of probability {probability.shape}, "
            f"got {truth.dtype} of {truth.shape}"
        )
    if ((probability < 0) | (probability > 1)).any():
        raise ValueError("probability: needs to be between 0 and 1")
    edges = np.linspace(0, 1, bins + 1) if np.ndim(bins) == 0 else np.asarray(bins, dtype=float)
    rows = []
    for low, high in pairwise(edges):
        inside = (probability >= low) & ((probability < high) | ((high == edges[-1]) & (probability == high)))
        n, hits = inside.sum(axis=1), (inside & truth).sum(axis=1)
        if n.sum():
            claimed = probability[inside].mean()
            rows.append((low, high, claimed, hits.sum() / n.sum(), _jackknife_ratio(hits, n), int(n.sum())))
    columns = ("low", "high", "claimed", "true", "error", "n")
    return QTable(rows=rows, names=columns) if rows else QTable(names=columns)


def plot_calibration(coverage_table, rank_table, tarp_table=None, *, figure=None):
    """
    One figure of what `coverage`, `rank_histogram` and `tarp` say.

    Parameters
    ----------
    coverage_table, rank_table, tarp_table : `~astropy.table.QTable`
        Of these functions.
    figure : `~matplotlib.figure.Figure`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
    """
    if figure is None:
        figure = require("matplotlib.pyplot", "plot").figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", lw=1)
    curves = {"credible intervals": coverage_table, "random points (TARP)": tarp_table}
    for (label, table), color in zip(curves.items(), ("C0", "C1"), strict=True):
        if table is not None:
            error = np.nan_to_num(table["error"])
            left.errorbar(table["level"], table["coverage"], error, fmt="o", ms=4, color=color, label=label)
    left.set(xlabel="level", ylabel="share of truths within", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    left.legend(loc="upper left", frameon=False)
    middle, width = 0.5 * (rank_table["low"] + rank_table["high"]), rank_table["high"] - rank_table["low"]
    right.axhline(1, color="0.6", lw=1)
    right.bar(middle, rank_table["density"], 0.92 * width, color="C0", alpha=0.5)
    right.errorbar(middle, rank_table["density"], np.nan_to_num(rank_table["error"]), fmt="none", color="C0")
    right.set(xlabel="place of the truth among the samples", ylabel="density", xlim=(0, 1))
    return figure


# ---- what they share


def _paired(samples, truth):
    """Samples ``(n_surveys, n_samples, n_places)`` and truths ``(n_surveys, n_places)``, finite."""
    if not isinstance(samples, np.ndarray):
        samples = [getattr(s, "samples", s) for s in samples]
        if any(s is None for s in samples):
            raise ValueError("samples: a map is a point estimate; reconstruct it with n_samples > 0")
        if len({np.shape(s) for s in samples}) > 1:
            raise ValueError("samples: all surveys need the same number of samples and of places")
    if not isinstance(truth, np.ndarray):
        truth = [t.data if hasattr(t, "wcs") else t for t in truth]
    samples, truth = floats(samples, "samples"), floats(truth, "truth")
    if samples.ndim < 2 or truth.shape != samples.shape[:1] + samples.shape[2:] or not samples.size:
        raise ValueError(
            f"samples, truth: need the shapes (n_surveys, n_samples, ...) and (n_surveys, ...), got {samples.shape} "
            f"and {truth.shape}"
        )
    samples, truth = samples.reshape(*samples.shape[:2], -1), truth.reshape(len(truth), -1)
    finite = np.isfinite(samples).all(axis=(0, 1)) & np.isfinite(truth).all(axis=0)
    if not finite.any():
        raise ValueError("samples, truth: no place has finite numbers in all surveys")
    return samples[..., finite], truth[:, finite]


def _levels(levels):
    levels = np.atleast_1d(np.asarray(levels, dtype=float))
    if not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"levels: need to be between 0 and 1, got {levels}")
    return levels


def _overlap(r, n, low, high):
    """Share of ``[r, r + 1] / (n + 1)`` that lies in ``[low, high]``."""
    return np.clip(np.minimum(r + 1, high * (n + 1)) - np.maximum(r, low * (n + 1)), 0, 1)


def _within(r, n, levels, *, central):
    bounds = [((1 - q) / 2, (1 + q) / 2) if central else (0, q) for q in levels]
    shares = np.array([_overlap(r, n, *pair).mean(axis=1) for pair in bounds])
    share, error = _mean_over_surveys(shares)
    table = QTable({"level": levels, "coverage": share, "error": error})
    table.meta |= {"n_samples": n, "n_surveys": len(r)}
    return table


def _mean_over_surveys(values):
    n = values.shape[1]
    error = values.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(values), np.nan)
    return values.mean(axis=1), error


def _jackknife_ratio(part, whole):
    n = len(whole)
    left = whole.sum() - whole
    if n < 2 or not (left > 0).all():
        return np.nan
    ratios = (part.sum() - part) / left
    return float(np.sqrt((n - 1) * np.mean((ratios - ratios.mean()) ** 2)))


def _distances(points, places):
    """Squared Euclidean distances ``(n_points, n_places)``."""
    square = (points**2).sum(axis=1)[:, None] + (places**2).sum(axis=1)
    return square - 2 * points @ places.T
