"""
Simultaneous credible intervals of several values, and tests of all of them together.

The deviation of a set of values is the largest of the distances from their means in units of their standard deviations
(the sup-t band; Besag et al. 1995 use ranks instead, which are equal for most samples if the values are many). Every
sample is compared with the mean and standard deviation of the others, so that samples and tested values are treated
equally and few samples suffice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from .probability import need_samples
from .quantiles import quantiles

if TYPE_CHECKING:
    from .._utils.typing import Floats


def joint_interval(samples: Floats, level: float) -> Floats:
    """
    Return the intervals of values ``(n_samples, ...)`` that together contain all of them, ``(2, ...)``.

    All have the same half-width in units of the standard deviation of each value. ValueError for fewer samples than
    the level needs, or fewer than three. Values that are not finite in any of the samples are left out.
    """
    n = len(samples)
    need_samples(n, level)
    if n < 3:  # each is compared with the standard deviation of the others
        raise ValueError(f"samples: simultaneous intervals need at least three samples, got {n}")
    mean, std = samples.mean(axis=0), samples.std(axis=0, ddof=1)
    used = np.isfinite(mean) & _varies(mean, std)
    if not used.any():
        return np.stack([mean, mean])
    apart = np.abs(samples - mean)[:, used] / std[used]
    # in closed form from the mean and standard deviation of all: Student t with n - 2 degrees of freedom
    with np.errstate(divide="ignore"):
        left_out = np.sqrt(n * (n - 2) / np.maximum((n - 1) ** 2 / apart**2 - n, 0))
    half = quantiles(left_out.max(axis=1), level) * np.sqrt(1 + 1 / n) * std
    return np.stack([mean - half, mean + half])


def deviation(samples: Floats, tested: Floats) -> float:
    """Return the largest deviation of values ``(m,)`` from samples ``(n_samples, m)`` in standard deviations."""
    mean, std = samples.mean(axis=0), samples.std(axis=0, ddof=1)
    apart = np.abs(tested - mean) / np.where(_varies(mean, std), std, np.inf)
    return float(apart.max() / np.sqrt(1 + 1 / len(samples)))


def count_beyond(samples: Floats, tested: Floats, weights: Floats | None = None) -> int:
    """
    Return the number of samples ``(n_samples, m)`` that deviate at least as much as tested values ``(m,)``.

    With weights ``(m,)`` there are two deviations, that of the weighted mean is the other one. Each has a rank: the
    smaller one counts, and the larger one between equal ones. All n + 1 sets of values are treated equally, so that
    the rank of one more draw is exactly uniform, apart from the few ties of two ranks, for which it is higher.
    """
    everything = np.concatenate([samples, tested[None]])
    mean, std = everything.mean(axis=0), everything.std(axis=0, ddof=1)
    deviations = [np.abs(everything - mean) / np.where(_varies(mean, std), std, np.inf)]
    if weights is not None:
        of_mean = everything @ weights
        deviations.append(np.abs(of_mean - of_mean.mean())[:, None])
    ranks = np.array([rankdata(-each.max(axis=1), method="max") for each in deviations])
    rank = ranks.min(axis=0) + ranks.max(axis=0) / (2 * len(everything))
    return int((rank[:-1] <= rank[-1]).sum())


def _varies(mean, std):
    return std > 1e-12 * np.abs(mean)  # more than by rounding
