"""
Interpolate HEALPix maps to the grid of an image.

The value of a pixel is interpolated bilinearly from the four pixels of the sphere around its centre; the map is not
averaged over coarser pixels. Only these pixels are read from files, so that memory limits neither resolution nor size.
"""

import math
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from astropy.coordinates import BaseCoordinateFrame, SkyCoord, frame_transform_graph
from astropy.io import fits
from astropy_healpix import (
    bilinear_interpolation_weights,
    healpix_to_lonlat,
    lonlat_to_healpix,
    neighbours,
    nside_to_pixel_resolution,
)

from .._io.fits_headers import open_fits
from .._io.quantities import floats
from .._utils.progress import warn
from .._utils.untrusted import parsing
from .geometry import celestial_wcs

_NOTHING = -1e30  # values below it are missing: UNSEEN of HEALPix is -1.6375e30
_LARGEST_NSIDE = 2**29
# HEALPix uses the mean obliquity of J2000, without aberration
_FRAMES = {name: "icrs" for name in ("c", "q", "celestial", "equatorial", "j2000", "radec")}
_FRAMES |= {"g": "galactic", "gal": "galactic", "e": "barycentricmeanecliptic", "ecliptic": "barycentricmeanecliptic"}
_PIXELS = "pixel", "pixels", "pix", "ipix", "hpix", "hpxpixel"


@dataclass(frozen=True)
class Sphere:
    """HEALPix map."""

    values: np.ndarray  # (n_pixels,), or samples (n, n_pixels); NaN where missing
    nside: int
    nested: bool  # True for nested, False for ring order
    frame: Any  # of astropy
    pixels: np.ndarray | None = None  # ascending pixel numbers of the values; None for all pixels

    def at(self, pixels, values):
        """Return the ``values`` of one map at pixel numbers of any shape; NaN for missing pixels."""
        if self.pixels is None:
            return values[pixels]
        if not len(self.pixels):
            return np.full(pixels.shape, np.nan)
        place = np.searchsorted(self.pixels, pixels).clip(max=len(self.pixels) - 1)
        return np.where(self.pixels[place] == pixels, values[place], np.nan)


def from_healpix(values, wcs, shape=None, *, nested=None, frame=None, field=0):
    """
    Interpolate a map ``(npix,)``, samples ``(n, npix)``, a FITS file or a `Sphere` to the grid of an image.

    Return the data ``(ny, nx)`` or ``(n, ny, nx)``, NaN where masked, and the mask ``(ny, nx)``, True if one of the
    four pixels is missing, UNSEEN or not finite. Arguments and errors are those of `ConvergenceMap.from_healpix`.
    """
    wcs, shape = celestial_wcs(wcs, shape)
    sphere = opened(values, wcs, shape, nested=nested, frame=frame, field=field)
    pixels, weights, on_sky = _neighbours(wcs, shape, sphere)
    maps = np.full((*sphere.values.shape[:-1], *shape), np.nan, sphere.values.dtype)
    for image, values_of_map in zip(maps.reshape(-1, *shape), np.atleast_2d(sphere.values), strict=True):
        image[on_sky] = (sphere.at(pixels, values_of_map) * weights).sum(axis=0)
    return maps, ~np.isfinite(maps.reshape(-1, *shape)).all(axis=0)


def at_positions(values, coords, *, nested=None, frame=None, field=0):
    """
    Return the values of a HEALPix map, an array or a file, in the pixels that contain positions, ``(n,)``.

    They are NaN where the map has no value. Arguments and errors are those of `ConvergenceMap.from_healpix`.
    """

    def pixels_of(sphere):
        places = coords.transform_to(sphere.frame).represent_as("unitspherical")
        order = "nested" if sphere.nested else "ring"
        return lonlat_to_healpix(places.lon, places.lat, sphere.nside, order=order)

    sphere = _opened(values, pixels_of, nested, frame, field)
    if sphere.values.ndim != 1:
        raise ValueError(f"values: needs the shape (npix,), got {sphere.values.shape}")
    return sphere.at(pixels_of(sphere), sphere.values)


