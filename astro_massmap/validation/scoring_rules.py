"""
Scores of posterior samples against true values: CRPS, a proper scoring rule, and MIRA, the mean of a calibration test.

The continuous ranked probability score is lowest on average for the true posterior (Gneiting & Raftery 2007, J. Am.
Stat. Assoc. 102, 359), and equals the absolute error for a map without samples. MIRA (Sharief et al. 2026,
arXiv:2605.02014) has a known value for the true posterior, but is no proper score: it is lower for posteriors that are
too narrow or biased, and for those that are too wide higher in one dimension, lower in many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._utils.checks import check_integer
from .diagnostics import paired
from .rank_statistics import ball_ranks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ..maps.convergence_map import ConvergenceMap

__all__ = ["crps", "mira", "mira_of_correct_posterior"]

_STREAM = 260502014


def crps(
    samples: ArrayLike | Sequence[ConvergenceMap], truth: ArrayLike | Sequence[ConvergenceMap]
) -> NDArray[np.float64]:
    """
    Compute the continuous ranked probability score of each mock survey, a mean over its pixels.

    With n samples x and the truth y, it is ``mean |x_j - y| - sum_jk |x_j - x_k| / (2 n (n - 1))``, unbiased for any n.
    For a Gaussian posterior of standard deviation s it is on average s / sqrt(pi).

    Parameters
    ----------
    samples, truth : array-like or sequence of ConvergenceMap
        At least two samples ``(n_surveys, n_samples, ...)`` and the truth ``(n_surveys, ...)`` of each mock survey, as
        for `~astro_massmap.validation.diagnostics.ranks`, also for errors.

    Returns
    -------
    ndarray
        Score of each survey, ``(n_surveys,)``, in the unit of the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.scoring_rules import crps
    >>> draws = np.random.default_rng(1).normal(size=(100, 9, 400))
    >>> print(f"{crps(draws[:, 1:], draws[:, 0]).mean():.2f}, expected {1 / np.sqrt(np.pi):.2f}")
    0.56, expected 0.56
    """
    samples, truth = paired(samples, truth)
    n = samples.shape[1]
    if n < 2:
        raise ValueError(f"samples: need at least two, got {n}")
    weights = (2 * np.arange(n) - n + 1) / (n * (n - 1))
    between = np.einsum("j,ijk->ik", weights, np.sort(samples, axis=1))
    return (np.abs(samples - truth[:, None]).mean(axis=1) - between).mean(axis=1)


def mira(
    samples: ArrayLike | Sequence[ConvergenceMap],
    truth: ArrayLike | Sequence[ConvergenceMap],
    *,
    n_references: int = 100,
    seed: int = 0,
) -> NDArray[np.float64]:
    """
    Compute the MIRA score of each mock survey.

    A random ball ends at one of the samples. With c of the other S - 1 samples inside, its probability is estimated as
    ``(c + 1) / (S + 1)``, and the score is this probability if the truth is inside, otherwise one minus it, divided by
    the largest possible value, ``S / (S + 1)`` (Sharief et al. 2026). Its mean over the S balls around a point follows
    from the number r of samples that are closer to the point than the truth: ``(S + 1) / (2 S) + r (S - r) / S**2``.

    Parameters
    ----------
    samples, truth, n_references, seed
        As for `~astro_massmap.validation.diagnostics.tarp`, of which the random points are, also for errors.

    Returns
    -------
    ndarray
        Score of each survey, ``(n_surveys,)``, the mean over the points; for a correct posterior
        `mira_of_correct_posterior` on average.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.validation.scoring_rules import mira, mira_of_correct_posterior
    >>> draws = np.random.default_rng(2).normal(size=(400, 9, 4))
    >>> score = mira(draws[:, 1:], draws[:, 0], n_references=10)
    >>> print(f"{score.mean():.2f}, expected {mira_of_correct_posterior(8):.2f}")
    0.71, expected 0.71
    """
    samples, truth = paired(samples, truth)
    check_integer(n_references, "n_references", 1)
    n = samples.shape[1]
    r = ball_ranks(samples, truth, n_references, np.random.default_rng([seed, _STREAM]))
    return ((n + 1) / (2 * n) + r * (n - r) / n**2).mean(axis=1)


def mira_of_correct_posterior(n_samples: int) -> float:
    """
    Return the mean of the MIRA score of samples of the true posterior, ``(2 S + 1) / (3 S)``.

    It is 2/3 for many samples, the value of Sharief et al. (2026).

    Examples
    --------
    >>> from astro_massmap.validation.scoring_rules import mira_of_correct_posterior
    >>> print(f"{mira_of_correct_posterior(19):.3f}")
    0.684
    """
    return (2 * n_samples + 1) / (3 * n_samples)
