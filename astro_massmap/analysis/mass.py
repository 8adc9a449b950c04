"""
Masses from the convergence.

The convergence is the surface density of matter at the redshift z_l divided by the critical surface density for sources
at z_s,

    kappa = Sigma / Sigma_crit,    Sigma_crit = c^2 / (4 pi G)  D_s / (D_l D_ls),

with angular diameter distances D (Bartelmann & Schneider 2001). Shear does not constrain a constant mass sheet. The
aperture mass (Schneider, van Waerbeke, Jain & Kruse 1998)

    M_ap = int d^2theta U(theta) kappa(theta),    U = 9 / (pi R^2) (1 - x^2) (1/3 - x^2),    x = theta / R <= 1,

does not depend on it, because the integral of U vanishes. All functions take arrays and a WCS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.constants import G, c
from scipy.interpolate import CubicSpline

from .._io.quantities import checked_level, floats, numbers
from .._io.result_tables import printed
from .._sky.geometry import local_scale
from .._sky.regions import without_area
from .._utils.progress import warn
from ..theory.cosmology import checked_cosmology, redshift
from ..theory.source_redshifts import is_listed, read_n_z
from .aperture import aperture_filter, aperture_mass
from .region_means import add_interval, checked_maps, excess, listed
from .region_tables import keep_columns as with_columns

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from astropy.table import QTable, Table
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Background, Bools, Floats, KeepColumns, RedshiftsLike, RegionsLike, Select

__all__ = [
    "aperture_filter",
    "aperture_mass",
    "critical_surface_density",
    "lensing_efficiency",
    "projected_mass",
]

_SURFACE_DENSITY = u.Msun / u.kpc**2
_NAMED = 10  # most lenses whose names are part of a warning
_NODES = 256  # redshifts between which the distances of many sources are interpolated


def critical_surface_density(
    z_lens: float, z_source: RedshiftsLike, cosmology: FLRW | None = None, *, weight: ArrayLike | None = None
) -> u.Quantity:
    """
    Compute the surface density of matter that has a convergence of one.

    Parameters
    ----------
    z_lens : float
        Redshift of the lens.
    z_source : float, array-like, pair of array-like, table, file, SACC object or ShearCatalog
        Redshift of a source plane, redshifts of the sources ``(n,)``, or their distribution n(z): a tuple (z, n) of
        increasing redshifts and densities, a table or a file with columns such as ``z`` and ``n`` (or ``Z_MID`` and
        ``BIN1``), a SACC object with one tracer, or a catalogue with redshifts. The inverse is averaged over the
        sources; those in front of the lens contribute zero. A tabulated n(z) is linear between its points and need not
        be normalised.
    cosmology : `~astropy.cosmology.FLRW`, optional
        Cosmology; by default the default cosmology of astropy.
    weight : array-like, optional
        Weight of each source, if ``z_source`` has one redshift for each.

    Returns
    -------
    `~astropy.units.Quantity`
        Critical surface density in Msun / kpc2.

    Raises
    ------
    TypeError, ValueError
        If a redshift is not positive, the distribution is not as described, no source is behind the lens, or the
        cosmology has no distances.

    Examples
    --------
    >>> from astropy.cosmology import FlatLambdaCDM
    >>> from astro_massmap.analysis.mass import critical_surface_density
    >>> print(f"{critical_surface_density(0.3, [0.2, 0.8, 1.0, 1.5], FlatLambdaCDM(70, 0.3)):.4g}")
    3.739e+09 solMass / kpc2
    """
    sources, cosmology = read_n_z(z_source, "z_source", weight=weight), checked_cosmology(cosmology)
    mean = lensing_efficiency(z_lens, sources, cosmology)
    if not mean > 0:
        farthest = f"the farthest is at {sources.farthest:g}" if len(sources.z) > 1 else f"got {sources.farthest:g}"
        raise ValueError(f"z_source: needs sources behind z_lens = {z_lens:g}, {farthest}")
    return _critical(z_lens, mean, cosmology)


def _critical(z_lens, efficiency, cosmology):
    distance = cosmology.angular_diameter_distance(z_lens)
    return (c**2 / (4 * np.pi * G * distance * efficiency)).to(_SURFACE_DENSITY)


def critical_densities(z_lens, sources, cosmology, names):
    """
    Return the critical surface density of each lens ``(n,)``; NaN for redshifts that are NaN.

    It is also NaN, with a warning that lists the ``names``, for lenses that are not in front of the sources, and a
    ValueError if this applies to all.
    """
    critical = np.full(z_lens.shape, np.nan) * _SURFACE_DENSITY
    efficiency = {z: lensing_efficiency(z, sources, cosmology) for z in np.unique(z_lens[np.isfinite(z_lens)])}
    behind = [z for z, value in efficiency.items() if not value > 0]
    if behind and len(behind) == len(efficiency):
        critical_surface_density(behind[0], sources, cosmology)  # raises the error
    for z in efficiency.keys() - behind:
        critical[z_lens == z] = _critical(z, efficiency[z], cosmology)
    lost = np.flatnonzero(np.isin(z_lens, behind))
    if len(lost):
        listed_names = ", ".join(str(names[i]) for i in lost[:_NAMED]) + (", ..." if len(lost) > _NAMED else "")
        warn(
            f"z_source: {len(lost)} of {len(z_lens)} lenses are not in front of the sources, of which the farthest is "
            f"at {sources.farthest:g}; their masses are NaN: {listed_names}",
            4,
        )
    return critical


def lensing_efficiency(z_lens: float, z_source: RedshiftsLike, cosmology: FLRW | None = None) -> NDArray[np.float64]:
    """
    Compute ``D_ls / D_s``, the distance from the lens to the source divided by the distance to the source.

    Parameters
    ----------
    z_lens, z_source, cosmology
        As for `critical_surface_density`, also for errors; source redshifts of any shape. Distances of more than
        256 redshifts are interpolated between 256 redshifts.

    Returns
    -------
    ndarray
        Ratios with the shape of ``z_source``, accurate to 1e-6; zero for sources that are not behind the lens. For a
        distribution, their mean, one number.

    Examples
    --------
    >>> from astropy.cosmology import FlatLambdaCDM
    >>> from astro_massmap.analysis.mass import lensing_efficiency
    >>> print(lensing_efficiency(0.3, [0.2, 0.6, 1.0, 3.0], FlatLambdaCDM(70, 0.3)).round(3))
    [0.    0.459 0.638 0.812]
    """
    z_lens, cosmology = redshift(z_lens, "z_lens"), checked_cosmology(cosmology)
    if not is_listed(z_source):
        sources = read_n_z(z_source, "z_source")
        return (sources.weight * lensing_efficiency(z_lens, sources.z, cosmology)).sum()
    z_source = floats(z_source, "z_source")
    bad = ~((z_source >= 0) & np.isfinite(z_source))
    if bad.any() or z_source.size == 0:
        raise ValueError(f"z_source: needs finite redshifts, zero or positive; {int(bad.sum())} of {bad.size} are not")
    behind = z_source > z_lens
    efficiency = np.zeros(z_source.shape)
    if behind.any():
        near, far = (_distance(z, cosmology) for z in (np.array([z_lens]), z_source[behind]))
        # in units of the Hubble distance (Hogg 1999), also where space is curved
        bent = [np.sqrt(1 + cosmology.Ok0 * m**2) for m in (near, far)]
        efficiency[behind] = np.maximum(bent[0] - near / far * bent[1], 0)
    return efficiency


def _distance(z, cosmology):
    """Return the comoving transverse distance divided by the Hubble distance."""

    def exact(z):
        return (cosmology.comoving_transverse_distance(z) / cosmology.hubble_distance).to_value(u.one)

    values, index = np.unique(z, return_inverse=True)
    if values.size <= _NODES:
        return exact(values)[index]
    t = np.unique(np.linspace(np.log1p(values[0]), np.log1p(values[-1]), _NODES))
    return CubicSpline(t, exact(np.expm1(t)))(np.log1p(z))


def projected_mass(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    regions: RegionsLike,
    z_lens: ArrayLike | str,
    z_source: RedshiftsLike,
    *,
    cosmology: FLRW | None = None,
    weight: ArrayLike | None = None,
    background: Background | None = None,
    level: float = 0.68,
    keep_columns: KeepColumns = False,
    select: Select | None = None,
) -> QTable:
    """
    Measure the mass projected onto regions, with all matter at one redshift (thin-lens approximation).

    The mass is the mean convergence of a region times the area of the region times the critical surface density. If the
    edge of the field cuts a region, the mean is that of the part in the field and the area that of the whole region, so
    that masses within equal radii can be compared; see ``data_fraction``.

    Parameters
    ----------
    mean, samples, wcs, mask, regions, background, level, keep_columns, select
        As for `~astro_massmap.analysis.detection.region_statistics`, also for errors, but all regions need an area.
        Shear does not constrain the mean of a field: subtract a background.
    z_lens : float, array-like or str
        Redshift of the matter, for all regions or for each, or the name of a column in a table of clusters. Masses are
        NaN, with a warning, for lenses that are not in front of the sources, and an error is raised if all are.
    z_source, cosmology, weight
        As for `critical_surface_density`, also for errors. The cosmology converts radii in kpc or Mpc of a table, too.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region``, ``center``, ``mass`` (in Msun), ``std``, ``lower``, ``upper`` and ``data_fraction``, the
        fraction of the whole region that has data. NaN for regions outside of the field, and, with a warning, for
        missing redshifts in a column.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.cosmology import FlatLambdaCDM
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.mass import projected_mass
    >>> truth = datasets.demo_truth()
    >>> samples = truth.data * np.linspace(0.9, 1.1, 7)[:, None, None]
    >>> table = projected_mass(truth.data, samples, truth.wcs, truth.mask, datasets.demo_clusters(), 0.3, 1.0,
    ...                        cosmology=FlatLambdaCDM(70, 0.3))
    >>> print(f"{table['mass'][0]:.3g} +- {table['std'][0]:.3g}")
    1.17e+14 solMass +- 8.43e+12 solMass
    """
    cosmology = checked_cosmology(cosmology)
    found = listed(regions, cosmology=cosmology, select=select)
    if points := sum(without_area(region) is not None for region in found):
        raise ValueError(
            f"regions: a projected mass needs an area, but {points} of {len(found)} regions have none; give circles, "
            "or a table with a column radius"
        )
    z_lens, sources = redshifts_of(z_lens, len(found), found.table), read_n_z(z_source, "z_source", weight=weight)
    level, (mean, samples, mask) = checked_level(level), checked_maps(mean, samples, mask, at_least=2)
    kappa, values = excess(mean, samples, wcs, mask, found, background)
    add_interval(kappa, values, level)
    critical = critical_densities(z_lens, sources, cosmology, kappa["region"])
    distance = np.full(len(found), np.nan) * u.kpc
    for z in np.unique(z_lens[np.isfinite(z_lens)]):
        distance[z_lens == z] = cosmology.angular_diameter_distance(z)
    *_, scale = local_scale(kappa["center"], wcs)
    mass = (critical * distance**2 * kappa["area"] / scale**2).to(u.Msun)
    table = kappa["region", "center"]
    table.meta["level"] = level
    table["mass"] = kappa["kappa"] * mass
    for name in ("std", "lower", "upper"):
        table[name] = kappa[name] * mass
    table["data_fraction"] = kappa["data_fraction"]
    table.meta |= {"z_lens": z_lens.tolist(), "critical_surface_density": critical, "cosmology": cosmology.name}
    return with_columns(printed(table), found, keep_columns)


def redshifts_of(z: ArrayLike | str, n: int, table: Table | None) -> NDArray[np.float64]:
    """
    Return ``z`` as a positive number for each of n regions.

    It may be a column of their table; values that are not positive are then NaN, with a warning.
    """
    if isinstance(z, str):
        return _column_of_redshifts(z, table)
    z = floats(z, "z_lens")
    if z.shape not in ((), (n,)):
        raise ValueError(f"z_lens: needs one redshift, or one for each of {n} regions, got the shape {z.shape}")
    if not ((z > 0) & np.isfinite(z)).all():
        raise ValueError(f"z_lens: needs positive redshifts, got {z}")
    return np.broadcast_to(z, n)


def _column_of_redshifts(name, table):
    if table is None:
        raise ValueError(
            f"z_lens: got {name!r}, the name of a column, but the regions are not a table; give one redshift, or one "
            "for each region"
        )
    if name not in table.colnames:
        raise ValueError(f"z_lens: no column {name!r} in the table of clusters, which has {table.colnames}")
    z, _ = numbers(table[name], f"z_lens: column {name!r}")
    if z.ndim != 1:
        raise ValueError(f"z_lens: column {name!r} needs one redshift per row, got the shape {z.shape}")
    good = (z > 0) & np.isfinite(z)
    if len(z) and not good.any():
        raise ValueError(f"z_lens: column {name!r} contains no positive redshift")
    if not good.all():
        warn(
            f"z_lens: {(~good).sum()} of {len(z)} values of column {name!r} are not redshifts; these masses are NaN", 4
        )
    return np.where(good, z, np.nan)
