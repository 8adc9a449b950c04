"""
From convergence to mass.

The convergence is the surface density over the critical one, ``kappa = Sigma / Sigma_crit``, with

    Sigma_crit = c^2 / (4 pi G) D_s / (D_l D_ls)

for a lens at D_l and a source at D_s, angular diameter distances (Schneider, Ehlers & Falco 1992). For many sources
the mean of ``1 / Sigma_crit`` counts, with zero for those in front of the lens. The aperture mass weighs kappa with a
filter U whose mean is zero, so that a constant sheet, which shear does not measure, drops out (Schneider 1996).
"""

import astropy.constants as const
import astropy.units as u
import numpy as np
from astropy.cosmology import default_cosmology
from astropy.table import QTable
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy.sparse import csr_array

from ._geometry import to_angle
from ._input import floats
from .detection import region_statistics, region_weights

__all__ = ["aperture_filter", "aperture_mass", "critical_surface_density", "projected_mass"]

_NODES = 4096  # redshifts between which the efficiency of many sources is interpolated: right to 1e-6


def critical_surface_density(z_lens, z_source, cosmology=None, *, weight=None):
    """
    The critical surface density of lenses.

    Parameters
    ----------
    z_lens : float
        Redshift of the lens.
    z_source : float or array-like
        Redshift of the sources, or of each of them.
    cosmology : `~astropy.cosmology.FLRW`, optional
        By default the one that astropy is set to.
    weight : array-like, optional
        Of each source.

    Returns
    -------
    `~astropy.units.Quantity`
        In Msun / kpc2; for many sources one over the weighted mean of ``1 / Sigma_crit``.

    Raises
    ------
    TypeError, ValueError
        If redshifts are not positive, or no source is behind the lens.

    Examples
    --------
    >>> from astropy.cosmology import FlatLambdaCDM
    >>> from astro_massmap.mass import critical_surface_density
    >>> sigma = critical_surface_density(0.3, 1.0, FlatLambdaCDM(H0=70, Om0=0.3))
    >>> print(f"{sigma:.3e}")
    2.835e+09 solMass / kpc2
    """
    z_lens = _redshift(z_lens)
    z_source, cosmology = floats(z_source, "z_source"), default_cosmology.get() if cosmology is None else cosmology
    weight = np.ones_like(z_source) if weight is None else floats(weight, "weight")
    if weight.shape != z_source.shape:
        raise ValueError(f"weight: has shape {weight.shape}, z_source {z_source.shape}; they must be equal")
    if not (np.isfinite(z_source).all() and (weight >= 0).all() and weight.sum() > 0):
        raise ValueError("z_source, weight: need to be finite, and weights not negative")
    efficiency = np.average(lensing_efficiency(z_lens, z_source, cosmology), weights=weight)
    if not efficiency > 0:
        raise ValueError(f"z_source: no source lies behind the lens at redshift {z_lens:g}")
    distance = cosmology.angular_diameter_distance(z_lens)
    return (const.c**2 / (4 * np.pi * const.G * distance * efficiency)).to(u.Msun / u.kpc**2)


def lensing_efficiency(z_lens, z_source, cosmology):
    """``D_ls / D_s`` of each source, zero in front of the lens; many are interpolated."""
    z_source = np.asarray(z_source, dtype=float)
    behind = z_source > z_lens
    efficiency = np.zeros(z_source.shape)
    z = z_source[behind]
    if z.size > _NODES:
        # evenly spaced in 1 / (1 + z), in which the efficiency is nearly straight
        nodes = 1 / np.linspace(1 / (1 + z.max()), 1 / (1 + z_lens), _NODES) - 1
        nodes = nodes[::-1]
        efficiency[behind] = np.interp(z, nodes, lensing_efficiency(z_lens, nodes, cosmology))
    elif z.size:
        # in units of the Hubble distance (Hogg 1999), also where space is curved
        near, far = (
            (cosmology.comoving_transverse_distance(at) / cosmology.hubble_distance).to_value(u.one)
            for at in (z_lens, z)
        )
        curved = [np.sqrt(1 + cosmology.Ok0 * m**2) for m in (near, far)]
        efficiency[behind] = curved[0] - near / far * curved[1]
    return efficiency


def _redshift(z):
    z = floats(z, "z_lens")
    if z.ndim or not (z > 0 and np.isfinite(z)):
        raise ValueError(f"z_lens: needs one positive redshift, got {z}")
    return float(z)


