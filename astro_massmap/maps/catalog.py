"""Catalogue of galaxies with positions and ellipticities."""

from __future__ import annotations

import copy
import sys
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from astropy.coordinates import SkyCoord

from .._io.positions import directions
from .._io.quantities import bools, column, credible, pair
from .._io.selection import as_index
from .._sky.binning import bin_galaxies, in_pixels_with_data
from .._sky.geometry import celestial_wcs, check_shape, fitting_wcs, pixel_scale as scale_of, shear_in_pixels
from .axes import AxesReport, check_axes_name, report_of
from .bridges import CatalogBridges
from .calibration import Calibration, check_response
from .cards import catalog_card
from .catalog_bins import CatalogBins, bin_numbers
from .catalog_tables import CatalogTables
from .lens import BehindLens
from .n_z import histogram, warn_of_selection
from .shear_map import ShearMap

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    import astropy.units as u
    from astropy.wcs import WCS
    from numpy.typing import ArrayLike

    from .._utils.typing import Axes, Mask, Pair, RedshiftsLike, RegionsLike, Shape
    from ..methods import MethodLike
    from .convergence_map import ConvergenceMap

_BY_GALAXY = ("coords", "g1", "g2", "weight", "redshift", "tomo", "m_bias", "response")


class ShearCatalog(CatalogTables, CatalogBins, Calibration, BehindLens, CatalogBridges):
    """
    Positions and ellipticities of background galaxies.

    Galaxies are dropped, with a warning that counts them, if their shear, position, bias or response is not finite, the
    shear is larger than ``max_shear``, the weight is not positive, or the multiplicative bias is not larger than -1.
    Positions out of range in tables, such as -999, are missing.

    Parameters
    ----------
    coords : `~astropy.coordinates.SkyCoord`
        Positions, ``(n,)``.
    g1, g2 : array-like
        Components of the ellipticity of each galaxy, dimensionless.
    axes : {'west-north', 'east-north', 'north-east', 'south-east'}
        Directions of the x and y axes of the components: as on an image with North up and East left; x along
        increasing right ascension; position angles from North through East (IAU); or HEALPix. Other pairs, such as
        ``'north-west'``, are the same rotated by 180 degrees. North is that of the frame of ``coords``. `check_axes`
        tests the axes with the data.
    weight, redshift : array-like, optional
        Weights, equal by default, and redshifts of the galaxies, ``(n,)``.
    n_z : pair of array-like, table, file, SACC object, optional
        Redshift distribution (z, n) of the galaxies, from which `reconstruct` takes the prior spectrum if the method
        has none; by default the histogram of the redshifts, see ``n_z``.
    tomo : array-like of int, optional
        Numbers of the tomographic bins of the galaxies, ``(n,)``; negative or missing for galaxies in no bin.
    m_bias : float or array-like, optional
        Multiplicative bias m of the shear.
    c_bias : tuple of two floats or array-likes
        Additive bias c of both components of the shear, along the same axes.
    shape_noise : float, optional
        Standard deviation of a component of the estimated shear of single galaxies; by default it is measured,
        ``sigma^2 = sum(w^2 |e / <R> - c|^2) / (2 sum(w^2))``.
    responsivity : float or array-like, optional
        Responsivity of distortions, ``|e| = (1 - q^2) / (1 + q^2)`` with the axis ratio q, for instance
        ``1 - e_rms^2``. The response R is twice as large.
    response : float or array-like, optional
        Response R of the ellipticities to shear, by default 1: one number, ``(n,)``, or matrices ``(2, 2)`` or
        ``(n, 2, 2)``, ``R_ij = d e_i / d g_j``, including the response to the selection of the galaxies, if any.
    meta : dict, optional
        Metadata, copied to the maps.
    max_shear : float
        Upper limit of valid ``|g|``. Corrected ellipticities may exceed 1 and belong to the sample.

    Attributes
    ----------
    columns : dict
        Names of the columns of the table that was read, by content (``ra``, ``g1``, ...); otherwise empty.
    rows : ndarray of int
        Numbers of the galaxies in the arrays or the table of which the catalogue was made, ``(n,)``.
    efficiency : ndarray or None
        Efficiencies of the galaxies relative to the reference source of `for_lens`, ``(n,)``.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described; the message names the argument.

    Notes
    -----
    A pixel contains ``sum(w (<R>^-1 e - c)) / sum(w (1 + m))``, and its noise is the shape noise times
    ``sqrt(sum(w^2)) / sum(w (1 + m))``. ``<R>`` is the weighted mean of the response over the catalogue, because the
    response of single galaxies is too noisy (Sheldon & Huff 2017, ApJ 841, 24; Gatti et al. 2021, MNRAS 504, 4312); a
    selection such as ``catalog[mask]`` has its own mean. For distortions this is ``(sum(w e) / (2 R) - sum(w c)) /
    sum(w (1 + m))`` (Bernstein & Jarvis 2002, AJ 123, 583; Mandelbaum et al. 2018, PASJ 70, S25).

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap import ShearCatalog
    >>> ra, dec, g1, g2 = np.random.default_rng(1).normal(scale=0.25, size=(4, 500))
    >>> ShearCatalog(SkyCoord(10 + ra, dec, unit="deg"), g1, g2, axes="west-north")
    <ShearCatalog: 500 galaxies, axes 'west-north', shape noise 0.256>
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
        n_z: RedshiftsLike | None = None,
        tomo: ArrayLike | None = None,
        m_bias: ArrayLike | None = None,
        c_bias: Pair = (0, 0),
        shape_noise: float | None = None,
        responsivity: ArrayLike | None = None,
        response: ArrayLike | None = None,
        meta: Mapping[str, Any] | None = None,
        max_shear: float = 2.0,
    ) -> None:
        self.axes = axes
        if not isinstance(coords, SkyCoord) or coords.ndim != 1:
            raise TypeError(
                "coords: needs a one-dimensional SkyCoord, such as SkyCoord(ra, dec, unit='deg'), got "
                + (f"shape {coords.shape}" if isinstance(coords, SkyCoord) else type(coords).__name__)
            )
        if not len(coords):
            raise ValueError("coords: needs at least one galaxy, got none")
        coords = directions(coords)
        n = self._n_rows = len(coords)
        self.rows = np.arange(n)
        g1, g2 = column(g1, "g1", n), column(g2, "g2", n)
        weight = np.ones(n) if weight is None else column(weight, "weight", n)
        redshift = None if redshift is None else column(redshift, "redshift", n)
        tomo = None if tomo is None else bin_numbers(tomo, n)
        m_bias = None if m_bias is None else column(m_bias, "m_bias", n, scalar=True)
        c_bias = pair(c_bias, "c_bias", n)
        if isinstance(m_bias, float) and not -1 < m_bias < np.inf:
            raise ValueError(f"m_bias: needs to be finite and larger than -1, got {m_bias:g}")
        if shape_noise is not None and not (isinstance(shape_noise, Real) and 0 < shape_noise < np.inf):
            raise ValueError(f"shape_noise: needs to be positive, got {shape_noise!r}")
        if not max_shear > 0:
            raise ValueError(f"max_shear: needs to be positive, got {max_shear!r}")
        self.response = check_response(response, responsivity, n)
        keep = credible(coords, g1, g2, weight, max_shear, m_bias, c_bias, self.response)
        self.__dict__.update(coords=coords, g1=g1, g2=g2, weight=weight, redshift=redshift, tomo=tomo, m_bias=m_bias)
        self.c_bias = c_bias
        self._given_shape_noise = None if shape_noise is None else float(shape_noise)
        self.meta = dict(meta or {})
        self.columns: dict[str, str] = {}
        if not keep.all():
            self.__dict__.update(self[keep].__dict__)
        self.n_z = n_z
        _ = self._mean_response  # raises an error if it is invalid

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "axes":
            check_axes_name(value)
        if name in ("g1", "g2", "weight", "redshift", "tomo") and value is not None:
            n = len(self.coords)
            value = bin_numbers(value, n) if name == "tomo" else column(value, name, n)
            lowest = {"weight": 0.0, "g1": -np.inf, "g2": -np.inf}.get(name)
            if lowest is not None and not ((value > lowest) & (value < np.inf)).all():
                raise ValueError(f"{name}: needs finite numbers, weights positive ones; select these galaxies first")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        return len(self.g1)

    def __getitem__(self, item: slice | ArrayLike) -> Self:
        """Select galaxies by a slice, a bool mask, a column of flags or an array of indices."""
        item = item if isinstance(item, slice) else as_index(item, self)
        if getattr(item, "ndim", 1) != 1:
            raise TypeError("a catalogue needs a slice, a bool mask or an array of indices as index")
        if getattr(item, "size", 1) == 0 or len(self.g1[item]) == 0:
            raise ValueError("the selection contains no galaxy")
        new = copy.copy(self)
        new.rows = self.rows[item]

        def part(x: Any) -> Any:
            return x if x is None or np.shape(x) in ((), (2, 2)) else x[item]

        for name in (*_BY_GALAXY, "efficiency", "_efficiency_square"):
            new.__dict__[name] = part(getattr(self, name))
        new.c_bias = tuple(part(c) for c in self.c_bias)
        new.meta, new.columns = self.meta.copy(), self.columns.copy()
        if self._given_n_z is not None and self.redshift is not None:
            warn_of_selection(self.redshift, self.redshift[item])
        return new

    def __repr__(self) -> str:
        try:
            noise = f"{self.shape_noise:.3f}"
        except ValueError:  # a selection without a positive mean response
            noise = "unknown"
        return f"<ShearCatalog: {len(self)} galaxies, axes {self.axes!r}, shape noise {noise}>"

    def _repr_html_(self) -> str:
        return catalog_card(self)

    def check_axes(self, *, mask: RegionsLike | None = None) -> AxesReport:
        """
        Test the axes with the data, and suggest the best of the four conventions.

        Lensing makes E modes only, an excess over B modes that vanishes if West and East are swapped. The E mode has
        positive skewness, because of clusters; it is negative if the axes are rotated by 90 degrees.

        A warning names other axes that fit significantly better (by 4 standard deviations). The statistics of the test
        are described in `~astro_massmap.maps.axes.AxesReport`.

        Parameters
        ----------
        mask : regions, optional
            Regions of the sky (one, a list, a table or a file) whose galaxies are left out, as by `outside`.

        Raises
        ------
        TypeError, ValueError, OSError
            If ``mask`` is not as described, cannot be read, or excludes every galaxy.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> report = datasets.demo().check_axes()
        >>> report.ok, report.e_minus_b > report.e_minus_b_mirrored
        (True, True)
        """
        return report_of(self[:] if mask is None else self.outside(mask))

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
            Grid in any celestial projection; by default tangential, North up and East left, around all galaxies.
            Galaxies off the grid are left out.
        shape : tuple of int, optional
            Rows and columns; by default ``wcs.array_shape``, or enough for all galaxies.
        pixel_scale : `~astropy.units.Quantity`, optional
            Side of a pixel if no ``wcs`` is given. By default it follows from `density`: 0.4 arcmin for 6.25 to 100
            galaxies per square arcminute, 0.3 arcmin from 100 and 0.25 arcmin from 200; below 6.25 the smallest of 0.6,
            0.8, 1, 1.5 and 2 arcmin that contains one galaxy on average, at most 2 arcmin.
        mask : ndarray of bool, or regions, optional
            Pixels of the grid to leave out, ``(ny, nx)``, or regions (one, a list, a table or a file) whose galaxies
            are left out, except those in excluded regions such as ``-circle(...)`` of DS9. Text labels, points and
            lines are ignored with a warning.

        Raises
        ------
        TypeError, ValueError, OSError, `~astropy.units.UnitsError`
            If the grid is not celestial, does not have square pixels, is too large for the memory or contains no
            galaxy, or ``mask`` is invalid, cannot be read, or excludes every galaxy.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo().to_map(mask=datasets.demo_clusters())
        <ShearMap: 128 x 128 pixels of 0.4 arcmin, 82% with data>
        """
        if len(self) < 2:
            raise ValueError("coords: a map needs at least two galaxies, got one")
        if wcs is not None and pixel_scale is not None:
            raise ValueError("wcs, pixel_scale: give only one of them; the WCS defines the pixel scale")
        found: dict[str, str] = {}
        if wcs is None:
            scale, found = self._pixel_scale(pixel_scale)
            wcs = fitting_wcs(self.coords, scale, None if shape is None else check_shape(shape))
        wcs, shape = celestial_wcs(wcs, shape)
        kept, blank = self, None
        if isinstance(mask, list) and np.ndim(mask) == 2:  # rows of pixels, not regions
            mask = np.array(mask)
        if isinstance(mask, np.ndarray) and mask.dtype != object:
            blank = bools(mask, shape)
        elif mask is not None:
            kept = self.outside(mask, wcs)
        shape_noise = self.shape_noise
        if shape_noise == 0:
            raise ValueError("shape_noise: cannot be measured because all ellipticities are zero; give shape_noise=")
        _, mirrored = scale_of(wcs, shape)
        x, y, shear = shear_in_pixels(kept.coords, kept.west_north, wcs, mirrored)
        to_shear = 1.0 if kept.m_bias is None else 1 + kept.m_bias
        data, noise_std, counts = bin_galaxies(
            x, y, shear, weight=kept.weight, response=to_shear, shape_noise=shape_noise, shape=shape
        )
        efficiency = kept._binned_efficiency(x, y, shape)
        n_galaxies = int(counts.sum())
        if blank is not None:
            noise_std[blank] = np.inf
            n_galaxies = int(counts[~blank].sum())
        if not np.isfinite(noise_std).any():
            raise ValueError("wcs, mask: the grid contains no galaxy; check that wcs and shape cover the catalogue")
        meta = {**self.meta, "axes": self.axes, "n_galaxies": n_galaxies, "shape_noise": shape_noise, **found}
        if self.response is not None:
            meta["response"] = np.array(kept._mean_response).tolist()
        n_z = self._given_n_z
        if n_z is None and kept.redshift is not None:
            seen = in_pixels_with_data(x, y, noise_std)
            n_z = histogram(kept.redshift[seen], kept.weight[seen])
        return ShearMap(data, wcs=wcs, noise_std=noise_std, meta=meta, n_z=n_z, efficiency=efficiency)

    def reconstruct(
        self,
        method: MethodLike = None,
        *,
        wcs: WCS | None = None,
        shape: Shape | None = None,
        pixel_scale: u.Quantity | None = None,
        mask: Mask | None = None,
        reduced_shear: bool | Literal["auto"] = "auto",
        progress: bool = True,
        executor: Executor | None = None,
        **options: Any,
    ) -> ConvergenceMap:
        """
        Map the convergence: bin the galaxies with `to_map`, then call `ShearMap.reconstruct`.

        Parameters and errors are those of the two methods; options are checked before the galaxies are binned. The
        default pixel scale is that of the prior or network of the method, if it is for one scale only.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo().reconstruct("kaiser_squires", progress=False)
        <ConvergenceMap: 128 x 128 pixels of 0.4 arcmin, 83% measured, no samples>
        """
        from ..methods import resolve  # loads torch

        method = resolve(method, options)  # errors in options come before the binning
        note: dict[str, str] = {}
        if wcs is None:
            pixel_scale, note = self._pixel_scale(pixel_scale, method)
        shear = self.to_map(wcs=wcs, shape=shape, pixel_scale=pixel_scale, mask=mask)
        shear.meta |= note
        if progress and note:
            print(f"pixels of {note['pixel_scale']}", file=sys.stderr)
        return shear.reconstruct(method, reduced_shear=reduced_shear, progress=progress, executor=executor)
