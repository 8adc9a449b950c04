"""
Calibration tests of posterior samples on mock surveys with known truths.

If a truth and n samples are drawn from the same posterior, the rank r of the truth, the number of samples below it, is
uniform on 0 ... n (Cook, Gelman & Rubin 2006; Talts et al. 2018). `coverage` evaluates the intervals that maps return,
which end at the lowest and the highest sample where a level needs more samples. `rank_histogram`, `tarp` and
`reliability` are exact for any number of samples: a rank stands for the interval ``[r / (n + 1), (r + 1) / (n + 1)]``
of probability. The n + 1 intervals are equally likely and tile [0, 1], so that the fraction of the interval in a part
of [0, 1] of the length L is on average ``sum_r 1 / (n + 1) * |interval_r and part| / (1 / (n + 1)) = L``.

Mock surveys are independent of each other, pixels within one are not: errors come from the scatter over surveys.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .._io.quantities import floats
from .._io.result_tables import ResultTable, printed
from .._utils.checks import check_integer
from ..analysis.quantiles import expected_coverage, interval
from .rank_statistics import (
    ball_ranks,
    coverage_table,
    jackknife_ratio,
    mean_over_surveys,
    permutation_test,
    rank_fraction,
    ranks_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.table import QTable
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Floats
    from ..maps.convergence_map import ConvergenceMap

__all__ = ["coverage", "rank_histogram", "ranks", "reliability", "tarp"]

_MOST_BINS = 20
_STREAM = 230203026


def ranks(
    samples: ArrayLike | Sequence[ConvergenceMap], truth: ArrayLike | Sequence[ConvergenceMap], *, seed: int = 0
) -> NDArray[np.int64]:
    """
    Count the samples below the truth.

    Parameters
    ----------
    samples, truth : array-like or sequence of ConvergenceMap
        Samples ``(n_surveys, n_samples, ...)`` and truth ``(n_surveys, ...)`` of each mock survey. Pixels with a
        non-finite value in any survey are left out.
    seed : int
        Seed of the random order of ties.

    Returns
    -------
    ndarray of int
        Ranks from 0 to the number of samples, ``(n_surveys, n_pixels)``.

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree, maps have no samples, or no pixel is left.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import ranks
    >>> ranks(np.arange(8.0).reshape(2, 4), np.array([1.5, 9.0])).ravel()
    array([2, 4])
    """
    return ranks_of(*paired(samples, truth), _generator(seed))


def coverage(
    samples: ArrayLike | Sequence[ConvergenceMap],
    truth: ArrayLike | Sequence[ConvergenceMap],
    levels: Sequence[float] = (0.68, 0.95),
) -> QTable:
    """
    Compute the fraction of truths within the central credible intervals that maps return (``lower`` to ``upper``).

    Parameters
    ----------
    samples, truth, levels
        See `ranks`, also for errors, and levels of the intervals, between 0 and 1. A warning names levels that need
        more samples.

    Returns
    -------
    `~astropy.table.QTable`
        ``level``, ``coverage``, its standard ``error`` over surveys (NaN for one), and ``expected``, the coverage of a
        correct posterior: the level, or (n - 1) / (n + 1) for n samples if that is smaller. It is exact where
        (n + 1) (1 - level) / 2 is an integer; elsewhere interpolation adds at most 0.3 / (n + 1) for a Gaussian.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import coverage
    >>> draws = np.random.default_rng(1).normal(size=(1000, 40))
    >>> coverage(draws[:, 1:], draws[:, 0])["coverage"].round(2).tolist()
    [0.68, 0.96]
    """
    (samples, truth), levels = paired(samples, truth), _levels(levels)
    n, ends = samples.shape[1], (interval(samples, level, axis=1) for level in levels)
    mean, error = mean_over_surveys(np.array([((low <= truth) & (truth <= high)).mean(axis=1) for low, high in ends]))
    table = ResultTable({"level": levels, "coverage": mean, "error": error, "expected": expected_coverage(n, levels)})
    table.meta |= {"n_samples": n, "n_surveys": len(truth)}
    return printed(table)


def rank_histogram(
    samples: ArrayLike | Sequence[ConvergenceMap],
    truth: ArrayLike | Sequence[ConvergenceMap],
    bins: int | None = None,
    *,
    seed: int = 0,
) -> QTable:
    """
    Bin the rank of the truth among the samples (simulation-based calibration).

    Parameters
    ----------
    samples, truth, seed
        See `ranks`, also for errors; the seed is also that of the permutations.
    bins : int, optional
        Number of bins; by default one more than samples, 20 at most.

    Returns
    -------
    `~astropy.table.QTable`
        ``low`` and ``high`` (ranks scaled to 0 to 1), ``density`` (1 everywhere for a correct posterior) and its
        standard ``error`` over surveys. In ``meta``, ``chi2`` of the densities and its ``p_value``: the fraction of the
        histogram and 999 permutations with at least this chi2. A permutation exchanges the truth of each survey with a
        random one of its draws. The p-value is exact for any number of surveys and any correlation of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import rank_histogram
    >>> rng = np.random.default_rng(1)
    >>> too_narrow = rank_histogram(0.5 * rng.normal(size=(1000, 9)), rng.normal(size=1000), bins=5)
    >>> too_narrow["density"].round(1).tolist(), too_narrow.meta["p_value"]
    ([1.7, 0.5, 0.5, 0.6, 1.6], 0.001)
    """
    samples, truth = paired(samples, truth)
    n = samples.shape[1]
    bins = min(n + 1, _MOST_BINS) if bins is None else _positive_integer(bins, "bins")
    rng, edges = _generator(seed), np.linspace(0, 1, bins + 1)
    r = ranks_of(samples, truth, rng)
    fractions = [rank_fraction(r, n, low, high).mean(axis=1) for low, high in pairwise(edges)]
    density, error = mean_over_surveys(bins * np.array(fractions))
    table = ResultTable({"low": edges[:-1], "high": edges[1:], "density": density, "error": error})
    chi2, p_value = permutation_test(samples, truth, edges, rng)
    table.meta |= {"n_samples": n, "n_surveys": len(truth), "chi2": chi2, "p_value": p_value}
    return printed(table)


def tarp(
    samples: ArrayLike | Sequence[ConvergenceMap],
    truth: ArrayLike | Sequence[ConvergenceMap],
    *,
    n_references: int = 100,
    seed: int = 0,
    levels: Sequence[float] | None = None,
) -> QTable:
    """
    Compute the coverage of credible balls around random points (TARP; Lemos et al. 2023).

    TARP tests correlations of pixels too. The rank of the distance of the truth from a random point, among the
    distances of the samples, is uniform for a correct posterior, as long as the point depends neither on the truth nor
    on the samples.

    Parameters
    ----------
    samples, truth, seed
        See `ranks`, also for errors; at least three surveys. The seed is that of the random points.
    n_references : int
        Number of random points per survey: truths of other surveys, plus normal deviates with the scatter of these
        truths, which is also the unit of distance.
    levels : sequence of float, optional
        Credible levels; by default 0.1, 0.2, ... 0.9.

    Returns
    -------
    `~astropy.table.QTable`
        ``level``, ``coverage`` (the fraction of truths closer to the point than that fraction of the samples) and its
        ``error``.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import tarp
    >>> draws = np.random.default_rng(2).normal(size=(500, 9, 4))
    >>> tarp(draws[:, 1:], draws[:, 0], n_references=10, levels=[0.5, 0.9])["coverage"].round(2).tolist()
    [0.5, 0.89]
    """
    samples, truth = paired(samples, truth)
    levels = _levels(np.linspace(0.1, 0.9, 9) if levels is None else levels)
    _positive_integer(n_references, "n_references")
    r = ball_ranks(samples, truth, n_references, _generator(seed))
    return coverage_table(r, samples.shape[1], levels)


def reliability(
    probability: ArrayLike, truth: ArrayLike, bins: ArrayLike = 10, *, n_samples: int | None = None
) -> QTable:
    """
    Compare predicted probabilities of events with the fraction of the events that are true.

    From n samples, a probability is known only to ``sqrt(p (1 - p) / n)``. Even for a correct posterior, this makes
    predictions too low in the first bin and too high in the last. With ``n_samples`` the comparison is exact: if an
    event occurs in k of n samples and its truth t is 0 or 1, the truth is equally likely to be any of the K = k + t
    occurrences among n + 1 draws, so that a fraction ``K / (n + 1)`` of the events with this K is true. This fraction
    replaces k / n.

    Parameters
    ----------
    probability, truth : array-like
        Predicted probability of each event (NaN for none), and True for events in the truth, ``(n_surveys, n_events)``.
    bins : int or array-like
        Number of bins of probability, or their edges, outside of which events are left out.
    n_samples : int, optional
        Number of samples from which the probabilities are computed; by default they are taken as exact.

    Returns
    -------
    `~astropy.table.QTable`
        ``low``, ``high``, ``claimed`` (mean predicted probability in the bin), ``true`` (fraction of true events),
        ``error`` (jackknife over surveys) and ``n``. Empty bins are left out.

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree, probabilities are not between 0 and 1 or not multiples of 1 / ``n_samples``, or bins do
        not increase.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import reliability
    >>> p, x = np.random.default_rng(2).uniform(size=(2, 50, 200))
    >>> reliability(p, x < p, bins=4)["true"].round(1).tolist()
    [0.1, 0.4, 0.6, 0.9]
    """
    probability, truth = floats(probability, "probability"), np.asarray(truth)
    if truth.dtype != bool or truth.shape != probability.shape or truth.ndim != 2:
        raise ValueError(
            f"truth: needs a bool array (n_surveys, n_events) of the shape of probability, {probability.shape}, "
            f"got {truth.dtype} of shape {truth.shape}"
        )
    if ((probability < 0) | (probability > 1)).any():
        low, high = np.nanmin(probability), np.nanmax(probability)
        raise ValueError(f"probability: needs to be between 0 and 1, got values from {low:g} to {high:g}")
    if n_samples is not None:
        probability = _with_truth(probability, truth, _positive_integer(n_samples, "n_samples"))
    edges = _edges(bins)
    rows = []
    for low, high in pairwise(edges):
        inside = (probability >= low) & ((probability < high) | ((high == edges[-1]) & (probability == high)))
        n, hits = inside.sum(axis=1), (inside & truth).sum(axis=1)
        if n.sum():
            claimed = probability[inside].mean()
            rows.append((low, high, claimed, hits.sum() / n.sum(), jackknife_ratio(hits, n), int(n.sum())))
    columns = ("low", "high", "claimed", "true", "error", "n")
    table = ResultTable(rows=rows, names=columns) if rows else ResultTable(names=columns)
    table.meta |= {"n_samples": n_samples, "n_surveys": len(truth)}
    return printed(table)


# ---- helpers


def paired(samples: Any, truth: Any) -> tuple[Floats, Floats]:
    """Return samples ``(n_surveys, n_samples, n_pixels)`` and truths ``(n_surveys, n_pixels)``, finite."""
    if not isinstance(samples, np.ndarray):
        samples = [getattr(s, "samples", s) for s in samples]
        if any(s is None for s in samples):
            raise ValueError("samples: need maps with samples, got a point estimate; reconstruct it with n_samples > 0")
        if len(shapes := {np.shape(s) for s in samples}) > 1:
            raise ValueError(f"samples: need the same number of samples and pixels in all surveys, got {shapes}")
    if not isinstance(truth, np.ndarray):
        truth = [t.data if hasattr(t, "wcs") else t for t in truth]
    samples, truth = floats(samples, "samples", dtype=None), floats(truth, "truth")
    if samples.ndim < 2 or truth.shape != samples.shape[:1] + samples.shape[2:] or not samples.size:
        raise ValueError(
            f"samples, truth: need the shapes (n_surveys, n_samples, ...) and (n_surveys, ...), got {samples.shape} "
            f"and {truth.shape}"
        )
    samples, truth = samples.reshape(*samples.shape[:2], -1), truth.reshape(len(truth), -1)
    finite = np.isfinite(samples).all(axis=(0, 1)) & np.isfinite(truth).all(axis=0)
    if not finite.any():
        raise ValueError("samples, truth: need at least one pixel with finite values in all surveys, got none")
    return samples[..., finite], truth[:, finite]


def _generator(seed):
    """Return a generator unlike `default_rng(seed)`, which may have made the mock surveys."""
    return np.random.default_rng([seed, _STREAM])


def _positive_integer(value, name):
    check_integer(value, name, 1)
    return int(value)


def _edges(bins):
    edges = np.linspace(0, 1, _positive_integer(bins, "bins") + 1) if np.ndim(bins) == 0 else floats(bins, "bins")
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"bins: needs at least two increasing edges, got {edges}")
    return edges


def _with_truth(probability: Floats, truth: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """Return K / (n + 1), the truth counted among the samples."""
    count = np.rint(n * probability)
    if (np.abs(count - n * probability) > 1e-3).any():  # NaN passes
        raise ValueError(f"n_samples: needs probabilities that are multiples of 1 / n_samples, got n_samples={n}")
    return (count + truth) / (n + 1)


def _levels(levels):
    levels = np.atleast_1d(np.asarray(levels, dtype=float))
    if not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"levels: need to be between 0 and 1, got {levels}")
    return levels
