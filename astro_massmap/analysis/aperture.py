"""
The aperture mass: the integral of a compensated filter times the convergence, from means over pixels.

The Fourier transform of the weights is that of the filter divided by that of a pixel, ``sinc(k_x / 2) sinc(k_y / 2)``,
so that the sum is the integral for all structure that the pixels resolve. The filter averaged over each pixel contains
this window once; ``1 / sinc^2`` is expanded in second differences D along each axis, ``1 - D / 12 + D^2 / 90``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from scipy.ndimage import correlate1d
from scipy.sparse import csr_array

from .._io.quantities import checked_level, floats
from .._io.result_tables import printed
from .._sky.geometry import local_scale, to_angle
from .region_means import add_interval, checked_maps, named_centers

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable
    from astropy.wcs import WCS

    from .._utils.typing import Bools, Floats, RegionsLike

_POINTS, _WEIGHTS = (a / 2 for a in np.polynomial.legendre.leggauss(4))  # quadrature within a pixel, along an axis
_SHARPEN = np.array([1, -11.5, 111, -11.5, 1]) / 90  # 1 - D / 12 + D^2 / 90
_LEAST_RADIUS = 3  # pixels
_AT_ONCE = 2**21  # pixels of apertures in memory at a time


def aperture_filter(theta: u.Quantity, radius: u.Quantity) -> u.Quantity:
    """
    Compute the compensated filter of the aperture mass.

    Parameters
    ----------
    theta, radius : `~astropy.units.Quantity`
        Distances from the centre, and radius of the aperture; other units than angles are an error.

    Returns
    -------
    `~astropy.units.Quantity`
        Filter U per solid angle, in the unit of ``radius``; zero outside of the aperture.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap.analysis.mass import aperture_filter
    >>> print(aperture_filter([0, 1.5, 2.5] * u.arcmin, 3 * u.arcmin).round(3))
    [ 0.106  0.02  -0.035] 1 / arcmin2
    """
    radius = to_angle(radius, "radius")
    x = floats(theta, "theta", unit=radius.unit) / radius.value
    return _filter(x) / radius**2


def _filter(x):
    square = np.minimum(x**2, 1.0)
    return 9 / np.pi * (1 - square) * (1 / 3 - square)


def aperture_mass(
    mean: Floats,
    samples: Floats,
    wcs: WCS,
    mask: Bools,
    centers: SkyCoord | RegionsLike,
    radius: u.Quantity,
    *,
    level: float = 0.68,
) -> QTable:
    """
    Measure the compensated aperture mass, which a constant mass sheet (as in the example) does not change.

    The filter is corrected for the averaging over pixels, and applied to the map after subtracting its mean over the
    aperture. For an NFW halo with a scale radius of two pixels or more the result is within 2 % of the integral for a
    radius of three pixels, for any position of the centre within its pixel, and within 1 % from four pixels on. If the
    edge of the field cuts an aperture, the mean of the part in the field is subtracted, so that a constant map gives
    zero; the missing part of the filter still biases the mass.

    Parameters
    ----------
    mean, samples, wcs, mask, level
        As for `~astro_massmap.analysis.detection.region_statistics`.
    centers : `~astropy.coordinates.SkyCoord` or regions
        Centres of the apertures, or regions (objects, table or file) with these centres and with names.
    radius : `~astropy.units.Quantity`
        Radius of the apertures, at least three pixels: below, the result depends by up to 10 % on the position of the
        centre within its pixel.

    Returns
    -------
    `~astropy.table.QTable`
        Columns ``region`` (for regions), ``center``, ``aperture_mass``, ``std``, ``lower``, ``upper``,
        ``signal_to_noise`` and ``data_fraction``, the fraction of the whole aperture that has data. NaN for apertures
        outside of the field.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, the radius is less than three pixels, or there are fewer than two samples.

    Examples
    --------
    >>> import astropy.units as u
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.mass import aperture_mass
    >>> truth = datasets.demo_truth()
    >>> samples, center = truth.data + np.linspace(-1, 1, 7)[:, None, None], truth.wcs.pixel_to_world([40], [87])
    >>> table = aperture_mass(truth.data, samples, truth.wcs, truth.mask, center, 4 * u.arcmin)
    >>> print(f"{table['aperture_mass'][0]:.4f} +- {table['std'][0]:.4f}")
    0.0261 +- 0.0000
    """
    level, (mean, samples, mask) = checked_level(level), checked_maps(mean, samples, mask, at_least=2)
    (table, _), radius = named_centers(centers, wcs), to_angle(radius, "radius")
    centers = table["center"]
    values, data_fraction = _apertures(np.concatenate([mean[None], samples]), wcs, mask, centers, radius)
    table["aperture_mass"] = values[0]
    add_interval(table, values[1:], level)
    with np.errstate(invalid="ignore", divide="ignore"):
        table["signal_to_noise"] = table["aperture_mass"] / table["std"]
    table["data_fraction"] = data_fraction
    table.meta |= {"radius": radius, "level": level, "n_samples": len(samples)}
    return printed(table)


def _apertures(maps, wcs, mask, centers, radius):
    """Return values ``(n, n_centers)`` of maps ``(n, ny, nx)``, and the fraction of each aperture that has data."""
    x, y, scale = local_scale(centers, wcs)
    r = radius.to_value(u.rad) * scale
    if (r < _LEAST_RADIUS * (1 - 1e-3)).any():  # the size of a pixel varies across a projection
        least = (_LEAST_RADIUS * radius / np.nanmin(r)).to(u.arcmin)
        raise ValueError(
            f"radius: needs at least {_LEAST_RADIUS} pixels ({least:.3g}) to resolve the filter, got {radius:g} "
            f"({np.nanmin(r):.2f} pixels); use a larger radius, or a map with smaller pixels"
        )
    field = np.isfinite(maps).all(axis=0)
    values = maps.reshape(len(maps), -1).T
    reached = np.flatnonzero(np.isfinite(x + y + r))
    result, measured = np.full((len(maps), len(x)), np.nan), np.zeros(len(x))
    if len(reached):
        pixels = (2 * _reach(r[reached]) + 1) ** 2
        for part in np.array_split(reached, min(len(reached), int(np.ceil(len(reached) * pixels / _AT_ONCE)))):
            weights, fraction, area = _filters(x[part], y[part], r[part], field)
            covered = fraction.sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = (fraction @ values).T / covered
            result[:, part] = (weights @ values).T - weights.sum(axis=1) * mean
            measured[part] = (fraction @ (~mask & field).ravel().astype(float)) / area
    return result, np.minimum(measured, 1.0)


def _reach(r):
    return int(np.ceil(r.max())) + len(_SHARPEN) // 2


def _filters(x, y, r, field):
    """Return sparse weights and fractions ``(n, ny * nx)`` of the pixels, and whole areas ``(n,)`` of apertures."""
    ny, nx = field.shape
    reach = _reach(r)
    step = np.arange(-reach, reach + 1)
    rows = np.floor(y + 0.5).astype(int)[:, None, None] + step[:, None]
    columns = np.floor(x + 0.5).astype(int)[:, None, None] + step
    dy, dx = rows - y[:, None, None], columns - x[:, None, None]
    u_mean, fraction = (np.zeros(np.broadcast_shapes(dy.shape, dx.shape)) for _ in range(2))
    for a, wa in zip(_POINTS, _WEIGHTS, strict=True):
        for b, wb in zip(_POINTS, _WEIGHTS, strict=True):
            distance = np.hypot(dy + a, dx + b) / r[:, None, None]
            u_mean += wa * wb * _filter(distance)
            fraction += wa * wb * (distance < 1)
    for axis in (1, 2):
        u_mean = correlate1d(u_mean, _SHARPEN, axis=axis, mode="constant")
    area = fraction.sum(axis=(1, 2))
    inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx) & ((fraction > 0) | (u_mean != 0))
    index = np.where(inside, rows * nx + columns, 0)
    inside &= field.ravel()[index]
    starts = np.cumsum([0, *inside.sum(axis=(1, 2))])
    u_mean /= r[:, None, None] ** 2
    both = (csr_array((a[inside], index[inside], starts), shape=(len(x), ny * nx)) for a in (u_mean, fraction))
    return *both, area
