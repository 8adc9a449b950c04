"""Injection of halos into catalogues and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..theory.source_redshifts import is_listed, read_n_z
from .halos import NFWHalo
from .mock_survey import lensed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.coordinates import SkyCoord

    from .._utils.typing import RedshiftsLike
    from ..maps.catalog import ShearCatalog
    from ..maps.convergence_map import ConvergenceMap

_Target = TypeVar("_Target", "ShearCatalog", "ConvergenceMap")
_NEAR = 8  # distance from a centre, in pixels, within which the convergence is averaged over pixels
_SUBPIXELS = 16  # points on a side of these pixels


def inject_halo(
    target: _Target, halo: NFWHalo | Sequence[NFWHalo], center: SkyCoord, *, z_source: RedshiftsLike | None = None
) -> _Target:
    """
    Add halos to a catalogue or a map.

    The reduced shear of all halos together is composed with the ellipticity of each galaxy, in addition to the shear
    that is already there (Seitz & Schneider 1997). Number and positions of the galaxies do not change: magnification
    is not included. To a map and each of its samples, the convergence averaged over pixels is added, as in a perfect
    measurement; the uncertainty does not change.

    Parameters
    ----------
    target : ShearCatalog or ConvergenceMap
        Catalogue or map.
    halo : NFWHalo or sequence of NFWHalo
        One halo for all centres, or one for each.
    center : `~astropy.coordinates.SkyCoord`
        One position or several.
    z_source : optional
        Redshift of all sources, or their n(z), over which shear and convergence are averaged, as for
        `~astro_massmap.analysis.mass.critical_surface_density`. By default the redshifts of the galaxies in the
        catalogue; galaxies in front of a halo are not lensed by it. Required for a map.

    Returns
    -------
    ShearCatalog or ConvergenceMap
        A new object. The additive bias of a catalogue is removed, and ``meta["halos"]`` is the number of added halos.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, or source redshifts are missing.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap import datasets
    >>> from astro_massmap.simulation import NFWHalo, inject_halo
    >>> halo, center = NFWHalo(8e14 * u.Msun, redshift=0.3), SkyCoord(34.5, -5.0, unit="deg")
    >>> inject_halo(datasets.demo(), halo, center, z_source=1.0).meta["halos"]
    1
    """
    from ..maps.catalog import ShearCatalog  # loads astropy
    from ..maps.convergence_map import ConvergenceMap  # loads astropy

    halos, centers = _pairs(halo, center)
    if z_source is not None:
        z_source = _behind(z_source, halos)
    if isinstance(target, ShearCatalog):
        if target.efficiency is not None:
            raise ValueError("target: needs galaxies with their own redshifts; add halos before for_lens")
        return _into_catalog(target, halos, centers, z_source)
    if isinstance(target, ConvergenceMap):
        return _into_map(target, halos, centers, z_source)
    raise TypeError(f"target: needs a ShearCatalog or a ConvergenceMap, got {type(target).__name__}")


def _pairs(halo, center):
    from astropy.coordinates import SkyCoord

    if not isinstance(center, SkyCoord):
        raise TypeError(f"center: needs a SkyCoord, got {type(center).__name__}")
    centers = center.reshape(-1)
    if not (np.isfinite(centers.spherical.lon.deg) & np.isfinite(centers.spherical.lat.deg)).all():
        raise ValueError("center: needs finite positions")
    halos = [halo] * len(centers) if isinstance(halo, NFWHalo) else list(halo) if np.iterable(halo) else [halo]
    if not all(isinstance(h, NFWHalo) for h in halos):
        raise TypeError("halo: needs an NFWHalo or a sequence of them")
    if len(halos) != len(centers):
        raise ValueError(f"halo: needs one for all, or one for each of {len(centers)} centres, got {len(halos)}")
    return halos, centers


def _behind(z_source, halos):
    sources = read_n_z(z_source, "z_source")
    if sources.table is None and is_listed(z_source) and np.ndim(z_source):
        raise ValueError(
            f"z_source: needs one positive redshift or n(z), such as (z, n), got {np.size(z_source)} redshifts; set "
            "those of the galaxies as catalog.redshift instead"
        )
    farthest = max((h.redshift for h in halos), default=0)
    if sources.farthest <= farthest:
        raise ValueError(
            f"z_source: needs to be larger than the redshift {farthest:g} of a halo, got {sources.farthest:g}"
        )
    return sources


def _into_catalog(catalog, halos, centers, z_source):
    z_source = _source_redshifts(catalog) if z_source is None else z_source
    gamma, kappa = np.zeros(len(catalog), dtype=complex), np.zeros(len(catalog))
    for halo, center in zip(halos, centers.transform_to(catalog.coords.frame), strict=True):
        theta = catalog.coords.separation(center)
        # Images are stretched perpendicular to the line to the centre. At a position angle phi from North through East,
        # this line is at phi + 90 degrees from West, and -exp(2i (phi + 90 deg)) = exp(2i phi).
        phi = catalog.coords.position_angle(center).rad
        gamma += halo.shear(theta, z_source) * np.exp(2j * phi)
        kappa += halo.convergence(theta, z_source)
    new = catalog.with_shear(lensed(catalog.west_north, gamma, kappa, catalog._bias_of))
    new.meta["halos"] = catalog.meta.get("halos", 0) + len(halos)
    if halos and "reduced" in catalog.meta:
        new.meta["reduced"] = True
    return new


def _source_redshifts(catalog):
    if catalog.redshift is None:
        raise ValueError("z_source: the catalogue has no redshifts; give the redshift of the sources, or n(z)")
    bad = ~((catalog.redshift > 0) & np.isfinite(catalog.redshift))
    if bad.any():
        raise ValueError(
            f"z_source: {int(bad.sum())} of {len(catalog)} galaxies have no positive redshift; "
            "select the other galaxies, or give one redshift for all"
        )
    return catalog.redshift


def _into_map(kappa, halos, centers, z_source):
    from ..maps.arguments import need_convergence  # loads astropy

    if z_source is None:
        raise ValueError("z_source: needed for a map, the redshift of the sources or n(z)")
    need_convergence(kappa)
    added = np.zeros(kappa.shape)
    for halo, center in zip(halos, centers, strict=True):
        added += _pixel_means(halo, center, z_source, kappa.wcs, kappa.shape)
    return type(kappa)(
        (kappa.data + added).astype(kappa.data.dtype),
        wcs=kappa.wcs,
        uncertainty=kappa.uncertainty,
        mask=kappa.mask,
        samples=None if kappa.samples is None else kappa.samples + added.astype(kappa.samples.dtype),
        meta={**kappa.meta, "halos": kappa.meta.get("halos", 0) + len(halos)},
        diagnostics=kappa.diagnostics,
        b_mode=kappa.b_mode,
        n_z=kappa.n_z,
    )


def _pixel_means(halo, center, z_source, wcs, shape):
    """Return the convergence ``(ny, nx)`` of a halo: means of pixels near its centre, values at other pixel centres."""
    x0, y0 = wcs.world_to_pixel(center)
    y, x = np.mgrid[: shape[0], : shape[1]]

    def at(x, y):
        theta = np.asarray(wcs.pixel_to_world(x, y).separation(center).arcmin)
        theta = np.where(np.isfinite(theta), theta, 180 * 60)  # pixels outside of the projection
        return halo.convergence(theta, z_source)

    result = at(x, y)
    near = np.hypot(x - x0, y - y0) < _NEAR
    step = (np.arange(_SUBPIXELS) + 0.5) / _SUBPIXELS - 0.5
    if near.any():
        fine = at(*np.broadcast_arrays(x[near][:, None, None] + step, y[near][:, None, None] + step[:, None]))
        result[near] = fine.mean(axis=(1, 2))
    return result
