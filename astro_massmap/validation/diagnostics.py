"""
Is a posterior right? Questions to mock surveys whose truths are known.

If a truth and n samples are drawn from the same posterior, the truth is as likely to stand in any place among them:
its rank r, the number of samples below it, is uniform on 0 ... n (Cook, Gelman & Rubin 2006; Talts et al. 2018).
`coverage` evaluates the intervals that maps return, which end at the lowest and the highest sample where a level needs
more samples than there are. `rank_histogram`, `tarp` and `reliability` are exact for any number of samples: a rank
stands for the interval ``[r / (n + 1), (r + 1) / (n + 1)]`` of probability. These n + 1 intervals are equally likely
and tile [0, 1], so that the fraction of the interval which lies in a part of [0, 1] of the length L is L on average:

``<fraction> = sum_r 1 / (n + 1) * |interval_r and part| / (1 / (n + 1)) = sum_r |interval_r and part| = L``.

Mock surveys are independent of each other, places within one are not: errors come from the scatter over surveys.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable

from .._io.quantities import floats
from .._utils.checks import check_integer
from ..analysis.quantiles import expected_coverage, interval
from .rank_statistics import (
    coverage_table,
    exchange_test,
    jackknife_ratio,
    mean_over_surveys,
    ranks_of,
    share_of_ranks,
    square_distances,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        If shapes do not agree, maps have no samples, or no place is left.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import ranks
    >>> ranks(np.arange(8.0).reshape(2, 4), np.array([1.5, 9.0])).ravel()
    array([2, 4])
    """
    return ranks_of(*_paired(samples, truth), _generator(seed))


def coverage(
    samples: ArrayLike | Sequence[ConvergenceMap],
    truth: ArrayLike | Sequence[ConvergenceMap],
    levels: Sequence[float] = (0.68, 0.95),
) -> QTable:
    """
    Fraction of truths within the central credible intervals that maps return (``lower`` to ``upper``).

    Parameters
    ----------
    samples, truth
        As for `ranks`.
    levels : sequence of float
        Levels of the intervals. A warning names those that need more samples.

    Returns
    -------
    `~astropy.table.QTable`
        ``level``, ``coverage``, its standard ``error`` over surveys (NaN for one), and ``expected``, the coverage
        of a correct posterior: the level, or (n - 1) / (n + 1) if that is less, the coverage from the lowest to the
        highest of n samples. It is exact where (n + 1) (1 - level) / 2 is an integer; elsewhere the interpolation
        between samples adds at most 0.3 / (n + 1) for a Gaussian.

    Raises
    ------
    TypeError, ValueError
        As for `ranks`, or if a level is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import coverage
    >>> draws = np.random.default_rng(1).normal(size=(1000, 40))
    >>> table = coverage(draws[:, 1:], draws[:, 0])
    >>> bool(np.all(np.abs(table["coverage"] - table["level"]) < 3 * table["error"]))
    True
    """
    (samples, truth), levels = _paired(samples, truth), _levels(levels)
    n, ends = samples.shape[1], (interval(samples, level, axis=1) for level in levels)
    share, error = mean_over_surveys(np.array([((low <= truth) & (truth <= high)).mean(axis=1) for low, high in ends]))
    table = QTable({"level": levels, "coverage": share, "error": error, "expected": expected_coverage(n, levels)})
    table.meta |= {"n_samples": n, "n_surveys": len(truth)}
    return table


def rank_histogram(
    samples: ArrayLike | Sequence[ConvergenceMap],
    truth: ArrayLike | Sequence[ConvergenceMap],
    bins: int | None = None,
    *,
    seed: int = 0,
) -> QTable:
    """
    How often the truth stands where among the samples.

    Parameters
    ----------
    samples, truth
        As for `ranks`.
    bins : int, optional
        By default as many as samples plus one, 20 at most.
    seed : int
        Of ties, and of the exchanges behind the p-value.

    Returns
    -------
    `~astropy.table.QTable`
        ``low`` and ``high`` (of the place, from 0 to 1), ``density`` (1 everywhere if the posterior is right) and its
        standard ``error`` over surveys. In ``meta``, ``chi2`` of the densities and its ``p_value``: the share of 1000
        histograms with as large a chi2, where a random one of the samples stands in for the truth of each survey, the
        truth being one of its samples. If the posterior is right these are alike, so that it is exact for any number
        of surveys and however places depend on each other.

    Raises
    ------
    TypeError, ValueError
        As for `ranks`, or if there are no bins.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import rank_histogram
    >>> rng = np.random.default_rng(1)
    >>> too_narrow = rank_histogram(0.5 * rng.normal(size=(1000, 9)), rng.normal(size=1000), bins=5)
    >>> too_narrow["density"].round(1).tolist()
    [1.7, 0.5, 0.5, 0.6, 1.6]
    >>> too_narrow.meta["p_value"]
    0.001
    """
    samples, truth = _paired(samples, truth)
    n = samples.shape[1]
    bins = min(n + 1, _MOST_BINS) if bins is None else _positive_integer(bins, "bins")
    rng, edges = _generator(seed), np.linspace(0, 1, bins + 1)
    r = ranks_of(samples, truth, rng)
    shares = [share_of_ranks(r, n, low, high).mean(axis=1) for low, high in pairwise(edges)]
    density, error = mean_over_surveys(bins * np.array(shares))
    table = QTable({"low": edges[:-1], "high": edges[1:], "density": density, "error": error})
    chi2, p_value = exchange_test(samples, truth, edges, rng)
    table.meta |= {"n_samples": n, "n_surveys": len(truth), "chi2": chi2, "p_value": p_value}
    return table


