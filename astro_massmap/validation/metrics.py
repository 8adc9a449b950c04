"""
Metrics of the maps of mock surveys, as functions of sums over mocks.

Mocks are independent of each other, pixels of one mock are not. Every metric is a function f of sums S over mocks, and
its standard error is that of the jackknife, ``(n - 1) <(f(S - s_i) - <f>)^2>`` with the sums s_i of one of n mocks, or
of all mocks with the same truth.

The mean of N samples scatters about the posterior mean with ``v / N``, where v is the variance of the samples. This
scatter is subtracted from the squared error of the mean, its variance and its power.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
from astropy.table import QTable

from ..simulation import band_power, peak_density, smoothed
from . import peak_completeness, summary_covariance
from .peak_completeness import THRESHOLDS, lists_of
from .replicates import grouped, jackknife_replicates, spread
from .sample_metrics import LEVELS, alone, calibration
from .scoring_rules import crps
from .summary_covariance import KINDS, covariance_ratio, moments_of_each, summary_sums, variance_ratio

BANDS = (300, 500, 1000, 2000, 3000, 4500, 7000, 12000, 20000)
BROAD = (300, 4500)
SMOOTHING = np.radians(1 / 60)  # standard deviation, for peaks, one-point densities, coverage, ranks and TARP
_POWER = [f"ell {low} to {high}" for low, high in pairwise(BANDS)]
LABELS = {
    "rmse, data": ["RMSE / Wiener, with data"],
    "rmse, gaps": ["RMSE / Wiener, in gaps"],
    "rmse, smoothed": ["RMSE / Wiener, smoothed"],
    "crps": ["CRPS / Wiener, smoothed"],
    "correlation": ["correlation with truth, with data"],
    "broad power of map": ["power of map / truth, ell {} to {}".format(*BROAD)],
    "power of map": [f"power of map / truth, {band}" for band in _POWER],
    "broad power of samples": ["power of samples / truth, ell {} to {}".format(*BROAD)],
    "power of samples": [f"power of samples / truth, {band}" for band in _POWER],
    "std of map": ["std of map / truth"],
    "std of samples": ["std of samples / truth"],
    "skewness of map": ["skewness of map / truth"],
    "skewness of samples": ["skewness of samples / truth"],
    "distance": ["distance of distributions, samples", "p-value of the distance"],
    "peaks of samples": [f"peaks of samples / truth, above {threshold}" for threshold in THRESHOLDS],
    **peak_completeness.LABELS,
    **summary_covariance.LABELS,
    "coverage, data": [f"coverage of {level:.0%}, with data" for level in LEVELS],
    "coverage, gaps": [f"coverage of {level:.0%}, in gaps" for level in LEVELS],
    "ranks": ["p-value of ranks"],
    "tarp": ["largest deviation of TARP", "p-value of TARP"],
    "mira": ["MIRA score / expected"],
    "seconds": ["seconds a sample, or a map"],
    "evaluations": ["score evaluations, worst chain of a mock"],
    "worst evaluations": ["score evaluations, worst chain of all"],
    "restarts": ["restarts"],
}
_LEAST = 1e-12  # standard deviation of pixels that are the same in all samples
_BINS = 480  # of cumulative distributions


@dataclass
class Metrics:
    """Metrics of one method."""

    values: dict  # values and standard errors by name of the quantity, arrays (k,)
    density: dict  # one-point densities (bins,) of "map" and "samples"
    ranks: QTable | None = None  # of rank_histogram
    balls: QTable | None = None  # of tarp
    replicates: dict = field(default_factory=dict)  # of values by name of the quantity, (n, k)


class Truths:
    """Truths ``(n_mocks, ny, nx)`` with their Wiener maps and masks, and a pixel size in radians, for comparisons."""

    def __init__(self, kappa, wiener, mask, pixel_size):
        self.kappa, self.wiener, self.mask, self.pixel_size = kappa, wiener, mask, pixel_size
        self.smooth = smoothed(kappa, pixel_size, SMOOTHING)
        low, high = self.smooth.min(), self.smooth.max()
        margin = 0.2 * (high - low)
        self.edges = np.linspace(low - margin, high + margin, _BINS + 1)
        step = max(int(SMOOTHING / pixel_size), 1)  # neighbouring pixels of a smoothed map are strongly correlated
        edge = (kappa.shape[-1] - self.smooth.shape[-1]) // 2
        inner = mask[:, edge : mask.shape[1] - edge, edge : mask.shape[2] - edge]
        self.seen = smoothed((~mask).astype(float), pixel_size, SMOOTHING) > 0.5
        self.smooth_wiener = smoothed(wiener, pixel_size, SMOOTHING)
        self.edge = edge
        self.thin = np.s_[..., ::step, ::step]
        self.pixels = {"data": ~inner.any(axis=0)[self.thin], "gaps": inner.all(axis=0)[self.thin]}
        self.density = _density(self.smooth, self.edges)


def measure(truths, maps, samples, diagnostics, *, stds=None, groups=None, seed=0):
    """
    Compare the maps ``(n_mocks, ny, nx)`` of one method with the truths.

    ``samples`` and ``diagnostics`` are lists with an item for each mock; ``samples`` and ``stds``, standard deviations
    of the maps, may be None. Mocks of the same group have the same truth, and are left out together.
    """
    smooth, draws = smoothed(maps, truths.pixel_size, SMOOTHING), None
    made = Metrics({}, {"map": _density(smooth, truths.edges)})
    sums = _of_maps(truths, maps, samples) | {"map moments": _moments(smooth[:, None])}
    if samples is not None:
        draws = np.stack([smoothed(s, truths.pixel_size, SMOOTHING) for s in samples])
        made.density["samples"] = _density(draws, truths.edges)
        values, within, made.ranks, made.balls = calibration(truths, draws, seed)
        made.values |= values
        sums |= within | _of_samples(truths, samples, draws)
    sums = grouped(sums | _of_smoothed(truths, smooth, draws), groups)
    for name, function in _functions(sums, samples).items():
        value, made.replicates[name] = jackknife_replicates(function, sums)
        made.values[name] = value, spread(made.replicates[name])
    stds = _stds(truths, stds, draws)
    lists = lists_of(smooth, truths.smooth, truths.seen, truths.pixel_size, stds, draws, groups)
    for rank, of_rank in lists.items():
        for name, (value, replicates) in of_rank.scores(seed).items():
            made.values[f"{name} by {rank}"] = value, spread(replicates)
            made.replicates[f"{name} by {rank}"] = replicates
    made.values |= _cost(diagnostics, 1 if samples is None else len(samples[0]))
    return made


def _functions(sums, samples):
    """Return the functions of sums by name of the quantity."""
    kept = {name: f for name, f in _FUNCTIONS.items() if samples is not None or "samples" not in name}
    kept |= {name: partial(_mean_over_mocks, name) for name in sums if name.startswith(("coverage", "mira"))}
    for kind in KINDS if samples is not None else ():
        kept[f"covariance of {kind}"] = partial(covariance_ratio, kind)
        kept[f"posterior variance of {kind}"] = partial(variance_ratio, kind)
    return kept


def _stds(truths, stds, draws):
    """Return standard deviations on the pixels of smoothed maps, those of smoothed samples if there are samples."""
    if draws is not None:
        stds = draws.std(axis=1, ddof=1)
    elif stds is not None:
        e = truths.edge
        stds = stds[:, e : stds.shape[1] - e, e : stds.shape[2] - e]
    return None if stds is None else np.maximum(stds, _LEAST)


def least_side(pixel_size):
    """Return the smallest side in pixels of a field of which pixels are left without the border of smoothed maps."""
    return 2 * math.ceil(3 * SMOOTHING / pixel_size) + 3


# ---- sums of each mock


def _of_maps(truths, maps, samples):
    """Return squares, products and power of the maps."""
    kappa, pixel_size = truths.kappa, truths.pixel_size
    scatter = np.zeros(maps.shape) if samples is None else np.stack([s.var(axis=0, ddof=1) / len(s) for s in samples])
    squares = (maps - kappa) ** 2 - scatter, (truths.wiener - kappa) ** 2
    seen = ~truths.mask
    a, b = (_minus_mean(m, seen) for m in (maps, kappa))
    products = np.stack([a * b, a**2 - seen * scatter, b**2], axis=1)
    sums = {"products": products.sum(axis=(2, 3))}
    for where, chosen in (("data", seen), ("gaps", truths.mask)):
        sums[where] = np.stack([(square * chosen).sum(axis=(1, 2)) for square in squares], axis=1)
    for name, edges in (("bands", BANDS), ("broad", BROAD)):
        power = band_power(maps, pixel_size, edges)
        if samples is not None:
            rest = (band_power(s - m, pixel_size, edges).mean(axis=0) for s, m in zip(samples, maps, strict=True))
            power -= np.stack(list(rest)) / (len(samples[0]) - 1)
        sums[f"map {name}"], sums[f"truth {name}"] = power, band_power(kappa, pixel_size, edges)
    return sums


def _of_samples(truths, samples, draws):
    """Return power, moments and peaks of the samples, peaks of the truths, and the scatter of all of them."""
    size = truths.pixel_size
    bands = np.stack([band_power(s, size, BANDS) for s in samples])
    peaks, of_truth = (
        np.stack([peak_density(d, size, THRESHOLDS) for d in draws]),
        peak_density(truths.smooth, size, THRESHOLDS),
    )
    return {
        "sample bands": bands.mean(axis=1),
        "sample broad": np.stack([band_power(s, size, BROAD).mean(axis=0) for s in samples]),
        "sample moments": _moments(draws),
        "sample peaks": peaks.mean(axis=1),
        "truth peaks": of_truth,
        **summary_sums("bands", bands, band_power(truths.kappa, size, BANDS)),
        **summary_sums("peaks", peaks, of_truth),
        **summary_sums("moments", moments_of_each(draws), moments_of_each(truths.smooth)),
    }


def _of_smoothed(truths, smooth, draws):
    """Return moments of the truths and errors of smoothed maps, without the scatter of a finite number of samples."""
    scatter, off = np.zeros(len(smooth)), np.abs(smooth - truths.smooth).mean(axis=(1, 2))
    if draws is not None:
        scatter = draws.var(axis=1, ddof=1).mean(axis=(1, 2)) / draws.shape[1]
        off = crps(draws, truths.smooth)
    wiener = truths.smooth_wiener - truths.smooth
    square = ((smooth - truths.smooth) ** 2).mean(axis=(1, 2)) - scatter
    return {
        "truth moments": _moments(truths.smooth[:, None]),
        "map scatter": scatter,
        "smoothed": np.stack([square, (wiener**2).mean(axis=(1, 2))], axis=1),
        "crps": np.stack([off, np.abs(wiener).mean(axis=(1, 2))], axis=1),
    }


def _moments(draws):
    return np.stack([(draws**k).mean(axis=(1, 2, 3)) for k in range(4)], axis=1)


def _minus_mean(maps, seen):
    mean = (maps * seen).sum(axis=(1, 2)) / seen.sum(axis=(1, 2))
    return (maps - mean[:, None, None]) * seen


def _density(maps, edges):
    return np.histogram(maps, edges)[0] / np.size(maps) / np.diff(edges)


# ---- functions of the sums


def _mean_over_mocks(name, sums):
    return sums[name] / sums["mocks"]


def _variance(moments, scatter=0.0):
    n, first, second, _ = moments
    return second / n - (first / n) ** 2 - scatter / n


def _skewness(moments, scatter=0.0):
    n, first, second, third = moments
    mean = first / n
    return (third / n - 3 * mean * second / n + 2 * mean**3) / _variance(moments, scatter) ** 1.5


_FUNCTIONS = {
    "rmse, data": lambda s: np.sqrt(s["data"][0] / s["data"][1]),
    "rmse, gaps": lambda s: np.sqrt(s["gaps"][0] / s["gaps"][1]),
    "rmse, smoothed": lambda s: np.sqrt(s["smoothed"][0] / s["smoothed"][1]),
    "crps": lambda s: s["crps"][0] / s["crps"][1],
    "correlation": lambda s: s["products"][0] / np.sqrt(s["products"][1] * s["products"][2]),
    "power of map": lambda s: s["map bands"] / s["truth bands"],
    "broad power of map": lambda s: s["map broad"] / s["truth broad"],
    "power of samples": lambda s: s["sample bands"] / s["truth bands"],
    "broad power of samples": lambda s: s["sample broad"] / s["truth broad"],
    "std of map": lambda s: np.sqrt(_variance(s["map moments"], s["map scatter"]) / _variance(s["truth moments"])),
    "std of samples": lambda s: np.sqrt(_variance(s["sample moments"]) / _variance(s["truth moments"])),
    "skewness of map": lambda s: _skewness(s["map moments"], s["map scatter"]) / _skewness(s["truth moments"]),
    "skewness of samples": lambda s: _skewness(s["sample moments"]) / _skewness(s["truth moments"]),
    "peaks of samples": lambda s: s["sample peaks"] / s["truth peaks"],
}


# ---- cost


def _cost(diagnostics, n_samples):
    values = {}
    seconds = [d["wall_time"] / n_samples for d in diagnostics if "wall_time" in d]
    if seconds:
        values["seconds"] = _mean(seconds)
    evaluations = [d["score_evaluations"] for d in diagnostics if "score_evaluations" in d]
    if evaluations:
        values["evaluations"] = _mean(evaluations)
        values["worst evaluations"] = alone(max(evaluations))
    restarts = [d["restarts"] for d in diagnostics if "restarts" in d]
    if restarts:
        values["restarts"] = alone(sum(restarts))
    return values


def _mean(values):
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return np.array([np.mean(values)]), np.array([error])
