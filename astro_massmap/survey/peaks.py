"""Peaks of overlapping fields, each listed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np

from .._sky.healpix import cells_of

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable
    from numpy.typing import NDArray

SAME = 1.5  # pixels between the positions of a peak in two maps; two peaks of one map are at least 2 pixels apart
_DIRECTIONS = np.arange(0, 360, 30) * u.deg


def near_cell(coords: SkyCoord, cell: int, nside: int, distance: u.Quantity) -> NDArray[np.bool_]:
    """Return which positions ``(n,)`` are in a cell, or closer than ``distance`` to it."""
    if not len(coords):
        return np.zeros(0, dtype=bool)
    around = coords[:, None].directional_offset_by(_DIRECTIONS, distance)
    return (cells_of(coords, nside) == cell) | (cells_of(around, nside) == cell).any(axis=1)


def listed_once(table: QTable, nside: int, distance: u.Quantity) -> QTable:
    """
    Return the peaks of a table without those that another map contains within ``distance``, highest first.

    Two maps may place the same peak in two cells, or each in the cell of the other. The row of a map that has it in
    its own cell is kept, and of two such rows the higher one.
    """
    centers, cells, kappa = table["center"], np.asarray(table["cell"]), np.asarray(table["kappa"])
    first, second, _, _ = centers.search_around_sky(centers, distance)
    others: dict[int, list[int]] = {}
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        if cells[i] != cells[j]:
            others.setdefault(i, []).append(j)
    kept: set[int] = set()
    for i in np.lexsort((-kappa, cells_of(centers, nside) != cells)).tolist():
        if kept.isdisjoint(others.get(i, ())):
            kept.add(i)
    return table[sorted(kept, key=lambda i: -kappa[i])]
