"""Maps of the convergence kappa, the projected matter, with uncertainty and samples."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, Self

import astropy.units as u
import numpy as np
from astropy.nddata import NDData, NDIOMixin

from .._io.fits import wcs_cards
from .._io.quantities import bools, floats
from .._sky.geometry import celestial_wcs, pixel_scale
from .._sky.healpix import from_healpix, opened
from ..analysis.statements import fit_statements
from .arguments import map_samples, map_std, map_unit, need_convergence
from .arithmetic import Arithmetic
from .bridges import MapBridges, SphereBridges
from .cards import map_card
from .credible import Credible
from .files import register_fits, warn_of_meta
from .grids import OtherGrids
from .masses import Masses
from .measurements import Questions
from .n_z import as_n_z
from .pictures import Pictures
from .provenance import into_meta
from .sphere import OnSphere

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from astropy.coordinates import BaseCoordinateFrame
    from astropy.nddata import StdDevUncertainty
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import Bools, File, Floats, RedshiftsLike, Shape
    from ..methods import Estimate, MethodLike
    from .n_z import NZ


class ConvergenceMap(
    Arithmetic,
    Questions,
    Credible,
    Masses,
    OtherGrids,
    OnSphere,
    SphereBridges,
    MapBridges,
    Pictures,
    NDIOMixin,
    NDData,
):
    """
    Map of the convergence with its WCS, uncertainty, mask and posterior samples.

    Parameters
    ----------
    data : array-like
        Convergence ``(ny, nx)``, dimensionless and finite outside of ``mask``: the posterior mean, or another estimate.
        With a unit of mass per area, a surface density (see `surface_density`).
    wcs : `~astropy.wcs.WCS`
        Celestial WCS of the pixels.
    uncertainty : `~astropy.nddata.StdDevUncertainty` or array-like, optional
        Standard deviation ``(ny, nx)``.
    mask : array-like of bool, optional
        Pixels without data ``(ny, nx)``, where the values are inferred.
    samples : array-like, optional
        Equally likely maps ``(n_samples, ny, nx)``, finite outside of ``mask``. A `numpy.memmap` in single precision
        stays in its file, without this check.
    meta, diagnostics : dict, optional
        Metadata, which files keep, and settings and quality of the reconstruction.
    b_mode : ConvergenceMap, optional
        B mode on the same grid, which lensing does not produce.
    n_z : pair of array-like, table, file, SACC object, optional
        Redshift distribution (z, n) of the sources, from which `reconstruct` takes the prior spectrum if the method has
        none. Maps made from galaxies with redshifts have it.
    unit : `~astropy.units.Unit`, optional
        Unit of ``data``, ``uncertainty`` and ``samples`` if these have none.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described; the message names the argument.

    Examples
    --------
    >>> from astro_massmap import datasets
    >>> datasets.demo().reconstruct("wiener", n_samples=4, progress=False)[40:60, 30:90].samples.shape
    (4, 20, 60)
    """

    if TYPE_CHECKING:  # methods of astropy's unified I/O, with the options of `astro_massmap.maps.files`

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
        n_z: RedshiftsLike | None = None,
        unit: u.UnitBase | str | None = None,
    ) -> None:
        unit = map_unit(unit, data)
        data = floats(data, "data", dtype=None, unit=unit)
        if data.ndim != 2 or data.size == 0:
            raise ValueError(f"data: needs the shape (ny, nx), got {data.shape}")
        mask = bools(mask, data.shape)
        bad = ~np.isfinite(data)
        if (bad & ~mask).any():
            raise ValueError(f"data: {int((bad & ~mask).sum())} pixels are not finite; mask them")
        data[bad] = 0  # the mean of every prior
        if uncertainty is not None:
            uncertainty = map_std(uncertainty, data.shape, unit)
        if samples is not None:
            samples = map_samples(samples, mask, unit)
        wcs, _ = celestial_wcs(wcs, data.shape)
        self._pixel_scale, _ = pixel_scale(wcs, data.shape)
        meta = copy.deepcopy(dict(meta or {}))
        super().__init__(data, uncertainty=uncertainty, mask=mask, wcs=wcs, meta=meta, unit=unit)
        self._samples = samples
        self.n_z = as_n_z(n_z)
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
        Interpolate a HEALPix map bilinearly to the grid of an image, masked where it has no value.

        Parameters
        ----------
        values : array-like, str or path-like
            Convergence ``(npix,)``, or a FITS file, also of a partial map (``INDXSCHM = EXPLICIT``), of which only the
            pixels around the grid are read. Pixels with the value ``BAD_DATA`` of its header are masked.
        wcs, shape
            WCS of the grid, and its rows and columns (by default ``wcs.array_shape``).
        nested : bool, optional
            Nested instead of ring order; by default as in the header of the file, and ring order for an array.
        frame : str or `~astropy.coordinates.BaseCoordinateFrame`, optional
            Frame of the HEALPix map: ``"icrs"``, ``"galactic"``, ``"barycentricmeanecliptic"``, any other frame of
            astropy, or a HEALPix name (``"C"``, ``"G"``, ``"E"``). By default as in the header of the file, else
            ``"icrs"``.
        field : int or str, optional
            Name or number (from 0) of a column of the file, among the columns of values.
        uncertainty, samples : array-like, optional
            Standard deviation ``(npix,)`` and samples ``(n_samples, npix)``. The interpolated standard deviation is an
            upper limit, because interpolation averages noise.

        Raises
        ------
        TypeError, ValueError, OSError
            If an argument is not as described, the map has no values on the grid, or the file is not a HEALPix map.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> ConvergenceMap.from_healpix(np.full(12 * 16**2, 0.02), wcs=datasets.demo_truth().wcs, frame="galactic")
        <ConvergenceMap: 128 x 128 pixels of 0.4 arcmin, 100% measured, no samples>
        """
        wcs, shape = celestial_wcs(wcs, shape)
        sphere = opened(values, wcs, shape, nested=nested, frame=frame, field=field)
        # uncertainty and samples have the order and frame of the values
        order = {"nested": sphere.nested, "frame": sphere.frame}
        moved: dict[str, Any] = {"data": sphere, "uncertainty": uncertainty, "samples": samples}
        moved = {k: None if v is None else from_healpix(v, wcs, shape, **order) for k, v in moved.items()}
        mask = np.logical_or.reduce([m for _, m in filter(None, moved.values())])
        if mask.all():
            raise ValueError("values: needs pixels on the grid, but the map has none there; check wcs, shape and frame")
        maps: dict[str, Any] = {k: None if v is None else v[0] for k, v in moved.items()}
        if maps["uncertainty"] is not None:
            maps["uncertainty"] = np.where(mask, np.nan, maps["uncertainty"])
        return cls(wcs=wcs, mask=mask, **maps)

    @classmethod
    def _from_estimate(
        cls, estimate: Estimate, *, wcs: WCS, mask: Bools, meta: Mapping[str, Any], n_z: NZ | None
    ) -> Self:
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
            n_z=n_z,
        )

    @property
    def shape(self) -> Shape:
        """Rows and columns of the grid."""
        return self.data.shape

    @property
    def pixel_scale(self) -> u.Quantity:
        """Side of a pixel, `~astropy.units.Quantity`."""
        return self._pixel_scale

    @property
    def samples(self) -> Floats | None:
        """Equally likely maps ``(n_samples, ny, nx)``, or None for a point estimate."""
        return self._samples

    @property
    def b_mode(self) -> ConvergenceMap | None:
        """B mode, or None if the method has none."""
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

    def _repr_html_(self) -> str:
        return map_card(self)

    def reconstruct(
        self,
        method: MethodLike = None,
        *,
        reduced_shear: bool | Literal["auto"] = "auto",
        progress: bool = True,
        executor: Executor | None = None,
        **options: Any,
    ) -> Self:
        """
        Infer the convergence from this map as noisy data, for example from a published map.

        The uncertainty must be that of noise that is independent between pixels: the map must not have been smoothed.
        Masked pixels have no data. The mean of the map counts as data: the result keeps a constant that was added to
        the map, although shear does not measure it. Parameters and errors are those of `ShearMap.reconstruct`.

        Raises
        ------
        ValueError, `~astropy.units.UnitsError`
            If the uncertainty is missing or not positive, the map is a surface density, or ``reduced_shear`` is True.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()[32:96, 32:96]
        >>> noisy = truth.data + np.random.default_rng(1).normal(scale=0.05, size=truth.shape)
        >>> kappa = ConvergenceMap(noisy, wcs=truth.wcs, uncertainty=np.full(truth.shape, 0.05))
        >>> round(float(np.std(kappa.reconstruct("wiener", n_samples=0, progress=False).data - truth.data)), 3)
        0.01
        """
        from .. import methods  # loads torch
        from ..inference import ConvergenceObservation  # loads torch

        method = methods.resolve(method, options)
        need_convergence(self)
        if self.uncertainty is None:
            raise ValueError("uncertainty: needs the standard deviation of the noise, but the map has none")
        noise_std = np.where(self.mask, np.inf, self.uncertainty.array)
        bad = ~self.mask & ~((noise_std > 0) & np.isfinite(noise_std))
        if bad.any():
            raise ValueError(
                f"uncertainty: needs to be positive and finite outside of mask, but {int(bad.sum())} are not"
            )
        if self.mask.all():
            raise ValueError("mask: needs a pixel with data, but all are masked")
        warn_of_meta(self.meta)
        observation = ConvergenceObservation.from_arrays(self.data, noise_std, self.pixel_scale.to_value(u.rad))
        estimate = methods.run(
            method,
            observation,
            progress=progress,
            executor=executor,
            cards=wcs_cards(self.wcs),
            n_z=self.n_z,
            reduced_shear=reduced_shear,
        )
        return type(self)._from_estimate(estimate, wcs=self.wcs, mask=self.mask, meta=self.meta, n_z=self.n_z)


register_fits(ConvergenceMap)
