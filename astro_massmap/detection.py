"""
What the samples say about a place: is there a structure, and how much of it?

The mean of a map over a region R weighs every pixel p by the area w_p that R covers of it,

    kappa_R = sum_p w_p kappa_p / sum_p w_p,

over the pixels of the field. A structure is there in a sample when kappa_R, less that of a background, exceeds a
threshold; the share of samples in which it is there is its probability (Remy et al. 2020). All functions take arrays
and a WCS.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from regions import (
    AnnulusPixelRegion,
    CircleSkyRegion,
    CompoundPixelRegion,
    PixCoord,
    PointPixelRegion,
    RegionBoundingBox,
)
from scipy.sparse import csr_array

from ._input import bools, floats
from ._regions import all_to_pixel, as_regions

__all__ = [
    "RegionWeights",
    "detection_probability",
    "region_means",
    "region_statistics",
    "region_values",
    "region_weights",
]

_SUBPIXELS = 10  # on a side, where the overlap of a region with a pixel is not known exactly
_FINE = 100  # the same, where those are too few for a small region
_ROUNDING = 1e-13  # of overlaps, in terms of the area of the region
_AT_ONCE = 2**22  # numbers that are held at a time
_NOTHING = np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0), 0.0


@dataclass(frozen=True)
class RegionWeights:
    """
    How much of each pixel lies in each region.

    Attributes
    ----------
    overlap : `scipy.sparse.csr_array`
        ``(n_regions, ny * nx)``, in pixels.
    area : ndarray
        Of each region, ``(n_regions,)``, in pixels, with what lies outside of the field.
    """

    overlap: csr_array
    area: np.ndarray

    def __len__(self):
        return len(self.area)

    def inside(self, field):
        """The same with pixels only where ``field``, a bool array ``(ny * nx,)``, is True."""
        overlap = self.overlap.copy()
        overlap.data = overlap.data * field[overlap.indices]
        overlap.eliminate_zeros()
        return RegionWeights(overlap, self.area)


def region_weights(regions, wcs, shape):
    """
    The overlap of regions with the pixels of a grid.

    Parameters
    ----------
    regions : regions
        A region of the sky or of pixels, a list of them, a table of positions and radii, or a file.
    wcs : `~astropy.wcs.WCS`
        Of the grid.
    shape : tuple of int
        Its rows and columns.

    Returns
    -------
    RegionWeights
        Exact where `regions <https://astropy-regions.readthedocs.io>`__ knows it (circles, ellipses and their annuli,
        with recent versions also rectangles and polygons), else from 10 x 10 points of a pixel. A point stands for the
        pixel that holds it. Lines, and regions outside of the field or beyond its projection, have no overlap.

    Raises
    ------
    TypeError, ValueError, OSError
        If ``regions`` is none of these, or the file cannot be read.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from regions import CircleSkyRegion
    >>> from astro_massmap import datasets
    >>> from astro_massmap.detection import region_weights
    >>> truth = datasets.demo_truth()
    >>> circle = CircleSkyRegion(SkyCoord(34.5, -5.0, unit="deg"), 2 * u.arcmin)
    >>> weights = region_weights(circle, truth.wcs, truth.shape)
    >>> print(f"{weights.area[0]:.1f} pixels, {weights.overlap.sum():.1f} in the field")
    78.5 pixels, 78.5 in the field
    """
    return _weights(all_to_pixel(_listed(regions), wcs), shape)


def _listed(regions, name="regions"):
    """A list of regions; errors begin with the name of the argument."""
    try:
        return as_regions(regions)
    except (TypeError, ValueError, OSError) as error:
        raise type(error)(f"{name}: {str(error).removeprefix('regions: ')}") from error


def _weights(pixel_regions, shape):
    parts = [_NOTHING if region is None else _overlap(region, shape) for region in pixel_regions]
    y, x, covered = (np.concatenate([_NOTHING[k], *(part[k] for part in parts)]) for k in range(3))
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    overlap = csr_array((covered, y * shape[1] + x, starts), shape=(len(parts), shape[0] * shape[1]))
    return RegionWeights(overlap, np.array([part[3] for part in parts], dtype=float))


def _overlap(region, shape):
    """Rows, columns and covered areas of the pixels of the field, and the area of the whole region."""
    if isinstance(region, PointPixelRegion):
        return _one_pixel(region, shape)
    box = _box(region)
    if box is None:
        return _NOTHING
    seen = box & RegionBoundingBox(0, shape[1], 0, shape[0])
    if seen is None:
        return *_NOTHING[:3], _area(region, box)
    height, width = box.shape
    most = shape[0] * shape[1] + (_AT_ONCE // _SUBPIXELS**2 if isinstance(region, CompoundPixelRegion) else _AT_ONCE)
    large = height * width > most
    window = seen if large else box
    y, x = np.mgrid[window.iymin : window.iymax, window.ixmin : window.ixmax]
    covered = _on_subpixels(region, y, x) if large else _covered(region, y, x)
    if not (covered.any() or large):
        if not isinstance(region, CompoundPixelRegion):  # smaller than rounding errors
            return _one_pixel(region, shape) if region.area > 0 else _NOTHING
        if _is_small(y):
            covered = _on_subpixels(region, y, x, _FINE)
    area = _area(region, box) if large else covered.sum()
    inside = (covered > (0 if large else _ROUNDING * area)) & (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    return y[inside], x[inside], covered[inside], area


def _box(region):
    """The bounding box, or None for a region that is not on the plane of the grid."""
    try:
        return region.bounding_box
    except (ValueError, OverflowError):
        return None


def _one_pixel(region, shape):
    """As `_overlap`, of the pixel that holds the centre of a region."""
    x, y = _pixel_center(region)
    if not np.isfinite(x + y):
        return _NOTHING
    x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    inside = int(0 <= x < shape[1] and 0 <= y < shape[0])
    return np.full(inside, y, dtype=int), np.full(inside, x, dtype=int), np.ones(inside), 1.0


def _pixel_center(region):
    """Its centre, or that of its bounding box; NaN for a region that is not on the plane of the grid."""
    if hasattr(region, "center"):
        return region.center.xy
    box = None if region is None else _box(region)
    return (np.nan, np.nan) if box is None else ((box.ixmin + box.ixmax - 1) / 2, (box.iymin + box.iymax - 1) / 2)


def _covered(region, y, x):
    """Share of each pixel of the bounding box that lies in the region, exactly where that is known."""
    if y.size == 0:
        return np.zeros(y.shape)
    if isinstance(region, AnnulusPixelRegion):
        inner, outer = region._inner_region, region._outer_region
        covered, box = _covered(outer, y, x), inner.bounding_box
        hole = np.s_[box.iymin - y[0, 0] : box.iymax - y[0, 0], box.ixmin - x[0, 0] : box.ixmax - x[0, 0]]
        covered[hole] -= _covered(inner, y[hole], x[hole])
        return np.where(covered > _ROUNDING * outer.area, covered, 0)
    try:
        covered = region.to_mask(mode="exact").data
    except NotImplementedError:
        return _on_subpixels(region, y, x)
    # regions (0.12) loses pixels of an ellipse whose edge goes exactly through their corners
    right = np.isclose(covered.sum(), region.area, rtol=1e-3, atol=0)
    return covered if right else _on_subpixels(region, y, x, _FINE if _is_small(y) else _SUBPIXELS)


def _is_small(y):
    """Whether fine points of these pixels take no more than a second."""
    return y.size * _FINE**2 < 10 * _AT_ONCE


def _on_subpixels(region, y, x, n=_SUBPIXELS):
    """Share of each pixel that lies in the region, from n x n points."""
    steps = (np.arange(n) + 0.5) / n - 0.5
    covered = np.zeros(y.size)
    for part in np.array_split(np.arange(y.size), y.size * n**2 // _AT_ONCE + 1):
        shape = (len(part), n, n)
        px, py = (a.ravel()[part, None, None] for a in (x, y))
        points = PixCoord(np.broadcast_to(px + steps, shape), np.broadcast_to(py + steps[:, None], shape))
        covered[part] = region.contains(points).mean(axis=(1, 2))
    return covered.reshape(y.shape)


def _area(region, box):
    """Of a region that is too large, or too far, for all of its pixels; that of a compound from 1000 x 1000 points."""
    try:
        return float(region.area)
    except NotImplementedError:
        steps = (np.arange(1000) + 0.5) / 1000
        height, width = box.shape
        points = PixCoord(*np.meshgrid(box.ixmin - 0.5 + width * steps, box.iymin - 0.5 + height * steps))
        return region.contains(points).mean() * height * width


def region_means(maps, weights):
    """
    Mean of maps over regions.

    Parameters
    ----------
    maps : ndarray
        ``(n, ny, nx)``; pixels that are not finite in any of them count as outside of the field.
    weights : RegionWeights
        Of ``n_regions`` regions.

    Returns
    -------
    ndarray
        ``(n, n_regions)``, NaN for regions without a pixel.

    Raises
    ------
    ValueError
        If maps and weights are not of one grid.
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.shape[1] * maps.shape[2] != weights.overlap.shape[1]:
        raise ValueError(f"maps: need the shape (n, ny, nx) of the grid of the weights, got {maps.shape}")
    return _means(maps, weights.inside(_finite(maps, weights)))


