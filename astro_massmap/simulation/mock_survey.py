"""
Mock surveys: shear catalogues of a given convergence map.

The shear of the map is computed on a flat sky by the same operator that the reconstructions invert. At the position of
a galaxy its two components along the pixel axes are interpolated between the centres of the four nearest pixels, and
then rotated to the north of that galaxy. With the reduced shear ``g = gamma / (1 - kappa)``, an intrinsic ellipticity
e_s becomes (Seitz & Schneider 1997)

    e = (e_s + g) / (1 + g* e_s)  where |g| <= 1,    e = (1 + g e_s*) / (e_s* + g*)  where |g| > 1,

whose mean over all orientations is g and ``1 / g*``; for weak shear, ``e = e_s + gamma``.
"""

from __future__ import annotations

import warnings
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from .._sky.binning import normalised
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

DEFAULT_SHAPE_NOISE = 0.27  # standard deviation of one component of ellipticities


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
    Make a shear catalogue of a convergence map.

    All galaxies lie behind the matter, whatever their redshift. The bilinear interpolation smooths the shear: binned on
    the grid of the map, it is that of the map convolved with (1/8, 3/4, 1/8) along both axes.

    Parameters
    ----------
    kappa : ConvergenceMap
        True map. Its mask is not used; give it as ``mask`` to exclude galaxies there.
    positions : `~astropy.coordinates.SkyCoord` or ShearCatalog
        Positions of the galaxies, instead of ``density``; those off the map are dropped with a warning. A catalogue
        also gives weights, redshifts, a multiplicative bias m and the response R: its galaxies respond to the shear
        with ``R (1 + m)``. Its additive bias is subtracted. Its ellipticities, rotated by random angles, are used
        unless ``ellipticities`` or ``shape_noise`` are given.
    density : `~astropy.units.Quantity`
        Mean number of galaxies per solid angle, such as ``30 / u.arcmin**2``; their number is Poisson distributed.
        Positions are uniform over the pixels, which on a tangential grid is uniform over the sky up to the second
        order of the size of the field in radians.
    mask : ndarray of bool, or regions, optional
        Area without galaxies: pixels ``(ny, nx)`` of the map where it is True, or the inside of regions (a region, a
        list of them, or a file).
    shape_noise : float, optional
        Standard deviation of one component of the ellipticities divided by the response, drawn from a Gaussian; 0.27
        by default. With reduced shear, ellipticities of 1 and more, which are noise and not shapes, have the mean of
        ``e`` added to them.
    ellipticities : pair of array-like, optional
        Both components of real ellipticities divided by the response, each rotated by a random angle: one for each of
        ``positions``. With ``density``, any number of ellipticities, from which galaxies are drawn with replacement.
    weight : array-like, optional
        Weights, one for each of ``positions``, or of ``ellipticities`` with ``density``.
    axes : {'west-north', 'east-north', 'north-east', 'south-east'}
        Axes of the shear in the catalogue, see `~astro_massmap.ShearCatalog`.
    reduced_shear : bool
        Use the reduced shear instead of the limit of weak shear.
    padding : float
        Side of the box divided by that of the map. Outside of the map the convergence is the mean of the map. With 1
        the map is periodic.
    seed : int
        Seed of positions and ellipticities. The same seed gives the same noise for another map.

    Returns
    -------
    ShearCatalog
        Galaxies; the shape noise is that of the ellipticities before the shear, and ``meta`` records the settings.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> from astro_massmap.simulation import observe
    >>> observe(datasets.demo_truth(), density=10 / u.arcmin**2, shape_noise=0.3, seed=1)
    <ShearCatalog: 26309 galaxies, axes 'west-north', shape noise 0.300>
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
    """Return the complex shear ``(ny, nx)`` of a map, x to the right and y upwards; ``padding`` as for `observe`."""
    box = kappa.shape if padding == 1 else padded_shape(kappa.shape, padding)
    grid = FourierGrid(kappa.shape, 1.0, box, dtype=torch.float64)  # shear does not depend on the pixel size
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
    Return complex ellipticities of galaxies behind a lens; without ``kappa`` the shear is weak.

    ``bias`` is a function from the ellipticity averaged over orientations to its bias, such as ``lambda g: m * g``.
    """
    if kappa is None:
        return intrinsic + gamma + (0 if bias is None else bias(gamma))
    # Both expressions are multiplied by a = 1 - kappa, which may vanish; the mean is over the orientations.
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

    from ..maps.catalog import ShearCatalog  # loads astropy
    from ..maps.convergence_map import ConvergenceMap  # loads astropy

    if not isinstance(kappa, ConvergenceMap):
        raise TypeError(f"kappa: needs a ConvergenceMap, got {type(kappa).__name__}")
    if (positions is None) == (density is None):
        raise ValueError("positions, density: give one of them, the positions of the galaxies or their density")
    if not isinstance(positions, SkyCoord | ShearCatalog | None):
        raise TypeError(f"positions: needs a SkyCoord or a ShearCatalog, got {type(positions).__name__}")
    if isinstance(positions, SkyCoord) and (positions.ndim != 1 or positions.size == 0):
        raise ValueError(f"positions: needs a SkyCoord of one dimension, not empty; got the shape {positions.shape}")
    if shape_noise is not None and ellipticities is not None:
        raise ValueError("shape_noise, ellipticities: give one of them, the noise to draw or real ellipticities")
    if shape_noise is not None and not (isinstance(shape_noise, Real) and 0 <= shape_noise < np.inf):
        raise ValueError(f"shape_noise: needs a number that is not negative, got {shape_noise!r}")
    check_padding(padding, "map")
    check_integer(seed, "seed", 0)


def _per_arcmin2(density):
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
    ny, nx = kappa.shape
    n = rng.poisson(density * kappa.pixel_scale.to_value("arcmin") ** 2 * ny * nx)
    if n == 0:
        raise ValueError(f"density: needs to be larger, with {density:g} / arcmin2 no galaxy is on the map")
    x, y = rng.uniform(-0.5, np.array([nx, ny]) - 0.5, (n, 2)).T
    return kappa.wcs.pixel_to_world(x, y)


def _unlensed(coords, positions, shape_noise, ellipticities, weight, axes, rng):
    from ..maps.axes import check_axes_name, to_west_north  # loads astropy
    from ..maps.calibration import mean_response, seen_along, times  # loads astropy
    from ..maps.catalog import ShearCatalog  # loads astropy

    check_axes_name(axes)
    source = positions if isinstance(positions, ShearCatalog) else None
    weight = source.weight if weight is None and source is not None else weight
    drawn = ellipticities is None and (source is None or shape_noise is not None)
    if drawn:
        if positions is None and weight is not None:
            raise ValueError("weight: needs positions, or with a density the ellipticities of the same galaxies")
        shape_noise = DEFAULT_SHAPE_NOISE if shape_noise is None else float(shape_noise)
        e = shape_noise * rng.normal(size=(len(coords), 2)).view(complex)[:, 0]
    else:
        e, weight, shape_noise = _rotated(len(coords), source, ellipticities, weight, rng, resample=positions is None)
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
        meta={**({} if source is None else source.meta), "mock": f"ellipticities {'drawn' if drawn else 'rotated'}"},
    )


def _rotated(n, source, ellipticities, weight, rng, *, resample):
    """Return randomly rotated ellipticities, their weights, and the standard deviation of a component."""
    if ellipticities is None:
        pool, shape_noise = source.west_north, source.shape_noise
    else:
        pool, shape_noise = _given(ellipticities, weight, None if resample else n)
    if resample:
        pick = rng.integers(len(pool), size=n)
        pool, weight = pool[pick], weight if weight is None else np.asarray(weight)[pick]
    return pool * np.exp(2j * np.pi * rng.random(n)), weight, shape_noise


def _given(ellipticities, weight, n):
    """Return n complex ellipticities (all if None), and the standard deviation of a component."""
    from .._io.quantities import column, pair  # loads astropy

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
    """Return weights, zero for the galaxies that ShearCatalog drops."""
    weight = np.asarray(weight, dtype=float)
    return np.where((weight > 0) & np.isfinite(weight), weight, 0.0)


def _seen(galaxies, kappa, mask, *, given):
    from astropy.utils.exceptions import AstropyUserWarning

    from .._io.quantities import bools  # loads astropy

    ny, nx = kappa.shape
    x, y = kappa.wcs.world_to_pixel(galaxies.coords)
    on_map = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    if not on_map.any():
        raise ValueError("positions: no galaxy lies on the map")
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
    """Return complex shear (west-north) and convergence at the galaxies."""
    from .._sky.geometry import pixel_scale, shear_in_pixels  # loads astropy

    _, mirrored = pixel_scale(kappa.wcs, kappa.shape)
    x, y, phase = shear_in_pixels(galaxies.coords, np.ones(len(galaxies)), kappa.wcs, mirrored)

    def at_galaxies(image):
        return map_coordinates(image, [y, x], order=1, mode="nearest")

    field = shear_field(kappa.data, padding)
    shear = (at_galaxies(field.real) + 1j * at_galaxies(field.imag)) / phase
    return np.conj(shear) if mirrored else shear, at_galaxies(np.array(kappa.data, dtype=float))