def centres_of(pixels, nside):
    """Return the centres of pixels in nested order, as SkyCoord in ICRS."""
    return SkyCoord(*healpix_to_lonlat(pixels, nside, order="nested"))


def cells_of(coords, nside):
    """Return the numbers of the pixels in nested order and ICRS that contain positions; -1 for missing positions."""
    places = coords.icrs.spherical
    with np.errstate(invalid="ignore"):
        return lonlat_to_healpix(places.lon, places.lat, nside, order="nested")


def with_neighbours(cells, nside):
    """Return the different numbers among pixels in nested order and their neighbours, without those below 0."""
    cells = np.unique(cells)
    cells = cells[cells >= 0]
    with np.errstate(invalid="ignore"):  # pixels with less than eight neighbours
        cells = np.union1d(cells, neighbours(cells, nside, order="nested"))
    return cells[cells >= 0]


def fine_nside(pixel_scale):
    """Return the nside of the coarsest pixels that are not wider than ``pixel_scale``."""
    return 2 ** max(math.ceil(math.log2(nside_to_pixel_resolution(1) / pixel_scale)), 0)


def check_nside(nside, least=1):
    """Return ``nside``, or raise ValueError."""
    if not (isinstance(nside, Integral) and nside >= least and nside & (nside - 1) == 0):
        raise ValueError(f"nside: needs a power of two of at least {least}, got {nside!r}")
    return int(nside)


def opened(values, wcs, shape, *, nested=None, frame=None, field=0):
    """Return the `Sphere` of an array, or of the pixels of a file that a grid needs; see `from_healpix`."""
    return _opened(values, lambda sphere: _neighbours(wcs, shape, sphere)[0], nested, frame, field)


def _opened(values, pixels_of, nested, frame, field):
    """Return the `Sphere` of an array, or of the pixels ``pixels_of(sphere)`` of a file."""
    if isinstance(values, Sphere):
        return values
    if isinstance(values, str | Path):
        return _read(Path(values), pixels_of, nested, frame, field)
    values = floats(values, "values", dtype=None)
    if values.ndim not in (1, 2) or not len(values):
        raise ValueError(f"values: needs the shape (npix,) or (n, npix), got {values.shape}")
    values[values < _NOTHING] = np.nan
    return Sphere(values, _nside(values.shape[-1], nested), bool(nested), _frame("icrs" if frame is None else frame))


def _neighbours(wcs, shape, sphere):
    """Return the four neighbours of grid pixels and their weights, ``(4, n)``, and the grid pixels on the sky."""
    y, x = np.indices(shape)
    places = wcs.pixel_to_world(x, y).transform_to(sphere.frame).represent_as("unitspherical")
    on_sky = np.isfinite(places.lon.rad) & np.isfinite(places.lat.rad)
    order = "nested" if sphere.nested else "ring"
    lon, lat = places.lon[on_sky], places.lat[on_sky]
    return *bilinear_interpolation_weights(lon, lat, sphere.nside, order=order), on_sky


