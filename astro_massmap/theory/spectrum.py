"""Angular power spectrum of the convergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._io.shipped import read_shipped
from .._utils.html import card, curve
from .limber import lensed, limber_spectrum
from .matter_power import MatterPower
from .source_redshifts import one_of, read_n_z

if TYPE_CHECKING:
    import os

    from astropy.cosmology import FLRW
    from astropy.table import Table
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import RedshiftsLike


class PowerSpectrum:
    """
    Angular power spectrum C_ell of the convergence, interpolated and extrapolated linearly in log(ell) and log(C_ell).

    Parameters
    ----------
    ell, cl : array-like
        Multipoles, at least two, increasing, and C_ell at these multipoles (not multiplied by ell squared); both
        positive and dimensionless.
    name : str, optional
        Description of the spectrum; recorded with the maps that are made with it.

    Raises
    ------
    ValueError, `~astropy.units.UnitsError`
        If the values are not as described.

    Examples
    --------
    >>> from astro_massmap import PowerSpectrum
    >>> spectrum = PowerSpectrum([100, 1000, 10000], [1e-8, 1e-10, 1e-12])
    >>> print(f"{spectrum(1000):.1e}, {spectrum.resolved(1000)(1000):.1e}, {PowerSpectrum.default()(1000):.3e}")
    1.0e-10, 5.0e-11, 4.201e-10
    """

    def __init__(self, ell: ArrayLike, cl: ArrayLike, *, name: str = "table") -> None:
        ell, cl = _values(ell, "ell"), _values(cl, "cl")
        if ell.ndim != 1 or ell.size < 2 or ell.shape != cl.shape:
            raise ValueError(
                f"ell, cl: need one dimension and equal lengths of 2 or more, got the shapes {ell.shape} and {cl.shape}"
            )
        _check_multipoles(ell)
        if not (np.all(np.isfinite(cl)) and np.all(cl > 0)):
            raise ValueError("cl: needs finite, positive values (C_ell itself, not its logarithm)")
        ell.flags.writeable = cl.flags.writeable = False
        self.ell, self.cl, self.name = ell, cl, str(name)
        self._log_ell, self._log_cl = np.log(ell), np.log(cl)
        slopes = np.diff(self._log_cl) / np.diff(self._log_ell)
        self._end_slopes = slopes[0], slopes[-1]

    def __call__(self, ell: ArrayLike) -> np.float64 | NDArray[np.float64]:
        """Return C_ell at positive ``ell``, a number or an array; the result has the same shape."""
        ell = np.asarray(ell, dtype=float)
        if not np.all(ell > 0):
            raise ValueError("ell: needs to be positive")
        x = np.log(ell)
        below = np.minimum(x - self._log_ell[0], 0) * self._end_slopes[0]
        above = np.maximum(x - self._log_ell[-1], 0) * self._end_slopes[1]
        return np.exp(np.interp(x, self._log_ell, self._log_cl) + below + above)[()]

    def __repr__(self) -> str:
        return f"<PowerSpectrum {self.name!r}: {self.ell.size} points, ell {self.ell[0]:g} to {self.ell[-1]:g}>"

    def _repr_html_(self) -> str:
        rows = {"name": self.name, "points": self.ell.size, "ell": f"{self.ell[0]:g} to {self.ell[-1]:g}"}
        return card(type(self).__name__, rows, self._thumbnail)

    @property
    def _thumbnail(self) -> str:
        return curve(self.ell, self.ell * (self.ell + 1) * self.cl / (2 * np.pi))

    def resolved(self, ell: float, slope: float = 2.0) -> Self:
        """
        Return the spectrum at the finite resolution of a simulation, divided by ``1 + (l / ell)**slope``.

        Parameters
        ----------
        ell, slope : float
            Multipole at which half of the power is left, and logarithmic slope of the suppression at larger multipoles.

        Raises
        ------
        ValueError
            If ``ell`` or ``slope`` is not positive.
        """
        if not (ell > 0 and slope > 0):
            raise ValueError(f"ell, slope: need to be positive, got {ell!r} and {slope!r}")
        fall = 1 + (self.ell / ell) ** slope
        return type(self)(self.ell, self.cl / fall, name=f"{self.name}, resolved to ell {ell:g}")

    def times(self, factor: PowerSpectrum) -> Self:
        """
        Return the product with a factor that depends on ell, at the multipoles of both.

        Examples
        --------
        >>> from astro_massmap import PowerSpectrum
        >>> factor = PowerSpectrum([10, 1e4], [3.0, 3.0], name="more")
        >>> print(PowerSpectrum([100, 1000], [2.0, 2.0]).times(factor)(500).round(6))
        6.0
        """
        ell = np.union1d(self.ell, factor.ell)
        return type(self)(ell, self(ell) * factor(ell), name=f"{self.name}, {factor.name}")

    def to_table(self) -> Table:
        """Return a table with the columns ``ell`` and ``cl``, and the name in ``meta``, that `read` accepts."""
        from .._io.result_tables import ResultTable, printed  # loads astropy

        return printed(ResultTable({"ell": self.ell, "cl": self.cl}, meta={"name": self.name}))

    @classmethod
    def read(cls, table: Table | str | os.PathLike[str], **kwargs: Any) -> Self:
        """
        Read a table with the columns ``ell`` and ``cl``.

        Parameters
        ----------
        table : `~astropy.table.Table`, str or path-like
            Table, or file of a table in any format that astropy reads.
        **kwargs
            Arguments of `astropy.table.Table.read`.

        Raises
        ------
        OSError
            If the file does not exist, is damaged, or contains no table.
        ValueError, `~astropy.units.UnitsError`
            If a column is missing or invalid.

        Examples
        --------
        >>> from astro_massmap import PowerSpectrum
        >>> PowerSpectrum([100, 10000], [1e-8, 1e-12], name="mine").to_table().write("spectrum.ecsv")
        >>> PowerSpectrum.read("spectrum.ecsv")
        <PowerSpectrum 'mine': 2 points, ell 100 to 10000>
        """
        from astropy.table import Table

        from .._io.columns import read_table  # loads astropy

        given = isinstance(table, Table)
        found = table if isinstance(table, Table) else read_table(table, "table", **kwargs)
        name = found.meta.get("name", "table" if given else str(table))
        for column in ("ell", "cl"):
            if column not in found.colnames:
                raise ValueError(f"table: needs a column {column!r}, it has {found.colnames}")
        return cls(found["ell"], found["cl"], name=name)

    @classmethod
    def default(cls) -> Self:
        """
        Return the default spectrum of reconstructions.

        Sources are at redshift 1; Om0 = 0.3, Ob0 = 0.05, h = 0.7, n_s = 0.97, A_s = 2.1e-9, massless neutrinos; Limber
        integral over the nonlinear spectrum of HMcode 2020 (Mead et al. 2021).
        """
        _, (ell, cl) = read_shipped("default_spectrum.ecsv")
        return cls(ell, cl, name="default: z_s = 1")

    @classmethod
    def from_n_z(
        cls,
        z: RedshiftsLike,
        n: ArrayLike | None = None,
        *,
        weight: ArrayLike | None = None,
        column: str | None = None,
        ell: ArrayLike | None = None,
    ) -> Self:
        """
        Compute the spectrum for a source distribution in the default cosmology, in the Limber approximation.

        The cosmology is that of `PowerSpectrum.default <astro_massmap.PowerSpectrum.default>`. Its matter power
        spectrum is a table of the package (`MatterPower.default
        <astro_massmap.theory.matter_power.MatterPower.default>`): camb is not needed.

        Parameters
        ----------
        z : array-like, float, table, file, SACC object or ShearCatalog
            Increasing redshifts ``(n,)`` at which ``n`` is tabulated. Without ``n``: redshift of a plane, redshifts of
            galaxies, pair (z, n), or another input of `~astro_massmap.analysis.mass.critical_surface_density`.
            Redshifts are at most 10.
        n : array-like, optional
            Density of the sources in redshift ``(n,)``, not necessarily normalised.
        weight : array-like, optional
            Weights of the galaxies, if ``z`` contains one redshift for each.
        column : str, optional
            Column of the density, or name of the SACC tracer, if ``z`` has several.
        ell : array-like, optional
            Multipoles of the table; by default 128 from 10 to 100000.

        Raises
        ------
        OSError
            If a file does not exist or contains no table.
        TypeError, ValueError, `~astropy.units.UnitsError`
            If the redshifts or densities are invalid.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import PowerSpectrum
        >>> z = np.linspace(0, 3, 100)
        >>> PowerSpectrum.from_n_z(z, z**2 * np.exp(-z / 0.3))
        <PowerSpectrum 'default: n(z)': 128 points, ell 10 to 100000>
        >>> print(f"{PowerSpectrum.from_n_z(0.5)(1000) / PowerSpectrum.from_n_z(1.0)(1000):.2f}")
        0.29
        """
        name, given = ("z", z) if n is None else ("z, n", (z, n))
        sources, ell = read_n_z(given, name, weight=weight, column=column), _multipoles(ell)
        z_source, z_weight = lensed(sources, name)
        cl = limber_spectrum(ell, z_source, z_weight, MatterPower.default())
        return cls(ell, cl, name=f"default: {sources.label}")

    @classmethod
    def from_cosmology(
        cls,
        cosmology: FLRW,
        *,
        redshift: float | None = None,
        n_z: RedshiftsLike | None = None,
        sigma8: float | None = None,
        As: float | None = None,
        n_s: float,
        ell: ArrayLike | None = None,
    ) -> Self:
        """
        Compute the spectrum for a cosmology and a source distribution, in the Limber approximation.

        Needs camb (``pip install "astro_massmap[theory]"``). The nonlinear spectrum is that of HMcode 2020.

        Parameters
        ----------
        cosmology : `~astropy.cosmology.FLRW`
            Flat cosmology with ``Ob0``, including its neutrino masses and dark energy (w0, wa).
        redshift : float
            Redshift of a single source plane; give this or ``n_z``.
        n_z : pair of array-like, table, file, SACC object or ShearCatalog
            Redshift distribution of the sources, (z, n), not necessarily normalised; see
            `~astro_massmap.analysis.mass.critical_surface_density`.
        sigma8, As : float
            Amplitude of the fluctuations, one of the two: rms in spheres of 8 Mpc/h today, or primordial amplitude at
            0.05 / Mpc.
        n_s : float
            Spectral index.
        ell : array-like, optional
            Multipoles of the table; by default 128 from 10 to 100000.

        Raises
        ------
        ImportError, ValueError
            If camb is not installed, or an argument is missing or out of range.

        Examples
        --------
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap import PowerSpectrum
        >>> spectrum = PowerSpectrum.from_cosmology(FlatLambdaCDM(70, 0.3, Ob0=0.05), redshift=1, As=2.1e-9, n_s=0.97)
        >>> print(f"{spectrum(1000) / PowerSpectrum.default()(1000):.2f}")
        1.00
        """
        sources, ell = one_of(redshift, n_z), _multipoles(ell)
        z, weight = lensed(sources, "redshift" if n_z is None else "n_z")
        matter = MatterPower.from_cosmology(cosmology, sigma8=sigma8, As=As, n_s=n_s, z_max=float(z.max()))
        cl = limber_spectrum(ell, z, weight, matter)
        return cls(ell, cl, name=f"{cosmology.name or type(cosmology).__name__}, {sources.label}")


def _check_multipoles(ell: NDArray[np.float64]) -> None:
    if ell.ndim != 1 or ell.size < 2:
        raise ValueError(f"ell: needs at least two multipoles in one dimension, got the shape {ell.shape}")
    if not (np.all(np.isfinite(ell)) and np.all(ell > 0) and np.all(np.diff(ell) > 0)):
        raise ValueError("ell: needs finite, positive, strictly increasing multipoles")


def _multipoles(ell: ArrayLike | None) -> NDArray[np.float64]:
    ell = np.geomspace(10, 1e5, 128) if ell is None else _values(ell, "ell")
    _check_multipoles(ell)
    return ell


def _values(x: Any, label: str) -> NDArray[np.float64]:
    unit = getattr(x, "unit", None)
    if unit is not None:
        from astropy import units as u

        try:
            x = u.Quantity(x).to_value(u.dimensionless_unscaled)
        except u.UnitConversionError as error:
            raise u.UnitsError(f"{label}: needs to be dimensionless, got the unit {unit}") from error
    try:
        return np.array(x, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label}: needs numbers ({error})") from error
