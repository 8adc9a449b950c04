"""
Peaks of a map: where they are, whether the samples hold them too, how many there are, and which are clusters.

A peak is a pixel that is higher than its eight neighbours. Of neighbours that are equally high the first in reading
order is the peak. All functions take arrays and a WCS.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from ._columns import USUAL_NAMES, positions
from ._geometry import to_angle

__all__ = ["Matches", "find_peaks", "local_maxima", "match_clusters", "peak_counts"]

_BEFORE = [(-1, -1), (-1, 0), (-1, 1), (0, -1)]  # neighbours that come first in reading order


def local_maxima(maps):
    """
    Where maps are higher than around.

    Parameters
    ----------
    maps : ndarray
        ``(..., ny, nx)``. What lies beyond an edge is lower than anything; pixels that are not finite are no peaks.

    Returns
    -------
    ndarray of bool
        Of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.peaks import local_maxima
    >>> local_maxima(np.array([[0, 2, 1], [0, 0, 1], [3, 0, 1]])).astype(int)
    array([[0, 1, 0],
           [0, 0, 0],
           [1, 0, 0]])
    """
    maps = np.where(np.isfinite(maps), maps, -np.inf)
    padded = np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(1, 1), (1, 1)], constant_values=-np.inf)
    ny, nx = maps.shape[-2:]
    peak = np.isfinite(maps)
    for dy, dx in _BEFORE:
        peak &= maps > padded[..., 1 + dy : 1 + dy + ny, 1 + dx : 1 + dx + nx]
        peak &= maps >= padded[..., 1 - dy : 1 - dy + ny, 1 - dx : 1 - dx + nx]
    return peak


def find_peaks(mean, samples, std, wcs, mask, threshold, *, smoothing=None, radius=1.5 * u.arcmin):
    """
    Peaks of a map, and the share of samples that hold a peak at the same place.

    Parameters
    ----------
    mean : ndarray
        The map ``(ny, nx)``.
    samples : ndarray or None
        ``(n_samples, ny, nx)``.
    std : ndarray or None
        Standard deviation ``(ny, nx)``.
    wcs : `~astropy.wcs.WCS`
        Of the maps.
    mask : ndarray of bool
        ``(ny, nx)``, True where there is no data.
    threshold : float
        Least height of a peak, in the map and in the samples.
    smoothing : `~astropy.units.Quantity`, optional
        Standard deviation of a Gaussian that map and samples are smoothed with first.
    radius : `~astropy.units.Quantity`
        Within which a peak of a sample is at the same place.

    Returns
    -------
    `~astropy.table.QTable`
        Highest first: ``center``, ``kappa``, ``signal_to_noise`` (over the standard deviation of the smoothed samples
        if there is a smoothing; NaN where that is not known), ``probability`` (NaN without samples), and
        ``measured``, False where there is no data.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.
    """
    threshold = _finite(threshold, "threshold")
    scale = proj_plane_pixel_scales(wcs)[0] * u.deg
    mean, samples = (_smooth(m, smoothing, scale) for m in (mean, samples))
    if smoothing is not None:
        std = samples.std(axis=0, ddof=1) if samples is not None and len(samples) > 1 else None
    y, x = np.nonzero(local_maxima(mean) & (mean > threshold))
    order = np.argsort(-mean[y, x], kind="stable")
    y, x = y[order], x[order]
    table = QTable({"center": wcs.pixel_to_world(x, y), "kappa": mean[y, x]})
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = np.full(len(x), np.nan) if std is None else mean[y, x] / std[y, x]
    table["probability"] = _held(samples, x, y, threshold, (to_angle(radius, "radius") / scale).to_value(u.one))
    table["measured"] = ~mask[y, x]
    table.meta |= {"threshold": threshold, "smoothing": smoothing, "radius": radius}
    table.meta["n_samples"] = 0 if samples is None else len(samples)
    return table


def _held(samples, x, y, threshold, radius):
    """Share of the samples with a peak above the threshold within ``radius`` pixels of each place."""
    if samples is None:
        return np.full(len(x), np.nan)
    places, held = np.stack([y, x], axis=1), np.zeros(len(x))
    for sample in samples:
        peaks = np.argwhere(local_maxima(sample) & (sample > threshold))
        if len(peaks) and len(places):
            held += cKDTree(peaks).query(places)[0] <= radius
    return held / len(samples)


def peak_counts(mean, samples, wcs, mask, edges, *, smoothing=None, minima=False):
    """
    Number of peaks, or of minima, by height, with its spread over the samples.

    Parameters
    ----------
    mean, samples, wcs, smoothing
        As for `find_peaks`.
    mask : ndarray of bool
        ``(ny, nx)``. Peaks where it is True are not counted; with False everywhere all of the field is, which samples
        fill with what is likely.
    edges : array-like
        Of the bins of height, increasing.
    minima : bool
        Count minima.

    Returns
    -------
    `~astropy.table.QTable`
        ``low``, ``high``, ``mean_map`` (of the map itself), and over the samples ``count`` (mean), ``std``, ``lower``
        and ``upper`` (68 %).

    Raises
    ------
    ValueError
        If there are no samples, or edges do not increase.
    """
    edges = np.asarray(edges, dtype=float)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges: need to be increasing, at least two, got {edges}")
    if samples is None:
        raise ValueError("samples: the map is a point estimate; reconstruct it with n_samples > 0")
    scale = proj_plane_pixel_scales(wcs)[0] * u.deg

    def counts(image):
        image = _smooth(image, smoothing, scale)
        peak = local_maxima(-image if minima else image) & ~mask
        return np.histogram(image[peak], edges)[0]

    of_samples = np.array([counts(sample) for sample in samples])
    table = QTable({"low": edges[:-1], "high": edges[1:], "mean_map": counts(mean), "count": of_samples.mean(axis=0)})
    table["std"] = of_samples.std(axis=0, ddof=1) if len(samples) > 1 else np.full(len(table), np.nan)
    table["lower"], table["upper"] = np.quantile(of_samples, [0.16, 0.84], axis=0)
    table.meta |= {"smoothing": smoothing, "minima": minima, "n_samples": len(samples)}
    return table


@dataclass(frozen=True)
class Matches:
    """
    Which peaks are which clusters.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        A row a pair: ``peak`` and ``cluster``, their numbers, and ``separation``.
    n_peaks, n_clusters : int
        Of all that could be matched.
    """

    table: QTable
    n_peaks: int
    n_clusters: int

    @property
    def completeness(self):
        """Share of the clusters that have a peak; NaN without clusters."""
        return len(self.table) / self.n_clusters if self.n_clusters else np.nan

    @property
    def purity(self):
        """Share of the peaks that have a cluster; NaN without peaks."""
        return len(self.table) / self.n_peaks if self.n_peaks else np.nan

    @property
    def unmatched_peaks(self):
        """Numbers of the peaks without a cluster."""
        return np.setdiff1d(np.arange(self.n_peaks), self.table["peak"])

    @property
    def unmatched_clusters(self):
        """Numbers of the clusters without a peak."""
        return np.setdiff1d(np.arange(self.n_clusters), self.table["cluster"])

    def __str__(self):
        return (
            f"{len(self.table)} pairs of {self.n_peaks} peaks and {self.n_clusters} clusters: "
            f"completeness {self.completeness:.2f}, purity {self.purity:.2f}"
        )


def match_clusters(peaks, clusters, radius=1.5 * u.arcmin):
    """
    Match peaks with clusters, one to one: as many pairs as there can be, and of those the closest.

    Parameters
    ----------
    peaks : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
        A table with a column ``center``, such as that of `find_peaks`, or positions.
    clusters : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
        Positions, or a table of them (``center``, or ``ra`` and ``dec``). Those outside of the field count too: leave
        them out before.
    radius : `~astropy.units.Quantity`
        Largest separation of a pair.

    Returns
    -------
    Matches

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap.peaks import match_clusters
    >>> peaks = SkyCoord([10.0, 10.1, 10.2], [0, 0, 0], unit="deg")
    >>> print(match_clusters(peaks, SkyCoord([10.01, 10.5], [0, 0], unit="deg"), 1 * u.arcmin))
    1 pairs of 3 peaks and 2 clusters: completeness 0.50, purity 0.33
    """
    radius = to_angle(radius, "radius")
    peaks, clusters = _places(peaks, "peaks"), _places(clusters, "clusters")
    if not (len(peaks) and len(clusters)):
        return Matches(QTable({"peak": [], "cluster": [], "separation": [] * u.arcmin}), len(peaks), len(clusters))
    separation = peaks[:, None].separation(clusters.transform_to(peaks.frame)).to_value(u.arcmin)
    limit = radius.to_value(u.arcmin)
    # too far apart costs more than any number of pairs can save
    cost = np.where(separation <= limit, separation, limit * (len(peaks) + len(clusters) + 1))
    i, j = linear_sum_assignment(cost)
    good = separation[i, j] <= limit
    i, j = i[good], j[good]
    table = QTable({"peak": i, "cluster": j, "separation": separation[i, j] * u.arcmin})
    return Matches(table, len(peaks), len(clusters))


def _places(where, name):
    if isinstance(where, Table):
        if "center" in where.colnames:
            return where["center"]
        by_lower = {c.lower(): c for c in reversed(where.colnames)}
        found = [next((by_lower[n] for n in USUAL_NAMES[key] if n in by_lower), None) for key in ("ra", "dec")]
        if None in found:
            raise ValueError(f"{name}: the table needs a column center, or ra and dec; it has {where.colnames}")
        return positions(*(where[c] for c in found))
    if not isinstance(where, SkyCoord):
        raise TypeError(f"{name}: needs a SkyCoord or a table of positions, got {type(where).__name__}")
    return where.reshape(-1)


def _smooth(maps, smoothing, scale):
    """Maps ``(..., ny, nx)`` smoothed by a Gaussian, mirrored at the edges of the field."""
    if smoothing is None or maps is None:
        return maps
    sigma = (to_angle(smoothing, "smoothing") / scale).to_value(u.one)
    return gaussian_filter(maps, (0,) * (maps.ndim - 2) + (sigma, sigma), mode="reflect")


def _finite(value, name):
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: needs a number, got {value!r}") from None
    if not np.isfinite(number):
        raise ValueError(f"{name}: needs to be finite, got {value!r}")
    return number
