"""
Mean convergence of regions, and the probability that a region contains a structure.

The mean of a map over a region weights every pixel p of the field by the area w_p that the region covers of it,
``sum_p w_p kappa_p / sum_p w_p``. The detection probability is the fraction of samples in which the mean, after
subtracting that of a background, exceeds a threshold (Remy et al. 2020). All functions take arrays and a WCS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._io.quantities import checked_level, floats
from .._io.result_tables import printed
from .overlap import RegionWeights
from .region_means import (
    add_interval,
    add_probability,
    checked_maps,
    excess,
    finite_in_regions,
    listed,
    means_over,
    weights_on,
)
from .region_tables import keep_columns as with_columns

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import Background, Bools, Floats, KeepColumns, RegionsLike, Select, Shape

__all__ = [
    "RegionWeights",
    "detection_probability",
    "region_means",
    "region_statistics",
    "region_values",
    "region_weights",
]

_LEAST_DATA = 0.05  # fraction with data above which a region counts as measured


def region_weights(
    regions: RegionsLike, wcs: WCS, shape: Shape, *, cosmology: FLRW | None = None, select: Select | None = None
) -> RegionWeights:
    """
    Compute the overlap of regions with the pixels of a grid; text labels are left out with a warning.

    Parameters
    ----------
    regions : regions
        Region of the sky or of pixels, list of regions, table of positions and radii, or file.
    wcs, shape
        WCS of the grid, and its rows and columns.
    cosmology, select
        As for `region_statistics`.

    Returns
    -------
    RegionWeights
        Exact for circles, ellipses and their annuli, rectangles and polygons, else from 10 x 10 points per pixel. A
        point region covers the pixel that contains it. Lines, and regions outside of the field or of its projection,
        have no overlap. Regions that a file excludes (``-circle(...)`` or ``include=0`` of DS9, ``-`` of CRTF, ``!`` of
        FITS) have no row: their area is subtracted from all other regions.

    Raises
    ------
    TypeError, ValueError, OSError
        If ``regions`` is none of these, contains only excluded regions or labels, or the file cannot be read.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_weights
    >>> truth = datasets.demo_truth()
    >>> region_weights(datasets.demo_clusters(), truth.wcs, truth.shape).area.round()
    array([50., 28., 50., 20., 28.])
    """
    return weights_on(listed(regions, cosmology=cosmology, select=select), wcs, shape)


def region_means(maps: Floats, weights: RegionWeights) -> Floats:
    """
    Compute the mean of maps over regions.

    Parameters
    ----------
    maps : ndarray
        Maps ``(n, ny, nx)``; pixels that are not finite in any of the maps count as outside of the field.
    weights : RegionWeights
        Overlap of ``n_regions`` regions with the grid, from `region_weights`; ValueError for another grid.

    Returns
    -------
    ndarray
        Means ``(n, n_regions)``, NaN for regions without a pixel.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_means, region_weights
    >>> truth = datasets.demo_truth()
    >>> weights = region_weights(datasets.demo_clusters(), truth.wcs, truth.shape)
    >>> print(region_means(truth.data[None], weights).round(3))
    [[0.072 0.06  0.065 0.06  0.033]]
    """
    maps = np.asarray(maps)
    if maps.ndim != 3 or maps.shape[1] * maps.shape[2] != weights.overlap.shape[1]:
        raise ValueError(f"maps: need the shape (n, ny, nx) of the grid of the weights, got {maps.shape}")
    return means_over(maps, weights.inside(finite_in_regions(maps, weights)))


def region_statistics(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    regions: RegionsLike,
    *,
    background: Background | None = None,
    level: float = 0.68,
    keep_columns: KeepColumns = False,
    cosmology: FLRW | None = None,
    select: Select | None = None,
) -> QTable:
    """
    Measure the mean convergence in regions, with its credible interval over the samples.

    Parameters
    ----------
    mean, samples : ndarray
        Posterior mean ``(ny, nx)`` and samples ``(n_samples, ny, nx)``. Pixels that are not finite in any of them count
        as outside of the field.
    wcs, regions
        WCS of the maps, and regions as for `region_weights`.
    mask : ndarray of bool
        Pixels without data ``(ny, nx)``. The values inferred there count.
    background : regions or `~astropy.units.Quantity`, optional
        Background whose mean is subtracted: one region for all, one for each, or the two radii of a ring around the
        centre of each region.
    level : float
        Level of the interval.
    keep_columns : bool, str or list of str
        Columns of a table of clusters to keep in the result: all, none, or those named. ``_input`` is appended to a
        name that the result already has.
    cosmology : `~astropy.cosmology.FLRW`, optional
        Cosmology that converts radii in kpc or Mpc of a table with redshifts to angles; by default the one that
        astropy is set to.
    select : str or array-like, optional
        Rows of a table of clusters to use: a condition such as ``"z < 0.5 & snr > 5"``, or flags, as in
        `~astro_massmap.ShearCatalog.from_table`.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region`` (name, label or identifier of the input, tags of DS9, or the number of the region; the
        second of two equal names is called ``NAME (2)``), ``center`` (in the frame of the WCS; centre of the bounding
        box where a region has no other), ``kappa``, ``std``, ``lower``, ``upper``, ``signal_to_noise`` and
        ``data_fraction``: the fraction of the whole region that has data. NaN for regions outside of the field.

    Raises
    ------
    TypeError, ValueError, OSError, `~astropy.units.UnitsError`
        If an argument is not as described, a file cannot be read, or there are fewer than two samples.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_statistics
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data + np.random.default_rng(0).normal(scale=0.01, size=(32, 1, 1))
    >>> table = region_statistics(truth.data, samples, truth.wcs, truth.mask, datasets.demo_clusters())
    >>> print("{region}: {kappa:.3f}, from {lower:.3f} to {upper:.3f}".format(**table[0]))
    A: 0.072, from 0.063 to 0.080
    """
    level, (mean, samples, mask) = checked_level(level), checked_maps(mean, samples, mask, at_least=2)
    regions = listed(regions, cosmology=cosmology, select=select)
    table, values = excess(mean, samples, wcs, mask, regions, background)
    add_interval(table, values, level)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = table["kappa"] / table["std"]
    table.meta["level"] = level
    table = table["region", "center", "kappa", "std", "lower", "upper", "signal_to_noise", "data_fraction"]
    return with_columns(printed(table), regions, keep_columns)


def region_values(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    regions: RegionsLike,
    *,
    background: Background | None = None,
    cosmology: FLRW | None = None,
    select: Select | None = None,
) -> Floats:
    """
    Compute the mean convergence of regions in every sample, after subtracting that of a background.

    Parameters and errors are those of `region_statistics`.

    Returns
    -------
    ndarray
        Means ``(n_samples, n_regions)``, NaN for regions outside of the field.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_values
    >>> truth = datasets.demo_truth()
    >>> region_values(truth.data, [truth.data] * 3, truth.wcs, truth.mask, datasets.demo_clusters()).shape
    (3, 5)
    """
    mean, samples, mask = checked_maps(mean, samples, mask)
    found = listed(regions, cosmology=cosmology, select=select)
    return excess(mean, samples, wcs, mask, found, background)[1]


def detection_probability(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    regions: RegionsLike,
    threshold: ArrayLike,
    background: Background | None = None,
    *,
    level: float = 0.68,
    keep_columns: KeepColumns = False,
    cosmology: FLRW | None = None,
    select: Select | None = None,
) -> QTable:
    """
    Compute the fraction of samples in which the mean convergence of a region exceeds a threshold.

    Parameters
    ----------
    mean, samples, wcs, mask, regions, background, keep_columns, cosmology, select
        As for `region_statistics`, also for errors; at least one sample.
    threshold : float or array-like
        Threshold of the mean convergence, for all regions or for each.
    level : float
        Level of the interval of the probability.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region``, ``center``, ``probability``, its Wilson interval ``lower`` to ``upper`` for ``n_samples``
        samples taken as independent, ``data_fraction`` as in `region_statistics`, ``measured``: False where less than
        5 % of the region has data, so that the probability is essentially that of the prior; and ``kappa``, ``std``
        and ``signal_to_noise`` of the mean convergence as in `region_statistics`. The probability is NaN for regions
        outside of the field, ``std`` for a single sample.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import detection_probability
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data * np.linspace(0, 2, 21)[:, None, None]
    >>> table = detection_probability(truth.data, samples, truth.wcs, truth.mask, datasets.demo_clusters(), 0.015)
    >>> print("{region}: {kappa:.3f} {probability:.2f}, {lower:.2f} to {upper:.2f}".format(**table[0]))
    A: 0.072 0.86, 0.77 to 0.92
    """
    threshold, level = floats(threshold, "threshold"), checked_level(level)
    mean, samples, mask = checked_maps(mean, samples, mask)
    regions = listed(regions, cosmology=cosmology, select=select)
    table, values = excess(mean, samples, wcs, mask, regions, background)
    if threshold.shape not in ((), (len(table),)) or not np.isfinite(threshold).all():
        raise ValueError(f"threshold: needs a finite number, or one for each of {len(table)} regions; got {threshold}")
    probability = np.where(np.isnan(values).any(axis=0), np.nan, (values > threshold).mean(axis=0))
    add_probability(table, probability, len(values), level)
    table["measured"] = table["data_fraction"] >= _LEAST_DATA
    with np.errstate(invalid="ignore", divide="ignore"):
        table["std"] = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(len(table), np.nan)
        table["signal_to_noise"] = table["kappa"] / table["std"]
    table.meta["threshold"] = threshold.tolist()
    probabilities = ["probability", "lower", "upper", "n_samples"]
    quality, of_mean = ["data_fraction", "measured"], ["kappa", "std", "signal_to_noise"]
    table = table["region", "center", *probabilities, *quality, *of_mean]
    return with_columns(printed(table), regions, keep_columns)