def tarp(
    samples: ArrayLike | Sequence[ConvergenceMap],
    truth: ArrayLike | Sequence[ConvergenceMap],
    *,
    n_references: int = 100,
    seed: int = 0,
    levels: Sequence[float] | None = None,
) -> QTable:
    """
    Coverage of balls around random points (TARP; Lemos et al. 2023): it sees the correlations of places too.

    The rank of the truth's distance from a random point, among those of the samples, is uniform if the posterior is
    right, as long as the point depends neither on the truth nor on the samples.

    Parameters
    ----------
    samples, truth
        As for `ranks`.
    n_references : int
        Random points for each survey: truths of other surveys, plus normal numbers of the scatter of these truths,
        by which distances are measured too.
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
    TypeError, ValueError
        As for `coverage`, or if there are fewer than three surveys.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import tarp
    >>> draws = np.random.default_rng(2).normal(size=(500, 9, 4))
    >>> table = tarp(draws[:, 1:], draws[:, 0], n_references=10)
    >>> bool(np.all(np.abs(table["coverage"] - table["level"]) < 3 * table["error"]))
    True
    """
    samples, truth = _paired(samples, truth)
    levels = _levels(np.linspace(0.1, 0.9, 9) if levels is None else levels)
    _positive_integer(n_references, "n_references")
    if len(truth) < 3:
        raise ValueError(f"truth: random points are made from those of two other surveys; there are only {len(truth)}")
    rng = _generator(seed)
    r = np.empty((len(truth), n_references), dtype=int)
    for i, (draws, x) in enumerate(zip(samples, truth, strict=True)):
        others = np.delete(truth, i, axis=0)
        scatter = others.std(axis=0)
        scale = np.where(scatter > 0, scatter, 1)
        points = others[rng.integers(len(others), size=n_references)] / scale + rng.normal(size=(n_references, len(x)))
        distance = square_distances(points, np.concatenate([x[None], draws]) / scale)
        r[i] = ranks_of(distance[:, 1:], distance[:, 0], rng)
    return coverage_table(r, samples.shape[1], levels)


def reliability(
    probability: ArrayLike, truth: ArrayLike, bins: ArrayLike = 10, *, n_samples: int | None = None
) -> QTable:
    """
    Of the claims made with some probability, the share that is true.

    From n samples, a probability is only known to ``sqrt(p (1 - p) / n)``. That alone makes the claims in the first
    bin too shy and those in the last too bold, however right the posterior. With ``n_samples`` the comparison is exact:
    if k of the n samples say yes, and the truth t is 0 or 1, then t is as likely to be any of the K = k + t ones among
    n + 1, so that among claims of one K the share that is true is ``K / (n + 1)``. That takes the place of k / n.

    Parameters
    ----------
    probability : array-like
        Of each claim, ``(n_surveys, n_claims)``; NaN for none.
    truth : array-like of bool
        Whether it is true, of the same shape.
    bins : int or array-like
        Number of bins of probability, or their edges, beyond which claims are left out.
    n_samples : int, optional
        Of which the probabilities are shares; without it they are taken for exact.

    Returns
    -------
    `~astropy.table.QTable`
        ``low``, ``high``, ``claimed`` (mean probability of the claims in the bin), ``true`` (share of them), ``error``
        (jackknife over surveys) and ``n``. Bins without claims are left out.

    Raises
    ------
    TypeError, ValueError
        If shapes do not agree, probabilities are not between 0 and 1 or no shares of ``n_samples``, or bins do not
        increase.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.diagnostics import reliability
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
    table = QTable(rows=rows, names=columns) if rows else QTable(names=columns)
    table.meta |= {"n_samples": n_samples, "n_surveys": len(truth)}
    return table


# ---- what they share


def _paired(samples: Any, truth: Any) -> tuple[Floats, Floats]:
    """Samples ``(n_surveys, n_samples, n_places)`` and truths ``(n_surveys, n_places)``, finite."""
    if not isinstance(samples, np.ndarray):
        samples = [getattr(s, "samples", s) for s in samples]
        if any(s is None for s in samples):
            raise ValueError("samples: a map is a point estimate; reconstruct it with n_samples > 0")
        if len({np.shape(s) for s in samples}) > 1:
            raise ValueError("samples: all surveys need the same number of samples and of places")
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
        raise ValueError("samples, truth: no place has finite numbers in all surveys")
    return samples[..., finite], truth[:, finite]


def _generator(seed):
    """Not `default_rng(seed)`: that may have made the mock surveys, whose numbers must not be met again here."""
    return np.random.default_rng([seed, _STREAM])


def _positive_integer(value, name):
    check_integer(value, name, 1)
    return int(value)


def _edges(bins):
    edges = np.linspace(0, 1, _positive_integer(bins, "bins") + 1) if np.ndim(bins) == 0 else floats(bins, "bins")
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"bins: edges need to increase, and to be at least two, got {edges}")
    return edges


def _with_truth(probability: Floats, truth: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """K / (n + 1), the truth counted among the samples."""
    count = np.rint(n * probability)
    if (np.abs(count - n * probability) > 1e-3).any():  # NaN passes
        raise ValueError(f"n_samples: the probabilities are not shares of {n} samples")
    return (count + truth) / (n + 1)


def _levels(levels):
    levels = np.atleast_1d(np.asarray(levels, dtype=float))
    if not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"levels: need to be between 0 and 1, got {levels}")
    return levels
