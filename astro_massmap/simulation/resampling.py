"""
Resampling of maps to another pixel scale.

A map of n pixels on a side is a sum of cosines cos(pi k (x + 1/2) / n), x in pixels, which continues it by its mirror
image. Mode k has k / 2n cycles per pixel. On pixels r times as large, modes with k >= n / r are at or beyond the
Nyquist frequency 1 / 2r: they are removed, and the others are evaluated at the new pixel centres. There is no
aliasing, and all modes below the new Nyquist frequency are conserved. At the edge, where the mirror image causes a
kink, a mode near the Nyquist frequency is wrong by a fifth of its amplitude, and eight pixels inwards by a few per
cent.
"""

import math
from functools import lru_cache

import numpy as np

LARGEST_MAP = 2**28  # pixels; larger maps are rejected before memory is allocated
_ARCMIN = math.pi / 10800


def to_radians(angle, name):
    """Convert a positive angle, a Quantity or a number of radians, to radians; errors name the argument."""
    if hasattr(angle, "unit"):
        from astropy import units as u

        if not angle.unit.is_equivalent(u.rad):
            raise u.UnitsError(f"{name}: needs an angle such as 0.4 * u.arcmin, got {angle!r}")
        angle = angle.to_value(u.rad)
    try:
        angle = float(angle)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: needs one angle, a Quantity or a number of radians, got {angle!r}") from error
    if not 0 < angle < 0.1:
        raise ValueError(
            f"{name}: needs to be positive and below 0.1 radians, got {angle:g} radians = {in_arcmin(angle)}; "
            "other units need a Quantity, such as 0.4 * u.arcmin"
        )
    return angle


def in_arcmin(angle):
    return f"{angle / _ARCMIN:.4g} arcmin"


def resampled_shape(shape, ratio):
    """Return the shape of a map with pixels ``ratio`` times as large; ValueError for no pixel, or too many."""
    ny, nx = (math.floor(n / ratio + 1e-6) for n in shape)
    if not (ny >= 1 and nx >= 1 and ny * nx <= LARGEST_MAP):
        raise ValueError(
            f"pixel_scale: a map of {shape[0]} x {shape[1]} pixels cannot be resampled to pixels {ratio:.4g} times "
            f"as large: it would have {ny} x {nx} pixels"
        )
    return ny, nx


def resample(image, ratio):
    """Resample a map ``(ny, nx)`` about its centre, after a low-pass filter; ``ratio`` is new side / old side."""
    ny, nx = resampled_shape(image.shape, ratio)
    rows, columns = _interpolation(image.shape[0], ny, ratio), _interpolation(image.shape[1], nx, ratio)
    return rows @ np.asarray(image, dtype=np.float32) @ columns.T


@lru_cache(maxsize=8)
def _interpolation(n, n_new, ratio):
    """Return the interpolation matrix ``(n_new, n)`` of an axis."""
    k = np.arange(n)[np.arange(n) * ratio < n * (1 - 1e-9)]
    centres = (n - 1) / 2 + (np.arange(n_new) - (n_new - 1) / 2) * ratio
    there, here = (np.cos(np.pi / n * np.outer(x + 0.5, k)) for x in (centres, np.arange(n)))
    here[:, 1:] *= 2
    matrix = (there @ here.T / n).astype(np.float32)
    matrix.flags.writeable = False
    return matrix
