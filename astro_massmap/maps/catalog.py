"""Galaxies on the sky and their shapes."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from astropy.coordinates import Angle, SkyCoord

from .._io.quantities import bools, column, credible, pair
from .._io.selection import as_index
from .._sky.binning import bin_galaxies
from .._sky.geometry import (
    DEFAULT_PIXEL_SCALE,
    celestial_wcs,
    check_shape,
    fitting_wcs,
    pixel_scale as measure_pixel_scale,
    shear_in_pixels,
    to_angle,
)
from .axes import AxesReport, check_axes_name, report_of
from .calibration import Calibration, check_response
from .catalog_tables import CatalogTables
from .shear_map import ShearMap

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    import astropy.units as u
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Axes, Mask, Pair, RegionsLike, Shape
    from ..methods import Method
    from .convergence_map import ConvergenceMap
    from .shear_map import ShearMap

_GALAXIES_PER_PIXEL = 40  # of the coarse grid on which axes are checked


class ShearCatalog(CatalogTables, Calibration):
    """
    Positions and ellipticities of background galaxies.

    Galaxies are dropped, with a warning that counts them, if their shear, position, bias or response is not finite, the
    shear is larger than ``max_shear``, the weight is not positive, or the multiplicative bias is not larger than -1.
    Positions in tables are missing also if they are out of range, such as -999.

    Parameters
    ----------
    coords : `~astropy.coordinates.SkyCoord`
        Positions, ``(n,)``.
    g1, g2 : array-like
        Components of the ellipticity of each galaxy, dimensionless.
    axes : {'west-north', 'east-north', 'north-east', 'south-east'}
        Directions of the x and y axes along which the components are measured: those of an image with
        North up and East left; x along increasing right ascension; position angles from North through
        East (IAU); or HEALPix. Other pairs, such as ``'north-west'``, are the same rotated by 180 degrees.
        North is that of the frame of ``coords``. `check_axes` tests the axes with the data.
    weight : array-like, optional
        Weights; equal by default.
    redshift : array-like, optional
        Redshifts of the galaxies.
    m_bias : float or array-like, optional
        Multiplicative bias m of the shear.
    c_bias : tuple of two floats or array-likes
        Additive bias c of both components of the shear, along the same axes.
    shape_noise : float, optional
        Standard deviation of a component of the estimated shear ``e / <R>`` of single galaxies; by default
        it is measured, ``sigma^2 = sum(w^2 |e / <R> - c|^2) / (2 sum(w^2))``.
    responsivity : float or array-like, optional
        Responsivity of distortions, ``|e| = (1 - q^2) / (1 + q^2)`` with the axis ratio q, for instance
        ``1 - e_rms^2``. The response R is twice as large.
    response : float or array-like, optional
        Response R of the ellipticities to shear, by default 1: one number, ``(n,)``, or matrices ``(2, 2)`` or
        ``(n, 2, 2)``, ``R_ij = d e_i / d g_j``. The response to the selection of the galaxies, if any, is added.
    meta : dict, optional
        Anything worth keeping; it goes on to the maps.
    max_shear : float
        Largest credible ``|g|``. Corrected ellipticities exceed 1 at times, and belong to the sample.

    Attributes
    ----------
    columns : dict
        Names of the columns of the table that was read, by what they contain (``ra``, ``g1``, ...); otherwise empty.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        For arguments that are not as described; the message names the argument.

    Notes
    -----
    A pixel holds ``sum(w (<R>^-1 e - c)) / sum(w (1 + m))``, and its noise is the shape noise times
    ``sqrt(sum(w^2)) / sum(w (1 + m))``. ``<R>`` is the mean of the response over the catalogue, weighted by w,
    since that of single galaxies is too noisy (Sheldon & Huff 2017, ApJ 841, 24; Gatti et al. 2021, MNRAS 504,
    4312); a selection such as ``catalog[mask]`` has its own. For distortions this is ``(sum(w e) / (2 R) -
    sum(w c)) / sum(w (1 + m))`` (Bernstein & Jarvis 2002, AJ 123, 583; Mandelbaum et al. 2018, PASJ 70, S25).

    Examples
    --------
    >>> import numpy as np
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap import ShearCatalog
    >>> rng = np.random.default_rng(1)
    >>> coords = SkyCoord(rng.uniform(10, 10.2, 500) * u.deg, rng.uniform(-5, -4.8, 500) * u.deg)
    >>> g1, g2 = rng.normal(scale=0.25, size=(2, 500))
    >>> catalog = ShearCatalog(coords, g1, g2, axes="west-north")
    >>> catalog
    <ShearCatalog: 500 galaxies, axes 'west-north', shape noise 0.257>
    >>> catalog.to_map(pixel_scale=2 * u.arcmin).data.shape
    (2, 6, 6)
    """

    def __init__(
        self,
        coords: SkyCoord,
        g1: ArrayLike,
        g2: ArrayLike,
        *,
        axes: Axes,
        weight: ArrayLike | None = None,
        redshift: ArrayLike | None = None,
        m_bias: ArrayLike | None = None,
        c_bias: Pair = (0, 0),
        shape_noise: float | None = None,
        responsivity: ArrayLike | None = None,
        response: ArrayLike | None = None,
        meta: Mapping[str, Any] | None = None,
        max_shear: float = 2.0,
    ) -> None:
        self.axes = check_axes_name(axes)
        if not isinstance(coords, SkyCoord) or coords.ndim != 1:
            raise TypeError(
                "coords: needs a SkyCoord of one dimension, such as SkyCoord(ra, dec, unit='deg'); got "
                + (f"shape {coords.shape}" if isinstance(coords, SkyCoord) else type(coords).__name__)
            )
        if not len(coords):
            raise ValueError("coords: the catalogue is empty")
        if coords.data.__class__.__name__ != "UnitSphericalRepresentation":
            coords = SkyCoord(coords.spherical.lon, coords.spherical.lat, frame=coords.frame.replicate_without_data())
        n = len(coords)
        g1, g2 = column(g1, "g1", n), column(g2, "g2", n)
        weight = np.ones(n) if weight is None else column(weight, "weight", n)
        redshift = None if redshift is None else column(redshift, "redshift", n)
        m_bias = None if m_bias is None else column(m_bias, "m_bias", n, scalar=True)
        c_bias = pair(c_bias, "c_bias", n)
        if isinstance(m_bias, float) and not -1 < m_bias < np.inf:
            raise ValueError("m_bias: needs to be finite and larger than -1, where galaxies still respond to shear")
        if shape_noise is not None and not (isinstance(shape_noise, Real) and 0 < shape_noise < np.inf):
            raise ValueError(f"shape_noise: needs to be positive, got {shape_noise!r}")
        if not max_shear > 0:
            raise ValueError(f"max_shear: needs to be positive, got {max_shear!r}")
        self.response = check_response(response, responsivity, n)
        keep = credible(coords, g1, g2, weight, max_shear, m_bias, c_bias, self.response)
        self._assign(coords, g1, g2, weight, redshift, m_bias, c_bias, shape_noise, meta)
        if not keep.all():
            self.__dict__.update(self[keep].__dict__)
        _ = self._mean_response  # an error here, not where it is used

    def _assign(
        self,
        coords: SkyCoord,
        g1: NDArray[np.float64],
        g2: NDArray[np.float64],
        weight: NDArray[np.float64],
        redshift: NDArray[np.float64] | None,
        m_bias: float | NDArray[np.float64] | None,
        c_bias: tuple[float | NDArray[np.float64], ...],
        shape_noise: float | None,
        meta: Mapping[str, Any] | None,
    ) -> None:
        self.coords, self.g1, self.g2, self.weight = coords, g1, g2, weight
        self.redshift, self.m_bias, self.c_bias = redshift, m_bias, c_bias
        self._given_shape_noise = None if shape_noise is None else float(shape_noise)
        self.meta = dict(meta or {})
        self.columns: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.g1)

    def __getitem__(self, item: slice | ArrayLike) -> Self:
        """The galaxies picked by a slice, a bool mask, a column of flags or an array of indices."""
        item = item if isinstance(item, slice) else as_index(item, self)
        if getattr(item, "size", 1) == 0:
            raise ValueError("the selection holds no galaxy")
        if getattr(item, "ndim", 1) != 1:
            raise TypeError("a catalogue is indexed by a slice, a bool mask or an array of indices")
        if len(self.g1[item]) == 0:
            raise ValueError("the selection holds no galaxy")
        new = object.__new__(type(self))
        new.axes = self.axes

        def part(x: Any) -> Any:
            return x if x is None or np.shape(x) in ((), (2, 2)) else x[item]

        new.response = part(self.response)
        new._assign(
            self.coords[item],
            self.g1[item],
            self.g2[item],
            self.weight[item],
            part(self.redshift),
            part(self.m_bias),
            tuple(part(c) for c in self.c_bias),
            self._given_shape_noise,
            self.meta,
        )
        new.columns = self.columns.copy()
        return new

    def __repr__(self) -> str:
        try:
            noise = f"{self.shape_noise:.3f}"
        except ValueError:  # a selection without a positive mean response
            noise = "unknown"
        return f"<ShearCatalog: {len(self)} galaxies, axes {self.axes!r}, shape noise {noise}>"

    def check_axes(self) -> AxesReport:
        """
        Test with the data whether the axes are right, and suggest the right ones of the four conventions.

        Gravity makes E modes, not B modes: if West and East are swapped the difference vanishes.
        Clusters stand out more than voids do: if the axes are rotated by 90 degrees, clusters turn into voids.

        Returns
        -------
        `~astro_massmap.AxesReport`
            ``report.ok``, ``report.suggested`` and the figures behind them; ``print(report)`` reads well.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            When other axes fit clearly better (by 4 standard deviations).

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> report = datasets.demo().check_axes()
        >>> report.ok, report.e_minus_b > report.e_minus_b_mirrored
        (True, True)
        """
        return report_of(self.axes, *(self._coarse_shear(mirror) for mirror in (False, True)))

    def _coarse_shear(self, mirror: bool) -> NDArray[np.complex128]:
        """Weighted shear (complex, pixel axes) on a grid with some tens of galaxies a pixel."""
        diameter = max(2 * self.coords.separation(self.coords[0]).max(), Angle("1 arcsec"))
        spread = self.to_map(pixel_scale=diameter / 64)
        n_pixels = np.clip(len(self) / _GALAXIES_PER_PIXEL, 16**2, 512**2)
        scale = spread.pixel_scale * np.sqrt((~spread.mask).sum() / n_pixels)
        galaxies = self.with_shear(np.conj(self.west_north)) if mirror else self
        shear = galaxies.to_map(pixel_scale=scale)
        weight = shear.noise_std**-2.0  # zero without data
        return (shear.data[0] + 1j * shear.data[1]) * weight / weight.max()

    # ---- maps

    def to_map(
        self,
        *,
        wcs: WCS | None = None,
        shape: Shape | None = None,
        pixel_scale: u.Quantity | None = None,
        mask: Mask | None = None,
    ) -> ShearMap:
        """
        Bin the galaxies on a grid.

        Parameters
        ----------
        wcs : `~astropy.wcs.WCS`, optional
            The grid, in any celestial projection; by default a tangential one, North up and East left,
            that holds all galaxies. Galaxies off the grid are left out.
        shape : tuple of int, optional
            Rows and columns of the grid; by default ``wcs.array_shape``, or what holds the galaxies.
        pixel_scale : `~astropy.units.Quantity`, optional
            Side of a pixel where no ``wcs`` is given; 0.4 arcmin by default.
        mask : ndarray of bool, or regions, optional
            What to leave out: pixels of the grid ``(ny, nx)`` where it is True, or the galaxies inside `regions` (a
            region, a list of them, or a file) and outside of those that a file excludes, such as ``-circle(...)`` of
            DS9. Text labels, points and lines are left out with a warning.

        Returns
        -------
        ShearMap

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If the grid is not celestial, its pixels are oblong, it is too large for the memory, or it
            holds no galaxy; if ``mask`` is no mask, or excludes every galaxy.
        OSError
            If ``mask`` is a file that cannot be read.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
        <ShearMap: 32 x 32 pixels of 1.6 arcmin, 87% with data>

        Without the galaxies in the clusters:

        >>> datasets.demo().to_map(mask=datasets.demo_clusters()).meta["n_galaxies"]
        64825
        """
        if len(self) < 2:
            raise ValueError("coords: a map needs at least two galaxies")
        if wcs is not None and pixel_scale is not None:
            raise ValueError("pixel_scale: only where no wcs is given, which has a scale of its own")
        if wcs is None:
            scale = DEFAULT_PIXEL_SCALE if pixel_scale is None else to_angle(pixel_scale, "pixel_scale")
            wcs = fitting_wcs(self.coords, scale, None if shape is None else check_shape(shape))
        wcs, shape = celestial_wcs(wcs, shape)
        kept, blank = self, None
        if isinstance(mask, list) and np.ndim(mask) == 2:  # rows of pixels; regions have no length
            mask = np.array(mask)
        if isinstance(mask, np.ndarray) and mask.dtype != object:
            blank = bools(mask, shape)
        elif mask is not None:
            kept = self.outside(mask, wcs)
        shape_noise = self.shape_noise
        if shape_noise == 0:
            raise ValueError("shape_noise: all ellipticities are zero, so that it cannot be measured; give it")
        _, mirrored = measure_pixel_scale(wcs, shape)
        x, y, shear = shear_in_pixels(kept.coords, kept.west_north, wcs, mirrored)
        to_shear = 1.0 if kept.m_bias is None else 1 + kept.m_bias
        data, noise_std, counts = bin_galaxies(
            x, y, shear, weight=kept.weight, response=to_shear, shape_noise=shape_noise, shape=shape
        )
        n_galaxies = int(counts.sum())
        if blank is not None:
            noise_std[blank] = np.inf
            n_galaxies = int(counts[~blank].sum())
        if not np.isfinite(noise_std).any():
            raise ValueError("wcs, mask: the grid holds no galaxy; do wcs and shape cover the catalogue?")
        meta = {**self.meta, "axes": self.axes, "n_galaxies": n_galaxies, "shape_noise": shape_noise}
        if self.response is not None:
            meta["response"] = np.array(kept._mean_response).tolist()
        return ShearMap(data, wcs=wcs, noise_std=noise_std, meta=meta)

    def reconstruct(
        self,
        method: str | Method | None = None,
        *,
        wcs: WCS | None = None,
        shape: Shape | None = None,
        pixel_scale: u.Quantity | None = None,
        mask: Mask | None = None,
        progress: bool = True,
        executor: Executor | None = None,
        **options: Any,
    ) -> ConvergenceMap:
        """
        Map the matter: bin the galaxies with `to_map`, then `ShearMap.reconstruct`.

        Parameters
        ----------
        method : str or method object, optional
            How; see `ShearMap.reconstruct`.
        wcs, shape, pixel_scale, mask
            The grid, and what to leave out; see `to_map`.
        progress : bool
            Show a progress bar.
        executor : `concurrent.futures.Executor`, optional
            Whose workers draw the chains; see `ShearMap.reconstruct`.
        **options
            Options of a method that is given by name.

        Returns
        -------
        ConvergenceMap

        Raises
        ------
        TypeError, ValueError, OSError, `~astropy.units.UnitsError`
            As `to_map` and `ShearMap.reconstruct` do; a wrong option is told before the work begins.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> datasets.demo().reconstruct("kaiser_squires", pixel_scale=1.6 * u.arcmin, progress=False)
        <ConvergenceMap: 32 x 32 pixels of 1.6 arcmin, 87% measured, no samples>
        """
        from ..methods import resolve  # loads torch

        method = resolve(method, options)  # a mistake here is told before the work begins
        shear = self.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale, mask=mask)
        return shear.reconstruct(method, progress=progress, executor=executor)

    def outside(self, regions: RegionsLike, wcs: WCS) -> Self:
        """Select the galaxies outside of all regions, except in regions that a file excludes."""
        from .._sky.regions import all_to_pixel, inside_any  # loads regions
        from ..analysis.region_means import listed  # loads regions

        found = listed(regions, "mask", areas=True)
        x, y = wcs.world_to_pixel(self.coords)
        inside, excluded = (
            inside_any([region for region in all_to_pixel(part, wcs) if region is not None], x, y)
            for part in (found, found.excluded)
        )
        inside &= ~excluded
        if inside.all():
            raise ValueError("mask: the regions exclude every galaxy")
        return self[~inside]
