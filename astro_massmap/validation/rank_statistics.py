"""Ranks of truths among samples, permutation tests, and errors over surveys, on plain arrays."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .._io.result_tables import ResultTable, printed

_N_PERMUTATIONS = 999  # a p-value of 0.05 has a standard error of 0.007


def ranks_of(samples, truth, rng):
    ties = (samples == truth[:, None]).sum(axis=1)
    return (samples < truth[:, None]).sum(axis=1) + rng.integers(0, ties + 1)


def ball_ranks(samples, truth, n_references, rng):
    """
    Return the number of samples closer to random points than the truth, ``(n_surveys, n_references)``.

    Points are truths of other surveys plus normal deviates with the scatter of these truths, the unit of distance.
    ValueError for fewer than three surveys.
    """
    if len(truth) < 3:
        raise ValueError(f"truth: needs at least three surveys for the random points, got {len(truth)}")
    r = np.empty((len(truth), n_references), dtype=int)
    for i, (draws, x) in enumerate(zip(samples, truth, strict=True)):
        others = np.delete(truth, i, axis=0)
        scatter = others.std(axis=0)
        scale = np.where(scatter > 0, scatter, 1)
        points = others[rng.integers(len(others), size=n_references)] / scale + rng.normal(size=(n_references, len(x)))
        distance = square_distances(points, np.concatenate([x[None], draws]) / scale)
        r[i] = ranks_of(distance[:, 1:], distance[:, 0], rng)
    return r


def permutation_test(samples, truth, edges, rng):
    """Return chi2 of the rank histogram and its p-value from permutations of truths and samples."""
    n, bins = samples.shape[1], len(edges) - 1
    weights = bins * np.stack([rank_fraction(np.arange(n + 1), n, low, high) for low, high in pairwise(edges)], axis=1)
    density = np.stack([_histogram_of_each(d, t, rng) @ weights for d, t in zip(samples, truth, strict=True)])
    variance = density.var(axis=1).mean(axis=0) / len(truth)  # variance of the mean over surveys
    picks = rng.integers(0, n + 1, (_N_PERMUTATIONS, len(truth)))
    picks = np.concatenate([np.zeros((1, len(truth)), dtype=int), picks])  # the truths themselves
    square = np.stack([(density[np.arange(len(truth)), pick].mean(axis=0) - 1) ** 2 for pick in picks])
    chi2 = np.divide(square, variance, out=np.zeros_like(square), where=variance > 1e-20).sum(axis=1)
    return float(chi2[0]), float((chi2 >= chi2[0] * (1 - 1e-9)).mean())


def _histogram_of_each(samples, truth, rng):
    """Return the fraction of pixels in which each of the truth and the samples has each rank, ``(n + 1, n + 1)``."""
    order = rng.permutation(len(samples) + 1)  # breaks ties at random
    draws = np.concatenate([truth[None], samples])[order]
    rank = np.argsort(np.argsort(draws, axis=0, kind="stable"), axis=0)
    side, counts = len(draws), np.empty((len(draws), len(draws)))
    counts[order] = [np.bincount(row, minlength=side) for row in rank]
    return counts / len(truth)


def rank_fraction(r, n, low, high):
    """Return the fraction of ``[r, r + 1] / (n + 1)`` that lies in ``[low, high]``."""
    return np.clip(np.minimum(r + 1, high * (n + 1)) - np.maximum(r, low * (n + 1)), 0, 1)


def coverage_table(r, n, levels):
    fractions = np.array([rank_fraction(r, n, 0, q).mean(axis=1) for q in levels])
    mean, error = mean_over_surveys(fractions)
    table = ResultTable({"level": levels, "coverage": mean, "error": error})
    table.meta |= {"n_samples": n, "n_surveys": len(r)}
    return printed(table)


def mean_over_surveys(values):
    n = values.shape[1]
    error = values.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.full(len(values), np.nan)
    return values.mean(axis=1), error


def jackknife_ratio(part, whole):
    n = len(whole)
    left = whole.sum() - whole
    if n < 2 or not (left > 0).all():
        return np.nan
    ratios = (part.sum() - part) / left
    return float(np.sqrt((n - 1) * np.mean((ratios - ratios.mean()) ** 2)))


def square_distances(points, others):
    """Return squared Euclidean distances of points ``(n, d)`` from others ``(m, d)``, ``(n, m)``."""
    square = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    return square - 2 * points @ others.T
