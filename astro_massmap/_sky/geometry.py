"""
Geometry of the grid: pixel positions of galaxies, and rotation of their shear to the pixel axes.

Shear is spin-2: on a grid with an axis at the angle phi to that of the measurement, it is multiplied by exp(2 i phi);
a mirror image conjugates it. The angle is measured for each galaxy by a small step along its meridian, in any
projection.
"""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, NonseparableSubimageCoordinateSystemError
from astropy.wcs.utils import wcs_to_celestial_frame

from .._utils.memory import physical_memory
from .._utils.progress import warn

_STEP = 1e-6  # radians; along the meridian
_BLOCK = 2**15  # positions at a time, whose temporary arrays fit into the cache of a processor


def to_angle(value, name, *, zero=False):
    """Return ``value`` as a positive angle (with ``zero`` also 0), or raise an error that names the argument."""
    try:
        angle = u.Quantity(value)
    except TypeError as error:
        raise TypeError(f"{name}: needs an angle such as 0.4 * u.arcmin, got {value!r}") from error
    if not angle.unit.is_equivalent(u.rad):
        raise u.UnitsError(f"{name}: needs an angle such as 0.4 * u.arcmin, got {value!r}")
    if not (angle.isscalar and np.isfinite(angle.value) and (angle.value > 0 or (zero and angle.value == 0))):
        raise ValueError(f"{name}: needs one {'non-negative' if zero else 'positive'} angle, got {value!r}")
    return angle


def celestial_wcs(wcs, shape=None):
    """
    Return the celestial part of a WCS, any two axes of a cube, and the shape (ny, nx), by default that of these axes.

    TypeError or ValueError without celestial axes, if other axes are mixed with them, or for an invalid shape.
    """
    if not isinstance(wcs, WCS):
        raise TypeError(f"wcs: needs an astropy.wcs.WCS, such as WCS(header); got {type(wcs).__name__}")
    if not wcs.has_celestial:
        raise ValueError(f"wcs: needs two celestial axes, got the axes {list(wcs.wcs.ctype)}")
    celestial = _sky_axes(wcs)
    if "celestial" not in celestial.world_axis_object_classes:
        raise ValueError(f"wcs: needs a known celestial frame, got RADESYS {wcs.wcs.radesys!r}")
    shape = celestial.array_shape if shape is None else shape
    if shape is None:
        raise ValueError("shape: needs to be given, because wcs has no array_shape")
    shape = check_shape(shape)
    celestial.array_shape = shape
    return celestial, shape


def _sky_axes(wcs):
    if wcs.naxis == 2:
        return wcs.deepcopy()
    sides = wcs.pixel_shape
    if sides is not None and len(sides) < wcs.naxis:  # axes missing in the array have one pixel
        wcs = wcs.deepcopy()
        wcs.pixel_shape = (*sides, *[1] * (wcs.naxis - len(sides)))
    try:
        return wcs.celestial
    except NonseparableSubimageCoordinateSystemError as error:
        raise ValueError(
            f"wcs: the celestial axes need to be independent of the others, got {list(wcs.wcs.ctype)} mixed by the PC "
            "or CD matrix; give the WCS of one image, for example WCS(header, naxis=2)"
        ) from error


def check_shape(shape):
    """Return ``shape`` as two positive ints; ValueError for others, or if the map would exceed the memory."""
    try:
        ny, nx = (int(side) for side in shape)
        if (ny, nx) != tuple(shape) or min(ny, nx) < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"shape: needs two positive integers (ny, nx), got {shape!r}") from None
    needed, memory = 300 * ny * nx, physical_memory()  # bytes of one Wiener sample, measured
    if needed > memory:
        raise ValueError(
            f"shape: a grid of {ny} x {nx} pixels needs about {needed / 2**30:.3g} GiB, this computer has "
            f"{memory / 2**30:.3g} GiB; use larger pixels or a smaller field"
        )
    return ny, nx


def pixel_scale(wcs, shape):
    """
    Return the side of a pixel in arcmin, and True for a mirror image (East on the right with North up).

    ValueError if the centre is not on the sky or has pixels that are not square to 1 %; a warning for the corners.
    """
    ny, nx = shape
    centre = _pixel_vectors(wcs, (nx - 1) / 2, (ny - 1) / 2)
    if not np.all(np.isfinite(centre)):
        raise ValueError("wcs: the centre of the grid is not on the sky")
    side, oblong = _side_and_oblongness(centre)
    if oblong > 0.01:
        raise ValueError(
            f"wcs: pixels need to be square on the sky to 1 %, these are oblong or sheared by {oblong:.1%} "
            "at the centre of the grid; make a grid with equal steps, for example in the TAN projection"
        )
    corners = [_pixel_vectors(wcs, x, y) for x in (0, nx - 1) for y in (0, ny - 1)]
    worst = max(_side_and_oblongness(c)[1] if np.all(np.isfinite(c)) else np.inf for c in corners)
    if worst > 0.01:
        warn(
            f"wcs: at a corner of the grid pixels are square on the sky only to {worst:.1%}; the field is "
            "too large for its projection, or for a flat sky",
            stacklevel=5,
        )
    return (side * u.rad).to(u.arcmin), bool(np.linalg.det(centre) > 0)


