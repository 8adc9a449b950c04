"""Contours of the signal to noise of a map, or of another image of the same sky."""

import os
import warnings

import numpy as np
from astropy.io import fits
from astropy.nddata import NDData
from astropy.wcs import WCS

from .._io.fits_headers import check_wcs, open_fits
from .._sky.geometry import celestial_wcs
from .._utils.progress import warn
from .._utils.untrusted import parsing
from .axes import axes_on
from .colors import checked_color, halo

_OTHER_COLOR = "tab:green"  # of contours of an image that is not the one in colours
_WIDTH = 0.8  # points


def draw_contours(ax, contours, data, std, wcs, hidden, color=None, *, image=True):
    """
    Draw contours of data / std outside of ``hidden`` at levels, or of another image: a pair (image, levels).

    By default they are black on the map itself, and green on another ``image``, or for contours of one.
    """
    own = not is_pair(contours)
    levels = contours if own else contours[1]
    if not own:
        values, wcs = _values_and_wcs(contours[0], wcs, data.shape)
    elif std is None:
        raise ValueError("contours: needs the standard deviation of the map, or another image: (image, levels)")
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where((std > 0) & ~hidden, data / std, np.nan)
    if values.ndim != 2:
        raise ValueError(f"contours: needs an image (ny, nx), got the shape {values.shape}")
    levels = _checked(levels)
    color = checked_color(color or ("black" if own and image else _OTHER_COLOR), "contour_color")
    known = values[np.isfinite(values)]
    if not known.size or not ((levels > known.min()) & (levels < known.max())).any():
        if not own:
            found = f"{known.min():.3g} to {known.max():.3g}" if known.size else "NaN only"
            warn(f"contours: no level lies within the values of the image, {found}; none are drawn", stacklevel=4)
        return
    _, transform = axes_on(wcs, ax, values.shape)
    kept = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    options = {} if transform is None else {"transform": transform + ax.transData}
    drawn = ax.contour(values, levels, colors=[color], linewidths=_WIDTH, **options)
    drawn.set_path_effects(halo(color, _WIDTH))
    ax.set(**kept)


def is_pair(contours):
    """Return whether contours are a pair (image, levels) rather than levels."""
    if not isinstance(contours, tuple) or len(contours) != 2:
        return False
    return isinstance(contours[0], str) or not np.isscalar(contours[0])


def _checked(levels):
    try:
        levels = np.unique(np.asarray(levels, dtype=float))
    except (TypeError, ValueError):
        levels = np.array([])
    if not levels.size or not np.isfinite(levels).all():
        raise ValueError("contours: needs finite levels such as [3, 4, 5], or a pair (image, levels)")
    return levels


def _values_and_wcs(image, wcs, shape):
    """Return values ``(ny, nx)`` and celestial WCS of an image, by default the grid ``wcs`` of this shape."""
    if isinstance(image, str | os.PathLike):
        with parsing(f"contours: cannot read {str(image)!r}"), open_fits(image) as hdus:
            found = _first_image(hdus)
        if found is None:
            raise ValueError(f"contours: {str(image)!r} contains no image with celestial coordinates")
        return found
    if isinstance(image, fits.HDUList | fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        found = _first_image(image if isinstance(image, fits.HDUList) else [image])
        if found is None:
            raise ValueError("contours: needs an HDU with an image (ny, nx) and the celestial WCS of its pixels")
        return found
    own = getattr(image, "wcs", None)
    if own is not None:
        return _plane(image.data), celestial_wcs(own, (1, 1))[0]
    try:
        values = _plane(image.data if isinstance(image, NDData) else image)
        if not values.ndim:
            raise TypeError("not an array")
    except TypeError as error:
        raise TypeError(
            "contours: needs a pair (image, levels) with an array on the grid of the map, an object with data and wcs "
            f"(a map, NDData, ...), an HDU or a FITS file; got {type(image).__name__}"
        ) from error
    if values.shape != shape:
        raise ValueError(
            f"contours: an array needs the shape {shape} of the map, got {values.shape}; give an image on another "
            "grid as an HDU, a FITS file or NDData(array, wcs=wcs)"
        )
    return values, wcs


def _first_image(hdus):
    """Return values and celestial WCS of the first image of the sky in a list of HDUs, or None."""
    for hdu in hdus:
        if not hdu.is_image or len(hdu.shape) < 2:
            continue
        check_wcs(hdu.header)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about repairs of the header by wcslib
            wcs = WCS(hdu.header)
        if wcs.has_celestial and {wcs.wcs.lng, wcs.wcs.lat} == {0, 1}:
            return _plane(hdu.data), celestial_wcs(wcs, (1, 1))[0]
    return None


def _plane(values):
    """Return an image as floats, without other axes of one pixel; masked pixels are NaN."""
    values = np.ma.filled(np.ma.asanyarray(values).astype(float), np.nan)
    return values.reshape(values.shape[-2:]) if values.ndim > 2 and set(values.shape[:-2]) == {1} else values
