"""
HEALPix maps on the grid of an image.

A pixel of the image takes the bilinear interpolation of the four pixels of the sphere around its centre. The image is
sampled, not averaged: a grid that is coarser than the map skips some of it. Of a file only these pixels are read, so
that neither the resolution of a partial map nor the size of a full one is limited by the memory.
"""

import math
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import BaseCoordinateFrame, SkyCoord, frame_transform_graph
from astropy.io import fits
from astropy_healpix import bilinear_interpolation_weights

from .._io.fits_headers import open_fits
from .._io.quantities import floats
from .._utils.progress import warn
from .._utils.untrusted import parsing
from .geometry import celestial_wcs

_NOTHING = -1e30  # below it: HEALPix writes -1.6375e30 where it has no value
_LARGEST_NSIDE = 2**29
# HEALPix rotates by the mean obliquity of J2000, without aberration
_FRAMES = {name: "icrs" for name in ("c", "q", "celestial", "equatorial", "j2000", "radec")}
_FRAMES |= {"g": "galactic", "gal": "galactic", "e": "barycentricmeanecliptic", "ecliptic": "barycentricmeanecliptic"}
_PIXELS = "pixel", "pixels", "pix", "ipix", "hpix", "hpxpixel"


@dataclass(frozen=True)
class Sphere:
    """
    Values of pixels of a HEALPix map.

    Parameters
    ----------
    values : ndarray
        ``(n_pixels,)``, or samples ``(n, n_pixels)``; NaN where there is no value.
    nside : int
        Resolution.
    nested : bool
        Order of the pixels.
    frame : `~astropy.coordinates.BaseCoordinateFrame`
        Frame of the sphere.
    pixels : ndarray of int, optional
        Numbers of the pixels in ascending order; by default all pixels of the sphere.
    """

    values: np.ndarray
    nside: int
    nested: bool
    frame: Any
    pixels: np.ndarray | None = None

    def at(self, pixels, values):
        """Values, ``(n_pixels,)`` of one map, at pixel numbers of any shape; NaN for pixels that are missing."""
        if self.pixels is None:
            return values[pixels]
        if not len(self.pixels):
            return np.full(pixels.shape, np.nan)
        place = np.searchsorted(self.pixels, pixels).clip(max=len(self.pixels) - 1)
        return np.where(self.pixels[place] == pixels, values[place], np.nan)


def from_healpix(values, wcs, shape=None, *, nested=None, frame=None, field=0):
    """
    Interpolate HEALPix maps to the grid of an image.

    Parameters
    ----------
    values : array-like, str, path-like or Sphere
        ``(npix,)``, or samples ``(n, npix)``; or a FITS file, of all pixels or of a part of the sky.
    wcs : `~astropy.wcs.WCS`
        The grid.
    shape : tuple of int, optional
        Its rows and columns; by default ``wcs.array_shape``.
    nested : bool, optional
        Whether the pixels are in nested order, not in rings. By default as in the header of the file, and rings for an
        array.
    frame : str or `~astropy.coordinates.BaseCoordinateFrame`, optional
        Frame of the sphere, such as ``"galactic"``. By default as in the header of the file, else ``"icrs"``.
    field : int or str, optional
        Column of a file, by its name or by its number among the columns of values.

    Returns
    -------
    data : ndarray
        ``(ny, nx)`` or ``(n, ny, nx)``; NaN where the map has nothing.
    mask : ndarray of bool
        ``(ny, nx)``, True where the map has nothing: one of the four pixels around is missing, UNSEEN or not finite.

    Raises
    ------
    TypeError, ValueError, OSError
        If an argument is not as described, or the file holds no HEALPix map.
    """
    wcs, shape = celestial_wcs(wcs, shape)
    sphere = opened(values, wcs, shape, nested=nested, frame=frame, field=field)
    pixels, weights, on_sky = _neighbours(wcs, shape, sphere)
    maps = np.full((*sphere.values.shape[:-1], *shape), np.nan, sphere.values.dtype)
    for image, values_of_map in zip(maps.reshape(-1, *shape), np.atleast_2d(sphere.values), strict=True):
        image[on_sky] = (sphere.at(pixels, values_of_map) * weights).sum(axis=0)
    return maps, ~np.isfinite(maps.reshape(-1, *shape)).all(axis=0)


def opened(values, wcs, shape, *, nested=None, frame=None, field=0):
    """Return the `Sphere` of an array, or of a file as far as a grid needs it; see `from_healpix`."""
    if isinstance(values, Sphere):
        return values
    if isinstance(values, str | Path):
        return _read(Path(values), wcs, shape, nested, frame, field)
    values = floats(values, "values", dtype=None)
    if values.ndim not in (1, 2) or not len(values):
        raise ValueError(f"values: need the shape (npix,) or (n, npix), got {values.shape}")
    values[values < _NOTHING] = np.nan
    return Sphere(values, _nside(values.shape[-1], nested), bool(nested), _frame("icrs" if frame is None else frame))


def _neighbours(wcs, shape, sphere):
    """Pixels around those of a grid on the sky and their weights, ``(4, n)``, and which are on it, ``(ny, nx)``."""
    y, x = np.indices(shape)
    places = wcs.pixel_to_world(x, y).transform_to(sphere.frame).represent_as("unitspherical")
    on_sky = np.isfinite(places.lon.rad) & np.isfinite(places.lat.rad)
    order = "nested" if sphere.nested else "ring"
    lon, lat = places.lon[on_sky], places.lat[on_sky]
    return *bilinear_interpolation_weights(lon, lat, sphere.nside, order=order), on_sky


