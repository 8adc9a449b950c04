"""Additions to a map: area without data, scale bar and beam."""

import astropy.units as u
import numpy as np
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy.ndimage import distance_transform_edt

from .._sky.geometry import to_angle
from .._utils.optional import require
from ..theory.cosmology import checked_cosmology, redshift as checked_redshift
from .axes import draw_pixels

_GREY = (0.8, 0.8, 0.8, 1.0)
_CHANCE = 0.1  # expected number of chance gaps between galaxies that are drawn as area without data
_FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in standard deviations
_SIGNS = {"deg": "\u00b0", "arcmin": "\u2032", "arcsec": "\u2033"}
_ROUND = np.outer(10.0 ** np.arange(-3, 4), [1, 2, 5]).ravel()  # lengths of a scale bar


def unmeasured(mask, gap_size=1.0):
    """
    Return the area without data, without gaps that are expected by chance where galaxies are few.

    The mask is opened by a disk: pixels without data count if a disk without data covers them. The radius is the
    smallest for which less than 0.1 such disks are expected on the map, if gaps are at random with the fraction
    found outside of holes with a diameter of 7 gaps. The map is reflected at its edges.

    Parameters
    ----------
    mask : ndarray of bool
        Mask ``(ny, nx)``, True without data.
    gap_size : float
        Side of the smallest gaps in pixels: that of the pixels of galaxies, which for a map that was reprojected differ
        from its own.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.plotting import unmeasured
    >>> mask = np.zeros((40, 40), dtype=bool)
    >>> mask[10:20, 10:20] = mask[30, 5] = True
    >>> print(unmeasured(mask).sum(), unmeasured(mask)[30, 5])
    100 False
    """
    size = min(max(1.0, gap_size), max(1.0, max(mask.shape) / 10))
    inside = ~_opened(mask, 3.5 * size)
    empty = mask[inside].mean() if inside.any() else 1.0
    radius = 1
    while radius < 10 and mask.size / size**2 * empty ** _gaps(radius) > _CHANCE:
        radius += 1
    return _opened(mask, (radius + 0.5) * size)


def _gaps(radius):
    """Return the number of gaps that cover a disk of a radius in gaps."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x**2 + y**2 <= (radius + 0.5) ** 2).sum()


def _opened(mask, radius):
    """Return the part of a mask that disks of a radius in pixels cover."""
    if mask.all():
        return mask.copy()
    margin = 2 * int(radius)
    centers = distance_transform_edt(np.pad(mask, margin, mode="symmetric")) > radius
    covered = distance_transform_edt(~centers) <= radius if centers.any() else centers
    return covered[margin:-margin, margin:-margin]


def draw_grey(ax, hidden, transform):
    """Cover an area with one grey."""
    if hidden.any():
        overlay = np.zeros((*hidden.shape, 4))
        overlay[hidden] = _GREY
        draw_pixels(ax, overlay, transform, interpolation="nearest")


def draw_scalebar(ax, length, redshift=None, cosmology=None):
    """Draw a bar of an angle, of a length at a redshift, or (True) of a round angle."""
    helpers = require("astropy.visualization.wcsaxes", "plot")
    width, height = _sides_of(ax)
    if length is True:
        length = _round_angle(0.25 * min(width, 1.5 * height))
    angle = length = u.Quantity(length)
    if length.unit.is_equivalent(u.m):
        if redshift is None:
            raise ValueError(f"redshift: needs that of the lens for a scale bar of {length}; or give an angle")
        distance = checked_cosmology(cosmology).angular_diameter_distance(checked_redshift(redshift, "redshift"))
        angle = (length / distance).to(u.deg, u.dimensionless_angles())
    angle = to_angle(angle, "scalebar")
    if angle > width:
        raise ValueError(f"scalebar: needs to be shorter than the map, which is {width:.3g} wide, got {length}")
    name = f"{length.value:g}{_SIGNS.get(str(length.unit), f' {length.unit}')}"
    helpers.add_scalebar(ax, angle, label=name, color="black", frame=True, pad=0.3, size_vertical=0)
    _clear(ax.artists[-1])


def draw_beam(ax, smoothing):
    """Draw a disk with the full width at half maximum of a Gaussian of this standard deviation."""
    width = _FWHM * to_angle(smoothing, "beam")
    helpers = require("astropy.visualization.wcsaxes", "plot")
    helpers.add_beam(ax, major=width, minor=width, angle=0, frame=True, pad=0.3, facecolor="0.3", edgecolor="black")
    _clear(ax.artists[-1])


def _clear(box):
    box.patch.set(facecolor="white", alpha=0.8, linewidth=0)
    box.set_zorder(4)


def _sides_of(ax):
    pixels = np.abs([np.diff(ax.get_xlim())[0], np.diff(ax.get_ylim())[0]])
    return pixels * proj_plane_pixel_scales(ax.wcs.celestial)[0] * u.deg


def _round_angle(longest):
    for unit in (u.deg, u.arcmin, u.arcsec):
        fitting = _ROUND[longest.to_value(unit) >= _ROUND]
        if len(fitting) and fitting[-1] >= 1:
            return fitting[-1] * unit
    return longest
