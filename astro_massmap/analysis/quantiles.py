"""
Quantiles and credible intervals of samples, and binomial intervals of probabilities.

The quantile p of n exchangeable samples is at rank p (n + 1) (Weibull): the truth is one more draw from their
distribution and equally likely to have any of the n + 1 ranks, so that it lies below the sample of rank r with the
probability r / (n + 1). The interval between the ranks r and n + 1 - r covers exactly 1 - 2 r / (n + 1). Between two
ranks the quantile is interpolated, which adds at most 0.3 / (n + 1) to the coverage of a Gaussian. Quantiles beyond
the lowest and the highest sample are set to those samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.stats import binom_conf_interval

from .._utils.progress import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from .._utils.typing import Floats

_ROUNDING = 1e-9
_STRIP = 2**28  # bytes of samples in a strip


def quantiles(samples: Any, q: Any, axis: int = 0) -> Floats:
    """Return quantiles of samples along an axis, ``(*q.shape, ...)``; NaN where a sample is NaN."""
    return np.quantile(samples, q, axis=axis, method="weibull")


def interval(samples: Any, level: float, axis: int = 0) -> Floats:
    """Return the central interval of samples along an axis, ``(2, ...)``, with a warning for too few samples."""
    warn_of_few(np.shape(samples)[axis], (1 - level) / 2, f"level={level:g}")
    return quantiles(samples, [(1 - level) / 2, (1 + level) / 2], axis)


def warn_of_few(n: int, tail: float, name: str) -> None:
    """Warn if the probability ``tail`` lies beyond the lowest of n samples: (n + 1) tail < 1."""
    needed = math.ceil(1 / tail - _ROUNDING) - 1
    if n < needed:
        warn(
            f"{name}: needs at least {needed} samples, got {n}; the interval from the lowest to the highest sample is "
            f"returned, which covers {(n - 1) / (n + 1):.0%}",
            stacklevel=4,
        )


def expected_coverage(n: int, level: ArrayLike) -> Floats:
    """Return the coverage of the interval of n samples of a correct posterior: at most (n - 1) / (n + 1)."""
    return np.minimum(level, (n - 1) / (n + 1))


def probability_interval(count: ArrayLike, n: int, level: float) -> Floats:
    """Return the Wilson interval ``(2, ...)`` of the probability of an event in ``count`` of n independent samples."""
    count = np.asarray(count)
    lower, upper = binom_conf_interval(count, n, level, interval="wilson")
    return np.stack([np.minimum(lower, count / n), np.maximum(upper, count / n)])  # exactly 0 and 1 at the ends


def over_samples(statistic: Callable[[Floats], Floats], samples: Floats) -> Floats:
    """Apply a statistic over the samples in strips of rows, so that samples may exceed the memory."""
    rows = max(1, _STRIP // samples[:, 0].nbytes)
    strips = [statistic(np.asarray(samples[:, i : i + rows])) for i in range(0, samples.shape[1], rows)]
    return np.concatenate(strips, axis=-2)
