"""
Means of maps over regions minus those of a background, and checks of the maps.

The mean over a region weights each pixel by the area that the region covers. Maps ``(n, ny, nx)`` may be files larger
than the memory: only the pixels of the regions are read, a few maps at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion
from scipy.sparse import csr_array

from .._io.quantities import bools
from .._io.result_tables import ResultTable
from .._sky.regions import all_to_pixel, as_regions, included
from .overlap import ROUNDING, RegionWeights, pixel_center, weights_of
from .quantiles import interval, probability_interval
from .region_tables import region_names

if TYPE_CHECKING:
    from .._utils.typing import Bools, Floats

_AT_ONCE = 2**22  # numbers in memory at a time


def listed(regions, name="regions", *, areas=False, cosmology=None, select=None):
    """Return the `included` regions of an argument; errors begin with its name."""
    try:
        found = as_regions(regions, cosmology=cosmology, select=select)
    except (TypeError, ValueError, OSError) as error:
        if str(error).startswith(("select: ", "cosmology: ")):
            raise
        raise type(error)(f"{name}: {str(error).removeprefix('regions: ')}") from error
    return included(found, name, areas=areas)


def _used(maps, weights):
    """Return the pixels of the regions, and their values ``(some of n, n_used)`` for a few maps at a time."""
    marked = np.zeros(weights.overlap.shape[1], dtype=bool)
    marked[weights.overlap.indices] = True
    used = np.flatnonzero(marked)
    flat = maps.reshape(len(maps), -1)
    step = max(1, _AT_ONCE // max(1, len(used)))
    return used, (flat[i : i + step, used] for i in range(0, len(flat), step))


def means_over(maps, weights):
    used, parts = _used(maps, weights)
    overlap = weights.overlap
    overlap = csr_array(
        (overlap.data, np.searchsorted(used, overlap.indices), overlap.indptr), (len(weights), len(used))
    )
    sums = [(overlap @ values.T.astype(float)).T for values in parts]
    with np.errstate(invalid="ignore"):
        return np.concatenate([np.zeros((0, len(weights))), *sums]) / overlap.sum(axis=1)


def finite_in_regions(maps, weights):
    """Return False for pixels of the regions that are not finite in any of the maps, ``(ny * nx,)``."""
    used, parts = _used(maps, weights)
    finite = np.ones(weights.overlap.shape[1], dtype=bool)
    for values in parts:
        finite[used] &= np.isfinite(values).all(axis=0)
    return finite


def checked_maps(
    mean: Floats, samples: Floats | None, mask: Bools | None, at_least: int = 1
) -> tuple[Floats, Floats, Bools]:
    """Return the three arguments as arrays of one grid; ValueError if their shapes differ."""
    n = 0 if samples is None else len(samples)
    if n < at_least:
        needed = "an interval needs at least two" if at_least > 1 else "the map has none"
        raise ValueError(
            f"samples: {needed}; the methods annealed_hmc, posterior_diffusion and wiener draw samples, with n_samples "
            f"> {at_least - 1}"
        )
    mean, samples = np.asarray(mean), np.asarray(samples)
    if mean.ndim != 2:
        raise ValueError(f"mean: needs the shape (ny, nx), got {mean.shape}")
    if samples.ndim != 3 or samples.shape[1:] != mean.shape:
        ny, nx = mean.shape
        raise ValueError(f"samples: need the shape (n_samples, {ny}, {nx}) as the mean, got {samples.shape}")
    return mean, samples, bools(mask, mean.shape)


def add_interval(table, values, level):
    """Add the columns std, lower and upper of values ``(n_samples, rows)``."""
    table["std"] = values.std(axis=0, ddof=1)
    table["lower"], table["upper"] = interval(values, level)


def add_probability(table, probability, n, level):
    """Add the columns probability (NaN if unknown), its interval lower to upper, and n_samples."""
    known, bounds = np.isfinite(probability), np.full((2, len(table)), np.nan)
    if known.any():
        bounds[:, known] = probability_interval(np.rint(n * probability[known]), n, level)
    table["probability"], (table["lower"], table["upper"]) = probability, bounds
    table["n_samples"] = np.full(len(table), n)
    table.meta["level"] = level


def weights_on(regions, wcs, shape):
    return weights_of(all_to_pixel(regions, wcs), shape, all_to_pixel(regions.excluded, wcs))


def excess(mean, samples, wcs, mask, regions, background):
    """
    Return a table (region, center, kappa, data_fraction, area in pixels), and the means ``(n_samples, n_regions)``.

    The area is that of the whole region. Excluded regions are subtracted from regions and from the rings around them.
    """
    pixel_regions = all_to_pixel(regions, wcs)
    centers = _centers(regions, pixel_regions, wcs)

    def means(weights):
        field = finite_in_regions(samples, weights) & np.isfinite(mean).ravel()
        weights = weights.inside(field)
        return (
            means_over(mean[None], weights)[0],
            means_over(samples, weights),
            weights.overlap @ (~mask.ravel()).astype(float),
        )

    excluded = all_to_pixel(regions.excluded, wcs)
    weights = weights_of(pixel_regions, mask.shape, excluded)
    kappa, values, measured = means(weights)
    if background is not None:
        around, background = _background(background, centers, wcs, mask.shape, excluded)
        kappa, values = (a - b for a, b in zip((kappa, values), means(around), strict=False))
    table = _named(regions, centers)
    table["kappa"] = kappa
    area = np.where(weights.area > 0, weights.area, np.inf)
    table["data_fraction"], table["area"] = np.minimum(measured / area, 1), weights.area  # rounding
    table.meta |= {"background": background, "n_samples": len(samples)}
    return table, values


def _background(background, centers, wcs, shape, excluded):
    """Return the weights of the background, one row for all regions or one for each, and its description."""
    if isinstance(background, u.Quantity):
        return _rings(centers, background, wcs, shape, excluded), f"{background[0]:g} to {background[1]:g} around each"
    weights = weights_on(listed(background, "background"), wcs, shape)
    if len(weights) not in (1, len(centers)):
        raise ValueError(f"background: needs one region, or one for each of {len(centers)}, got {len(weights)}")
    return weights, "one region for all" if len(weights) == 1 else "one region for each"


def _rings(centers, radii, wcs, shape, excluded):
    if not radii.unit.is_equivalent(u.rad):
        raise u.UnitsError(f"background: needs two angles, got {radii}")
    if radii.shape != (2,) or not 0 < radii[0] < radii[1] < np.inf:
        raise ValueError(f"background: needs two positive radii, the smaller first, got {radii}")
    inner, outer = (
        weights_of(all_to_pixel([CircleSkyRegion(c, radius) for c in centers], wcs), shape, excluded)
        for radius in radii
    )
    overlap = csr_array(outer.overlap - inner.overlap)
    overlap.data[overlap.data < ROUNDING * np.repeat(outer.area, np.diff(overlap.indptr))] = 0
    overlap.eliminate_zeros()
    return RegionWeights(overlap, outer.area - inner.area)


def _named(regions, centers):
    return ResultTable({"region": np.array(region_names(regions), dtype=str), "center": centers})


def named_centers(centers, wcs, cosmology=None):
    """
    Return a table of the centres, and the table of clusters or None.

    The columns are ``center`` of a SkyCoord, or ``region`` and ``center`` of regions.
    """
    if isinstance(centers, SkyCoord):
        return ResultTable({"center": centers.reshape(-1)}), None
    if isinstance(centers, str) and not Path(centers).exists():
        raise TypeError(f"centers: needs a SkyCoord, regions, a table or a file, and {centers!r} is not a file")
    try:
        regions = listed(centers, "centers", cosmology=cosmology)
    except TypeError as error:
        raise TypeError(f"centers: needs a SkyCoord or regions; {str(error).removeprefix('centers: ')}") from error
    return _named(regions, _centers(regions, all_to_pixel(regions, wcs), wcs)), regions.table


def _centers(regions, pixel_regions, wcs):
    x, y = np.array([pixel_center(r) for r in pixel_regions], dtype=float).reshape(-1, 2).T
    there = np.isfinite(x + y)
    positions = wcs.pixel_to_world(np.where(there, x, 0), np.where(there, y, 0))
    frame = positions.frame.replicate_without_data()
    lon, lat = (np.where(there, a.deg, np.nan) for a in (positions.spherical.lon, positions.spherical.lat))
    for i in np.flatnonzero(~there):
        if hasattr(regions[i], "center"):
            position = regions[i].center.transform_to(frame).spherical
            lon[i], lat[i] = position.lon.deg, position.lat.deg
    return SkyCoord(lon * u.deg, lat * u.deg, frame=frame)
