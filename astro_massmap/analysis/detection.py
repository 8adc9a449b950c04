"""
What the samples say about a place: is there a structure, and how much of it?

The mean of a map over a region R weighs every pixel p by the area w_p that R covers of it,

    kappa_R = sum_p w_p kappa_p / sum_p w_p,

over the pixels of the field. A structure is there in a sample when kappa_R, less that of a background, exceeds a
threshold; the share of samples in which it is there is its probability (Remy et al. 2020). All functions take arrays
and a WCS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._io.quantities import checked_level, floats
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

    from .._utils.typing import Background, Bools, Floats, KeepColumns, RegionsLike, Shape

__all__ = [
    "RegionWeights",
    "detection_probability",
    "region_means",
    "region_statistics",
    "region_values",
    "region_weights",
]

_LEAST_DATA = 0.05  # fraction of a measured region that holds data


def region_weights(regions: RegionsLike, wcs: WCS, shape: Shape) -> RegionWeights:
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
        rectangles, polygons), else from 10 x 10 points of a pixel. A point stands for the pixel that holds it. Lines,
        and regions outside of the field or beyond its projection, have no overlap. Regions that a file excludes
        (``-circle(...)`` or ``include=0`` of DS9, ``-`` of CRTF, ``!`` of FITS) have no row: their area is taken out
        of all of the others.

    Raises
    ------
    TypeError, ValueError, OSError
        If ``regions`` is none of these, holds excluded regions or labels alone, or the file cannot be read.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        Counts of text labels and annotations, which are left out.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from regions import CircleSkyRegion
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_weights
    >>> truth = datasets.demo_truth()
    >>> circle = CircleSkyRegion(SkyCoord(34.5, -5.0, unit="deg"), 2 * u.arcmin)
    >>> weights = region_weights(circle, truth.wcs, truth.shape)
    >>> print(f"{weights.area[0]:.1f} pixels, {weights.overlap.sum():.1f} in the field")
    78.5 pixels, 78.5 in the field
    """
    return weights_on(listed(regions), wcs, shape)


def region_means(maps: Floats, weights: RegionWeights) -> Floats:
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

    Examples
    --------
    >>> import numpy as np
    >>> from regions import CirclePixelRegion, PixCoord
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_means, region_weights
    >>> truth = datasets.demo_truth()
    >>> weights = region_weights(CirclePixelRegion(PixCoord(40, 60), 5), truth.wcs, truth.shape)
    >>> maps = np.stack([np.full(truth.shape, 0.02), np.tile(np.arange(128.0), (128, 1))])
    >>> print(region_means(maps, weights).round(3))
    [[2.e-02]
     [4.e+01]]
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
) -> QTable:
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
    keep_columns : bool, str or list of str
        Columns of a table of clusters that the result keeps: all, none, or those named. A name that the result has
        already gets ``_input`` behind it.
    cosmology : `~astropy.cosmology.FLRW`, optional
        Cosmology that converts radii in kpc or Mpc of a table with redshifts to angles; by default the one that
        astropy is set to.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region`` (name, label or identifier of the input, tags of DS9, or the number of the region; a second
        region of the same name has `` (2)`` behind it), ``center`` (in the frame of the WCS; of the bounding box where
        a region has no other), ``kappa``, ``std``, ``lower``, ``upper``, ``signal_to_noise`` and ``data_fraction``:
        the share of the whole region that holds data. NaN for regions outside of the field.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, or there are fewer than two samples.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_statistics
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data + np.random.default_rng(0).normal(scale=0.01, size=(32, 1, 1))
    >>> table = region_statistics(truth.data, samples, truth.wcs, truth.mask, datasets.demo_clusters())
    >>> for row in table[:2]:
    ...     print("{region}: {kappa:.3f}, from {lower:.3f} to {upper:.3f}".format(**row))
    A: 0.072, from 0.063 to 0.080
    B: 0.060, from 0.051 to 0.068
    """
    level, (mean, samples, mask) = checked_level(level), checked_maps(mean, samples, mask, at_least=2)
    regions = listed(regions, cosmology=cosmology)
    table, values = excess(mean, samples, wcs, mask, regions, background)
    add_interval(table, values, level)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = table["kappa"] / table["std"]
    table.meta["level"] = level
    table = table["region", "center", "kappa", "std", "lower", "upper", "signal_to_noise", "data_fraction"]
    return with_columns(table, regions, keep_columns)


def region_values(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    regions: RegionsLike,
    *,
    background: Background | None = None,
) -> Floats:
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

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_values
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data + np.array([-0.01, 0, 0.01])[:, None, None]
    >>> values = region_values(truth.data, samples, truth.wcs, truth.mask, datasets.demo_clusters())
    >>> values.shape, np.diff(values, axis=0).round(3).tolist()[0]
    ((3, 5), [0.01, 0.01, 0.01, 0.01, 0.01])
    """
    mean, samples, mask = checked_maps(mean, samples, mask)
    return excess(mean, samples, wcs, mask, regions, background)[1]


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
) -> QTable:
    """
    Fraction of the samples in which the mean convergence of a region exceeds a threshold.

    Parameters
    ----------
    mean, samples, wcs, mask, regions, background, keep_columns, cosmology
        As for `region_statistics`.
    threshold : float or array-like
        For all regions, or for each.
    level : float
        Level of the interval of the probability.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region``, ``center``, ``kappa`` (of the posterior mean, less the background), ``probability``, its
        Wilson interval ``lower`` to ``upper``, the number ``n_samples`` of samples, taken as independent, that it is
        estimated from, ``data_fraction`` as in `region_statistics`, and ``measured``: False where less than 5 % of the
        region holds data, so that the probability is essentially that of the prior. Of regions outside of the field
        the probability is NaN.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, or there are no samples.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import detection_probability
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data * np.linspace(0, 2, 21)[:, None, None]
    >>> table = detection_probability(truth.data, samples, truth.wcs, truth.mask, datasets.demo_clusters(), 0.015)
    >>> for row in table:
    ...     print("{region}: {kappa:.3f} {probability:.2f}, {lower:.2f} to {upper:.2f}".format(**row))
    A: 0.072 0.86, 0.77 to 0.92
    B: 0.060 0.86, 0.77 to 0.92
    C: 0.065 0.86, 0.77 to 0.92
    D: 0.060 0.86, 0.77 to 0.92
    E: 0.033 0.76, 0.66 to 0.84
    """
    threshold, level = floats(threshold, "threshold"), checked_level(level)
    mean, samples, mask = checked_maps(mean, samples, mask)
    regions = listed(regions, cosmology=cosmology)
    table, values = excess(mean, samples, wcs, mask, regions, background)
    if threshold.shape not in ((), (len(table),)) or not np.isfinite(threshold).all():
        raise ValueError(f"threshold: needs a finite number, or one for each of {len(table)} regions; got {threshold}")
    probability = np.where(np.isnan(values).any(axis=0), np.nan, (values > threshold).mean(axis=0))
    add_probability(table, probability, len(values), level)
    table["measured"] = table["data_fraction"] >= _LEAST_DATA
    table.meta["threshold"] = threshold.tolist()
    probabilities = ["probability", "lower", "upper", "n_samples"]
    table = table["region", "center", "kappa", *probabilities, "data_fraction", "measured"]
    return with_columns(table, regions, keep_columns)
