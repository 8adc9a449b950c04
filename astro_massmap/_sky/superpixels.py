"""Super-pixels: blocks of the pixels of a grid."""

import numpy as np

from .geometry import pixel_scale, to_angle


def pixels_per_side(size, wcs, shape):
    """Return the whole number of pixels closest to an angle; ValueError below half a pixel or above the map's side."""
    size, (scale, _) = to_angle(size, "size"), pixel_scale(wcs, shape)
    n = round((size / scale).to_value(""))
    if n < 1:
        raise ValueError(f"size: needs at least the side of a pixel, {scale:.3g}, got {size:g}")
    if n > min(shape):
        raise ValueError(f"size: needs at most the shorter side of the map, {min(shape) * scale:.3g}, got {size:g}")
    return n


def block_mean(maps, n):
    """Return the means of maps ``(..., ny, nx)`` over blocks of n x n pixels; those at the edge may be incomplete."""
    if np.ndim(maps) > 2:
        return np.stack([block_mean(part, n) for part in maps])  # maps in a file one by one
    rows, columns = (np.arange(0, side, n) for side in maps.shape)
    sums = np.add.reduceat(np.add.reduceat(np.asarray(maps, dtype=float), rows, axis=0), columns, axis=1)
    heights, widths = (np.diff(starts, append=side) for starts, side in zip((rows, columns), maps.shape, strict=True))
    return sums / np.outer(heights, widths)


def block_wcs(wcs, n, shape):
    """Return the celestial WCS of blocks of n x n pixels; ValueError for a grid with distortions."""
    if wcs.sip or wcs.cpdis1 or wcs.cpdis2 or wcs.det2im1 or wcs.det2im2:
        raise ValueError("wcs: super-pixels need a grid without distortions (SIP, tables); use reproject_to first")
    blocks = wcs.deepcopy()
    blocks.wcs.crpix = (blocks.wcs.crpix - 0.5) / n + 0.5
    if blocks.wcs.has_cd():
        blocks.wcs.cd = blocks.wcs.cd * n
    else:
        blocks.wcs.cdelt = blocks.wcs.cdelt * n
    blocks.wcs.set()
    blocks.array_shape = tuple(-(-side // n) for side in shape)
    return blocks
