"""The convergence kappa, the projected matter: a map of the sky with its uncertainty and samples."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import astropy.units as u
import numpy as np
from astropy.nddata import NDData, NDIOMixin

from ._convergence_files import register_fits, warn_of_meta
from ._fit_statements import fit_statements
from ._fits import wcs_cards
from ._geometry import celestial_wcs, pixel_scale
from ._input import bools, floats
from ._map_arguments import map_samples, map_std, map_unit
from ._masses import Masses
from ._other_grids import OtherGrids
from ._pictures import Pictures
from ._provenance import into_meta
from ._questions import Questions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from astropy.coordinates import BaseCoordinateFrame
    from astropy.nddata import StdDevUncertainty
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from ._typing import Bools, File, Floats, Shape
    from .methods import Estimate, Method


class ConvergenceMap(Questions, Masses, OtherGrids, Pictures, NDIOMixin, NDData):
    """
    A map of the convergence with its WCS, uncertainty, mask and posterior samples.

    Parameters
    ----------
    data : array-like
        Convergence ``(ny, nx)``, dimensionless and finite: the posterior mean, or an estimate.
        With a unit of mass per area it is a surface density (see ``surface_density``).
    wcs : `~astropy.wcs.WCS`
        Where the pixels are on the sky.
    uncertainty : `~astropy.nddata.StdDevUncertainty` or array-like, optional
        Standard deviation ``(ny, nx)``.
    mask : array-like of bool, optional
        ``(ny, nx)``, True where nothing was measured: the value there is inferred.
    samples : array-like, optional
        Equally likely maps, ``(n_samples, ny, nx)``. A `numpy.memmap` in single precision stays in its file.
    meta : dict, optional
        Anything worth keeping.
    diagnostics : dict, optional
        How the map was made, and how well.
    b_mode : ConvergenceMap, optional
        The B mode on the same grid, which lensing does not make.
    unit : `~astropy.units.Unit`, optional
        Of ``data``, ``uncertainty`` and ``samples`` where they have none of their own.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        For arguments that are not as described; the message names the argument.

    Notes
    -----
    What can be asked of a map (regions, peaks, power) is with `~astro_massmap._questions.Questions`, what it weighs
    with `~astro_massmap._masses.Masses`, parts of it and other grids with `~astro_massmap._other_grids.OtherGrids`,
    figures and reports with `~astro_massmap._pictures.Pictures`.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> kappa = datasets.demo().reconstruct("wiener", n_samples=4, progress=False)
    >>> kappa
    <ConvergenceMap: 128 x 128 pixels of 0.4 arcmin, 83% measured, 4 samples>
    >>> kappa[40:60, 30:90].samples.shape
    (4, 20, 60)
    """

    if TYPE_CHECKING:  # of astropy's unified I/O, with the options of those in _convergence_files

        @classmethod
        def read(cls, file: File, *, format: str | None = None, memmap: bool = False) -> Self: ...

        def write(
            self, file: File, *, format: str | None = None, overwrite: bool = False, samples: bool = True
        ) -> None: ...

    def __init__(
        self,
        data: ArrayLike,
        *,
        wcs: WCS,
        uncertainty: StdDevUncertainty | ArrayLike | None = None,
        mask: ArrayLike | None = None,
        samples: ArrayLike | None = None,
        meta: Mapping[str, Any] | None = None,
        diagnostics: Mapping[str, Any] | None = None,
        b_mode: ConvergenceMap | None = None,
        unit: u.UnitBase | str | None = None,
    ) -> None:
        unit = map_unit(getattr(data, "unit", None) if unit is None else unit)
        data = floats(data, "data", dtype=None, unit=unit)
        if data.ndim != 2 or data.size == 0:
            raise ValueError(f"data: needs the shape (ny, nx), got {data.shape}")
        mask = bools(mask, data.shape)
        bad = ~np.isfinite(data)
        if (bad & ~mask).any():
            raise ValueError(f"data: {int((bad & ~mask).sum())} pixels are not finite; mark them in mask")
        data[bad] = 0  # the mean of every prior, where nothing else is known
        if uncertainty is not None:
            uncertainty = map_std(uncertainty, data.shape, unit)
        if samples is not None:
            samples = map_samples(samples, data.shape, unit)
        wcs, _ = celestial_wcs(wcs, data.shape)
        self._pixel_scale, _ = pixel_scale(wcs, data.shape)
        meta = copy.deepcopy(dict(meta or {}))
        super().__init__(data, uncertainty=uncertainty, mask=mask, wcs=wcs, meta=meta, unit=unit)
        self._samples = samples
        self.diagnostics = copy.deepcopy(dict(diagnostics or {}))
        if b_mode is not None and b_mode.data.shape != data.shape:
            raise ValueError(f"b_mode: needs the shape {data.shape} of data, got {b_mode.data.shape}")
        self._b_mode = b_mode

    @classmethod
    def from_healpix(
        cls,
        values: ArrayLike | File,
        *,
        wcs: WCS,
        shape: Shape | None = None,
        nested: bool | None = None,
        frame: str | BaseCoordinateFrame | None = None,
        field: int | str = 0,
        uncertainty: ArrayLike | None = None,
        samples: ArrayLike | None = None,
    ) -> Self:
        """
        Interpolate a HEALPix map to the grid of an image, bilinearly.

        Of a file only the pixels around the grid are read. The file may list its pixels (a partial map, ``INDXSCHM =
        EXPLICIT``); pixels that are missing or have the value ``BAD_DATA`` of its header are masked.

        Parameters
        ----------
        values : array-like, str or path-like
            Convergence ``(npix,)``, or a FITS file.
        wcs : `~astropy.wcs.WCS`
            The grid.
        shape : tuple of int, optional
            Its rows and columns; by default ``wcs.array_shape``.
        nested : bool, optional
            Whether the pixels are in nested order; by default as in the header of the file, and rings for an array.
        frame : str or `~astropy.coordinates.BaseCoordinateFrame`, optional
            Frame of the sphere: ``"icrs"``, ``"galactic"``, ``"barycentricmeanecliptic"``, any other frame of astropy,
            or a name as HEALPix writes it (``"C"``, ``"G"``, ``"E"``). By default as in the header of the file, else
            ``"icrs"``.
        field : int or str, optional
            Column of a file, by its name or by its number, from 0 on, among the columns of values.
        uncertainty : array-like, optional
            Standard deviation ``(npix,)``; interpolation averages noise, which this does not know, so that it is an
            upper limit.
        samples : array-like, optional
            ``(n_samples, npix)``, moved one by one.

        Returns
        -------
        ConvergenceMap
            Masked where the map, the uncertainty or a sample has nothing.

        Raises
        ------
        TypeError, ValueError, OSError
            If an argument is not as described, the map has nothing on the grid, or the file holds no HEALPix map.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> sheet, truth = np.full(12 * 16**2, 0.02), datasets.demo_truth()
        >>> kappa = ConvergenceMap.from_healpix(sheet, wcs=truth.wcs, frame="galactic")
        >>> kappa.shape, round(float(kappa.data.max()), 6)
        ((128, 128), 0.02)
        """
        from ._healpix import from_healpix, opened

        wcs, shape = celestial_wcs(wcs, shape)
        sphere = opened(values, wcs, shape, nested=nested, frame=frame, field=field)
        # uncertainty and samples are on the sphere of the values
        order = {"nested": sphere.nested, "frame": sphere.frame}
        moved: dict[str, Any] = {"data": sphere, "uncertainty": uncertainty, "samples": samples}
        moved = {k: None if v is None else from_healpix(v, wcs, shape, **order) for k, v in moved.items()}
        mask = np.logical_or.reduce([m for _, m in filter(None, moved.values())])
        if mask.all():
            raise ValueError("values: the map has nothing on the grid")
        maps: dict[str, Any] = {k: None if v is None else v[0] for k, v in moved.items()}
        if maps["uncertainty"] is not None:
            maps["uncertainty"] = np.where(mask, np.nan, maps["uncertainty"])
        return cls(wcs=wcs, mask=mask, **maps)

    @classmethod
    def _from_estimate(cls, estimate: Estimate, *, wcs: WCS, mask: Bools, meta: Mapping[str, Any]) -> Self:
        """The way back from plain arrays to the sky."""
        b_mode, meta = None, into_meta(meta, estimate.provenance)
        if estimate.b_mode is not None:
            b_mode = cls(estimate.b_mode, wcs=wcs, uncertainty=estimate.b_std, mask=mask)
        return cls(
            estimate.mean,
            wcs=wcs,
            uncertainty=estimate.std,
            mask=mask,
            samples=estimate.samples,
            meta=meta,
            diagnostics=dict(estimate.diagnostics),
            b_mode=b_mode,
        )

    @property
    def shape(self) -> Shape:
        """Rows and columns of the grid."""
        return self.data.shape

    @property
    def pixel_scale(self) -> u.Quantity:
        """Side of a pixel, a `~astropy.units.Quantity`."""
        return self._pixel_scale

    @property
    def samples(self) -> Floats | None:
        """Equally likely maps ``(n_samples, ny, nx)``, or None for a point estimate."""
        return self._samples

    @property
    def b_mode(self) -> ConvergenceMap | None:
        """The B mode as a ConvergenceMap, or None where the method has none."""
        return self._b_mode

    def __repr__(self) -> str:
        ny, nx = self.shape
        samples = "no samples" if self.samples is None else f"{len(self.samples)} samples"
        fit = "".join(f"; {short}" for short, _ in fit_statements(self.diagnostics.get("fit")))
        return (
            f"<ConvergenceMap: {ny} x {nx} pixels of {self.pixel_scale:.3g}, "
            f"{(~self.mask).mean():.0%} measured, {samples}{fit}>"
        )

    __str__ = __repr__

    # ---- a map as data

    def reconstruct(
        self,
        method: str | Method | None = None,
        *,
        progress: bool = True,
        executor: Executor | None = None,
        **options: Any,
    ) -> Self:
        """
        Take the map for data, as noisy maps are published, and infer the convergence behind it.

        The uncertainty is taken for noise that is independent from pixel to pixel: the map must not have
        been smoothed. Pixels of the mask hold no data. The mean of the map is data too: a constant that was
        added to it, which shear does not measure, comes out again.

        Parameters
        ----------
        method, progress, executor, **options
            As for `ShearMap.reconstruct`.

        Returns
        -------
        ConvergenceMap

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            As `ShearMap.reconstruct` does; if the uncertainty is missing or not positive, or the map is in units.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import datasets
        >>> truth = datasets.demo_truth()[32:96, 32:96]
        >>> noisy = type(truth)(truth.data + np.random.default_rng(1).normal(scale=0.05, size=truth.shape),
        ...                     wcs=truth.wcs, uncertainty=np.full(truth.shape, 0.05))
        >>> kappa = noisy.reconstruct("wiener", n_samples=0, progress=False)
        >>> print(f"{np.std(noisy.data - truth.data):.3f}, {np.std(kappa.data - truth.data):.3f}")
        0.050, 0.010
        """
        from . import methods
        from .inference import ConvergenceObservation

        method = methods.resolve(method, options)
        self._need_convergence()
        if self.uncertainty is None:
            raise ValueError("uncertainty: the map has none; without its noise it cannot be used as data")
        noise_std = np.where(self.mask, np.inf, self.uncertainty.array)
        bad = ~self.mask & ~((noise_std > 0) & np.isfinite(noise_std))
        if bad.any():
            raise ValueError(f"uncertainty, mask: {int(bad.sum())} pixels with data have no positive uncertainty")
        if self.mask.all():
            raise ValueError("mask: no pixel holds data")
        warn_of_meta(self.meta)
        observation = ConvergenceObservation.from_arrays(self.data, noise_std, self.pixel_scale.to_value(u.rad))
        cards = wcs_cards(self.wcs)
        estimate = methods.run(method, observation, progress=progress, executor=executor, cards=cards)
        return type(self)._from_estimate(estimate, wcs=self.wcs, mask=self.mask, meta=self.meta)

    # ---- parts and other grids


register_fits(ConvergenceMap)
