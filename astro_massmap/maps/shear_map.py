"""Maps of the shear and its noise."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, Self

import astropy.units as u
import numpy as np

from .._io.fits import read_images, wcs_cards, write_images
from .._io.quantities import bools, floats
from .._sky.geometry import celestial_wcs, pixel_scale
from .cards import shear_card
from .convergence_map import ConvergenceMap
from .files import warn_of_meta
from .n_z import as_n_z

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from astropy.visualization.wcsaxes import WCSAxes
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Bools, File, RedshiftsLike, Shape
    from ..methods import MethodLike
    from .convergence_map import ConvergenceMap
    from .n_z import NZ


class ShearMap:
    """
    Mean shear of the galaxies in each pixel, with its noise.

    Parameters
    ----------
    data : array-like
        Shear ``(2, ny, nx)`` along the pixel axes, x to the right and y upwards.
    wcs : `~astropy.wcs.WCS`
        Celestial WCS of the pixels.
    noise_std : array-like
        Standard deviation of the noise of a component, ``(ny, nx)`` or one number; infinite in pixels without data.
    mask : array-like of bool, optional
        Pixels without data ``(ny, nx)``, where ``data`` and ``noise_std`` are ignored.
    meta : dict, optional
        Metadata, which are copied to the maps.
    n_z : pair of array-like, table, file, SACC object, optional
        Redshift distribution (z, n) of the galaxies, from which `reconstruct` takes the prior spectrum if the method
        has none.
    efficiency : array-like, optional
        Efficiency of the sources of a pixel relative to those to which the convergence refers, by default 1: one
        number, ``(ny, nx)``, or mean and variance ``(2, ny, nx)``. It enters the reduced shear, see :ref:`efficiency`.
        Maps of a catalogue of `ShearCatalog.for_lens` have it.

    Attributes
    ----------
    data, noise_std, mask, efficiency : ndarray
        As the parameters; pixels without data have zero shear and infinite noise. Efficiencies are None if not given.
    n_z : tuple of ndarray, or None
        Redshifts and densities (z, n).
    pixel_scale : `~astropy.units.Quantity`
        Side of a pixel.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described; the message names the argument.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.wcs import WCS
    >>> from astro_massmap import ShearMap
    >>> wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2,
    ...            "CRPIX1": 16.5, "CRPIX2": 16.5, "CDELT1": -0.4 / 60, "CDELT2": 0.4 / 60})
    >>> ShearMap(np.random.default_rng(1).normal(scale=0.1, size=(2, 32, 32)), wcs=wcs, noise_std=0.1)
    <ShearMap: 32 x 32 pixels of 0.4 arcmin, 100% with data>
    """

    if TYPE_CHECKING:
        data: NDArray[np.float64]
        noise_std: NDArray[np.float64]
        mask: Bools
        wcs: WCS
        pixel_scale: u.Quantity
        n_z: NZ | None
        efficiency: NDArray[np.float64] | None
        meta: dict[str, Any]

    def __init__(
        self,
        data: ArrayLike,
        *,
        wcs: WCS,
        noise_std: ArrayLike,
        mask: ArrayLike | None = None,
        meta: Mapping[str, Any] | None = None,
        n_z: RedshiftsLike | None = None,
        efficiency: ArrayLike | None = None,
    ) -> None:
        data = floats(data, "data")
        if data.ndim != 3 or len(data) != 2 or data.size == 0:
            raise ValueError(f"data: needs the shape (2, ny, nx), got {data.shape}")
        shape = data.shape[1:]
        noise_std = floats(noise_std, "noise_std")
        if noise_std.shape not in ((), shape):
            raise ValueError(f"noise_std: needs the shape {shape} of a component of data, got {noise_std.shape}")
        noise_std = np.broadcast_to(noise_std, shape).copy()
        if mask is not None:
            noise_std[bools(mask, shape)] = np.inf
        self.mask = np.isposinf(noise_std)
        if self.mask.all():
            raise ValueError("noise_std, mask: need a pixel with data, but all are masked or have infinite noise")
        bad = ~self.mask & ~(noise_std > 0)
        if bad.any():
            raise ValueError(
                f"noise_std: needs to be positive, or infinite in pixels without data; {int(bad.sum())} pixels are not"
            )
        bad = ~self.mask & ~np.isfinite(data).all(axis=0)
        if bad.any():
            raise ValueError(
                f"data: {int(bad.sum())} pixels are not finite; mask them, or set their noise_std to infinity"
            )
        self.data = np.where(self.mask, 0.0, data)
        self.noise_std = noise_std
        self.wcs, _ = celestial_wcs(wcs, shape)
        self.pixel_scale, _ = pixel_scale(self.wcs, shape)
        self.meta = copy.deepcopy(dict(meta or {}))
        self.n_z = as_n_z(n_z)
        self.efficiency = None if efficiency is None else self._checked_efficiency(efficiency)

    def _checked_efficiency(self, efficiency: ArrayLike) -> NDArray[np.float64]:
        efficiency = floats(efficiency, "efficiency")
        if efficiency.shape not in ((), self.shape, (2, *self.shape)):
            raise ValueError(
                f"efficiency: needs one number, the shape {self.shape}, or that of mean and variance, "
                f"{(2, *self.shape)}; got {efficiency.shape}"
            )
        efficiency = np.where(self.mask, 0.0, efficiency)
        mean, variance = efficiency if efficiency.ndim == 3 else (efficiency, efficiency)
        bad = int((~((mean > 0) & (variance >= 0) & np.isfinite(mean + variance)) & ~self.mask).sum())
        if bad:
            raise ValueError(f"efficiency: needs finite, positive numbers in pixels with data; {bad} are not")
        return efficiency

    @property
    def shape(self) -> Shape:
        """Rows and columns of the grid."""
        return self.mask.shape

    @property
    def n_eff(self) -> NDArray[np.float64] | None:
        """
        Effective number of galaxies in each pixel, ``(sum w)^2 / sum(w^2)``, times the square of the mean response;
        None without ``meta["shape_noise"]``, which maps of catalogues have.
        """
        shape_noise = self.meta.get("shape_noise")
        return None if shape_noise is None else (shape_noise / self.noise_std) ** 2

    def __repr__(self) -> str:
        ny, nx = self.shape
        return f"<ShearMap: {ny} x {nx} pixels of {self.pixel_scale:.3g}, {(~self.mask).mean():.0%} with data>"

    def _repr_html_(self) -> str:
        return shear_card(self)

    def reconstruct(
        self,
        method: MethodLike = None,
        *,
        reduced_shear: bool | Literal["auto"] = "auto",
        progress: bool = True,
        executor: Executor | None = None,
        **options: Any,
    ) -> ConvergenceMap:
        """
        Infer the convergence from the shear.

        A method without a prior or spectrum of its own uses the power spectrum of ``n_z`` in the default cosmology, see
        `PowerSpectrum.from_n_z`; without n(z) the default spectrum, of sources at redshift 1. A line of the progress
        output and ``diagnostics["sources"]`` name the spectrum.

        Parameters
        ----------
        method : str, method object or callable, optional
            ``"annealed_hmc"`` (the default), ``"posterior_diffusion"``, ``"posterior_mean"``, ``"wiener"``,
            ``"sparse"`` or ``"kaiser_squires"``; an object: `~astro_massmap.AnnealedHMC`,
            `~astro_massmap.PosteriorDiffusion`, `~astro_massmap.PosteriorMean`, `~astro_massmap.Wiener`,
            `~astro_massmap.Sparse`, `~astro_massmap.KaiserSquires`; or a function of an
            `~astro_massmap.inference.Observation` that returns the convergence ``(ny, nx)``, see :doc:`/your_own`.
        reduced_shear : {'auto', True, False}
            Treat the data as reduced shear ``gamma / (1 - kappa)``, see :ref:`reduced-shear`. ``"auto"`` does so if a
            Kaiser-Squires map with a smoothing of 0.5 arcmin exceeds 0.05 by five standard deviations of its noise,
            except for mocks of `~astro_massmap.simulation.observe` without reduced shear.
        progress : bool
            Show progress bars, and lines about memory, pixel scale and spectrum, on the standard error.
        executor : `concurrent.futures.Executor`, optional
            Executor that runs the chains of `~astro_massmap.AnnealedHMC`, for example a
            `concurrent.futures.ProcessPoolExecutor` or ``client.get_executor()`` of dask. The samples do not depend on
            it.
        **options
            Options of a method that is given by name.

        Raises
        ------
        TypeError, ValueError
            If there is no such method or option, or an executor is given to a method without chains; errors of the
            ``solve`` of the method, such as `~astro_massmap.inference.SolverError`, a ValueError.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo().to_map().reconstruct("wiener", n_samples=2, progress=False)
        <ConvergenceMap: 128 x 128 pixels of 0.4 arcmin, 83% measured, 2 samples>
        """
        from .. import methods  # loads torch
        from ..inference import Observation  # loads torch

        method = methods.resolve(method, options)
        warn_of_meta(self.meta)
        pixel_size = self.pixel_scale.to_value(u.rad)
        observation = Observation.from_arrays(self.data, self.noise_std, pixel_size, self.efficiency)
        if isinstance(reduced_shear, str) and reduced_shear == "auto" and self.meta.get("reduced") is False:
            reduced_shear = False
        estimate = methods.run(
            method,
            observation,
            progress=progress,
            executor=executor,
            cards=wcs_cards(self.wcs),
            n_z=self.n_z,
            reduced_shear=reduced_shear,
        )
        return ConvergenceMap._from_estimate(estimate, wcs=self.wcs, mask=self.mask, meta=self.meta, n_z=self.n_z)

    def write(self, file: File, *, overwrite: bool = False) -> None:
        """
        Write a FITS file with the images G1, G2, NOISE_STD and MASK, and EFFICIENCY if given, each with the WCS, and
        n(z) as a table N_Z.

        Parameters
        ----------
        file : str or path-like
            File, written atomically.
        overwrite : bool
            Replace an existing file, which is an OSError otherwise.

        Raises
        ------
        ValueError
            If a value in ``meta`` cannot be written as text.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo()[::8].to_map().write("shear.fits")
        """
        images = {
            "G1": np.where(self.mask, np.nan, self.data[0]),
            "G2": np.where(self.mask, np.nan, self.data[1]),
            "NOISE_STD": np.where(self.mask, np.nan, self.noise_std),
            "MASK": self.mask,
        }
        if self.efficiency is not None:
            images["EFFICIENCY"] = self.efficiency
        write_images(file, images, self.wcs, {"meta": self.meta}, n_z=self.n_z, overwrite=overwrite)

    @classmethod
    def read(cls, file: File) -> Self:
        """
        Read a file of `write`; OSError if it does not exist or is incomplete.

        Parameters
        ----------
        file : str or path-like
            FITS file.

        Examples
        --------
        >>> from astro_massmap import ShearMap, datasets
        >>> datasets.demo().to_map().write("shear.fits")
        >>> ShearMap.read("shear.fits")
        <ShearMap: 128 x 128 pixels of 0.4 arcmin, 83% with data>
        """
        images, wcs, notes, _ = read_images(file, required=("G1", "G2", "NOISE_STD", "MASK"))
        return cls(
            np.stack([images["G1"], images["G2"]]),
            wcs=wcs,
            noise_std=images["NOISE_STD"],
            mask=images["MASK"].astype(bool),
            meta=notes.get("meta"),
            n_z=notes.get("n_z"),
            efficiency=images.get("EFFICIENCY"),
        )

    def plot(self, ax: WCSAxes | None = None, **kwargs: Any) -> WCSAxes:
        """
        Draw the shear as line segments on sky coordinates.

        Parameters and errors are those of `astro_massmap.plotting.plot_shear`, without the shear, its noise and WCS.

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> from astro_massmap import datasets
        >>> shear = datasets.demo().to_map()
        >>> ax = shear.plot(Figure().add_subplot(projection=shear.wcs), title="The shear of the demonstration")
        >>> ax.get_title()
        'The shear of the demonstration'
        """
        from ..plotting.sky import plot_shear  # loads regions

        return plot_shear(self.data, self.noise_std, self.wcs, ax=ax, **kwargs)