def same_grid(wcs, other, shape):
    """Return whether the pixels of two WCSs have the same positions on the sky, to a thousandth of a pixel."""
    y, x = np.meshgrid(*(np.linspace(0, side - 1, 5) for side in shape), indexing="ij")
    here, there = wcs.pixel_to_world(x, y), other.pixel_to_world(x, y)
    apart = here.separation(there).rad
    known = np.isfinite(apart)
    if not known.any() or (np.isfinite(here.spherical.lon) != np.isfinite(there.spherical.lon)).any():
        return False
    return apart[known].max() < 1e-3 * pixel_scale(wcs, shape)[0].to_value(u.rad)


def _pixel_vectors(wcs, x, y):
    """Return East and North components in radians of one step along each pixel axis (rows: x, y)."""
    step = 0.5
    world = wcs.pixel_to_world_values([x - step, x + step, x, x, x], [y, y, y - step, y + step, y])
    lon, lat = np.radians(world[wcs.wcs.lng]), np.radians(world[wcs.wcs.lat])
    xyz = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    steps = np.stack([xyz[:, 1] - xyz[:, 0], xyz[:, 3] - xyz[:, 2]])
    return steps @ _east_and_north(lon[4], lat[4]).T


def _east_and_north(lon, lat):
    east = [-np.sin(lon), np.cos(lon), 0]
    return np.array([east, [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]])


def _side_and_oblongness(vectors):
    singular = np.linalg.svd(vectors, compute_uv=False)
    return float(np.sqrt(singular.prod())), float(singular[0] / singular[1] - 1)


def fitting_wcs(coords, scale, shape=None):
    """Return a TAN grid in Galactic coordinates or ICRS, North up, around all positions or of the given shape."""
    galactic = coords.frame.name == "galactic"
    coords = coords if galactic else coords.icrs
    mean = coords.cartesian.mean()
    if mean.norm() < 0.5:
        raise ValueError("coords: the galaxies cover more than half of the sky; give wcs and shape, or select a field")
    centre = SkyCoord(mean, frame=coords.frame.replicate_without_data(), representation_type="cartesian")
    centre = centre.represent_as("unitspherical")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"] if galactic else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [centre.lon.deg, centre.lat.deg]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.cdelt = np.array([-1, 1]) * scale.to_value(u.deg)
    wcs.wcs.crpix = [1, 1]
    if not galactic:
        wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    x, y = wcs.world_to_pixel(coords[_outermost(coords, centre)])
    if not np.all(np.isfinite(x)):
        raise ValueError(
            "coords: the field is too wide for one tangential grid; give wcs and shape, or select a smaller field"
        )
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    if shape is None:
        nx, ny = np.maximum(np.ceil(high - low + 1e-6), 1).astype(int)
        shape = (ny, nx)
    shape = check_shape(shape)
    wcs.wcs.crpix = 1 - (low + high) / 2 + (np.array(shape[::-1]) - 1) / 2
    wcs.wcs.set()
    wcs.array_shape = shape
    return wcs


def stereographic_wcs(coords):
    """Return a WCS of the sky around all positions, in which circles on the sky are circles at any distance."""
    centre = SkyCoord(coords.icrs.cartesian.mean(), frame="icrs", representation_type="cartesian")
    centre = centre.represent_as("unitspherical")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.radesys = ["RA---STG", "DEC--STG"], "ICRS"
    wcs.wcs.crval, wcs.wcs.crpix = [centre.lon.deg, centre.lat.deg], [1, 1]
    wcs.wcs.cdelt = np.array([-1, 1]) / 60
    wcs.wcs.set()
    return wcs


def _outermost(coords, centre):
    """Return indices of the outermost positions on the tangent plane, and of the position farthest from ``centre``."""
    xyz = coords.cartesian.xyz.value
    depth = centre.to_cartesian().xyz.value @ xyz
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = _east_and_north(centre.lon.rad, centre.lat.rad) @ xyz / depth
    return [x.argmin(), x.argmax(), y.argmin(), y.argmax(), depth.argmin()]


