"""Catalogues and maps as objects of other packages: TreeCorr, healsparse, mocpy and xarray, if they are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._sky.geometry import shear_to_icrs
from .._utils.optional import require

if TYPE_CHECKING:
    from ..maps.catalog import ShearCatalog
    from ..maps.convergence_map import ConvergenceMap
    from .maps import SkyMaps

__all__ = ["to_healsparse", "to_moc", "to_treecorr", "to_xarray"]


def to_treecorr(catalog: ShearCatalog, **options: Any) -> Any:
    """
    Return a catalogue of TreeCorr: positions, calibrated shear and weights.

    Parameters
    ----------
    catalog : `~astro_massmap.ShearCatalog`
        Galaxies. Their shear estimates are divided by the mean of ``1 + m``.
    **options
        Arguments of ``treecorr.Catalog``, such as ``npatch``.

    Returns
    -------
    treecorr.Catalog
        Its components are those to West and North in ICRS, which is the convention of TreeCorr.

    Raises
    ------
    ImportError
        If TreeCorr is not installed.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.survey.bridges import to_treecorr
    >>> to_treecorr(datasets.demo()).ntot  # doctest: +SKIP
    65666
    """
    treecorr, icrs = require("treecorr", "bridges"), catalog.coords.icrs
    m_bias = np.broadcast_to(0.0 if catalog.m_bias is None else catalog.m_bias, len(catalog))
    shear = shear_to_icrs(catalog.coords, catalog.west_north) / (1 + np.average(m_bias, weights=catalog.weight))
    positions = {"ra": icrs.ra.deg, "dec": icrs.dec.deg, "ra_units": "deg", "dec_units": "deg"}
    return treecorr.Catalog(**positions, g1=shear.real, g2=shear.imag, w=catalog.weight, **options)


def to_healsparse(maps: SkyMaps, column: str = "mean", **options: Any) -> Any:
    """
    Return a column of the HEALPix table of a survey as a map of healsparse.

    Parameters
    ----------
    maps : `~astro_massmap.SkyMaps`
        Maps of a survey.
    column : str
        Column of `~astro_massmap.SkyMaps.healpix`, such as ``"std"``.
    **options
        Arguments of `~astro_massmap.SkyMaps.healpix`: ``nside`` and ``threshold``.

    Returns
    -------
    healsparse.HealSparseMap
        Values in single precision, whose coverage has the resolution of the cells.

    Raises
    ------
    ImportError, KeyError
        If healsparse is not installed, or there is no such column.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import SkyFields, datasets
    >>> from astro_massmap.survey.bridges import to_healsparse
    >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
    >>> maps = fields.reconstruct("maps", "kaiser_squires", progress=False)
    >>> to_healsparse(maps).nside_coverage  # doctest: +SKIP
    64
    """
    healsparse, table = require("healsparse", "bridges"), maps.healpix(**options)
    found = healsparse.HealSparseMap.make_empty(maps.nside, table.meta["nside"], np.float32)
    found.update_values_pix(np.asarray(table["pixel"]), np.asarray(table[column], dtype=np.float32))
    return found


def to_moc(maps: SkyMaps, *, nside: int | None = None) -> Any:
    """
    Return the footprint of the maps of a survey as a MOC (multi-order coverage map).

    Parameters
    ----------
    maps : `~astro_massmap.SkyMaps`
        Maps of a survey.
    nside : int, optional
        Resolution, as for `~astro_massmap.SkyMaps.healpix`.

    Returns
    -------
    mocpy.MOC

    Raises
    ------
    ImportError
        If mocpy is not installed.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import SkyFields, datasets
    >>> from astro_massmap.survey.bridges import to_moc
    >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
    >>> maps = fields.reconstruct("maps", "kaiser_squires", progress=False)
    >>> to_moc(maps).max_order  # doctest: +SKIP
    12
    """
    mocpy, table = require("mocpy", "bridges"), maps.healpix(nside=nside)
    order = int(np.log2(table.meta["nside"]))
    return mocpy.MOC.from_healpix_cells(np.asarray(table["pixel"], np.uint64), order, max_depth=order)


def to_xarray(kappa: ConvergenceMap) -> Any:
    """
    Return a convergence map as a data set of xarray.

    Parameters
    ----------
    kappa : `~astro_massmap.ConvergenceMap`
        Map, with or without samples.

    Returns
    -------
    xarray.Dataset
        ``kappa`` and ``std`` (NaN without data) with dimensions ``y``, ``x``, and ``samples`` with ``chain``, ``draw``,
        ``y``, ``x``, in one chain as ArviZ expects. The cards of the WCS are its attributes.

    Raises
    ------
    ImportError
        If xarray is not installed.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> from astro_massmap.survey.bridges import to_xarray
    >>> kappa = datasets.demo()[::4].reconstruct("wiener", n_samples=4, progress=False)
    >>> to_xarray(kappa).samples.dims  # doctest: +SKIP
    ('chain', 'draw', 'y', 'x')
    """
    xarray = require("xarray", "bridges")
    images: dict[str, Any] = {"kappa": (("y", "x"), np.where(kappa.mask, np.nan, kappa.data))}
    if kappa.uncertainty is not None:
        images["std"] = (("y", "x"), np.where(kappa.mask, np.nan, kappa.uncertainty.array))
    if kappa.samples is not None:
        images["samples"] = (("chain", "draw", "y", "x"), kappa.samples[None])
    return xarray.Dataset(images, attrs=dict(kappa.wcs.to_header(relax=True)))
