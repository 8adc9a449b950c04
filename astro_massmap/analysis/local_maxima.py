"""Local maxima of plain arrays, for which simulations do not need astropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._utils.typing import Bools

_AROUND = [(dy, dx) for dy in (0, 1, 2) for dx in (0, 1, 2) if (dy, dx) != (1, 1)]


def local_maxima(maps: NDArray[Any]) -> Bools:
    """
    Find the local maxima of maps.

    Parameters
    ----------
    maps : ndarray
        Maps ``(..., ny, nx)``, ValueError with fewer than two axes. Pixels that are not finite are no maxima, and count
        as lower than all others.

    Returns
    -------
    ndarray of bool
        True at maxima, in the shape of ``maps``; one True for a plateau, at its first pixel in reading order.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap.analysis.peaks import local_maxima
    >>> np.argwhere(local_maxima(np.array([[0, 2, 1], [0, 0, 1], [3, 0, 1], [3, 3, 1]]))).tolist()
    [[0, 1], [2, 0]]
    """
    maps = np.asarray(maps)
    if maps.ndim < 2:
        raise ValueError(f"maps: need the shape (..., ny, nx), got {maps.shape}")
    finite = np.isfinite(maps)
    maps = np.where(finite, maps, -np.inf)
    highest = np.full_like(maps, -np.inf)
    for neighbour in _neighbours(maps):
        np.maximum(highest, neighbour, out=highest)
    peak, level = finite & (maps > highest), finite & (maps == highest)
    if level.any():
        peak |= _plateaus(maps, highest, level)
    return peak


def subpixel(image: NDArray[Any], y: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """
    Return positions ``(n, 2)``, y and x, of maxima at the pixels ``y, x`` of a map, from a parabola along each axis.

    The shift is at most half a pixel, and zero along an axis on which the pixel has fewer than two finite neighbours.
    """
    found = np.stack([y, x], axis=1).astype(float)
    padded = np.pad(np.asarray(image, dtype=float), 1, constant_values=np.nan)
    here = padded[y + 1, x + 1]
    for axis, (dy, dx) in enumerate([(1, 0), (0, 1)]):
        before, after = here - padded[y + 1 - dy, x + 1 - dx], here - padded[y + 1 + dy, x + 1 + dx]
        both = before + after
        shift = np.divide(before - after, 2 * both, out=np.zeros(len(here)), where=np.isfinite(both) & (both > 0))
        found[:, axis] += shift
    return found


def _neighbours(maps):
    """Return the eight maps of neighbours, -infinity beyond the edges."""
    ny, nx = maps.shape[-2:]
    padded = np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(1, 1), (1, 1)], constant_values=-np.inf)
    return (padded[..., dy : dy + ny, dx : dx + nx] for dy, dx in _AROUND)


def _plateaus(maps, highest, level):
    """Return the first pixels of plateaus without higher neighbours; ``level``: as high as the highest neighbour."""
    structure = np.zeros((3,) * maps.ndim)
    structure[(1,) * (maps.ndim - 2)] = 1
    labels, _ = label(level, structure)
    slope = np.zeros_like(level)  # equal to a neighbour that has a higher neighbour
    for neighbour in _neighbours(np.where(maps < highest, maps, -np.inf)):
        slope |= level & (neighbour == maps)
    pixels = np.flatnonzero(level)
    numbers, first = np.unique(labels.flat[pixels], return_index=True)
    plateaus = np.zeros_like(level)
    plateaus.flat[pixels[first[~np.isin(numbers, labels[slope])]]] = True
    return plateaus
