"""
Stereographic fields around HEALPix cells.

The core of a field is one cell of the HEALPix pixelisation (Gorski et al. 2005, ApJ 622, 759) in nested order and ICRS.
Cores therefore cover the sky without gaps or overlaps, and the finer HEALPix pixels of a cell have consecutive numbers.
The grid of a field is stereographic around the centre of the cell: angles are those on the sphere, and pixels are
square. It is rotated so that a rectangle around the cell has the smallest area, and is wider than the cell by a margin
on each side.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from astropy_healpix import boundaries_lonlat, healpix_to_lonlat, nside_to_pixel_resolution
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Cells = NDArray[np.int64]

LARGEST_CELL, SMALLEST_CELL = 16, 1024  # nside of the cells
_STEPS = 16  # points on each edge of a cell


class OnCells:
    """Fields around some HEALPix cells, with the attributes of `~astro_massmap.SkyFields`."""

    cells: Cells
    nside: int
    pixel_scale: u.Quantity

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[int]:
        return iter(self.cells.tolist())

    def _described(self) -> str:
        side = nside_to_pixel_resolution(self.nside).to(u.deg)
        return f"{len(self)} fields around cells of {side:.3g} (nside {self.nside}), pixels of {self.pixel_scale:.3g}"


def centres(nside: int, cells: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return unit vectors ``(n, 3)`` to the centres of cells, by default of all."""
    cells = np.arange(12 * nside**2) if cells is None else np.asarray(cells)
    lon, lat = healpix_to_lonlat(cells, nside, order="nested")
    return vectors(lon.rad, lat.rad)


def vectors(lon: ArrayLike, lat: ArrayLike) -> NDArray[np.float64]:
    """Return unit vectors ``(n, 3)`` of longitudes and latitudes in radians."""
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def default_nside(pixel_scale: u.Quantity) -> int:
    """Return the nside of cells of about 128 pixels or more on a side, at most 3.7 degrees wide."""
    nside = LARGEST_CELL
    while nside < SMALLEST_CELL and nside_to_pixel_resolution(2 * nside) > 128 * pixel_scale:
        nside *= 2
    return nside


def field_wcs(cell: int, nside: int, pixel_scale: u.Quantity, margin: u.Quantity) -> WCS:
    """
    Return the grid of the field around a cell, with its ``array_shape``.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap.survey.cells import field_wcs
    >>> field_wcs(cell=1000, nside=16, pixel_scale=2 * u.arcmin, margin=1.5 * u.deg).array_shape
    (274, 177)
    """
    lon, lat = (float(angle.deg) for angle in healpix_to_lonlat(cell, nside, order="nested"))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.radesys = ["RA---STG", "DEC--STG"], "ICRS"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [lon, lat], [1, 1], np.array([-1, 1]) * pixel_scale.to_value(u.deg)
    edge = (angle.deg[0] for angle in boundaries_lonlat([cell], _STEPS, nside, order="nested"))
    x, y = wcs.wcs_world2pix(*edge, 0)
    turn, low, high = min(_rectangles(x + 1j * y), key=lambda found: float(np.prod(found[2] - found[1])))
    cosine, sine = math.cos(turn), math.sin(turn)
    wcs.wcs.pc = [[cosine, sine], [-sine, cosine]]
    extra = (margin / pixel_scale).to_value(u.one)
    nx, ny = np.ceil(high - low + 2 * extra).astype(int)
    wcs.wcs.crpix = 1 - (low + high) / 2 + (np.array([nx, ny]) - 1) / 2
    wcs.wcs.set()
    wcs.array_shape = (int(ny), int(nx))
    return wcs


def _rectangles(points):
    """Yield rotations of the pixel axes and the lower and upper corners of rectangles around points of the plane."""
    for turn in np.radians(np.arange(0, 90, 3)):
        turned = points * np.exp(1j * turn)
        axes = np.stack([turned.real, turned.imag])
        yield float(turn), axes.min(axis=1), axes.max(axis=1)


@cache
def reach(nside: int) -> float:
    """Return the largest angle in radians from the centre of a cell to its boundary."""
    cells = np.arange(nside**2)  # of one polar base cell, and of an equatorial one; the others are equal to one of them
    cells = np.concatenate([cells, 4 * nside**2 + cells])
    lon, lat = boundaries_lonlat(cells, 1, nside, order="nested")
    cosine = (vectors(lon.rad, lat.rad) * centres(nside, cells)[:, None]).sum(axis=-1)
    return float(np.arccos(np.clip(cosine, -1, 1)).max())


def near_cells(nside: int, margin: u.Quantity) -> Callable[[Cells], Iterator[int]]:
    """Return a function that lists the cells whose fields may overlap with some cells."""
    # the corner of a field is nearer to its centre than that of a square around the circle of radius reach + margin
    angle = math.sqrt(2) * (reach(nside) + margin.to_value(u.rad)) + reach(nside)
    tree, chord = cKDTree(centres(nside)), 2 * math.sin(min(angle, math.pi) / 2)

    def near(cells: Cells) -> Iterator[int]:
        found = tree.query_ball_point(centres(nside, cells), chord)
        return iter(sorted(set().union(*found)))

    return near
