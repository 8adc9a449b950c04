"""
HEALPix maps of the whole sky on the grid of an image.

A pixel of the image takes the bilinear interpolation of the four pixels of the sphere around its centre. The image is
sampled, not averaged: a grid that is coarser than the map skips some of it.
"""

import math
from pathlib import Path

import numpy as np
from astropy.coordinates import BaseCoordinateFrame, SkyCoord, frame_transform_graph
from astropy.io import fits

from . import _geometry
from ._fits_headers import open_fits
from ._input import floats
from ._untrusted import check_allowance, parsing

_NOTHING = -1e30  # below it: HEALPix writes -1.6375e30 where it has no value
_LARGEST_NSIDE = 2**29
_FRAMES = {"c": "icrs", "q": "icrs", "g": "galactic"}


def from_healpix(values, wcs, shape=None, *, nested=None, frame=None):
    """
    HEALPix maps on the grid of an image.

    Parameters
    ----------
    values : array-like, str or path-like
        ``(npix,)``, or samples ``(n, npix)``; or a FITS file, of which the first column of values is taken.
    wcs : `~astropy.wcs.WCS`
        The grid.
    shape : tuple of int, optional
        Its rows and columns; by default ``wcs.array_shape``.
    nested : bool, optional
        Whether the pixels are in nested order, not in rings. By default as the file says, and rings for an array.
    frame : str or `~astropy.coordinates.BaseCoordinateFrame`, optional
        Of the sphere, such as ``"galactic"``. By default as the file says, and ``"icrs"`` if it does not.

    Returns
    -------
    data : ndarray
        ``(ny, nx)`` or ``(n, ny, nx)``; NaN where the map has nothing.
    mask : ndarray of bool
        ``(ny, nx)``, True where the map has nothing: one of the four pixels around is UNSEEN or not finite.

    Raises
    ------
    TypeError, ValueError, OSError
        If an argument is not as described, or the file holds no HEALPix map.
    """
    values, nested, frame = opened(values, nested, frame)
    values = floats(values, "values", dtype=None)
    if values.ndim not in (1, 2) or not len(values):
        raise ValueError(f"values: need the shape (npix,) or (n, npix), got {values.shape}")
    _check_sphere(values.shape[-1], nested)
    values[values < _NOTHING] = np.nan
    wcs, shape = _geometry.celestial_wcs(wcs, shape)
    maps = np.stack([_move(sphere, frame, nested, wcs, shape) for sphere in np.atleast_2d(values)])
    maps = maps.astype(values.dtype).reshape(*values.shape[:-1], *shape)
    return maps, ~np.isfinite(maps.reshape(-1, *shape)).all(axis=0)


def opened(values, nested=None, frame=None):
    """Values, their order and their frame: as given, else as a file says, else rings in ICRS."""
    of_file = {"nested": False, "frame": "icrs"}
    if isinstance(values, str | Path):
        values, of_file = _read(Path(values))
    nested = of_file["nested"] if nested is None else bool(nested)
    return values, nested, _frame(of_file["frame"] if frame is None else frame)


def _move(sphere, frame, nested, wcs, shape):
    from reproject import reproject_from_healpix

    data, _ = reproject_from_healpix((sphere, frame), wcs, shape_out=shape, nested=nested)
    return data


def _check_sphere(npix, nested):
    nside = math.isqrt(npix // 12)
    if npix < 12 or 12 * nside**2 != npix:
        raise ValueError(f"values: a HEALPix map has 12 nside^2 pixels, got {npix}")
    if nside & (nside - 1):
        name = "nested" if nested else "values"
        raise ValueError(f"{name}: needs an nside that is a power of two, got {nside}")


def _frame(frame):
    if isinstance(frame, SkyCoord):
        frame = frame.frame
    if isinstance(frame, BaseCoordinateFrame):
        return frame.replicate_without_data()
    known = frame_transform_graph.lookup_name(frame.lower()) if isinstance(frame, str) else None
    if known is None:
        raise ValueError(f"frame: needs the name of a frame of astropy such as 'icrs' or 'galactic', got {frame!r}")
    return known()


def _values(table, size):
    """Of all pixels, those left out of the table NaN; ``size`` is that of the file."""
    first = np.array(table.data[table.columns.names[0]]).ravel()
    if str(table.header.get("INDXSCHM", "IMPLICIT")).strip().upper() != "EXPLICIT":
        return first
    nside = table.header.get("NSIDE")
    if isinstance(nside, bool) or not isinstance(nside, int) or not 1 <= nside <= _LARGEST_NSIDE:
        raise OSError(f"its header says NSIDE = {nside!r}")
    npix = 12 * nside**2
    check_allowance(8 * npix, size, f"a sphere of NSIDE = {nside}")
    if first.dtype.kind not in "iu" or (len(first) and not 0 <= first.min() <= first.max() < npix):
        raise OSError(f"its first column holds no numbers of pixels of NSIDE = {nside}")
    values = np.full(npix, np.nan)
    values[first] = np.array(table.data[table.columns.names[1]]).ravel()
    return values


def _read(file):
    """Values ``(npix,)`` of a file, and what it says of their order and frame."""
    if not file.is_file():
        raise OSError(f"values: there is no file {str(file)!r}")
    with parsing(f"values: cannot read {str(file)!r} as a HEALPix map"), open_fits(file) as hdus:
        table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
        if table is None:
            raise OSError("it has no table")
        values = _values(table, file.stat().st_size)
        system, order = table.header.get("COORDSYS", "C"), table.header.get("ORDERING", "RING")
    frame = _FRAMES.get(str(system).strip().lower()[:1], system)
    return values, {"nested": str(order).strip().upper().startswith("NEST"), "frame": frame}
