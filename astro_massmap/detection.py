"""
What the samples say about a place: is there a structure, and how much of it?

The mean of a map over a region weighs every pixel by the area that the region covers of it. A structure is there in
a sample when that mean, less that of a background, exceeds a threshold; the share of samples in which it is there is
its probability (Remy et al. 2020). All functions take arrays and a WCS.
"""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from regions import (
    AnnulusPixelRegion,
    CircleAnnulusSkyRegion,
    PixCoord,
    PixelRegion,
    PointPixelRegion,
)
from scipy.sparse import csr_array

from ._input import floats
from ._regions import all_to_pixel, as_regions, to_pixel

__all__ = ["RegionWeights", "detection_probability", "region_means", "region_statistics", "region_weights"]

_NOTHING = np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0), 0.0
_SUBPIXELS = 10  # on a side, where the overlap of a region with a pixel is not known exactly


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
        overlap = csr_array(self.overlap.multiply(field))
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
        Exact for circles, ellipses, rectangles, polygons and annuli; on 10 x 10 points of a pixel for others. A point
        stands for the pixel that holds it. A region that does not reach the field has no overlap.

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
    pixel_regions = all_to_pixel(as_regions(regions), wcs)
    parts = [_NOTHING if region is None else _overlap(region, shape) for region in pixel_regions]
    y, x, covered = (np.concatenate([_NOTHING[k], *(part[k] for part in parts)]) for k in range(3))
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    overlap = csr_array((covered, y * shape[1] + x, starts), shape=(len(parts), shape[0] * shape[1]))
    return RegionWeights(overlap, np.array([part[3] for part in parts]))


