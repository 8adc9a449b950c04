"""
Default pixel scale of a catalogue, from its surface density.

Pixels are 0.4 arcmin at 6.25 to 100 effective galaxies per square arcminute, 0.3 arcmin from 100 and 0.25 arcmin from
200. Below 6.25 they are the smallest of 0.6, 0.8, 1, 1.5 and 2 arcmin that contain one effective galaxy on average, at
most 2 arcmin.
"""

import math
from bisect import bisect_left
from functools import cache, partial

import astropy.units as u
import numpy as np

from .binning import normalised

USUAL, LARGEST = 0.4, 2.0  # arcmin
_COARSE = (USUAL, 0.6, 0.8, 1.0, 1.5)
_FINE = {200: 0.25, 100: 0.3}  # galaxies per square arcminute, from which the pixels are finer
_FULL = 12  # galaxies in the cell of a typical galaxy
_CELLS = [0.1 * 2 ** (k / 2) for k in range(18)]  # sides in arcmin
_MOST_GALAXIES = 10**6


def default_pixel_scale(density):
    """Return the pixel scale for a surface density of effective galaxies, both as `~astropy.units.Quantity`."""
    per_arcmin2 = density.to_value(u.arcmin**-2)
    fine = next((scale for least, scale in _FINE.items() if per_arcmin2 >= least), None)
    coarse = next((scale for scale in _COARSE if per_arcmin2 * scale**2 >= 1), LARGEST)
    return (coarse if fine is None else fine) * u.arcmin


def surface_density(coords, weight):
    """
    Return the effective number of galaxies per square arcminute where there are galaxies.

    Galaxies are counted in cells of equal area, so large that the median galaxy is in a cell with 12 or more. The
    median over the galaxies of the density of their cells depends little on holes, edges and the distance between
    parts of a survey. It is multiplied by ``(sum w)^2 / (n sum(w^2))``.
    """
    step = -(-len(weight) // _MOST_GALAXIES)
    places = coords[::step].spherical
    lon, lat = places.lon.to_value(u.arcmin), places.lat.to_value(u.arcmin)
    full = min(_FULL, max(len(lon) // 4, 2))
    count = cache(partial(_median_count, lon, lat))
    side = _CELLS[bisect_left(_CELLS, full, hi=len(_CELLS) - 1, key=count)]
    w = normalised(weight)
    effective = w.sum() ** 2 / (w**2).sum() / len(w)
    return float(step * (count(side) - 1) / side**2 * effective) / u.arcmin**2  # the galaxy itself is not counted


def _median_count(lon, lat, side):
    """Return the median over the galaxies of the number in their cell, of height and width ``side``."""
    row = np.floor(lat / side).astype(np.int64)
    first = row.min()
    middle = np.radians(np.clip((np.arange(first, row.max() + 1) + 0.5) * side / 60, -90, 90))
    cell = np.floor(lon * (np.cos(middle) / side)[row - first]).astype(np.int64)
    cell += row * math.ceil(22000 / side)
    counts = np.sort(np.unique(cell, return_counts=True)[1])
    return counts[np.searchsorted(np.cumsum(counts), len(cell) / 2)]
