"""Source redshifts, density, tomographic bins and selection by regions of a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

import astropy.units as u
import numpy as np

from .._io.quantities import floats
from .._sky.geometry import stereographic_wcs, to_angle
from .._sky.healpix import at_positions
from .._sky.pixel_scales import default_pixel_scale, surface_density
from .._utils.progress import warn
from .n_z import as_n_z, histogram, n_z_of_bins, total_n_z

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy.coordinates import BaseCoordinateFrame, SkyCoord
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import File, RedshiftsLike, RegionsLike
    from ..methods import Method
    from .n_z import NZ

TOTAL = "all"  # key of the galaxies of all bins
WITHOUT_BIN_0 = ("hsc_y3_zbin",)  # columns in which 0 means no bin


class CatalogBins:
    """Redshifts, tomographic bins and selection by regions of a `~astro_massmap.ShearCatalog`."""

    if TYPE_CHECKING:  # attributes of a catalogue

        def __len__(self) -> int: ...
        def __getitem__(self, item: Any) -> Self: ...

        coords: SkyCoord
        weight: NDArray[np.float64]
        redshift: NDArray[np.float64] | None
        tomo: NDArray[np.int64] | None
        efficiency: NDArray[np.float64] | None
        meta: dict[str, Any]

    _given_n_z: NZ | None = None

    @property
    def n_z(self) -> NZ | None:
        """
        Redshift distribution (z, n) of the galaxies, from which `reconstruct` takes the prior spectrum.

        It is the given one, otherwise the weighted histogram of ``redshift`` in steps of 0.005, otherwise None. A
        selection such as ``catalog[mask]`` keeps a given one, with a warning if the mean redshift changes, and has its
        own histogram. It can be set, to anything that the argument ``n_z`` accepts.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import datasets
        >>> catalog = datasets.demo()
        >>> catalog.redshift = np.full(len(catalog), 0.8)
        >>> catalog.n_z
        (array([0.8]), array([1.]))
        """
        if self._given_n_z is not None:
            return self._given_n_z
        return None if self.redshift is None else histogram(self.redshift, self.weight)

    @n_z.setter
    def n_z(self, source: RedshiftsLike | None) -> None:
        self._given_n_z = as_n_z(source)

    @property
    def density(self) -> u.Quantity:
        """
        Effective number of galaxies per square arcminute where there are galaxies, from which the pixel scale follows.

        It is the median over the galaxies of the density of cells with 12 or more galaxies, times ``(sum w)^2 / (n
        sum(w^2))``, so that it depends little on holes, edges and the distance between parts of a survey.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> print(f"{datasets.demo().density:.0f}")
        29 1 / arcmin2
        """
        return surface_density(self.coords, self.weight)

    def healpix_values(
        self,
        values: ArrayLike | File,
        *,
        nested: bool | None = None,
        frame: str | BaseCoordinateFrame | None = None,
        field: int | str = 0,
    ) -> NDArray[np.float64]:
        """
        Look up a HEALPix map, such as a mask or a survey property, at the galaxies.

        Parameters
        ----------
        values, nested, frame, field
            HEALPix map, its order, frame and column, as for `ConvergenceMap.from_healpix`.

        Returns
        -------
        ndarray
            Values ``(n,)`` of the pixels that contain the galaxies, NaN where the map has none.

        Raises
        ------
        TypeError, ValueError, OSError
            As `ConvergenceMap.from_healpix`.

        Examples
        --------
        The galaxies where a mask of the survey is 1:

        >>> import numpy as np
        >>> from astro_massmap import datasets
        >>> catalog, mask = datasets.demo(), np.arange(12 * 64**2) % 2
        >>> len(catalog[catalog.healpix_values(mask) > 0.5])
        11145
        """
        return at_positions(values, self.coords, nested=nested, frame=frame, field=field)

    def outside(self, regions: RegionsLike, wcs: WCS | None = None) -> Self:
        """
        Return the galaxies outside all regions, and those inside excluded regions.

        Parameters
        ----------
        regions : regions
            Regions, a table or a file, as ``mask`` of `to_map <astro_massmap.ShearCatalog.to_map>`.
        wcs : `~astropy.wcs.WCS`, optional
            Grid of regions in pixels; regions of the sky need none.

        Raises
        ------
        TypeError, ValueError, OSError
            If there are no regions with an area, a file cannot be read, regions are in pixels without ``wcs``, or no
            galaxy is left.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> len(datasets.demo()), len(datasets.demo().outside(datasets.demo_clusters()))
        (65666, 64825)
        """
        from regions import PixelRegion  # loads regions

        from .._sky.regions import all_to_pixel, inside_any  # loads regions
        from ..analysis.region_means import listed  # loads regions

        found = listed(regions, "mask", areas=True)
        if wcs is None:
            if any(isinstance(region, PixelRegion) for region in (*found, *found.excluded)):
                raise ValueError("mask: regions in pixels need a grid; give regions of the sky, or the grid as wcs")
            wcs = stereographic_wcs(self.coords)
        x, y = wcs.world_to_pixel(self.coords)
        inside, excluded = (
            inside_any([region for region in all_to_pixel(part, wcs) if region is not None], x, y)
            for part in (found, found.excluded)
        )
        inside &= ~excluded
        if inside.all():
            raise ValueError("mask: the regions exclude every galaxy")
        return self[~inside]

    def _pixel_scale(self, given: u.Quantity | None, method: Method | None = None) -> tuple[u.Quantity, dict[str, str]]:
        """Return the given pixel scale, or that of the method or of the density with a note for ``meta``."""
        if given is not None:
            return to_angle(given, "pixel_scale"), {}
        fixed = None if method is None else fixed_scale(method)
        if fixed is not None:
            return fixed, {"pixel_scale": f"{fixed:g}, for which the prior or network was trained"}
        density = self.density
        scale = default_pixel_scale(density)
        return scale, {"pixel_scale": f"{scale:g}, from {density.value:.3g} galaxies per square arcminute"}

    def bins(
        self,
        tomo: str | ArrayLike = "tomo",
        *,
        edges: ArrayLike | None = None,
        n_z: Any = None,
        total: bool = False,
    ) -> dict[Any, Self]:
        """
        Split the catalogue into tomographic bins.

        Parameters
        ----------
        tomo : array-like, optional
            Bin numbers ``(n,)``; by default, or for ``"tomo"``, those of the catalogue. Galaxies with a negative or
            missing number are in no bin.
        edges : array-like, optional
            Edges of the bins in redshift instead, increasing: the bins 1, 2, ... contain the lower and not the upper
            edge, except for the last one, which contains both.
        n_z : dict, table, file or SACC object, optional
            Redshift distribution of each bin: ``{1: (z, n), ...}``, a list in the order of the bins, or a table with a
            column ``z`` and one for each bin, such as ``bin1``. By default the histograms of the redshifts of the
            galaxies, if they have redshifts. The ``n_z`` of the catalogue is not used.
        total : bool
            Add the galaxies of all bins under the key ``"all"``, with the sum of the n(z).

        Returns
        -------
        dict of ShearCatalog
            Catalogues by bin number, in increasing order, with the number in ``meta["bin"]`` and their density in
            ``meta["galaxies_per_arcmin2"]``.

        Raises
        ------
        ValueError, TypeError
            If there are no bin numbers or redshifts, no galaxy in a bin of ``edges`` or no n(z) for a bin, or an
            argument is not as described.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If galaxies are in no bin, or a bin has no n(z), also because the ``n_z`` of the catalogue is not used.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import datasets
        >>> catalog = datasets.demo()
        >>> catalog.redshift = np.linspace(0.2, 1.4, len(catalog))
        >>> {key: len(part) for key, part in catalog.bins(edges=[0.2, 0.6, 1.0, 1.4], total=True).items()}
        {1: 21889, 2: 21888, 3: 21889, 'all': 65666}
        """
        number = numbers_of_bins(self, tomo, edges)
        keys = check_bins(np.unique(number[number >= 0]), edges, int((number < 0).sum()), len(self))
        parts: dict[Any, Self] = {key: self[number == key] for key in keys}
        kept = None if self.efficiency is None else self._given_n_z  # that of the reference source of a lens
        given = {key: kept for key in keys} if n_z is None else n_z_of_bins(n_z, keys)
        for key, part in parts.items():
            part._given_n_z, part.meta["bin"] = given[key], key
        if n_z is None and self.redshift is None and kept is None:
            warn_of_n_z(self._given_n_z is not None)
        if total:
            parts[TOTAL] = self[number >= 0]
            parts[TOTAL].meta["bin"] = TOTAL
            weights = [float(parts[key].weight.sum()) for key in keys]
            if n_z is not None:
                parts[TOTAL]._given_n_z = total_n_z([cast("NZ", given[key]) for key in keys], weights)
        for part in parts.values():
            part.meta["galaxies_per_arcmin2"] = float(part.density.value)
        return parts


def numbers_of_bins(catalog: CatalogBins, tomo: str | ArrayLike, edges: ArrayLike | None) -> NDArray[np.int64]:
    """Return the bin of each galaxy ``(n,)``, -1 for none, from the arguments of `CatalogBins.bins`."""
    if edges is not None:
        return _between(catalog.redshift, floats(edges, "edges"))
    if isinstance(tomo, str) and tomo != "tomo":
        raise ValueError(
            f"tomo: a catalogue has one column of bin numbers, 'tomo', got {tomo!r}; read the catalogue with "
            f"columns={{'tomo': {tomo!r}}}"
        )
    number = catalog.tomo if isinstance(tomo, str) else bin_numbers(tomo, len(catalog))
    if number is None:
        raise ValueError(
            "tomo: the catalogue has no bin numbers; read it with columns={'tomo': ...}, or give edges of redshift"
        )
    return number


def _between(z: NDArray[np.float64] | None, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    if edges.ndim != 1 or edges.size < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges: needs two or more increasing redshifts, got {edges}")
    if z is None:
        raise ValueError("edges: the catalogue has no redshifts; give bin numbers as tomo")
    number = np.where(z == edges[-1], edges.size - 1, np.searchsorted(edges, z, side="right"))
    number[~((z >= edges[0]) & (z <= edges[-1]))] = -1  # also NaN
    return number


def check_bins(numbers: Iterable[int], edges: ArrayLike | None, outside: int, n: int) -> list[int]:
    """
    Return different numbers of bins in increasing order.

    Warn if ``outside`` of n galaxies are in no bin; ValueError if there is no bin, or one between edges is empty.
    """
    keys = sorted(map(int, numbers))
    if edges is not None:
        edges = floats(edges, "edges")
        for key in range(1, edges.size):
            if key not in keys:
                raise ValueError(f"edges: no galaxy between the redshifts {edges[key - 1]:g} and {edges[key]:g}")
    if not keys:
        raise ValueError("tomo: needs bin numbers of 0 or larger, but all are negative or missing")
    if outside:
        warn(f"bins: {outside} of {n} galaxies are in no bin")
    return keys


def warn_of_n_z(given: bool) -> None:
    """Warn that there is no n(z) for the bins, or only one ``given`` for the catalogue."""
    fault = (
        "that of the catalogue is not the one of a single bin and is not used"
        if given
        else "there is none for the bins, because the catalogue has no redshifts"
    )
    warn(
        f"n_z: {fault}; their prior spectrum is that of sources at redshift 1, unless the distribution of each bin is "
        "given, as a table with the columns z, bin1, ..., or {1: (z, n), ...}"
    )


def fixed_scale(method: Method) -> u.Quantity | None:
    """Return the pixel scale of the prior or network of a method, None if it has none or accepts any."""
    from ..methods.sources import pixel_size_of  # loads torch

    size = pixel_size_of(method)
    return None if size is None else round(float(np.rad2deg(size)) * 60, 6) * u.arcmin


def bin_numbers(tomo: Any, n: int) -> NDArray[np.int64]:
    """Return bin numbers as integers ``(n,)``, -1 where negative or missing; ValueError for other numbers."""
    number = floats(tomo, "tomo")
    if number.shape != (n,):
        raise ValueError(f"tomo: needs the shape ({n},) of coords, got {number.shape}")
    number = np.where(number >= 0, number, -1)
    if not (number == np.floor(number)).all():
        raise ValueError("tomo: needs whole numbers of bins; for bins between redshifts, give edges")
    return number.astype(np.int64)


def is_bin_number(column: Any) -> bool:
    """Return whether a column contains bin numbers, with a warning if it does not."""
    try:
        bin_numbers(column, len(column))
    except (TypeError, ValueError) as error:
        warn(
            f"tomo: the column {column.info.name!r} is not used because it does not contain bin numbers: "
            f"{str(error).removeprefix('tomo: ')}. Give the name of another one, or None, by columns={{'tomo': ...}}",
            stacklevel=4,
        )
        return False
    return True