def _used(maps, weights):
    """The pixels of the regions, and the values there ``(some of n, n_used)`` of a few maps at a time."""
    marked = np.zeros(weights.overlap.shape[1], dtype=bool)
    marked[weights.overlap.indices] = True
    used = np.flatnonzero(marked)
    flat = maps.reshape(len(maps), -1)
    step = max(1, _AT_ONCE // max(1, len(used)))
    return used, (flat[i : i + step, used] for i in range(0, len(flat), step))


def _means(maps, weights):
    used, parts = _used(maps, weights)
    overlap = weights.overlap
    overlap = csr_array(
        (overlap.data, np.searchsorted(used, overlap.indices), overlap.indptr), (len(weights), len(used))
    )
    sums = [(overlap @ values.T.astype(float)).T for values in parts]
    with np.errstate(invalid="ignore"):
        return np.concatenate([np.zeros((0, len(weights))), *sums]) / overlap.sum(axis=1)


def _finite(maps, weights):
    """Bool ``(ny * nx,)``: False for pixels of the regions that are not finite in any of the maps."""
    used, parts = _used(maps, weights)
    finite = np.ones(weights.overlap.shape[1], dtype=bool)
    for values in parts:
        finite[used] &= np.isfinite(values).all(axis=0)
    return finite


def region_statistics(mean, samples, wcs, mask, regions, *, background=None, level=0.68):
    """
    Mean convergence in regions, with its credible interval over the samples.

    Parameters
    ----------
    mean : ndarray
        Posterior mean ``(ny, nx)``.
    samples : ndarray
        ``(n_samples, ny, nx)``; pixels that are not finite in any of them count as outside of the field.
    wcs : `~astropy.wcs.WCS`
        Of the maps.
    mask : ndarray of bool
        ``(ny, nx)``, True where there is no data. The values there, which are inferred, count.
    regions : regions
        As for `region_weights`.
    background : regions or `~astropy.units.Quantity`, optional
        Whose mean is subtracted: one region for all, one for each, or the two radii of a ring around the centre of
        each.
    level : float
        Of the interval.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region`` (its label, or its number), ``center`` (in the frame of the WCS; of the bounding box where
        a region has no other), ``kappa``, ``std``, ``lower``, ``upper``, ``signal_to_noise`` and ``data_fraction``:
        the share of the whole region that holds data. NaN for regions outside of the field.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, or there are fewer than two samples.
    """
    level = floats(level, "level")
    if level.ndim or not 0 < level < 1:
        raise ValueError(f"level: needs one number between 0 and 1, got {level}")
    mean, samples, mask = checked_maps(mean, samples, mask)
    if len(samples) < 2:
        raise ValueError("samples: an interval needs at least two, got one; reconstruct the map with more n_samples")
    table, values = _excess(mean, samples, wcs, mask, regions, background)
    table["std"] = values.std(axis=0, ddof=1)
    table["lower"], table["upper"] = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = table["kappa"] / table["std"]
    table.meta["level"] = float(level)
    return table["region", "center", "kappa", "std", "lower", "upper", "signal_to_noise", "data_fraction"]


def region_values(mean, samples, wcs, mask, regions, *, background=None):
    """
    Mean convergence of regions in every sample, less that of a background.

    Parameters
    ----------
    mean, samples, wcs, mask, regions, background
        As for `region_statistics`.

    Returns
    -------
    ndarray
        ``(n_samples, n_regions)``, NaN for regions outside of the field.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    return _excess(mean, samples, wcs, mask, regions, background)[1]


def detection_probability(mean, samples, wcs, mask, regions, threshold, background=None):
    """
    Share of the samples in which the mean convergence of a region exceeds a threshold.

    Parameters
    ----------
    mean, samples, wcs, mask, regions, background
        As for `region_statistics`.
    threshold : float or array-like
        For all regions, or for each.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region``, ``center``, ``kappa`` (of the posterior mean, less the background), ``probability`` and
        ``data_fraction``, as in `region_statistics`. Of n samples, a probability p is known to
        ``sqrt(p (1 - p) / n)``.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, or there are no samples.
    """
    threshold = floats(threshold, "threshold")
    mean, samples, mask = checked_maps(mean, samples, mask)
    table, values = _excess(mean, samples, wcs, mask, regions, background)
    if threshold.shape not in ((), (len(table),)) or not np.isfinite(threshold).all():
        raise ValueError(f"threshold: needs a finite number, or one for each of {len(table)} regions; got {threshold}")
    table["probability"] = np.where(np.isnan(values).any(axis=0), np.nan, (values > threshold).mean(axis=0))
    table.meta["threshold"] = threshold.tolist()
    return table["region", "center", "kappa", "probability", "data_fraction"]


def checked_maps(mean, samples, mask):
    """The three as arrays of one grid, or an error that names the one that is not."""
    if samples is None or len(samples) == 0:
        raise ValueError("samples: the map is a point estimate; reconstruct it with n_samples > 0")
    mean, samples = np.asarray(mean), np.asarray(samples)
    if mean.ndim != 2:
        raise ValueError(f"mean: needs the shape (ny, nx), got {mean.shape}")
    if samples.ndim != 3 or samples.shape[1:] != mean.shape:
        raise ValueError(f"samples: need the shape (n_samples, {mean.shape}) of the mean, got {samples.shape}")
    return mean, samples, bools(mask, mean.shape)


def _excess(mean, samples, wcs, mask, regions, background):
    """The columns region, center, kappa and data_fraction, and the means ``(n_samples, n_regions)`` of the samples."""
    regions = _listed(regions)
    pixel_regions = all_to_pixel(regions, wcs)
    centers = _centers(regions, pixel_regions, wcs)

    def means(weights):
        field = _finite(samples, weights) & np.isfinite(mean).ravel()
        weights = weights.inside(field)
        return _means(mean[None], weights)[0], _means(samples, weights), weights.overlap @ (~mask.ravel()).astype(float)

    weights = _weights(pixel_regions, mask.shape)
    kappa, values, measured = means(weights)
    if background is not None:
        around, background = _background(background, centers, wcs, mask.shape)
        kappa, values = (a - b for a, b in zip((kappa, values), means(around), strict=False))
    table = QTable({"region": np.array([_label(i, r) for i, r in enumerate(regions)], dtype=str), "center": centers})
    table["kappa"] = kappa
    area = np.where(weights.area > 0, weights.area, np.inf)
    table["data_fraction"] = np.minimum(measured / area, 1)  # rounding
    table.meta |= {"background": background, "n_samples": len(samples)}
    return table, values


def _background(background, centers, wcs, shape):
    """Weights of the background, one row for all regions or one for each; and what it is, in words."""
    if isinstance(background, u.Quantity):
        return _rings(centers, background, wcs, shape), f"{background[0]:g} to {background[1]:g} around each"
    weights = _weights(all_to_pixel(_listed(background, "background"), wcs), shape)
    if len(weights) not in (1, len(centers)):
        raise ValueError(f"background: needs one region, or one for each of {len(centers)}, got {len(weights)}")
    return weights, "one region for all" if len(weights) == 1 else "one region for each"


def _rings(centers, radii, wcs, shape):
    if not radii.unit.is_equivalent(u.rad):
        raise u.UnitsError(f"background: needs two angles, got {radii}")
    if radii.shape != (2,) or not 0 < radii[0] < radii[1] < np.inf:
        raise ValueError(f"background: needs two positive radii, the smaller first, got {radii}")
    inner, outer = (
        _weights(all_to_pixel([CircleSkyRegion(c, radius) for c in centers], wcs), shape) for radius in radii
    )
    overlap = csr_array(outer.overlap - inner.overlap)
    overlap.data[overlap.data < _ROUNDING * np.repeat(outer.area, np.diff(overlap.indptr))] = 0
    overlap.eliminate_zeros()
    return RegionWeights(overlap, outer.area - inner.area)


def _label(i, region):
    return str(next((region.meta[key] for key in ("text", "name", "label") if region.meta.get(key)), i))


def _centers(regions, pixel_regions, wcs):
    """Where the regions are on the sky, in the frame of the grid."""
    x, y = np.array([_pixel_center(r) for r in pixel_regions], dtype=float).reshape(-1, 2).T
    there = np.isfinite(x + y)
    places = wcs.pixel_to_world(np.where(there, x, 0), np.where(there, y, 0))
    frame = places.frame.replicate_without_data()
    lon, lat = (np.where(there, a.deg, np.nan) for a in (places.spherical.lon, places.spherical.lat))
    for i in np.flatnonzero(~there):
        if hasattr(regions[i], "center"):
            place = regions[i].center.transform_to(frame).spherical
            lon[i], lat[i] = place.lon.deg, place.lat.deg
    return SkyCoord(lon * u.deg, lat * u.deg, frame=frame)
