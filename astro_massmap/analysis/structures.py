"""
Tests of structures of a map: whether the posterior contains a map without them, or another map.

Cai, Pereyra & McEwen (2018) and Price et al. (2019) replace a structure by what surrounds it and ask whether the
highest-density region of the posterior contains that map. Samples do not give the height of the density, so that here
the region is the one that bounds the deviation of all super-pixels of the structure together, and that of their mean,
with the level calibrated by the samples, as for joint credible intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csc_array
from scipy.sparse.linalg import spsolve

from .._io.quantities import checked_level, floats
from .._io.result_tables import printed
from .._sky.superpixels import block_mean, block_wcs, pixels_per_side
from .probability import PValue
from .region_means import checked_maps, excess, listed, weights_on
from .region_tables import keep_columns as with_columns
from .simultaneous import count_beyond, deviation

if TYPE_CHECKING:
    import astropy.units as u
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import Bools, Floats, KeepColumns, RegionsLike, Select

__all__ = ["interpolate", "structure_test"]


def interpolate(image: Floats, inside: Bools) -> Floats:
    """
    Replace pixels by the smoothest interpolation of those around them, the solution of Laplace's equation.

    Parameters
    ----------
    image : ndarray
        Map ``(ny, nx)``. Other pixels that are not finite count as beyond the edge of the map.
    inside : ndarray of bool
        Pixels to replace ``(ny, nx)``; ValueError if these are all.

    Returns
    -------
    ndarray
        Map in which each replaced pixel is the mean of its neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.analysis.structures import interpolate
    >>> slope = np.tile(np.arange(5.0), (5, 1))
    >>> inside = np.zeros((5, 5), dtype=bool)
    >>> inside[1:4, 1:4] = True
    >>> print(interpolate(np.where(inside, 9, slope), inside)[2].round(6))
    [0. 1. 2. 3. 4.]
    """
    image = np.array(image, dtype=float)
    on_map = inside | np.isfinite(image)
    if not (on_map & ~inside).any():
        raise ValueError("regions: cover the whole map; an interpolation needs pixels around them")
    number = np.cumsum(inside).reshape(image.shape) - 1
    size = int(np.sum(inside))
    rows, columns, neighbours, known = [], [], np.zeros(size), np.zeros(size)
    for axis in (0, 1):
        for a, b in (np.s_[:-1], np.s_[1:]), (np.s_[1:], np.s_[:-1]):
            here, there = (np.s_[a, :], np.s_[b, :]) if axis == 0 else (np.s_[:, a], np.s_[:, b])
            unknown = inside[here] & on_map[there]
            at = number[here][unknown]
            neighbours[at] += 1
            both = inside[there][unknown]
            rows.append(at[both])
            columns.append(number[there][unknown][both])
            known[at] += np.where(both, 0, image[there][unknown])
    i, j = np.concatenate(rows), np.concatenate(columns)
    diagonal = np.arange(size)
    values = np.concatenate([neighbours, -np.ones(len(i))])
    matrix = csc_array((values, (np.concatenate([diagonal, i]), np.concatenate([diagonal, j]))), shape=(size, size))
    image[inside] = spsolve(matrix, known)
    return image


def structure_test(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    regions: RegionsLike,
    size: u.Quantity,
    *,
    other: ArrayLike | None = None,
    level: float = 0.68,
    keep_columns: KeepColumns = False,
    cosmology: FLRW | None = None,
    select: Select | None = None,
) -> QTable:
    """
    Test whether the posterior contains the map without the structure in a region, or another map.

    The tested map is compared with the samples in all super-pixels of a region together. The largest deviation of a
    super-pixel, and that of the mean of the region, have ranks among those of the samples, and the p-value is the rank
    of the smaller of both: the smallest credible region of this kind that contains the tested map has the level 1 - p.
    It is exact for one more draw from the posterior: then the probability of a p-value of at most p is at most p. A
    small p-value means that the data, with the prior, require a structure that the tested map does not have. A large
    one does not mean that there is none: a map without structure is smoother than the samples, and is only rejected
    where the structure exceeds the errors. The region has to contain the whole structure, because the map at its edge
    is what the structure is replaced by. Regions that were chosen because the map is high there need a correction for
    the number of positions that could have been chosen.

    Parameters
    ----------
    mean, samples, wcs, mask, regions, keep_columns, cosmology, select
        As for `~astro_massmap.analysis.detection.region_statistics`, also for errors. Each region is tested alone.
    size : `~astropy.units.Quantity`
        Side of the super-pixels, rounded to whole pixels. Small ones test the shape of the structure. At least half of
        a super-pixel of a region is in it, or it is the one that overlaps most.
    other : float or array-like, optional
        Map ``(ny, nx)`` to test, such as a model of the X-ray gas, or a constant. By default the posterior mean, with
        the pixels in the region replaced by an interpolation from those around it (`interpolate`).
    level : float
        Level of the interval of the p-value.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region``, ``center``, ``p_value``, its interval ``lower`` to ``upper`` due to the number of samples,
        ``n_samples``, ``deviation``, the largest one of a super-pixel in standard deviations, ``n_superpixels``,
        ``data_fraction``, and the means ``kappa`` and ``kappa_tested`` over the region. NaN for regions outside of the
        field. The smallest possible p-value is 1 / (n_samples + 1).

    Raises
    ------
    TypeError, ValueError, OSError, `~astropy.units.UnitsError`
        If an argument is not as described, a file cannot be read, there are fewer than three samples, or a region
        covers the whole map.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.structures import structure_test
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data + np.random.default_rng(0).normal(scale=0.05, size=(99, *truth.shape))
    >>> table = structure_test(truth.data, samples, truth.wcs, truth.mask, datasets.demo_clusters(), 0.8 * u.arcmin)
    >>> print(table["p_value"].round(2))
    [0.01 0.01 0.01 0.01 0.05]
    """
    level, (mean, samples, mask) = checked_level(level), checked_maps(mean, samples, mask, at_least=3)
    found = listed(regions, cosmology=cosmology, select=select)
    tested = None if other is None else floats(other, "other")
    if tested is not None and tested.shape not in ((), mean.shape):
        raise ValueError(f"other: needs one number or the shape {mean.shape} of the map, got {tested.shape}")
    n = pixels_per_side(size, wcs, mask.shape)
    table, _ = excess(mean, samples, wcs, mask, found, None)
    fine, blocks = weights_on(found, wcs, mask.shape), block_mean(samples, n)
    coarse = weights_on(found, block_wcs(wcs, n, mask.shape), blocks.shape[1:])
    blocks = blocks.reshape(len(samples), -1)
    rows = [_row(i, mean, tested, fine, coarse, blocks, n, level) for i in range(len(found))]
    names = "p_value", "lower", "upper", "deviation", "n_superpixels", "kappa_tested"
    for name, values in zip(names, np.array(rows, dtype=float).reshape(-1, len(names)).T, strict=True):
        table[name] = values.astype(int) if name.startswith("n_") else values
    table["n_samples"] = np.full(len(table), len(samples))
    table.meta |= {"level": level, "size": f"{n} pixels"}
    shown = ["region", "center", "p_value", "lower", "upper", "n_samples", "deviation", "n_superpixels"]
    table = table[[*shown, "data_fraction", "kappa", "kappa_tested"]]
    return with_columns(printed(table), found, keep_columns)


def _row(i, mean, tested, fine, coarse, blocks, n, level):
    """Return p-value, its interval, deviation, number of super-pixels and tested mean of one region."""
    weights, used = fine.overlap[[i]].toarray().reshape(mean.shape), _mostly(coarse.overlap[[i]].toarray()[0])
    used &= np.isfinite(blocks).all(axis=0)
    if not used.any():
        return np.nan, np.nan, np.nan, np.nan, 0, np.nan
    if tested is None:
        tested = interpolate(mean, _mostly(weights) & np.isfinite(mean))
    tested = np.broadcast_to(tested, mean.shape)
    values, samples = block_mean(tested, n).ravel()[used], blocks[:, used]
    if not np.isfinite(values).all():
        raise ValueError("other: needs finite numbers in the regions")
    share = coarse.overlap[[i]].toarray()[0][used]
    p = PValue(count_beyond(samples, values, share / share.sum()), len(samples), level)
    inside = (weights > 0) & np.isfinite(tested)
    kappa = np.average(tested[inside], weights=weights[inside])
    return p, p.lower, p.upper, deviation(samples, values), used.sum(), kappa


def _mostly(overlap):
    """Return whether pixels are at least half in a region; without such pixels, those that overlap most."""
    return (overlap > 0) & (overlap >= min(0.5, overlap.max()))
