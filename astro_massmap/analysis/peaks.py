"""
Peaks of a map: positions, probabilities from the samples, counts, and matching with clusters.

A peak is a pixel that is higher than its eight neighbours, or than those that exist on the edge of a map; a plateau
counts once, as for `local_maxima`. Its position is the maximum of a parabola along each axis. Smoothing by a Gaussian G
is normalised within the field F (1 inside, 0 outside), ``kappa_s = G * (F kappa) / (G * F)``. All functions take
arrays and a WCS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from .._io.quantities import checked_level, floats
from .._io.result_tables import ResultTable, printed
from .._sky.geometry import local_steps, pixel_scale, to_angle
from .local_maxima import local_maxima, subpixel
from .matching import Matches, match_clusters
from .quantiles import interval
from .region_means import add_probability, checked_maps
from .smoothing import smoother

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import Bools, Floats

__all__ = ["Matches", "find_peaks", "local_maxima", "match_clusters", "peak_counts"]

_LEVEL = 0.68  # level of the interval of peak counts


def find_peaks(
    mean: Floats,
    samples: Floats | None,
    std: Floats | None,
    wcs: WCS,
    mask: Bools,
    threshold: float,
    *,
    smoothing: u.Quantity | None = None,
    radius: u.Quantity = 1.5 * u.arcmin,
    level: float = 0.68,
) -> QTable:
    """
    Find peaks of a map, the fraction of samples with a peak at the same position, and the errors of this position.

    Parameters
    ----------
    mean, samples, wcs, mask
        As for `~astro_massmap.analysis.detection.region_statistics`; ``samples`` may be None.
    std : ndarray or None
        Standard deviation ``(ny, nx)``.
    threshold : float
        Convergence that peaks exceed, in the map and in the samples.
    smoothing : `~astropy.units.Quantity`, optional
        Standard deviation of a Gaussian by which map and samples are smoothed first.
    radius : `~astropy.units.Quantity`
        Largest separation of a peak of a sample from the same peak of the map; of several, the nearest is used.
    level : float
        Level of the interval of the probability.

    Returns
    -------
    `~astropy.table.QTable`
        Peaks, highest first: ``center``, ``kappa``, ``probability`` with its Wilson interval ``lower`` to ``upper`` for
        ``n_samples`` samples taken as independent (NaN without samples), ``measured``, ``correlation``,
        ``signal_to_noise``, ``std_east`` and ``std_north``. The noise is ``std``; without ``std`` or with smoothing,
        the standard deviation of the (smoothed) samples, NaN for fewer than two. The errors of ``center`` are
        ``std_east`` and ``std_north`` in arcsec, with their ``correlation``, over the samples that have the peak (NaN
        for fewer than two). They cannot exceed ``radius``, and are too small in samples with many peaks within it:
        smooth such samples, or use `~astro_massmap.analysis.offsets.peak_offset`.

        A peak is ``measured`` if its pixel has data, or if the fraction of pixels with data around it, weighted by the
        Gaussian of ``smoothing`` or of one pixel if that is wider, is at least half of the median of this fraction
        over the pixels with data. One empty pixel inside a measured area thus counts as measured, a gap does not.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.peaks import find_peaks
    >>> truth = datasets.demo_truth()
    >>> print(find_peaks(truth.data, None, None, truth.wcs, truth.mask, 0.1)["kappa"][:2].round(3))
    [0.154 0.14 ]
    """
    level, threshold, radius = checked_level(level), _number(threshold, "threshold"), to_angle(radius, "radius")
    mean, samples, mask = _maps(mean, samples, mask)
    if std is not None and np.shape(std) != mean.shape:
        raise ValueError(f"std: needs the shape {mean.shape} of the mean, got {np.shape(std)}")
    scale, _ = pixel_scale(wcs, mean.shape)
    smooth = _smoothing(mean, samples, smoothing, scale)
    mean = smooth(mean)
    y, x = np.nonzero(local_maxima(mean) & (mean > threshold))
    order = np.argsort(-mean[y, x], kind="stable")
    y, x = y[order], x[order]
    heights, shifts = _in_samples(samples, smooth, x, y, threshold, (radius / scale).to_value(u.one))
    probability = np.isfinite(shifts[..., 0]).mean(axis=0) if len(samples) else np.full(len(x), np.nan)
    noise = heights.std(axis=0, ddof=1) if len(heights) > 1 else np.full(len(x), np.nan)
    if smoothing is None and std is not None:
        noise = np.asarray(std)[y, x]
    center = wcs.pixel_to_world(*subpixel(mean, y, x).T[::-1])
    table = ResultTable({"center": center, "kappa": mean[y, x]})
    add_probability(table, probability, len(samples), level)
    east, north, correlation = _errors(shifts, center, wcs)
    width = 0.0 if smoothing is None else (to_angle(smoothing, "smoothing") / scale).to_value(u.one)
    table["measured"], table["correlation"] = _measured(mask, max(width, 1.0))[y, x], correlation
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = table["kappa"] / noise
    table["std_east"], table["std_north"] = east, north
    table.meta |= {"threshold": threshold, "smoothing": smoothing, "radius": radius, "n_samples": len(samples)}
    return printed(table)


def _in_samples(samples, smooth, x, y, threshold, radius):
    """
    Return heights ``(n_samples, n)`` of the samples at n pixels, and positions y, x of the nearest peak relative to it.

    The latter, ``(n_samples, n, 2)``, are NaN without a peak within ``radius`` pixels.
    """
    positions = np.stack([y, x], axis=1)
    heights, shifts = np.zeros((len(samples), len(x))), np.full((len(samples), len(x), 2), np.nan)
    for i, sample in enumerate(samples if len(x) else []):
        sample = smooth(sample)
        heights[i] = sample[y, x]
        peaks = np.argwhere(local_maxima(sample) & (sample > threshold))
        if len(peaks):
            distance, nearest = cKDTree(peaks).query(positions)
            near = distance <= radius
            shifts[i, near] = subpixel(sample, *peaks[nearest[near]].T) - positions[near]
    return heights, shifts


def _measured(mask, width):
    """Return bool ``(ny, nx)``: pixels with data, or mostly surrounded by them; see `find_peaks`."""
    if mask.all():
        return ~mask
    around = gaussian_filter((~mask).astype(float), width)
    return ~mask | (around >= 0.5 * np.median(around[~mask]))


def _errors(shifts, center, wcs):
    """Return standard deviations to the East and North, and their correlation, of shifts ``(n_samples, n, 2)``."""
    *_, steps = local_steps(center, wcs)
    found = np.full((3, len(center)), np.nan)
    for i, step in enumerate(steps.reshape(-1, 2, 2)):
        seen = shifts[np.isfinite(shifts[:, i, 0]), i, ::-1]
        if len(seen) > 1:
            covariance = np.cov(np.linalg.solve(step, seen.T))  # radians; pixels are (x, y)
            found[:2, i] = np.sqrt(np.diag(covariance))
            if found[:2, i].all():
                found[2, i] = covariance[0, 1] / found[:2, i].prod()
    return *(found[:2] * u.rad).to(u.arcsec), found[2]


def peak_counts(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools | None,
    edges: ArrayLike,
    *,
    smoothing: u.Quantity | None = None,
    minima: bool = False,
) -> QTable:
    """
    Count peaks or minima by height, with the standard deviation over the samples.

    Parameters
    ----------
    mean, samples, wcs, smoothing
        As for `find_peaks`, also for errors; at least one sample.
    mask : ndarray of bool or None
        Pixels without data ``(ny, nx)``, where peaks come from the prior alone and are not counted. With None all
        pixels count.
    edges : array-like
        Edges of the bins of height, increasing. Bins include their lower edge, and the last bin both.
    minima : bool
        Count local minima, by their value.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``low``, ``high``, ``mean_map`` (count in the map itself), and over the samples ``count`` (mean),
        ``std`` (NaN for a single sample), ``lower`` and ``upper`` (68 %).

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.peaks import peak_counts
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data * np.linspace(0.7, 1.3, 7)[:, None, None]
    >>> peak_counts(truth.data, samples, truth.wcs, None, [0.05, 0.1, 0.2])["count"].round(2).tolist()
    [24.86, 3.14]
    """
    edges = floats(edges, "edges")
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges: need at least two increasing values, got {edges}")
    mean, samples, mask = checked_maps(mean, samples, mask)
    smooth = _smoothing(mean, samples, smoothing, pixel_scale(wcs, mean.shape)[0])

    def counts(image):
        image = smooth(image)
        peak = local_maxima(-image if minima else image) & ~mask
        return np.histogram(image[peak], edges)[0]

    of_samples = np.array([counts(sample) for sample in samples])
    found = {"mean_map": counts(mean), "count": of_samples.mean(axis=0)}
    table = ResultTable({"low": edges[:-1], "high": edges[1:], **found})
    table["std"] = of_samples.std(axis=0, ddof=1) if len(samples) > 1 else np.full(len(table), np.nan)
    table["lower"], table["upper"] = interval(of_samples, _LEVEL)
    table.meta |= {"smoothing": smoothing, "minima": bool(minima), "level": _LEVEL, "n_samples": len(samples)}
    return printed(table)


def _maps(mean: Floats, samples: Floats | None, mask: Bools) -> tuple[Floats, Floats, Bools]:
    """Check maps like `checked_maps`, but also without samples: then ``(0, ny, nx)``."""
    if samples is not None and len(samples):
        return checked_maps(mean, samples, mask)
    mean, _, mask = checked_maps(mean, np.asarray(mean)[None], mask)
    return mean, np.zeros((0, *mean.shape)), mask


def _smoothing(mean, samples, smoothing, scale):
    field = np.isfinite(mean)
    for sample in samples:
        field &= np.isfinite(sample)
    if smoothing is None:
        return lambda image: np.where(field, image, np.nan)
    return smoother(field, (to_angle(smoothing, "smoothing") / scale).to_value(u.one))


def _number(value, name):
    value = floats(value, name)
    if value.ndim or not np.isfinite(value):
        raise ValueError(f"{name}: needs one finite number, got {value}")
    return float(value)
