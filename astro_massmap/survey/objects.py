"""Peaks and cut-outs of the maps of a survey."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, vstack

from .._sky.geometry import to_angle
from .._sky.healpix import cells_of
from .._utils.files import check_target
from .._utils.progress import warn
from .cells import OnCells
from .peaks import SAME, listed_once, near_cell

if TYPE_CHECKING:
    import astropy.units as u
    from numpy.typing import NDArray

    from .._utils.typing import File
    from ..maps.convergence_map import ConvergenceMap

_LONGEST = 100  # letters of the name of a cluster in that of a file


class SkyObjects(OnCells):
    """Peaks and cut-outs, with the attributes of `~astro_massmap.SkyMaps`."""

    if TYPE_CHECKING:

        def __getitem__(self, cell: int) -> ConvergenceMap: ...

    def peaks(self, threshold: float, **options: Any) -> QTable:
        """
        Find the peaks of all maps, each once, in the field whose cell contains it.

        Maps of neighbouring fields place a peak on the edge of their cells slightly differently. Positions within 1.5
        pixels are the same peak.

        Parameters
        ----------
        threshold, **options
            As for `ConvergenceMap.peaks`.

        Returns
        -------
        `~astropy.table.QTable`
            Table of `ConvergenceMap.peaks` for the survey, highest first, with the column ``cell`` of the field.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> maps = fields.reconstruct("maps", "wiener", n_samples=4, progress=False)
        >>> maps.peaks(0.02)["kappa", "cell"].colnames
        ['kappa', 'cell']
        """
        parts, distance = [], SAME * self.pixel_scale
        for cell in self:
            found = self[cell].peaks(threshold, **options)
            found = found[near_cell(found["center"], cell, self.nside, distance)] if len(found) else found
            found["cell"] = np.full(len(found), cell)
            parts.append(found)
        filled = [part for part in parts if len(part)]
        if not filled:
            return parts[0]
        return listed_once(vstack(filled, metadata_conflicts="silent"), self.nside, distance)

    def cutout(self, center: SkyCoord, size: u.Quantity) -> ConvergenceMap:
        """
        Cut the map of the field whose cell contains a position.

        Parameters
        ----------
        center, size
            As for `ConvergenceMap.cutout`. Beyond the margin of the field the map is left out.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or there is no map of the cell.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> maps = fields.reconstruct("maps", "kaiser_squires", progress=False)
        >>> maps.cutout(datasets.demo()[:1].coords[0], 16 * u.arcmin)
        <ConvergenceMap: 10 x 10 pixels of 1.6 arcmin, 99% measured, no samples>
        """
        if not isinstance(center, SkyCoord) or not center.isscalar:
            raise TypeError(f"center: needs a SkyCoord of one position, got {center!r}")
        cell = int(cells_of(center.reshape(1), self.nside)[0])
        if cell not in self.cells:
            raise ValueError(f"center: {center.to_string('decimal')} is in cell {cell}, of which there is no map")
        return self[cell].cutout(center, size)

    def write_cutouts(
        self, clusters: Any, size: u.Quantity, folder: File, *, samples: bool = True, overwrite: bool = False
    ) -> list[str]:
        """
        Write a map around each cluster to a folder, and return the names of the files.

        Parameters
        ----------
        clusters : regions, table or file
            Positions, as for `ConvergenceMap.plot`; missing ones and those outside of all cells are left out, with a
            warning. Regions need a centre on the sky.
        size : `~astropy.units.Quantity`
            Side of the maps.
        folder : str or path-like
            Folder for the files, named by the clusters, by their number from 1, or both if a name is not unique.
        samples : bool
            False to leave out the samples.
        overwrite : bool
            Replace existing files, which are an OSError otherwise.

        Raises
        ------
        TypeError, ValueError, OSError
            If an argument is not as described, or a file exists; nothing is written then.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import SkyFields, datasets
        >>> fields = SkyFields(datasets.demo()[::4], nside=64, pixel_scale=1.6 * u.arcmin)
        >>> maps = fields.reconstruct("maps", "kaiser_squires", progress=False)
        >>> maps.write_cutouts(datasets.demo_clusters(), 8 * u.arcmin, "clusters", overwrite=True)[:2]
        ['cluster_A.fits', 'cluster_B.fits']
        """
        to_angle(size, "size")
        folder, (files, outside) = Path(folder), cluster_files(clusters, self.nside, self.cells)
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            check_target(folder / file, overwrite=overwrite)
        for file, center in files.items():
            self.cutout(center, size).write(folder / file, format="fits", samples=samples, overwrite=overwrite)
        if outside:
            warn(f"clusters: {outside} are outside of the cells with maps and are left out")
        return list(files)


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