def _nside(npix, nested=False):
    nside = math.isqrt(npix // 12)
    if npix < 12 or 12 * nside**2 != npix:
        raise ValueError(f"values: a HEALPix map has 12 nside^2 pixels, got {npix}")
    if nside & (nside - 1):
        name = "nested" if nested else "values"
        raise ValueError(f"{name}: needs an nside that is a power of two, got {nside}")
    return nside


def _frame(frame):
    """The frame of astropy of a name, also as HEALPix writes it, or of coordinates."""
    if isinstance(frame, SkyCoord):
        frame = frame.frame
    if isinstance(frame, BaseCoordinateFrame):
        return frame.replicate_without_data()
    name = frame.strip().lower() if isinstance(frame, str) else ""
    known = frame_transform_graph.lookup_name(_FRAMES.get(name, name))
    if known is None:
        raise ValueError(f"frame: needs the name of a frame of astropy such as 'icrs' or 'galactic', got {frame!r}")
    return known()


# ---- files


def _read(file, wcs, shape, nested, frame, field):
    """The `Sphere` of a file, of the pixels around a grid."""
    if not file.is_file():
        raise OSError(f"values: there is no file {str(file)!r}")
    frame = None if frame is None else _frame(frame)
    with parsing(f"values: cannot read {str(file)!r} as a HEALPix map"), open_fits(file, memmap=True) as hdus:
        table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
        if table is None:
            raise OSError("it has no table")
        numbers = _pixel_column(table)
        columns = [column for column in table.columns if column is not numbers]
        column = _column(columns, field)
        if column is not None:
            nested = _is_nested(table.header) if nested is None else bool(nested)
            frame = _frame(str(table.header.get("COORDSYS") or "icrs")) if frame is None else frame
            sphere = Sphere(np.empty(0), _nside_of(table, numbers, column), nested, frame)
            near = np.unique(_neighbours(wcs, shape, sphere)[0])
            sphere = replace(sphere, **_values(table, numbers, column, near, 12 * sphere.nside**2))
            for of_table in table.columns:  # astropy would copy all of them into memory when the file is closed
                del of_table.array
            return sphere
    raise ValueError(
        f"field: needs the name or number of one of the columns {[c.name for c in columns]}, got {field!r}"
    )


def _pixel_column(table):
    """The column with the numbers of the pixels; None for a map of all pixels in their order."""
    scheme = str(table.header.get("INDXSCHM", "")).strip().upper()
    partial = str(table.header.get("OBJECT", "")).strip().upper() == "PARTIAL"
    if scheme != "EXPLICIT" and (scheme or not partial):
        return None
    return next((column for column in table.columns if column.name.lower() in _PIXELS), table.columns[0])


def _column(columns, field):
    """The column of a name, in capitals or not, or number; None if there is none."""
    if isinstance(field, str):
        same = [c for c in columns if c.name == field] or [c for c in columns if c.name.lower() == field.lower()]
        return same[0] if same else None
    is_number = isinstance(field, Integral) and not isinstance(field, bool)
    return columns[field] if is_number and 0 <= field < len(columns) else None


def _is_nested(header):
    order = str(header.get("ORDERING") or "RING").strip().upper()
    if not order.startswith(("NEST", "RING")):
        raise OSError(f"its header has ORDERING = {order[:40]!r}; read are RING and NESTED")
    return order.startswith("NEST")


def _nside_of(table, numbers, column):
    if numbers is None:
        return _nside(table.data[column.name].size)
    nside = table.header.get("NSIDE")
    if isinstance(nside, bool) or not isinstance(nside, int) or not 1 <= nside <= _LARGEST_NSIDE or nside & (nside - 1):
        raise OSError(f"its header has NSIDE = {str(nside)[:40]}")
    return nside


def _values(table, numbers, column, near, npix):
    """Values of the pixels ``near``, or of those of them that are listed, and their numbers."""
    data = table.data[column.name]
    if numbers is None:
        width = data[:1].size
        values = data.reshape(len(data), -1)[near // width, near % width]
    else:
        listed = np.asarray(table.data[numbers.name]).ravel()
        if listed.dtype.kind not in "iu" or (len(listed) and not 0 <= listed.min() <= listed.max() < npix):
            raise OSError(f"its column {numbers.name!r} holds no numbers of pixels from 0 to {npix - 1}")
        if listed.size != data.size:
            raise OSError(f"its column {column.name!r} holds {data.size} values of {listed.size} pixels")
        place = np.flatnonzero(np.isin(listed, near))
        near, first = np.unique(listed[place].astype(np.int64), return_index=True)
        values = data.ravel()[place[first]]
    return {"values": _finite(values, column, table.header), "pixels": near}


def _finite(values, column, header):
    """Values as floats, NaN where the map has no value."""
    missing = np.zeros(values.shape, bool) if column.null is None else values == column.null
    values = floats(values, "values", dtype=None)
    bad = header.get("BAD_DATA")
    if isinstance(bad, int | float) and not isinstance(bad, bool):
        missing |= np.isclose(values, bad, rtol=1e-5, atol=0)
    elif bad is not None:
        warn(f"values: the header has BAD_DATA = {str(bad)[:40]!r}, which is no number and is not used")
    values[missing | (values < _NOTHING)] = np.nan
    return values
