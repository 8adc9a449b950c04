"""Shear of a survey on overlapping fields, binned piece by piece, and its reconstruction field by field."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, cast

import astropy.units as u
import numpy as np
from astropy_healpix import lonlat_to_healpix, nside_to_pixel_resolution

from .._sky.geometry import to_angle
from .._sky.healpix import cells_of
from .._utils.progress import warn
from ..maps.catalog import ShearCatalog
from ..maps.n_z import total_n_z
from .cells import OnCells, default_nside, field_wcs, near_cells, vectors
from .sums import Sums
from .tasks import Task, run_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor

    from .._utils.typing import File
    from ..maps.n_z import NZ
    from ..maps.shear_map import ShearMap
    from ..methods import MethodLike
    from .maps import SkyMaps

_MARGIN = 90  # pixels
_FEWEST = 4  # pixels on a side of a cell


class SkyFields(OnCells):
    """
    Shear of a survey of any extent on overlapping fields, one for each HEALPix cell with galaxies.

    Parameters
    ----------
    catalog : `ShearCatalog`, or iterable of these
        Galaxies, or pieces of a catalogue that does not fit into the memory, such as those of `ShearCatalog.pieces`.
        Only sums over the galaxies of a pixel are kept of a piece. The mean response, and the shape noise if it
        is not given, are those of each piece: use pieces of 100,000 galaxies or more.
    pixel_scale : `~astropy.units.Quantity`, optional
        Side of a pixel, by default that of `ShearCatalog.to_map` for the density of the first piece.
    nside : int, optional
        Resolution of the cells, a power of two from 16 (cells of 3.7 degrees) to 1024; by default that of the smallest
        cells with at least 128 pixels on a side.
    margin : `~astropy.units.Quantity`, optional
        Width of the part of a field beyond its cell, which only improves the map of the cell; by default 90 pixels.

    Attributes
    ----------
    cells : ndarray of int
        Numbers of the cells that contain galaxies, in nested order, ``(n,)``.
    nside, pixel_scale, margin
        As the parameters.
    n_galaxies : int
        Number of galaxies.
    n_z : tuple of ndarray, or None
        Redshift distribution (z, n) of all galaxies, or of the pieces with redshifts, with a warning; can be set.
    meta : dict
        Metadata of the maps: entries that are the same in all pieces, and ``shape_noise``.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, there are no galaxies, or a catalogue is one of `ShearCatalog.for_lens`.

    Notes
    -----
    The plane of a field is stereographic: pixels are square, and at the corner of a cell of nside 16, 3.8 degrees from
    the centre, lengths are wrong by 0.1 %. The shear of each galaxy is rotated to the pixel axes of every field.

    Examples
    --------
    >>> from astro_massmap import SkyFields, datasets
    >>> fields = SkyFields(datasets.demo(), nside=64)
    >>> fields
    <SkyFields: 4 fields around cells of 0.916 deg (nside 64), pixels of 0.4 arcmin, 65666 galaxies>
    >>> fields[fields.cells[0]].n_z is None
    True
    """

    margin: u.Quantity
    n_z: NZ | None

    def __init__(
        self,
        catalog: ShearCatalog | Iterable[ShearCatalog],
        *,
        pixel_scale: u.Quantity | None = None,
        nside: int | None = None,
        margin: u.Quantity | None = None,
    ) -> None:
        if nside is not None:
            allowed = [2**k for k in range(4, 11)]
            if not isinstance(nside, Integral) or nside not in allowed:
                raise ValueError(f"nside: needs one of {allowed}, powers of two, got {nside!r}")
            nside = int(nside)
        if pixel_scale is not None:
            pixel_scale = to_angle(pixel_scale, "pixel_scale").to(u.arcmin)
        if margin is not None:
            margin = to_angle(margin, "margin", zero=True).to(u.deg)
        self.nside, self.pixel_scale, self.margin = cast("Any", (nside, pixel_scale, margin))  # set by the first piece
        self.n_galaxies = 0
        self.meta: dict[str, Any] = {}
        self._sums: dict[int, Sums] = {}
        self._counts: dict[int, int] = {}
        self._redshifts: list[tuple[NZ | None, float]] = []
        for piece in pieces_of(catalog):
            self._add(piece)
        self.n_z = self._total_n_z()

    def _total_n_z(self) -> NZ | None:
        """Return n(z) of all pieces; warn if some have none."""
        known = [(n_z, weight) for n_z, weight in self._redshifts if n_z is not None]
        if 0 < len(known) < len(self._redshifts):
            warn(
                f"catalog: {len(self._redshifts) - len(known)} of {len(self._redshifts)} pieces have no redshifts; n_z "
                "is that of the others"
            )
        if not known:
            return None
        same = all(np.array_equal(n_z, known[0][0]) for n_z, _ in known)  # one given for all pieces
        return known[0][0] if same else total_n_z(*map(list, zip(*known, strict=True)))

    def _add(self, piece: ShearCatalog) -> None:
        """Add the galaxies of a piece to the sums of all fields on which they are."""
        if self.pixel_scale is None:
            self.pixel_scale = piece._pixel_scale(None)[0]
        if self.nside is None:
            self.nside = default_nside(self.pixel_scale)
        if (side := nside_to_pixel_resolution(self.nside)) < _FEWEST * self.pixel_scale:
            raise ValueError(
                f"nside: needs cells of at least {_FEWEST} pixels of {self.pixel_scale:.3g} on a side, got {side:.3g}"
            )
        if self.margin is None:
            self.margin = (_MARGIN * self.pixel_scale).to(u.deg)
        if not self.n_galaxies:
            self._near = near_cells(self.nside, self.margin)
            self.meta = {**piece.meta, "axes": piece.axes, "shape_noise": 0.0}
        self._redshifts.append((piece.n_z, float(piece.weight.sum())))
        coords, shape_noise = piece.coords.icrs, piece.shape_noise
        noise = self.meta.pop("shape_noise")
        given = {**piece.meta, "axes": piece.axes}
        self.meta = {key: value for key, value in self.meta.items() if str(value) == str(given.get(key))}
        before = self.n_galaxies * noise**2
        self.n_galaxies += len(piece)
        self.meta["shape_noise"] = float(np.sqrt((before + len(piece) * shape_noise**2) / self.n_galaxies))
        cells, counts = np.unique(cells_of(coords, self.nside), return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            self._counts[cell] = self._counts.get(cell, 0) + count
        self.cells = np.array(sorted(self._counts))
        places, shear = vectors(coords.ra.rad, coords.dec.rad), piece.west_north
        for cell in self._near(cells):
            sums = self._sums.get(cell) or Sums(field_wcs(cell, self.nside, self.pixel_scale, self.margin))
            if sums.add(piece, places, shear, shape_noise):
                self._sums[cell] = sums

    def __getitem__(self, cell: int) -> ShearMap:
        """Return the shear of the field around a cell."""
        sums = self._sums_of(cell)
        meta = copy.deepcopy(self.meta) | {"cell": int(cell), "nside": self.nside}
        return sums.shear_map(meta, self.n_z)

    def _sums_of(self, cell: int) -> Sums:
        if cell not in self._counts:
            raise KeyError(f"cell: {cell} contains no galaxies; those with galaxies are in cells")
        return self._sums[cell]

    def __repr__(self) -> str:
        return f"<SkyFields: {self._described()}, {self.n_galaxies} galaxies>"

    @property
    def area(self) -> u.Quantity:
        """Area of the pixels with galaxies in the cells."""
        return sum((self.area_of(cell) for cell in self), 0 * u.deg**2)

    def area_of(self, cell: int) -> u.Quantity:
        """
        Return the area of the pixels with galaxies in a cell.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo(), nside=64, pixel_scale=1.6 * u.arcmin)
        >>> print(f"{fields.area_of(fields.cells[1]):.2f} of {fields.area:.2f}")
        0.06 deg2 of 0.69 deg2
        """
        sums = self._sums_of(cell)
        edge = max(int(self.margin / self.pixel_scale) - 1, 0)  # no pixel of the margin is in the cell
        y, x = np.nonzero(sums.counts.reshape(sums.shape)[edge:, edge:][: -edge or None, : -edge or None])
        lon, lat = sums.wcs.wcs_pix2world(x + edge, y + edge, 0) * u.deg
        inside = lonlat_to_healpix(lon, lat, self.nside, order="nested") == cell
        return int(inside.sum()) * self.pixel_scale.to(u.deg) ** 2

    def reconstruct(
        self,
        folder: File,
        method: MethodLike = None,
        *,
        reduced_shear: bool | Literal["auto"] = "auto",
        executor: Executor | None = None,
        progress: bool = True,
        **options: Any,
    ) -> SkyMaps:
        """
        Reconstruct every field, each as one task, and write its map to a folder as soon as it is finished.

        Parameters
        ----------
        folder : str or path-like
            Folder for the files ``field_NSIDE_CELL.fits``, made if it does not exist. Maps of the same data and method
            that it contains are kept, so that the same call continues an interrupted run.
        method : str, method object or callable, optional
            Method of all fields, as for `ShearMap.reconstruct`.
        executor : `concurrent.futures.Executor`, optional
            Executor that runs the fields; by default threads of this process, as many as cores.
        reduced_shear, progress, **options
            As for `ShearMap.reconstruct`.

        Returns
        -------
        SkyMaps
            Maps of the finished fields. Fields that failed are listed in its ``failures``, with a warning.

        Raises
        ------
        TypeError, ValueError
            If there is no such method or option, the method has a checkpoint, or all fields fail.
        OSError
            If the folder cannot be written, or contains maps of other data, cells or settings, which are not changed.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> fields.reconstruct("maps", "kaiser_squires", progress=False)
        <SkyMaps: 4 fields around cells of 0.916 deg (nside 64), pixels of 1.6 arcmin>
        """
        from ..methods import resolve  # loads torch

        method = resolve(method, options)

        def tasks(cells: list[int]) -> Iterator[Task]:
            return (Task(cell, self[cell], method, reduced_shear) for cell in cells)

        samples = getattr(method, "n_samples", 0)
        return run_fields(self, folder, method, tasks, executor, progress, mark=str(reduced_shear), samples=samples)


def pieces_of(catalog: ShearCatalog | Iterable[ShearCatalog]) -> Iterator[ShearCatalog]:
    """Yield the pieces of a catalogue, or raise an error."""
    try:
        pieces = iter([catalog] if isinstance(catalog, ShearCatalog) else catalog)
    except TypeError:
        raise TypeError(
            f"catalog: needs a ShearCatalog or an iterable of these, got {type(catalog).__name__}"
        ) from None
    i = -1
    for i, piece in enumerate(pieces):
        if not isinstance(piece, ShearCatalog):
            raise TypeError(f"catalog: needs ShearCatalogs as pieces, got {type(piece).__name__} in piece {i}")
        if piece.efficiency is not None:
            raise ValueError("catalog: that of for_lens is for one field; use to_map and ShearMap.reconstruct")
        yield piece
    if i < 0:
        raise ValueError("catalog: needs at least one galaxy, got none; pieces are read once, call pieces() again")
