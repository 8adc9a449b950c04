"""
Coverage, ranks, TARP and one-point distributions of samples of mock surveys.

p-values come from permutations. In a correct posterior the truth and the samples of a mock are exchangeable, and any
of them can serve as the truth: the statistic of the real choice is compared with those of random choices, one per
mock. The fraction at least as large is an exact p-value, for any number of mocks and any correlation of pixels.
"""

import numpy as np

from ..analysis.quantiles import interval
from .diagnostics import rank_histogram, tarp
from .scoring_rules import mira, mira_of_correct_posterior

LEVELS = (0.68, 0.9, 0.95)  # the last two need 19 and 39 samples
_PERMUTATIONS_OF_DISTANCES, _PERMUTATIONS_OF_TARP = 999, 99
_POINTS = 20  # reference points of TARP in each permutation; those of one mock are strongly correlated


def calibration(truths, draws, seed):
    """
    Return distance and p-values (values and errors by name), sums of each mock, and tables of ranks and TARP or None.

    The sums are the fractions of truths within credible intervals, and the MIRA score divided by that expected.
    """
    values, within = {"distance": _distance(truths, draws, seed)}, {"mocks": np.ones(len(draws))}
    samples, truth = draws[truths.thin], truths.smooth[truths.thin]
    for where, chosen in truths.pixels.items():
        if chosen.any():
            within[f"coverage, {where}"] = _within(samples[..., chosen], truth[..., chosen])
    ranks, balls = rank_histogram(samples, truth, seed=seed), None
    values["ranks"] = alone(ranks.meta["p_value"])
    if len(truth) > 2:
        balls = tarp(samples, truth, seed=seed)
        within["mira"] = mira(samples, truth, seed=seed)[:, None] / mira_of_correct_posterior(samples.shape[1])
        values["tarp"] = alone(_farthest(balls), _p_of_tarp(samples, truth, seed))
    return values, within, ranks, balls


def _within(samples, truth):
    """Return the fraction of the truths of each mock within the intervals of maps, ``(n_mocks, levels)``."""
    ends = [interval(samples, level, axis=1) for level in LEVELS]
    return np.stack([((low <= truth) & (truth <= high)).mean(axis=1) for low, high in ends], axis=1)


def alone(*values):
    return np.array(values, dtype=float), np.full(len(values), np.nan)


def _permuted(n_mocks, n_draws, n, seed):
    """Return the draw of each mock that serves as the truth: first the truth itself, then n random draws."""
    picks = np.random.default_rng([seed, 20]).integers(0, n_draws, (n, n_mocks))
    return np.concatenate([np.zeros((1, n_mocks), dtype=int), picks])


def _p_value(statistics):
    return float((np.array(statistics) >= statistics[0] * (1 - 1e-9) - 1e-12).mean())


def _distance(truths, draws, seed):
    """Return the largest distance of the cumulative distributions of truths and samples, and its p-value."""
    both = np.concatenate([truths.smooth[:, None], draws], axis=1)
    outer = np.concatenate([[-np.inf], truths.edges[1:-1], [np.inf]])
    fractions = np.array([[np.histogram(d, outer)[0] for d in of_mock] for of_mock in both]).cumsum(axis=2)
    fractions = fractions / truths.smooth[0].size
    total, mocks, statistics = fractions.sum(axis=1), np.arange(len(both)), []
    for pick in _permuted(*both.shape[:2], _PERMUTATIONS_OF_DISTANCES, seed):
        chosen = fractions[mocks, pick]
        rest = (total - chosen) / draws.shape[1]
        statistics.append(np.abs((chosen - rest).mean(axis=0)).max())
    return alone(statistics[0], _p_value(statistics))


def _farthest(table):
    return float(np.abs(table["coverage"] - table["level"]).max())


def _p_of_tarp(samples, truth, seed):
    both = np.concatenate([truth[:, None], samples], axis=1).astype(np.float32)
    mocks, statistics = np.arange(len(both)), []
    for pick in _permuted(*both.shape[:2], _PERMUTATIONS_OF_TARP, seed):
        rest = np.stack([np.delete(d, k, axis=0) for d, k in zip(both, pick, strict=True)])
        statistics.append(_farthest(tarp(rest, both[mocks, pick], n_references=_POINTS, seed=seed)))
    return _p_value(statistics)
