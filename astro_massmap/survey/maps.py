"""Maps of the fields of a survey, and their products on the sphere."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy_healpix import neighbours

from .._io.result_tables import ResultTable, printed
from .._sky.healpix import cells_of, centres_of, check_nside, fine_nside
from ..maps.bridges import SphereBridges
from ..maps.convergence_map import ConvergenceMap
from ..maps.sphere import healpix_table, values_at
from .objects import SkyObjects

if TYPE_CHECKING:
    from .._utils.typing import File
    from ..maps.sphere import Values

_NAME = re.compile(r"field_(\d+)_(\d+)\.fits")
_OPEN = 8  # maps that are kept open


def field_file(nside: int, cell: int) -> str:
    """Return the name of the file of a field."""
    return f"field_{nside}_{cell}.fits"


class SkyMaps(SphereBridges, SkyObjects):
    """
    Maps of the overlapping fields of a survey in a folder, written by `SkyFields.reconstruct`.

    A position belongs to the map of the field whose cell contains it: products have no overlaps. Open a folder by
    `read`. ``maps[cell]`` is a `ConvergenceMap`, with its samples as a memory map.

    Attributes
    ----------
    folder : pathlib.Path
        Folder of the files.
    cells : ndarray of int
        Numbers of the cells, in nested order, ``(n,)``.
    nside : int
        Resolution of the cells.
    pixel_scale : `~astropy.units.Quantity`
        Side of a pixel of the fields.
    failures : dict
        Text of the error by cell, for fields that failed in this run.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import SkyFields, datasets
    >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
    >>> maps = fields.reconstruct("maps", "wiener", n_samples=4, progress=False)
    >>> maps.healpix().colnames
    ['pixel', 'mean', 'std', 'signal_to_noise']
    """

    def __init__(self, folder: Path, nside: int, cells: list[int]) -> None:
        self.folder, self.nside, self.cells = folder, nside, np.array(cells)
        self.failures: dict[int, str] = {}
        self._open: OrderedDict[int, ConvergenceMap] = OrderedDict()
        self.pixel_scale = self[cells[0]].pixel_scale

    @classmethod
    def read(cls, folder: File) -> Self:
        """
        Open a folder.

        Parameters
        ----------
        folder : str or path-like
            Folder with files ``field_NSIDE_CELL.fits``; OSError if it contains none, or several NSIDE.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, SkyMaps, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> _ = fields.reconstruct("maps", "kaiser_squires", progress=False)
        >>> SkyMaps.read("maps")
        <SkyMaps: 4 fields around cells of 0.916 deg (nside 64), pixels of 1.6 arcmin>
        """
        folder = Path(folder)
        found = [_NAME.fullmatch(file.name) for file in folder.glob("field_*.fits")]
        numbers = sorted((int(name[1]), int(name[2])) for name in found if name)
        nsides = {nside for nside, _ in numbers}
        if len(nsides) != 1:
            raise OSError(
                f"folder: {str(folder)!r} needs to contain files field_NSIDE_CELL.fits of one NSIDE, got "
                + (", ".join(map(str, sorted(nsides))) or "no such file")
            )
        return cls(folder, nsides.pop(), [cell for _, cell in numbers])

    def __getitem__(self, cell: int) -> ConvergenceMap:
        """Return the map of the field around a cell."""
        cell = int(cell)
        if cell not in self._open:
            if cell not in self.cells:
                raise KeyError(f"cell: there is no map of cell {cell}; those with maps are in cells")
            file = self.folder / field_file(self.nside, cell)
            self._open[cell] = ConvergenceMap.read(file, format="fits", memmap=True)
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return self._open[cell]

    def __repr__(self) -> str:
        return f"<SkyMaps: {self._described()}>"

    # ---- values and products

    def at(self, coords: SkyCoord, *, threshold: float | None = None) -> QTable:
        """
        Interpolate the maps at positions, each from the field whose cell contains it.

        Parameters
        ----------
        coords : `~astropy.coordinates.SkyCoord`
            Positions in any frame, ``(n,)`` or one; other shapes are flattened.
        threshold : float, optional
            Convergence for the column ``probability``, the fraction of samples that exceed it in a pixel of the map.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``mean`` (by cubic splines), ``std`` and ``signal_to_noise`` if the maps have standard deviations,
            and ``probability`` with ``threshold`` (both bilinear); NaN where the nearest pixel has no data.

        Raises
        ------
        TypeError, ValueError
            If ``coords`` is not a SkyCoord, or the maps have no samples for ``threshold``.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> maps = fields.reconstruct("maps", "kaiser_squires", progress=False)
        >>> maps.at(datasets.demo()[:3].coords)["mean"].round(2).tolist()
        [-0.02, -0.01, -0.01]
        """
        if not isinstance(coords, SkyCoord):
            raise TypeError(f"coords: needs a SkyCoord, got {type(coords).__name__}")
        coords = coords.reshape(-1)
        cells = cells_of(coords, self.nside)
        _, columns = values_at(self[self.cells[0]], coords[:0], threshold)
        found = {name: np.full(len(coords), np.nan) for name in columns}
        for cell in np.intersect1d(cells, self.cells):
            here = np.flatnonzero(cells == cell)
            seen, values = values_at(self[cell], coords[here], threshold)
            for name, value in values.items():
                found[name][here[seen]] = value
        return printed(ResultTable(found))

    def healpix(self, *, nside: int | None = None, threshold: float | None = None) -> QTable:
        """
        Interpolate all maps to HEALPix pixels, each from the field whose cell contains it.

        Parameters
        ----------
        nside : int, optional
            Resolution, a power of two; by default that of the coarsest pixels not wider than those of the maps.
        threshold : float, optional
            As for `at`.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``pixel`` (nested order, ICRS, increasing) and those of `at`, for pixels with data. ``nside`` is in
            ``meta``.

        Raises
        ------
        ValueError
            If ``nside`` is not a power of two of at least that of the cells, or the maps have no samples for
            ``threshold``.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> maps = fields.reconstruct("maps", "wiener", n_samples=4, progress=False)
        >>> table = maps.healpix(nside=4096, threshold=0.02)
        >>> table.colnames, table.meta["nside"]
        (['pixel', 'mean', 'std', 'signal_to_noise', 'probability'], 4096)
        """
        nside = fine_nside(self.pixel_scale) if nside is None else check_nside(nside, self.nside)
        parts = [self._in_cell(cell, nside, threshold) for cell in self]
        return healpix_table(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, nside, threshold
        )

    def _in_cell(self, cell: int, nside: int, threshold: float | None = None) -> Values:
        """Return numbers and values of the HEALPix pixels of a cell that have data."""
        number = (nside // self.nside) ** 2
        pixels = cell * number + np.arange(number)
        seen, values = values_at(self[cell], centres_of(pixels, nside), threshold)
        return {"pixel": pixels[seen]} | values

    def seams(self) -> QTable:
        """
        Compare the maps of neighbouring fields along the edges of their cells.

        Returns
        -------
        `~astropy.table.QTable`
            For each pair of neighbouring cells, ``cell`` and ``other``: number of HEALPix pixels along the edge, and
            the mean and the rms of the difference of both maps there, in units of the standard deviation of the first
            (NaN without).

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> maps = fields.reconstruct("maps", "wiener", n_samples=16, progress=False)
        >>> bool((maps.seams()["rms"] < 0.5).all())
        True
        """
        nside = fine_nside(self.pixel_scale)
        rows = []
        for cell in self:
            inside = self._in_cell(cell, nside)
            with np.errstate(invalid="ignore"):  # pixels with less than eight neighbours
                there = neighbours(inside["pixel"], nside, order="nested") // (nside // self.nside) ** 2
            for other in np.intersect1d(there, self.cells[self.cells > cell]):
                near = (there == other).any(axis=0)
                seen, values = values_at(self[other], centres_of(inside["pixel"][near], nside))
                std = inside["std"][near][seen] if "std" in inside else np.nan
                apart = (values["mean"] - inside["mean"][near][seen]) / std
                if len(apart):
                    rows.append((cell, int(other), len(apart), apart.mean(), np.sqrt((apart**2).mean())))
        names = ["cell", "other", "n_pixels", "mean", "rms"]
        types = [int, int, int, float, float]
        return printed(ResultTable(rows=rows or None, names=names, dtype=types))
