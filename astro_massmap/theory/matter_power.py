"""Nonlinear power spectrum of matter as a function of redshift and wave number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from .._io.shipped import read_shipped
from .background import comoving_distance

if TYPE_CHECKING:
    from astropy.cosmology import FLRW
    from numpy.typing import ArrayLike, NDArray

__all__ = ["MatterPower"]

KMIN, KMAX, Z_MAX = 1e-4, 30.0, 10.0  # range of tables, k in 1 / Mpc
OMEGA_M, H = 0.3, 0.7  # of the default cosmology
OMEGA_R = 4.1834e-5 / H**2  # photons of 2.7255 K and 3.046 massless neutrinos


class MatterPower:
    """
    Nonlinear matter power spectrum P(z, k) of a flat universe, and its distances.

    ``matter(z, k)`` returns the power in Mpc^3 at redshifts ``z`` and wave numbers ``k`` in 1/Mpc, numbers or arrays
    that are broadcast. The table is interpolated by cubic splines of log P in log(1 + z) and log k. At smaller and
    larger k it is continued by power laws, at large k with the slope between 0.8 and 0.9 of the largest k.

    Parameters
    ----------
    z : array-like
        Increasing redshifts of the table, ``(n_z,)``, 6 or more, the first one 0.
    k : array-like
        Increasing wave numbers in 1/Mpc, ``(n_k,)``, 4 or more.
    power : array-like
        Positive power in Mpc^3, ``(n_z, n_k)``.
    distance : array-like
        Comoving distances in Mpc to the redshifts ``z``, ``(n_z,)``.
    omega_m_h2 : float
        Density of matter today in units of the critical density, times h^2.

    Raises
    ------
    ValueError
        If the arrays are not as described; at evaluation, if a redshift is outside of the table or a wave number is
        not positive.

    Examples
    --------
    >>> from astro_massmap.theory.matter_power import MatterPower
    >>> matter = MatterPower.default()
    >>> print(matter(0.5, [0.1, 1.0, 100.0]).round(2))
    [6.50943e+03 3.49220e+02 3.00000e-02]
    >>> print(f"{matter.distance(1.0):.0f} Mpc")
    3304 Mpc
    """

    def __init__(self, z: ArrayLike, k: ArrayLike, power: ArrayLike, *, distance: ArrayLike, omega_m_h2: float) -> None:
        from scipy.interpolate import RectBivariateSpline, make_interp_spline  # loads most of scipy

        z, k, power, distance = (np.array(x, dtype=float) for x in (z, k, power, distance))
        for name, x, fewest in (("z", z, 6), ("k", k, 4)):
            if x.ndim != 1 or len(x) < fewest or not (np.isfinite(x).all() and (np.diff(x) > 0).all()):
                raise ValueError(f"{name}: needs one dimension of at least {fewest} finite, increasing values, got {x}")
        if z[0] != 0 or k[0] <= 0:
            raise ValueError(f"z, k: need redshifts from 0 and positive wave numbers, got {z[0]:g} and {k[0]:g} first")
        if power.shape != (len(z), len(k)) or not (np.isfinite(power).all() and (power > 0).all()):
            raise ValueError(f"power: needs positive values of the shape {(len(z), len(k))}, got {power.shape}")
        if distance.shape != z.shape or distance[0] != 0 or not (np.diff(distance) > 0).all():
            raise ValueError(f"distance: needs increasing values from 0 of the shape {z.shape}, got {distance.shape}")
        if not 0 < omega_m_h2 < np.inf:
            raise ValueError(f"omega_m_h2: needs a positive number, got {omega_m_h2!r}")
        self.z, self.k, self.power, self.omega_m_h2 = z, k, power, float(omega_m_h2)
        self._spline = RectBivariateSpline(np.log1p(z), np.log(k), np.log(power))
        self._distance = make_interp_spline(np.log1p(z), distance, k=5)
        self._ends = np.log(k[:2]), np.log(k[-1] * np.array([0.8, 0.9]))

    def __call__(self, z: ArrayLike, k: ArrayLike) -> np.float64 | NDArray[np.float64]:
        """Return the power in Mpc^3."""
        u, k = self._log1p(z), np.asarray(k, dtype=float)
        if not (k > 0).all():
            raise ValueError("k: needs positive wave numbers in 1/Mpc")
        x, (low, high) = np.log(k), self._ends
        below, above = np.minimum(x - low[0], 0), np.maximum(x - high[1], 0)
        inside = self._log_power(u, np.clip(x, low[0], high[1]))
        return np.exp(inside + self._slope(u, low) * below + self._slope(u, high) * above)

    def distance(self, z: ArrayLike) -> np.float64 | NDArray[np.float64]:
        """Return the comoving distance in Mpc to redshifts ``z``."""
        return self._distance(self._log1p(z))[()]

    def _log1p(self, z):
        z = np.asarray(z, dtype=float)
        if not ((z >= 0) & (z <= self.z[-1])).all():
            raise ValueError(f"z: needs redshifts from 0 to {self.z[-1]:g}, the range of the table, got {z}")
        return np.log1p(z)

    def _log_power(self, u, x):
        return self._spline(u, x, grid=False)

    def _slope(self, u, ends):
        return (self._log_power(u, ends[1]) - self._log_power(u, ends[0])) / (ends[1] - ends[0])

    def __repr__(self) -> str:
        return f"<MatterPower: z 0 to {self.z[-1]:g}, k {self.k[0]:g} to {self.k[-1]:g} / Mpc>"

    @classmethod
    def default(cls) -> Self:
        """
        Return the power in the cosmology of `PowerSpectrum.default <astro_massmap.PowerSpectrum.default>`.

        Om0 = 0.3, Ob0 = 0.05, h = 0.7, n_s = 0.97, A_s = 2.1e-9, massless neutrinos, HMcode 2020; redshifts up to 10.
        The table of the package is read: neither camb nor astropy is imported.
        """
        (_, *names), (k, *power) = read_shipped("default_matter_power.ecsv")
        z = np.array([float(name.removeprefix("z=")) for name in names])
        distance = comoving_distance(z, OMEGA_M, OMEGA_R) / H
        return cls(z, k, power, distance=distance, omega_m_h2=OMEGA_M * H**2)

    @classmethod
    def from_cosmology(
        cls, cosmology: FLRW, *, sigma8: float | None = None, As: float | None = None, n_s: float, z_max: float
    ) -> Self:
        """
        Compute the power for a cosmology by camb, with HMcode 2020.

        Parameters
        ----------
        cosmology, sigma8, As, n_s
            Cosmology with ``Ob0``, amplitude and spectral index, as for `~astro_massmap.PowerSpectrum.from_cosmology`.
        z_max : float
            Largest redshift, at most 10.

        Raises
        ------
        ImportError, ValueError
            If camb is not installed, or an argument is missing or out of range.
        """
        from .camb_power import matter_power, output_redshifts  # loads astropy

        power, results = matter_power(cosmology, sigma8=sigma8, As=As, n_s=n_s, z_max=z_max)
        z, k = output_redshifts(z_max), np.geomspace(KMIN, KMAX, 1000)
        h = results.Params.H0 / 100
        return cls(
            z,
            k,
            power.P(z, k),
            distance=results.comoving_radial_distance(z),
            omega_m_h2=results.Params.omegam * h**2,
        )