def projected_mass(mean, samples, wcs, mask, regions, z_lens, z_source, *, cosmology=None, background=None, level=0.68):
    """
    Mass projected onto regions, were all of the matter at one redshift.

    Parameters
    ----------
    mean, samples, wcs, mask, regions, background, level
        As for `~astro_massmap.detection.region_statistics`.
    z_lens, z_source, cosmology
        As for `critical_surface_density`.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region``, ``center``, ``mass`` (in Msun), ``std``, ``lower``, ``upper`` and ``data_fraction``. A
        region that the edge of the field cuts is taken to hold outside what it holds inside, on the mean.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    cosmology = default_cosmology.get() if cosmology is None else cosmology
    critical = critical_surface_density(z_lens, z_source, cosmology)
    table = region_statistics(mean, samples, wcs, mask, regions, background=background, level=level)
    side = (proj_plane_pixel_scales(wcs)[0] * u.deg).to_value(u.rad)
    pixel = (side * cosmology.angular_diameter_distance(z_lens)) ** 2
    mass = (region_weights(regions, wcs, mask.shape).area * pixel * critical).to(u.Msun)
    result = table["region", "center"]
    result["mass"] = table["kappa"] * mass
    for name in ("std", "lower", "upper"):
        result[name] = table[name] * mass
    result["data_fraction"] = table["data_fraction"]
    result.meta |= {"z_lens": float(z_lens), "critical_surface_density": critical}
    return result


def aperture_filter(theta, radius):
    """
    The filter ``U = 9 / (pi R^2) (1 - x^2) (1/3 - x^2)``, ``x = theta / R < 1`` (Schneider et al. 1998).

    Parameters
    ----------
    theta, radius : `~astropy.units.Quantity` or array-like
        Distances from the centre, and the radius R, in the same unit.

    Returns
    -------
    `~astropy.units.Quantity` or ndarray
        Per area; zero beyond R.
    """
    x2 = np.minimum((theta / radius) ** 2, 1)
    return 9 / (np.pi * radius**2) * (1 - x2) * (1 / 3 - x2)


def aperture_mass(mean, samples, wcs, mask, centers, radius, *, level=0.68):
    """
    The aperture mass ``integral of U kappa`` at some places, of the map and of every sample.

    Parameters
    ----------
    mean, samples, wcs, mask, level
        As for `~astro_massmap.detection.region_statistics`.
    centers : `~astropy.coordinates.SkyCoord`
        Of the apertures.
    radius : `~astropy.units.Quantity`
        Theirs.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``center``, ``aperture_mass``, ``std``, ``lower``, ``upper``, ``signal_to_noise`` and
        ``data_fraction``. Over the pixels of an aperture, of which an edge may cut some off, the filter is made to
        have the mean zero.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.
    """
    if samples is None or len(samples) < 2:
        raise ValueError("samples: an interval needs at least two; reconstruct the map with a larger n_samples")
    if not 0 < level < 1:
        raise ValueError(f"level: needs to be between 0 and 1, got {level!r}")
    centers = centers.reshape(-1)
    pixels = (to_angle(radius, "radius") / (proj_plane_pixel_scales(wcs)[0] * u.deg)).to_value(u.one)
    if pixels < 2:
        raise ValueError(f"radius: needs at least two pixels for a filter, got {pixels:.2g} of them")
    field = np.isfinite(samples).all(axis=0)
    filters, data_fraction = _filters(*wcs.world_to_pixel(centers), pixels, field, mask)
    known = np.where(field, mean, 0).ravel()
    values = np.where(field, samples, 0).reshape(len(samples), -1).astype(float) @ filters.T
    nothing = np.diff(filters.indptr) == 0
    values[:, nothing] = np.nan
    aperture = np.where(nothing, np.nan, filters @ known)
    table = QTable({"center": centers, "aperture_mass": aperture, "std": values.std(axis=0, ddof=1)})
    table["lower"], table["upper"] = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = table["aperture_mass"] / table["std"]
    table["data_fraction"] = data_fraction
    table.meta |= {"radius": radius, "level": level, "n_samples": len(samples)}
    return table


def _filters(x, y, radius, field, mask):
    """A row of filter values on the pixels for each place, and the share of each aperture that holds data."""
    columns, values, data_fraction = [], [], []
    for place in zip(x, y, strict=True):
        row, column, distance = _disc(*place, radius)
        inside = (row >= 0) & (row < field.shape[0]) & (column >= 0) & (column < field.shape[1])
        inside[inside] &= field[row[inside], column[inside]]
        u_theta = aperture_filter(distance[inside], radius)
        columns.append(row[inside] * field.shape[1] + column[inside])
        values.append(u_theta - u_theta.mean() if len(u_theta) else u_theta)
        data_fraction.append((~mask[row[inside], column[inside]]).sum() / max(len(row), 1))
    starts = np.cumsum([0, *(len(c) for c in columns)])
    nothing = np.zeros(0, dtype=int)
    matrix = np.concatenate([nothing, *values]), np.concatenate([nothing, *columns]), starts
    return csr_array(matrix, shape=(len(columns), field.size)), np.array(data_fraction)


def _disc(x, y, radius):
    """Rows, columns and distances of the pixels around a place; none if it is not finite."""
    if not (np.isfinite(x) and np.isfinite(y)):
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0)
    reach = int(np.ceil(radius)) + 1
    row, column = (c.ravel() for c in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    row, column = row + round(float(y)), column + round(float(x))
    distance = np.hypot(row - y, column - x)
    near = distance < radius
    return row[near], column[near], distance[near]
