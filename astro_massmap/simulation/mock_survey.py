"""
Mock surveys: the catalogue that would have been seen, had a map been the truth.

The shear of the map is that of the operator which reconstructions invert, on a flat sky. At a galaxy its two
components along the pixel axes are interpolated between the centres of the four nearest pixels, and then turned
to the north of that galaxy. An intrinsic ellipticity e_s becomes (Seitz & Schneider 1997), with the reduced shear
``g = gamma / (1 - kappa)``,

    e = (e_s + g) / (1 + g* e_s)  where |g| <= 1,    e = (1 + g e_s*) / (e_s* + g*)  where |g| > 1,

whose mean over all orientations is g and ``1 / g*``; where shear is weak, ``e = e_s + gamma``.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from .._utils.checks import check_integer, check_padding
from ..inference import FourierGrid, LensingOperator, padded_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    import astropy.units as u
    from astropy.coordinates import SkyCoord
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Axes, Mask, Pair
    from ..maps.catalog import ShearCatalog
    from ..maps.convergence_map import ConvergenceMap

DEFAULT_SHAPE_NOISE = 0.27  # a component of the ellipticities of galaxies seen from the ground or from space


def observe(
    kappa: ConvergenceMap,
    *,
    positions: SkyCoord | ShearCatalog | None = None,
    density: u.Quantity | None = None,
    mask: Mask | None = None,
    shape_noise: float | None = None,
    ellipticities: Pair | None = None,
    weight: ArrayLike | None = None,
    axes: Axes = "west-north",
    reduced_shear: bool = False,
    padding: float = 2.0,
    seed: int = 0,
) -> ShearCatalog:
    """
    Observe a map of the convergence: a catalogue of galaxies that it has sheared.

    All galaxies lie behind the matter, whatever their redshift. Bilinear interpolation smooths the shear a
    little; binned on the grid of the map, it is that of the map smoothed by (1/8, 3/4, 1/8) along both axes.

    Parameters
    ----------
    kappa : ConvergenceMap
        The truth. Its mask does not matter; to see no galaxies there, give it as ``mask``.
    positions : `~astropy.coordinates.SkyCoord` or ShearCatalog
        Positions of the galaxies; this or ``density``. A catalogue also gives weights, redshifts, a multiplicative
        bias m and the response R: its galaxies respond to the shear with ``R (1 + m)``. Its additive bias is
        subtracted. Its ellipticities, rotated by random angles, are used unless ``ellipticities`` or ``shape_noise``
        are given.
    density : `~astropy.units.Quantity`
        Mean number of galaxies per solid angle, ``30 / u.arcmin**2`` for instance; their number is Poisson
        distributed. They are scattered evenly over the pixels, which on a tangential grid is evenly over the
        sky up to the second order of the field's size in radians.
    mask : ndarray of bool, or regions, optional
        Where there are no galaxies: pixels ``(ny, nx)`` of the map where it is True, or the inside of regions
        (a region, a list of them, or a file).
    shape_noise : float, optional
        Standard deviation of a component of the ellipticities over the response, drawn from a Gaussian; 0.27 by
        default. With reduced shear, those of 1 and more, which are no shapes but noise, have the mean of ``e``
        added to them.
    ellipticities : pair of array-like, optional
        Both components of real ellipticities over the response, each rotated by a random angle: one for each
        of ``positions``.
        With ``density``, as many as there are; galaxies are drawn from them with replacement.
    weight : array-like, optional
        Weights, one for each of ``positions``, or of ``ellipticities`` with ``density``.
    axes : {'west-north', 'east-north', 'north-east', 'south-east'}
        Axes along which the catalogue measures shear, see `~astro_massmap.ShearCatalog`.
    reduced_shear : bool
        Shear as galaxies see it, rather than its limit where the convergence is small.
    padding : float
        Side of the box over that of the map. Outside of the map there is no structure: the convergence is the
        mean of the map. With 1 the map is periodic.
    seed : int
        Positions and ellipticities have random numbers of their own: with the same seed, another map is seen
        through the same noise.

    Returns
    -------
    ShearCatalog
        Its shape noise is that of the ellipticities before they are sheared; its ``meta`` says how it was made.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        For arguments that are not as described; the message names the argument.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        When some of ``positions`` lie off the map; those galaxies are dropped.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.simulation.mock_survey import observe
    >>> truth = datasets.demo_truth()
    >>> observe(truth, density=10 / u.arcmin**2, shape_noise=0.3, seed=1)
    <ShearCatalog: 26309 galaxies, axes 'west-north', shape noise 0.300>

    The galaxies of a real survey, with another universe in front of them:

    >>> observe(truth, positions=datasets.demo(), seed=1)
    <ShearCatalog: 65666 galaxies, axes 'west-north', shape noise 0.260>
    """
    _check(kappa, positions, density, shape_noise, ellipticities, padding, seed)
    density = None if density is None else _per_arcmin2(density)
    where, shapes = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    coords = _scatter(kappa, density, where) if positions is None else getattr(positions, "coords", positions)
    galaxies = _unlensed(coords, positions, shape_noise, ellipticities, weight, axes, shapes)
    galaxies.meta |= {"seed": int(seed), "padding": float(padding), "reduced": bool(reduced_shear)}
    galaxies.meta |= {} if density is None else {"density": density}
    galaxies = _seen(galaxies, kappa, mask, given=positions is not None)
    gamma, convergence = _field_at(galaxies, kappa, padding)
    kappa_at = convergence if reduced_shear else None
    return galaxies.with_shear(lensed(galaxies.west_north, gamma, kappa_at, galaxies._bias_of))


def shear_field(kappa: NDArray[np.floating], padding: float = 2.0) -> NDArray[np.complex128]:
    """
    The shear of a convergence map.

    Parameters
    ----------
    kappa : ndarray
        ``(ny, nx)``.
    padding : float
        As for `observe`.

    Returns
    -------
    ndarray
        Complex ``(ny, nx)``, along the pixel axes: x to the right, y upwards.
    """
    box = kappa.shape if padding == 1 else padded_shape(kappa.shape, padding)
    grid = FourierGrid(kappa.shape, 1.0, box, dtype=torch.float64)  # shear does not depend on the scale
    kappa = np.array(kappa, dtype=np.float64)
    modes = grid.to_modes(torch.from_numpy(kappa - kappa.mean()))
    g1, g2 = LensingOperator(grid).forward(modes).numpy()
    return g1 + 1j * g2


def lensed(
    intrinsic: NDArray[np.complex128],
    gamma: NDArray[np.complex128],
    kappa: NDArray[np.floating] | None = None,
    bias: Callable[[NDArray[np.complex128]], NDArray[np.complex128]] | None = None,
) -> NDArray[np.complex128]:
    """
    Ellipticities of galaxies behind a lens.

    Parameters
    ----------
    intrinsic, gamma : ndarray
        Complex intrinsic ellipticity, and shear, along the same axes.
    kappa : ndarray, optional
        Convergence; without it shear is weak.
    bias : callable, optional
        Function of the mean of the ellipticity over the orientations of a galaxy (complex) that returns by how much
        the ellipticity is off, for instance ``lambda g: m * g``.

    Returns
    -------
    ndarray
        Complex ellipticities.
    """
    if kappa is None:
        return intrinsic + gamma + (0 if bias is None else bias(gamma))
    # Both forms times a = 1 - kappa, which may vanish; the mean is that over the orientations of the galaxy.
    a = np.where(kappa == 1, 1e-100, 1 - kappa)
    weak = np.abs(gamma) <= np.abs(a)
    numerator = np.where(weak, a * intrinsic + gamma, a + gamma * intrinsic.conj())
    denominator = np.where(weak, a + gamma.conj() * intrinsic, a * intrinsic.conj() + gamma.conj())
    mean: Any = np.where(weak, gamma, a) / np.where(weak, a, gamma.conj())
    shape = np.abs(intrinsic) < 1
    e = np.divide(numerator, denominator, out=intrinsic + mean, where=shape)
    return e if bias is None else e + bias(mean)


def _check(kappa, positions, density, shape_noise, ellipticities, padding, seed):
    from astropy.coordinates import SkyCoord

    from ..maps.catalog import ShearCatalog
    from ..maps.convergence_map import ConvergenceMap

    if not isinstance(kappa, ConvergenceMap):
        raise TypeError(f"kappa: needs a ConvergenceMap, got {type(kappa).__name__}")
    if (positions is None) == (density is None):
        raise ValueError("positions, density: give one of them, where the galaxies are or how many there are")
    if not isinstance(positions, SkyCoord | ShearCatalog | None):
        raise TypeError(f"positions: needs a SkyCoord or a ShearCatalog, got {type(positions).__name__}")
    if isinstance(positions, SkyCoord) and (positions.ndim != 1 or positions.size == 0):
        raise ValueError(f"positions: needs a SkyCoord of one dimension, not empty; got the shape {positions.shape}")
    if shape_noise is not None and ellipticities is not None:
        raise ValueError("shape_noise, ellipticities: give one of them, how to draw ellipticities or real ones")
    if shape_noise is not None and not (isinstance(shape_noise, Real) and 0 <= shape_noise < np.inf):
        raise ValueError(f"shape_noise: needs a number that is not negative, got {shape_noise!r}")
    check_padding(padding, "map")
    check_integer(seed, "seed", 0)


def _per_arcmin2(density):
    """A number density as a plain number."""
    import astropy.units as u

    try:
        density = u.Quantity(density)
    except TypeError as error:
        raise TypeError(
            f"density: needs a number per solid angle, such as 30 / u.arcmin**2; got {density!r}"
        ) from error
    if not density.unit.is_equivalent(u.arcmin**-2):
        raise u.UnitsError(f"density: needs a number per solid angle, such as 30 / u.arcmin**2; got {density!r}")
    if not (density.isscalar and 0 < density.value < np.inf):
        raise ValueError(f"density: needs one positive number, got {density!r}")
    return float(density.to_value(u.arcmin**-2))


def _scatter(kappa, density, rng):
    """Positions of a Poisson number of galaxies all over the map."""
    ny, nx = kappa.shape
    n = rng.poisson(density * kappa.pixel_scale.to_value("arcmin") ** 2 * ny * nx)
    if n == 0:
        raise ValueError(f"density: with {density:g} / arcmin2 not one galaxy fell on the map; needs to be larger")
    x, y = rng.uniform(-0.5, np.array([nx, ny]) - 0.5, (n, 2)).T
    return kappa.wcs.pixel_to_world(x, y)


def _unlensed(coords, positions, shape_noise, ellipticities, weight, axes, rng):
    """The galaxies as they are without a lens, a ShearCatalog."""
    from ..maps.axes import check_axes_name, to_west_north
    from ..maps.calibration import mean_response, seen_along, times
    from ..maps.catalog import ShearCatalog

    check_axes_name(axes)
    source = positions if isinstance(positions, ShearCatalog) else None
    weight = source.weight if weight is None and source is not None else weight
    drawn = ellipticities is None and (source is None or shape_noise is not None)
    if drawn:
        if positions is None and weight is not None:
            raise ValueError("weight: with a density, only where ellipticities are given that it belongs to")
        shape_noise = DEFAULT_SHAPE_NOISE if shape_noise is None else float(shape_noise)
        e = shape_noise * rng.normal(size=(len(coords), 2)).view(complex)[:, 0]
    else:
        e, weight, shape_noise = _turned(len(coords), source, ellipticities, weight, rng, resample=positions is None)
    e, response = to_west_north(e, axes), None
    if source is not None and source.response is not None:
        response = seen_along(source.response, source.axes, axes)
        e = times(mean_response(response, _usable(weight)), e)
    return ShearCatalog(
        coords,
        e.real,
        e.imag,
        axes=axes,
        weight=weight,
        redshift=None if source is None else source.redshift,
        m_bias=None if source is None else source.m_bias,
        response=response,
        shape_noise=shape_noise or None,
        max_shear=np.inf,
        meta={**({} if source is None else source.meta), "mock": f"ellipticities {'drawn' if drawn else 'turned'}"},
    )


def _turned(n, source, ellipticities, weight, rng, *, resample):
    """Real ellipticities at random angles, with their weights and the standard deviation of a component."""
    if ellipticities is None:
        pool, shape_noise = source.west_north, source.shape_noise
    else:
        pool, shape_noise = _given(ellipticities, weight, None if resample else n)
    if resample:
        pick = rng.integers(len(pool), size=n)
        pool, weight = pool[pick], weight if weight is None else np.asarray(weight)[pick]
    return pool * np.exp(2j * np.pi * rng.random(n)), weight, shape_noise


def _given(ellipticities, weight, n):
    """Complex ellipticities, n or (if None) as many as there are, and the standard deviation of a component."""
    from .._io.quantities import column, pair
    from .._sky.binning import normalised

    if n is None:
        n = np.size(ellipticities[0]) if np.iterable(ellipticities) and len(ellipticities) else 1
    e1, e2 = pair(ellipticities, "ellipticities", n)
    e = np.broadcast_to(e1 + 1j * np.asarray(e2), n)
    w = np.ones(n) if weight is None else column(weight, "weight", n)
    square = normalised(_usable(w)) ** 2
    if not square.sum() > 0:
        raise ValueError("ellipticities, weight: need at least one galaxy with a positive weight")
    return e, float(np.sqrt((square * np.abs(e) ** 2).sum() / (2 * square.sum())))


def _usable(weight):
    """Weights, zero for the galaxies that ShearCatalog drops."""
    weight = np.asarray(weight, dtype=float)
    return np.where((weight > 0) & np.isfinite(weight), weight, 0.0)


def _seen(galaxies, kappa, mask, *, given):
    """The galaxies that lie on the map and not under the mask."""
    from astropy.utils.exceptions import AstropyUserWarning

    from .._io.quantities import bools

    ny, nx = kappa.shape
    x, y = kappa.wcs.world_to_pixel(galaxies.coords)
    on_map = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    if not on_map.any():
        raise ValueError("positions: not one of the galaxies lies on the map")
    if given and not on_map.all():
        count = int((~on_map).sum())
        warnings.warn(f"{count} of {len(on_map)} galaxies dropped: off the map", AstropyUserWarning, stacklevel=3)
    if mask is None:
        return galaxies[on_map]
    if not isinstance(mask, np.ndarray) or mask.dtype == object:
        return galaxies[on_map].outside(mask, kappa.wcs)
    blank = bools(mask, kappa.shape)
    on_map[on_map] = ~blank[tuple(np.floor(p[on_map] + 0.5).astype(int) for p in (y, x))]
    if not on_map.any():
        raise ValueError("mask: excludes every galaxy")
    return galaxies[on_map]


def _field_at(galaxies, kappa, padding):
    """Complex shear (west-north) and convergence at the galaxies."""
    from .._sky.geometry import pixel_scale, shear_in_pixels

    _, mirrored = pixel_scale(kappa.wcs, kappa.shape)
    x, y, phase = shear_in_pixels(galaxies.coords, np.ones(len(galaxies)), kappa.wcs, mirrored)

    def at_galaxies(image):
        return map_coordinates(image, [y, x], order=1, mode="nearest")

    field = shear_field(kappa.data, padding)
    turned = (at_galaxies(field.real) + 1j * at_galaxies(field.imag)) / phase
    return np.conj(turned) if mirrored else turned, at_galaxies(np.array(kappa.data, dtype=float))