def local_steps(positions, wcs):
    """Return x, y and pixels per radian to the East and North (columns), ``(n, 2, 2)``; NaN off the projection."""
    step = 1e-5 * u.rad
    places = (positions, *(positions.directional_offset_by(angle * u.deg, step) for angle in (90, 0)))
    here, east, north = (np.array(wcs.world_to_pixel(p), dtype=float) for p in places)
    return *here, np.stack([east - here, north - here], axis=-1).swapaxes(0, -2) / step.value


def local_scale(positions, wcs):
    """Return x, y and pixels per radian of ``positions``; NaN off the projection."""
    x, y, steps = local_steps(positions, wcs)
    return x, y, np.sqrt(np.abs(steps[..., 0, 0] * steps[..., 1, 1] - steps[..., 0, 1] * steps[..., 1, 0]))


def north_in_pixels(coords, wcs):
    """Return x, y of ``coords`` and components, along the pixel axes, of vectors of any length to the local North."""
    if _plain_tangential(wcs) and wcs_to_celestial_frame(wcs).is_equivalent_frame(coords.frame):
        return _on_tangent_plane(coords, wcs)
    x, y = wcs.world_to_pixel(coords)
    # a step away from the nearer pole never crosses it
    lon, lat = coords.spherical.lon, coords.spherical.lat
    sign = np.where(lat.rad > 0, -1, 1)
    stepped = SkyCoord(lon, lat + sign * _STEP * u.rad, frame=coords.frame.replicate_without_data())
    x1, y1 = wcs.world_to_pixel(stepped)
    return x, y, (sign * (x1 - x), sign * (y1 - y))


def _plain_tangential(wcs):
    """Return whether the grid is a plain TAN projection: longitude first, no distortion, the default poles."""
    header = wcs.wcs
    distorted = wcs.sip or wcs.cpdis1 or wcs.cpdis2 or wcs.det2im1 or wcs.det2im2 or header.get_pv()
    usual = (header.lng, header.lat, header.lonpole) == (0, 1, 180) and header.theta0 == 90
    return wcs.naxis == 2 and usual and not distorted and all(c.endswith("-TAN") for c in header.ctype)


def _on_tangent_plane(coords, wcs):
    """Return `north_in_pixels` in closed form (Calabretta & Greisen 2002): meridians meet at the pole, (0, cot dec)."""
    (lon_0, dec_0), places = np.radians(wcs.wcs.crval), coords.represent_as("unitspherical")
    (sin, cos), (north, level) = (_sin_and_cos(angle) for angle in (places.lon.rad - lon_0, places.lat.rad))
    towards_pole = level * cos
    depth = np.sin(dec_0) * north + np.cos(dec_0) * towards_pole
    depth = np.where(depth > 0, depth, np.nan)  # the opposite hemisphere
    xi, eta = level * sin / depth, (np.cos(dec_0) * north - np.sin(dec_0) * towards_pole) / depth
    (a, b), (c, d) = np.linalg.inv(np.radians(wcs.pixel_scale_matrix))
    x, y = (p * xi + q * eta + (pixel - 1) for p, q, pixel in zip((a, c), (b, d), wcs.wcs.crpix, strict=True))
    xi, eta = -xi * np.sin(dec_0), np.cos(dec_0) - eta * np.sin(dec_0)
    return x, y, (a * xi + b * eta, c * xi + d * eta)


def _sin_and_cos(angle):
    """Return sine and cosine from the tangent of half the angle, which numpy computes faster than either."""
    half = np.tan(angle / 2)
    scale = 1 / (1 + half**2)
    return 2 * half * scale, (1 - half**2) * scale


def shear_in_pixels(coords, shear, wcs, mirrored):
    """
    Return x, y of galaxies and their complex shear in the pixel axes; NaN off the projection.

    ``shear`` is ``g1 + i g2`` in the axes West and North of the frame of ``coords``; `pixel_scale` gives ``mirrored``.
    """
    x, y, turned = np.empty(len(coords)), np.empty(len(coords)), np.empty(len(coords), dtype=complex)
    for first in range(0, len(coords), _BLOCK):
        part = slice(first, first + _BLOCK)
        x[part], y[part], (right, up) = north_in_pixels(coords[part], wcs)
        north = right + 1j * up
        north[north == 0] = 1j  # at a pole North is arbitrary
        oriented = np.conj(shear[part]) if mirrored else shear[part]
        with np.errstate(invalid="ignore"):  # off the projection
            turned[part] = oriented * (-(north**2) / np.abs(north) ** 2)
    return x, y, turned


def shear_to_icrs(coords, shear):
    """Return complex shear (axes west-north) rotated from the frame of ``coords`` to ICRS."""
    north_pole = SkyCoord(0 * u.deg, 90 * u.deg, frame=coords.frame.replicate_without_data()).icrs
    # position angle of the old North, from the ICRS North through East
    return shear * np.exp(2j * coords.icrs.position_angle(north_pole).rad)
