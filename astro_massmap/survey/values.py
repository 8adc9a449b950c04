"""Values of the map of a field at positions, partial HEALPix maps in FITS files, and the files of clusters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy_healpix import healpix_to_lonlat
from scipy.ndimage import map_coordinates

from .._utils.files import atomic_path
from .cells import cells_of

if TYPE_CHECKING:
    from astropy.table import QTable
    from numpy.typing import NDArray

    from .._utils.typing import File
    from ..maps.convergence_map import ConvergenceMap

    Values = dict[str, NDArray[np.float64]]

_LONGEST = 100  # letters of the name of a cluster in that of a file


def centres_of(pixels: NDArray[np.int64], nside: int) -> SkyCoord:
    """Return the centres of HEALPix pixels in nested order."""
    return SkyCoord(*healpix_to_lonlat(pixels, nside, order="nested"))


def values_at(kappa: ConvergenceMap, coords: SkyCoord, threshold: float | None = None) -> tuple[NDArray, Values]:
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


def write_partial(table: QTable, file: File, *, overwrite: bool) -> None:
    """Write the table of `SkyMaps.healpix` with the keywords of a partial HEALPix map in nested order and ICRS."""
    columns = [fits.Column("PIXEL", "K", array=np.asarray(table["pixel"]))]
    columns += [fits.Column(name.upper(), "E", array=np.asarray(table[name])) for name in table.colnames[1:]]
    hdu = fits.BinTableHDU.from_columns(columns, name="KAPPA")
    hdu.header.update(PIXTYPE="HEALPIX", ORDERING="NESTED", COORDSYS="C", NSIDE=table.meta["nside"])
    hdu.header.update(INDXSCHM="EXPLICIT", OBJECT="PARTIAL")
    if "threshold" in table.meta:
        hdu.header["KAPPAMIN"] = (table.meta["threshold"], "threshold of PROBABILITY")
    with atomic_path(file, overwrite=overwrite) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary)


def cluster_files(clusters: Any, nside: int, cells: NDArray[np.int64]) -> tuple[dict[str, SkyCoord], int]:
    """Return the positions of clusters in some cells by the names of their files, and the number of those outside."""
    from .._sky.regions import as_regions  # loads regions

    files: dict[str, SkyCoord] = {}
    regions = as_regions(clusters)
    for i, region in enumerate(regions, start=1):
        center = getattr(region, "center", None)
        if not isinstance(center, SkyCoord):
            raise TypeError(f"clusters: needs regions with a centre on the sky, got {type(region).__name__}")
        if cells_of(center.reshape(1), nside)[0] in cells:
            name = re.sub(r"[^\w+.-]+", "_", str(region.meta.get("text") or i))[:_LONGEST]
            while f"cluster_{name}.fits" in files:
                name = f"{name}_{i}"
            files[f"cluster_{name}.fits"] = center
    return files, len(regions) - len(files)
