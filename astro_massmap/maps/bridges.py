"""Catalogues and maps as objects of other packages, if these are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from .._sky.geometry import shear_to_icrs
from .._utils.optional import require
from ..analysis.sacc_data import bands_to_sacc
from .arguments import need_convergence
from .sphere import write_partial

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import File, MapParts
else:
    MapParts = object


class CatalogBridges:
    """Methods of `~astro_massmap.ShearCatalog` that return objects of other packages."""

    if TYPE_CHECKING:  # attributes of a catalogue

        def __len__(self) -> int: ...

        coords: SkyCoord
        weight: NDArray[np.float64]
        m_bias: float | NDArray[np.float64] | None

        @property
        def west_north(self) -> NDArray[np.complex128]: ...

    def to_treecorr(self, **options: Any) -> Any:
        """
        Return a catalogue of TreeCorr: positions, calibrated shear and weights.

        Parameters
        ----------
        **options
            Arguments of ``treecorr.Catalog``, such as ``npatch``.

        Returns
        -------
        treecorr.Catalog
            Its components are those to West and North in ICRS, which is the convention of TreeCorr. They are divided by
            the weighted mean of ``1 + m``.

        Raises
        ------
        ImportError
            If TreeCorr is not installed.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo().to_treecorr().ntot  # doctest: +SKIP
        65666
        """
        treecorr, icrs = require("treecorr", "bridges"), self.coords.icrs
        m_bias = np.broadcast_to(0.0 if self.m_bias is None else self.m_bias, len(self))
        shear = shear_to_icrs(self.coords, self.west_north) / (1 + np.average(m_bias, weights=self.weight))
        positions = {"ra": icrs.ra.deg, "dec": icrs.dec.deg, "ra_units": "deg", "dec_units": "deg"}
        return treecorr.Catalog(**positions, g1=shear.real, g2=shear.imag, w=self.weight, **options)


class SphereBridges:
    """Methods of `~astro_massmap.ConvergenceMap` and `~astro_massmap.SkyMaps` that export their HEALPix tables."""

    if TYPE_CHECKING:

        def healpix(self, *, nside: int | None = None, threshold: float | None = None) -> QTable: ...

    def write_healpix(
        self, file: File, *, nside: int | None = None, threshold: float | None = None, overwrite: bool = False
    ) -> None:
        """
        Write the table of ``healpix`` as a partial HEALPix map (FITS, explicit numbers in nested order).

        Parameters
        ----------
        file : str or path-like
            File, written atomically, that healpy, Aladin and `ConvergenceMap.from_healpix` read.
        nside, threshold
            As for ``healpix``.
        overwrite : bool
            Replace an existing file, which is an OSError otherwise.

        Examples
        --------
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> truth.write_healpix("sky.fits", overwrite=True)
        >>> ConvergenceMap.from_healpix("sky.fits", wcs=truth.wcs, field="MEAN")
        <ConvergenceMap: 128 x 128 pixels of 0.4 arcmin, 99% measured, no samples>
        """
        write_partial(self.healpix(nside=nside, threshold=threshold), file, overwrite=overwrite)

    def to_healsparse(self, column: str = "mean", *, nside_coverage: int = 64, **options: Any) -> Any:
        """
        Return a column of the HEALPix table as a map of healsparse.

        Parameters
        ----------
        column : str
            Column of the table of ``healpix``, such as ``"std"``.
        nside_coverage : int
            Resolution of the map of covered pixels.
        **options
            Arguments of ``healpix``: ``nside``, by default that of the pixels of the maps, and ``threshold``.

        Returns
        -------
        healsparse.HealSparseMap
            Values in single precision.

        Raises
        ------
        ImportError, KeyError
            If healsparse is not installed, or there is no such column.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().to_healsparse().nside_sparse  # doctest: +SKIP
        16384
        """
        healsparse, table = require("healsparse", "bridges"), self.healpix(**options)
        nside = table.meta["nside"]
        found = healsparse.HealSparseMap.make_empty(min(nside_coverage, nside), nside, np.float32)
        found.update_values_pix(np.asarray(table["pixel"]), np.asarray(table[column], dtype=np.float32))
        return found

    def to_moc(self, *, nside: int | None = None) -> Any:
        """
        Return the pixels with data as a MOC (multi-order coverage map).

        Parameters
        ----------
        nside : int, optional
            Resolution, as for ``healpix``.

        Returns
        -------
        mocpy.MOC

        Raises
        ------
        ImportError
            If mocpy is not installed.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().to_moc().max_order  # doctest: +SKIP
        14
        """
        mocpy, table = require("mocpy", "bridges"), self.healpix(nside=nside)
        order = int(np.log2(table.meta["nside"]))
        return mocpy.MOC.from_healpix_cells(np.asarray(table["pixel"], np.uint64), order, max_depth=order)


class MapBridges(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that return objects of other packages."""

    def to_sacc(self, edges: ArrayLike | None = None, *, measured_only: bool = False, tracer: str = "source_0") -> Any:
        """
        Return the power spectra of the samples in bands, their mean and covariance, as data of SACC.

        The result is the posterior for the prior of the map. With an inferred power spectrum,
        ``kappa.spectrum_posterior.to_sacc(n_z=kappa.n_z)`` returns that of its bands.

        Parameters
        ----------
        edges, measured_only
            As for `power_spectrum`.
        tracer : str
            Name of the tracer, whose n(z) is that of the map.

        Returns
        -------
        sacc.Sacc
            See `~astro_massmap.analysis.sacc_data.bands_to_sacc`, also for the errors.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo()[::4].reconstruct("wiener", n_samples=32, progress=False)
        >>> kappa.to_sacc([500, 1000, 2000]).mean.shape  # doctest: +SKIP
        (2,)
        """
        from ..analysis.angular_power import power_spectrum  # loads torch

        need_convergence(self)
        mask = self.mask if measured_only else np.zeros(self.shape, dtype=bool)
        found = power_spectrum(self._need_samples(), mask, self.pixel_scale.to_value(u.rad), edges)
        return bands_to_sacc(found.low, found.high, found.cl, self.n_z, tracer)

    def to_xarray(self) -> Any:
        """
        Return the map as a data set of xarray.

        Returns
        -------
        xarray.Dataset
            ``kappa`` and ``std`` (NaN without data) with dimensions ``y``, ``x``, and ``samples`` with ``chain``,
            ``draw``, ``y``, ``x``, in one chain as ArviZ expects. The cards of the WCS are its attributes.

        Raises
        ------
        ImportError
            If xarray is not installed.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo()[::4].reconstruct("wiener", n_samples=4, progress=False)
        >>> kappa.to_xarray().samples.dims  # doctest: +SKIP
        ('chain', 'draw', 'y', 'x')
        """
        xarray = require("xarray", "bridges")
        images: dict[str, Any] = {"kappa": (("y", "x"), np.where(self.mask, np.nan, self.data))}
        if self.uncertainty is not None:
            images["std"] = (("y", "x"), np.where(self.mask, np.nan, self.uncertainty.array))
        if self.samples is not None:
            images["samples"] = (("chain", "draw", "y", "x"), self.samples[None])
        return xarray.Dataset(images, attrs=dict(self.wcs.to_header(relax=True)))
