"""
Completeness of peaks at a fixed fraction of false ones.

Peaks of the truth and of a map are local maxima of the convergence smoothed by 1 arcmin. A peak of the truth is found
if a peak of the map lies within 2.35 arcmin, the full width at half maximum of the smoothing, one to one with the
smallest total separation. Peaks count where more than half of the smoothed pixels have data, and farther than this
radius from the border; others are matched too, but neither they nor their partners count.

The peaks of the maps of all mocks are put in the order of a rank. The completeness is the largest fraction of the
peaks of the truths above a threshold that a list from the top of this order contains, among the lists of which at most
10 % are false, that is, without a peak of the truth above the threshold. The mean purity is that over completeness
from 0 to 1, the area below the curve of purity against completeness, with zero for peaks of the truths that are not
found (average precision). It uses all peaks, and its error is smaller.

Errors are those of a bootstrap over truths: the number of a list is no smooth function of the mocks, as the jackknife
needs. The mocks that are drawn are the same for all methods, so that differences are paired.
"""

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from ..analysis.local_maxima import local_maxima
from ..analysis.matching import assigned

THRESHOLDS = (0.02, 0.04, 0.06)
FALSE, RADIUS = 0.1, np.radians(2.35 / 60)
RANKS = "kappa", "signal to noise", "probability"
_FOUND, _PURITY = f"found at {FALSE:.0%} false", "mean purity"
LABELS = {
    f"{kind} by {rank}": [f"peaks above {t}: {text}, by {rank}" for t in THRESHOLDS]
    for rank in RANKS
    for kind, text in (("completeness", _FOUND), ("purity", _PURITY))
}
_REPLICATES = 400


class Lists:
    """
    Peaks of maps of all mocks with their ranks, and which are true.

    Parameters
    ----------
    ranks : list of array
        Rank of each peak of a map for each threshold, ``(thresholds, n_peaks)``, of each mock.
    true : list of array of bool
        Whether the peak is one of the truth above each threshold, in the same shape.
    counted : list of array of bool
        Whether the peak counts: not if its peak of the truth lies outside of the data.
    n_truth : array
        Number of peaks of the truth above each threshold, ``(n_mocks, thresholds)``.
    groups : sequence, optional
        Name of the truth of each mock.
    """

    def __init__(self, ranks, true, counted, n_truth, groups=None):
        self.rank, self.true, self.counted = (np.concatenate(part, axis=1) for part in (ranks, true, counted))
        mocks = np.arange(len(n_truth)) if groups is None else np.unique(groups, return_inverse=True)[1]
        self.group = np.repeat(mocks, [part.shape[1] for part in ranks])
        self.n_truth = np.stack([n_truth[mocks == i].sum(axis=0) for i in range(mocks.max() + 1)])

    def scores(self, seed):
        """
        Return completeness and mean purity.

        Each is a pair: the value for each threshold, and ``(replicates, thresholds)`` of the bootstrap.
        """
        n = len(self.n_truth)
        drawn = np.random.default_rng([seed, 21]).multinomial(n, np.full(n, 1 / n), _REPLICATES if n > 1 else 0)
        weights = np.concatenate([np.ones((1, n), dtype=int), drawn])
        both = np.stack([self._scores_of(i, weights) for i in range(self.rank.shape[0])], axis=2)
        return {name: (found[0], found[1:]) for name, found in zip(("completeness", "purity"), both, strict=True)}

    def _scores_of(self, i, weights):
        """Return completeness and mean purity above one threshold, ``(2, weights)``."""
        order = np.argsort(-self.rank[i], kind="stable")
        order = order[self.counted[i][order]]
        weight = weights[:, self.group[order]]
        is_true = weight * self.true[i][order]
        true, number = np.cumsum(is_true, axis=1), np.cumsum(weight, axis=1)
        changes = np.diff(self.rank[i][order]) != 0
        last = np.append(np.flatnonzero(changes), len(order) - 1)[: len(order)]  # of the peaks with one rank
        true, number = true[:, last], number[:, last]
        found = np.where(number - true <= FALSE * number, true, 0).max(axis=1, initial=0)
        purity = (np.diff(true, axis=1, prepend=0) * true / np.maximum(number, 1)).sum(axis=1)
        n_truth = weights @ self.n_truth[:, i]
        unknown = np.full((2, len(weights)), np.nan)
        return np.divide([found, purity], n_truth, out=unknown, where=n_truth > 0)