def _overlap(region, shape):
    """Rows, columns and covered areas of the pixels of the field, and the area of the whole region."""
    if isinstance(region, PointPixelRegion):
        return _one_pixel(region.center.x, region.center.y, shape)
    try:
        box = region.bounding_box
    except (ValueError, np.linalg.LinAlgError):  # on the other side of the sky
        return _NOTHING
    x0, x1, y0, y1 = box.ixmin - 1, box.ixmax + 1, box.iymin - 1, box.iymax + 1
    large = (x1 - x0) * (y1 - y0) > 16 * shape[0] * shape[1]
    if large:
        x0, x1, y0, y1 = max(x0, 0), min(x1, shape[1]), max(y0, 0), min(y1, shape[0])
    y, x = np.mgrid[y0 : max(y1, y0), x0 : max(x1, x0)]
    covered = _on_subpixels(region, y, x) if large else _covered(region, y, x)
    if not covered.any() and not large:
        return _one_pixel((box.ixmin + box.ixmax - 1) / 2, (box.iymin + box.iymax - 1) / 2, shape)
    inside = (covered > 0) & (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    return y[inside], x[inside], covered[inside], _area(region, covered) if large else covered.sum()


def _one_pixel(x, y, shape):
    x, y = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    inside = 0 <= x < shape[1] and 0 <= y < shape[0]
    return (np.array([y])[:inside], np.array([x])[:inside], np.ones(1)[:inside], 1.0)


def _covered(region, y, x):
    """Share of each pixel that lies in the region, exactly where that is known."""
    if isinstance(region, AnnulusPixelRegion):
        return _covered(region._outer_region, y, x) - _covered(region._inner_region, y, x)
    try:
        mask = region.to_mask(mode="exact")
    except NotImplementedError:
        return _on_subpixels(region, y, x)
    covered, box = np.zeros(y.shape), mask.bbox
    rows, columns = box.iymin - y[0, 0], box.ixmin - x[0, 0]
    covered[rows : rows + box.shape[0], columns : columns + box.shape[1]] = mask.data
    return covered


def _on_subpixels(region, y, x):
    steps = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    return np.mean([region.contains(PixCoord(x + a, y + b)) for a in steps for b in steps], axis=0)


def _area(region, covered):
    try:
        return float(region.area)
    except NotImplementedError:
        return covered.sum()


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
    """
    weights = weights.inside(_finite(maps, weights))
    used = np.unique(weights.overlap.indices)
    values = np.asarray(maps).reshape(len(maps), -1)[:, used].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights.overlap[:, used] @ values.T).T / weights.overlap.sum(axis=1)


def _finite(maps, weights):
    """Bool ``(ny * nx,)``: False for pixels of the regions that are not finite in any of the maps."""
    used = np.unique(weights.overlap.indices)
    finite = np.ones(weights.overlap.shape[1], dtype=bool)
    finite[used] = np.isfinite(np.asarray(maps).reshape(len(maps), -1)[:, used]).all(axis=0)
    return finite


def region_statistics(mean, samples, wcs, mask, regions, *, background=None, level=0.68):
    """
    Mean convergence in regions, with its credible interval over the samples.

    Parameters
    ----------
    mean : ndarray
        Posterior mean ``(ny, nx)``.
    samples : ndarray
        ``(n_samples, ny, nx)``.
    wcs : `~astropy.wcs.WCS`
        Of the maps.
    mask : ndarray of bool
        ``(ny, nx)``, True where there is no data.
    regions : regions
        As for `region_weights`.
    background : regions or `~astropy.units.Quantity`, optional
        Whose mean is subtracted: one region for all, one for each, or the two radii of a ring around each.
    level : float
        Of the interval.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region`` (its label, or its number), ``center``, ``kappa``, ``std``, ``lower``, ``upper``,
        ``signal_to_noise`` and ``data_fraction``: the share of the whole region that holds data. NaN for regions
        outside of the field.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or there are fewer than two samples.
    """
    if samples is None or len(samples) < 2:
        raise ValueError("samples: an interval needs at least two; reconstruct the map with a larger n_samples")
    if not 0 < level < 1:
        raise ValueError(f"level: needs to be between 0 and 1, got {level!r}")
    table, values = _excess(mean, samples, wcs, mask, regions, background)
    table["std"] = values.std(axis=0, ddof=1)
    table["lower"], table["upper"] = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = table["kappa"] / table["std"]
    table["data_fraction"] = table.columns.pop("data_fraction")
    table.meta |= {"level": level, "n_samples": len(samples)}
    return table


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
        Columns ``region``, ``center``, ``kappa`` (of the posterior mean), ``probability`` and ``data_fraction``.
        Of n samples, a probability p is known to ``sqrt(p (1 - p) / n)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or there are no samples.
    """
    if samples is None or not len(samples):
        raise ValueError("samples: the map is a point estimate; reconstruct it with n_samples > 0")
    threshold = floats(threshold, "threshold")
    table, values = _excess(mean, samples, wcs, mask, regions, background)
    if threshold.shape not in ((), (len(table),)) or not np.isfinite(threshold).all():
        raise ValueError(f"threshold: needs a finite number, or one for each of {len(table)} regions")
    table["probability"] = np.where(np.isnan(values).any(axis=0), np.nan, (values > threshold).mean(axis=0))
    table["data_fraction"] = table.columns.pop("data_fraction")
    table.meta |= {"threshold": threshold.tolist(), "n_samples": len(samples)}
    return table


def _excess(mean, samples, wcs, mask, regions, background):
    """The columns region, center, kappa and data_fraction, and the means ``(n_samples, n_regions)`` of the samples."""
    regions = as_regions(regions)
    centers = _centers(regions, wcs)
    weights = region_weights(regions, wcs, mask.shape)
    finite = _finite(samples, weights)
    weights = weights.inside(finite)
    kappa, values = (region_means(maps, weights) for maps in (mean[None], samples))
    if background is not None:
        around = _background(background, centers, wcs, mask.shape)
        around = around.inside(_finite(samples, around))
        kappa, values = (a - region_means(maps, around) for a, maps in ((kappa, mean[None]), (values, samples)))
    table = QTable({"region": np.array([_label(i, r) for i, r in enumerate(regions)], dtype=str)})
    table["center"] = centers
    table["kappa"] = kappa[0]
    area = np.where(weights.area > 0, weights.area, np.inf)
    table["data_fraction"] = weights.overlap @ (~mask.ravel() & finite).astype(float) / area
    return table, values


def _background(background, centers, wcs, shape):
    """Weights of the background: one row for all regions, or one for each."""
    if isinstance(background, u.Quantity):
        if background.shape != (2,) or not 0 <= background[0] < background[1]:
            raise ValueError(f"background: needs two radii, the smaller first, got {background}")
        background = [CircleAnnulusSkyRegion(c, *background) for c in centers]
    weights = region_weights(background, wcs, shape)
    if len(weights) not in (1, len(centers)):
        raise ValueError(f"background: needs one region, or one for each of {len(centers)}, got {len(weights)}")
    return weights


def _label(i, region):
    return str(region.meta.get("text") or region.meta.get("name") or i)


def _centers(regions, wcs):
    """Where the regions are on the sky."""
    if not regions:
        return SkyCoord([], [], unit="deg")
    return SkyCoord([_center(region, wcs).icrs for region in regions])


def _center(region, wcs):
    if isinstance(region, PixelRegion):
        return _pixel_center(region, wcs)
    if hasattr(region, "center"):
        return region.center
    pixel_region = to_pixel(region, wcs)
    if pixel_region is None:
        return SkyCoord(np.nan, np.nan, unit="deg")
    return _pixel_center(pixel_region, wcs)


def _pixel_center(region, wcs):
    if hasattr(region, "center"):
        return wcs.pixel_to_world(*region.center.xy)
    box = region.bounding_box
    return wcs.pixel_to_world((box.ixmin + box.ixmax - 1) / 2, (box.iymin + box.iymax - 1) / 2)
