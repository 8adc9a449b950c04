"""
Values of statistics on resampled mocks, from which errors of values and of paired differences follow.

Replicates are scaled so that their standard deviation is the standard error. The difference of the replicates of two
methods has the error of the paired difference: what both share in a mock cancels.
"""

import numpy as np


def jackknife(function, sums):
    """Return a function of sums over mocks (a dict of ``(n_mocks, ...)``) and its standard error, NaN for one mock."""
    value, replicates = jackknife_replicates(function, sums)
    return value, spread(replicates)


def jackknife_replicates(function, sums):
    """Return the value ``(k,)`` of a function of sums, and ``(n, k)`` values without each mock, or none of one mock."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = {name: part.sum(axis=0) for name, part in sums.items()}
        value = np.atleast_1d(function(total))
        n = len(next(iter(sums.values())))
        if n < 2:
            return value, np.empty((0, len(value)))
        left = [function({name: total[name] - part[i] for name, part in sums.items()}) for i in range(n)]
        left = np.reshape(left, (n, -1))
        return value, value + np.sqrt(n - 1) * (left - left.mean(axis=0))


def spread(replicates):
    """Return the standard error ``(k,)`` of replicates ``(n, k)``, NaN without replicates."""
    if not len(replicates):
        return np.full(replicates.shape[1], np.nan)
    return np.sqrt(((replicates - replicates.mean(axis=0)) ** 2).mean(axis=0))


def grouped(sums, groups):
    """Return sums over the mocks of each group, ``(n_groups, ...)``, from a dict of those of each mock."""
    if groups is None:
        return sums
    names, which = np.unique(groups, return_inverse=True)
    return {name: np.stack([part[which == i].sum(axis=0) for i in range(len(names))]) for name, part in sums.items()}