def lists_of(maps, truth, seen, pixel_size, stds=None, draws=None, groups=None):
    """
    Return `Lists` by rank of maps ``(n_mocks, ny, nx)`` and their truths, all smoothed.

    Parameters
    ----------
    maps, truth, seen : array
        Maps, truths, and bools for pixels in which peaks count.
    pixel_size : float
        Side of a pixel in radians.
    stds, draws : array, optional
        Standard deviation of maps ``(n_mocks, ny, nx)``, and samples ``(n_mocks, n, ny, nx)``.
    groups : sequence, optional
        Name of the truth of each mock.
    """
    ranks, true, counted, n_truth = {name: [] for name in RANKS}, [], [], []
    for i, (kappa, sky, known) in enumerate(zip(maps, truth, seen, strict=True)):
        known = known & _inner(kappa.shape, RADIUS / pixel_size)
        places = np.argwhere(_peaks(kappa))
        of_truth = np.argwhere(_peaks(sky))
        heights, inside = sky[tuple(of_truth.T)], known[tuple(of_truth.T)]
        is_true, counts = np.zeros((2, len(THRESHOLDS), len(places)), dtype=bool)
        for j, threshold in enumerate(THRESHOLDS):
            high = heights > threshold
            peak, cluster = _matched(places, of_truth[high], RADIUS / pixel_size)
            is_true[j, peak] = inside[high][cluster]
            counts[j] = known[tuple(places.T)]
            counts[j, peak] = is_true[j, peak]
        true.append(is_true), counted.append(counts)
        n_truth.append([(inside & (heights > threshold)).sum() for threshold in THRESHOLDS])
        height = kappa[tuple(places.T)]
        ranks["kappa"].append(np.tile(height, (len(THRESHOLDS), 1)))
        if stds is not None:
            ratio = height / stds[i][tuple(places.T)]
            ranks["signal to noise"].append(np.tile(ratio, (len(THRESHOLDS), 1)))
        if draws is not None:
            ranks["probability"].append(_probabilities(draws[i], places, height, RADIUS / pixel_size))
    return {name: Lists(of_mocks, true, counted, np.array(n_truth), groups) for name, of_mocks in ranks.items()
            if of_mocks}  # fmt: skip


def _peaks(kappa):
    peaks = local_maxima(kappa)
    peaks[[0, -1]] = peaks[:, [0, -1]] = False
    return peaks


def _inner(shape, radius):
    """Return True for pixels farther from the border than a radius in pixels."""
    y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in shape)
    return np.minimum.outer(y, x) > radius


def _matched(places, others, radius):
    """Return the numbers of the pairs of two lists of positions, one to one."""
    if not (len(places) and len(others)):
        return np.zeros((2, 0), dtype=int)
    near = cKDTree(places).sparse_distance_matrix(cKDTree(others), radius, output_type="ndarray")
    i, j, _ = assigned(near["i"], near["j"], near["v"], min(len(places), len(others)))
    return i, j


def _probabilities(draws, places, height, radius):
    """Return the fraction of samples with a peak near each place, above each threshold; ties by the height."""
    y, x = np.mgrid[-int(radius) : int(radius) + 1, -int(radius) : int(radius) + 1]
    disc = y**2 + x**2 <= radius**2
    peaks = np.stack([np.where(_peaks(draw), draw, -np.inf) for draw in draws])
    highest = np.stack(
        [maximum_filter(p, footprint=disc, mode="constant", cval=-np.inf)[tuple(places.T)] for p in peaks]
    )
    fraction = np.stack([(highest > threshold).mean(axis=0) for threshold in THRESHOLDS])
    return fraction + 0.4 / len(draws) * np.tanh(height / THRESHOLDS[-1])
