"""
Are the samples of mock surveys right about the truths? Coverage, ranks, TARP and one-point distributions.

p-values come from exchanges. If truth and samples of a mock are alike, any of them might be called the truth: the
statistic of the real choice is compared with those of random choices, one for each mock. The share that is at least
as large is exact, whatever the number of mocks and however the pixels of one depend on each other.
"""

import numpy as np

from .diagnostics import coverage, rank_histogram, tarp

LEVELS = (0.68, 0.9)  # 90 % intervals need 19 samples
_EXCHANGES_OF_DISTANCES, _EXCHANGES_OF_BALLS = 999, 99
_POINTS = 20  # of TARP in each exchange: those of one mock say almost the same


def calibration(truths, draws, seed):
    """
    What the samples of one method say of the truths.

    Parameters
    ----------
    truths : `~astro_massmap.validation.metrics.Truths`
        Of the mocks.
    draws : ndarray
        Samples ``(n_mocks, n_samples, ...)``, smoothed as the truths are.
    seed : int
        Of ties, random points and exchanges.

    Returns
    -------
    values : dict
        By the name of a quantity, its values and their standard errors.
    ranks, balls : `~astropy.table.QTable` or None
        Of `~astro_massmap.validation.diagnostics.rank_histogram` and `~astro_massmap.validation.diagnostics.tarp`.
    """
    values = {"distance": _distance(truths, draws, seed)}
    samples, truth = draws[truths.thin], truths.smooth[truths.thin]
    for where, chosen in truths.places.items():
        if chosen.any():
            table = coverage(samples[..., chosen], truth[..., chosen], LEVELS)
            values[f"coverage, {where}"] = np.array(table["coverage"]), np.array(table["error"])
    ranks, balls = rank_histogram(samples, truth, seed=seed), None
    values["ranks"] = alone(ranks.meta["p_value"])
    if len(truth) > 2:
        balls = tarp(samples, truth, seed=seed)
        values["tarp"] = alone(_farthest(balls), _p_of_tarp(samples, truth, seed))
    return values, ranks, balls


def alone(*values):
    """Numbers that have no standard error."""
    return np.array(values, dtype=float), np.full(len(values), np.nan)


def _exchanged(n_mocks, n_draws, n, seed):
    """Which draw of each mock is called the truth: first the truth itself, then n random choices among all draws."""
    picks = np.random.default_rng([seed, 20]).integers(0, n_draws, (n, n_mocks))
    return np.concatenate([np.zeros((1, n_mocks), dtype=int), picks])


def _p_value(statistics):
    return float((np.array(statistics) >= statistics[0] * (1 - 1e-9) - 1e-12).mean())


def _distance(truths, draws, seed):
    """Largest distance of the cumulative distributions of truths and samples, and its p-value."""
    both = np.concatenate([truths.smooth[:, None], draws], axis=1)
    outer = np.concatenate([[-np.inf], truths.edges[1:-1], [np.inf]])
    shares = np.array([[np.histogram(d, outer)[0] for d in of_mock] for of_mock in both]).cumsum(axis=2)
    shares = shares / truths.smooth[0].size
    total, mocks, statistics = shares.sum(axis=1), np.arange(len(both)), []
    for pick in _exchanged(*both.shape[:2], _EXCHANGES_OF_DISTANCES, seed):
        chosen = shares[mocks, pick]
        rest = (total - chosen) / draws.shape[1]
        statistics.append(np.abs((chosen - rest).mean(axis=0)).max())
    return alone(statistics[0], _p_value(statistics))


def _farthest(table):
    return float(np.abs(table["coverage"] - table["level"]).max())


def _p_of_tarp(samples, truth, seed):
    both = np.concatenate([truth[:, None], samples], axis=1).astype(np.float32)
    mocks, statistics = np.arange(len(both)), []
    for pick in _exchanged(*both.shape[:2], _EXCHANGES_OF_BALLS, seed):
        rest = np.stack([np.delete(d, k, axis=0) for d, k in zip(both, pick, strict=True)])
        statistics.append(_farthest(tarp(rest, both[mocks, pick], n_references=_POINTS, seed=seed)))
    return _p_value(statistics)
