"""Maps at positions and in HEALPix pixels, and partial HEALPix maps in FITS files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.ndimage import map_coordinates

from .._io.result_tables import ResultTable, printed
from .._sky.healpix import cells_of, centres_of, check_nside, fine_nside, with_neighbours
from .._utils.files import atomic_path
from .arguments import need_convergence

if TYPE_CHECKING:
    from astropy.table import QTable
    from numpy.typing import NDArray

    from .._utils.typing import File, MapParts

    Values = dict[str, NDArray[np.float64]]
else:
    MapParts = object

_COARSER = 8  # ratio of the sides of the cells in which HEALPix pixels are looked for, and of the pixels of the map


class OnSphere(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` on the sphere."""

    def healpix(self, *, nside: int | None = None, threshold: float | None = None) -> QTable:
        """
        Interpolate the map to HEALPix pixels.

        Parameters
        ----------
        nside : int, optional
            Resolution, a power of two; by default that of the coarsest pixels not wider than those of the map.
        threshold : float, optional
            Convergence for the column ``probability``, the fraction of samples that exceed it in a pixel of the map.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``pixel`` (nested order, ICRS, increasing), ``mean`` (by cubic splines), ``std`` and
            ``signal_to_noise`` if the map has standard deviations, and ``probability`` with ``threshold`` (both
            bilinear), for pixels whose centre is in a pixel with data. ``nside`` is in ``meta``.

        Raises
        ------
        ValueError, `~astropy.units.UnitsError`
            If ``nside`` is not a power of two, the map has no samples for ``threshold``, or is a surface density.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> table = datasets.demo_truth().healpix(nside=4096)
        >>> table.colnames, len(table)
        (['pixel', 'mean'], 3588)
        """
        need_convergence(self)
        nside = fine_nside(self.pixel_scale) if nside is None else check_nside(nside)
        coarse = max(min(nside, fine_nside(self.pixel_scale)) // _COARSER, 1)
        y, x = np.nonzero(~self.mask)
        cells = with_neighbours(cells_of(self.wcs.pixel_to_world(x, y), coarse), coarse)
        number = (nside // coarse) ** 2
        pixels = (cells[:, None] * number + np.arange(number)).ravel()
        seen, values = values_at(self, centres_of(pixels, nside), threshold)
        return healpix_table({"pixel": pixels[seen]} | values, nside, threshold)


def values_at(kappa: MapParts, coords: SkyCoord, threshold: float | None = None) -> tuple[NDArray, Values]:
    """Return which positions have data in their nearest pixel, ``(n,)``, and the interpolated maps there."""
    places = np.stack(kappa.wcs.world_to_pixel(coords)[::-1])
    places[~np.isfinite(places)] = -1e9
    nearest = np.rint(places).astype(int)
    seen = ((nearest >= 0) & (nearest < np.array(kappa.shape)[:, None])).all(axis=0)
    seen[seen] = ~kappa.mask[tuple(nearest[:, seen])]
    places = places[:, seen]
    found = {"mean": map_coordinates(kappa.data, places, order=3, mode="nearest")}
    if kappa.uncertainty is not None:
        found["std"] = map_coordinates(kappa.uncertainty.array, places, order=1, mode="nearest")
        found["signal_to_noise"] = found["mean"] / found["std"]
    if threshold is not None:
        if kappa.samples is None:
            raise ValueError("threshold: the probability needs maps with samples, these have none")
        above = sum((sample > threshold).astype(float) for sample in kappa.samples) / len(kappa.samples)
        found["probability"] = map_coordinates(above, places, order=1, mode="nearest")
    return seen, found


def healpix_table(columns: Values, nside: int, threshold: float | None) -> QTable:
    """Return the table of HEALPix pixels with its metadata."""
    table = ResultTable(columns)
    table.meta = {"nside": nside, "order": "nested", "frame": "icrs"}
    if threshold is not None:
        table.meta["threshold"] = threshold
    return printed(table)


def write_partial(table: QTable, file: File, *, overwrite: bool) -> None:
    """Write a table of HEALPix pixels with the keywords of a partial HEALPix map in nested order and ICRS."""
    columns = [fits.Column("PIXEL", "K", array=np.asarray(table["pixel"]))]
    columns += [fits.Column(name.upper(), "E", array=np.asarray(table[name])) for name in table.colnames[1:]]
    hdu = fits.BinTableHDU.from_columns(columns, name="KAPPA")
    hdu.header.update(PIXTYPE="HEALPIX", ORDERING="NESTED", COORDSYS="C", NSIDE=table.meta["nside"])
    hdu.header.update(INDXSCHM="EXPLICIT", OBJECT="PARTIAL")
    if "threshold" in table.meta:
        hdu.header["KAPPAMIN"] = (table.meta["threshold"], "threshold of PROBABILITY")
    with atomic_path(file, overwrite=overwrite) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary)