def _nside(npix, nested=False):
    nside = math.isqrt(npix // 12)
    if npix < 12 or 12 * nside**2 != npix:
        raise ValueError(f"values: needs 12 nside^2 pixels of a HEALPix map, got {npix}")
    if nside & (nside - 1):
        name = "nested" if nested else "values"
        raise ValueError(f"{name}: needs an nside that is a power of two, got {nside}")
    return nside


def _frame(frame):
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


def _read(file, pixels_of, nested, frame, field):
    if not file.is_file():
        raise OSError(f"values: needs an array or a file, there is no file {str(file)!r}")
    frame = None if frame is None else _frame(frame)
    with parsing(f"values: cannot read {str(file)!r} as a HEALPix map"), open_fits(file, memmap=True) as hdus:
        table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
        if table is None:
            raise OSError("it contains no table")
        numbers = _pixel_column(table)
        columns = [column for column in table.columns if column is not numbers]
        column = _column(columns, field)
        if column is not None:
            nested = _is_nested(table.header) if nested is None else bool(nested)
            frame = _frame(str(table.header.get("COORDSYS") or "icrs")) if frame is None else frame
            sphere = Sphere(np.empty(0), _nside_of(table, numbers, column), nested, frame)
            near = np.unique(pixels_of(sphere))
            sphere = replace(sphere, **_values(table, numbers, column, near, 12 * sphere.nside**2))
            for of_table in table.columns:  # astropy would read all columns when the file is closed
                del of_table.array
            return sphere
    raise ValueError(
        f"field: needs the name or number of one of the columns {[c.name for c in columns]}, got {field!r}"
    )


def _pixel_column(table):
    """Return the column of pixel numbers; None for a map of all pixels in order."""
    scheme = str(table.header.get("INDXSCHM", "")).strip().upper()
    partial = str(table.header.get("OBJECT", "")).strip().upper() == "PARTIAL"
    if scheme != "EXPLICIT" and (scheme or not partial):
        return None
    return next((column for column in table.columns if column.name.lower() in _PIXELS), table.columns[0])


def _column(columns, field):
    """Return the column of a name in any case, or of a number; None if there is none."""
    if isinstance(field, str):
        same = [c for c in columns if c.name == field] or [c for c in columns if c.name.lower() == field.lower()]
        return same[0] if same else None
    is_number = isinstance(field, Integral) and not isinstance(field, bool)
    return columns[field] if is_number and 0 <= field < len(columns) else None


def _is_nested(header):
    order = str(header.get("ORDERING") or "RING").strip().upper()
    if not order.startswith(("NEST", "RING")):
        raise OSError(f"its header has ORDERING = {order[:40]!r}, which needs to be RING or NESTED")
    return order.startswith("NEST")


def _nside_of(table, numbers, column):
    if numbers is None:
        return _nside(table.data[column.name].size)
    nside = table.header.get("NSIDE")
    if isinstance(nside, bool) or not isinstance(nside, int) or not 1 <= nside <= _LARGEST_NSIDE or nside & (nside - 1):
        raise OSError(
            f"its header has NSIDE = {str(nside)[:40]}, which needs to be a power of two up to {_LARGEST_NSIDE}"
        )
    return nside


def _values(table, numbers, column, near, npix):
    data = table.data[column.name]
    if numbers is None:
        width = data[:1].size
        values = data.reshape(len(data), -1)[near // width, near % width]
    else:
        listed = np.asarray(table.data[numbers.name]).ravel()
        if listed.dtype.kind not in "iu" or (len(listed) and not 0 <= listed.min() <= listed.max() < npix):
            raise OSError(f"its column {numbers.name!r} needs pixel numbers from 0 to {npix - 1}")
        if listed.size != data.size:
            raise OSError(f"its column {column.name!r} contains {data.size} values for {listed.size} pixels")
        place = np.flatnonzero(np.isin(listed, near))
        near, first = np.unique(listed[place].astype(np.int64), return_index=True)
        values = data.ravel()[place[first]]
    return {"values": _finite(values, column, table.header), "pixels": near}


def _finite(values, column, header):
    missing = np.zeros(values.shape, bool) if column.null is None else values == column.null
    values = floats(values, "values", dtype=None)
    bad = header.get("BAD_DATA")
    if isinstance(bad, int | float) and not isinstance(bad, bool):
        missing |= np.isclose(values, bad, rtol=1e-5, atol=0)
    elif bad is not None:
        warn(f"values: the header has BAD_DATA = {str(bad)[:40]!r}, which is not a number and is ignored")
    values[missing | (values < _NOTHING)] = np.nan
    return values
