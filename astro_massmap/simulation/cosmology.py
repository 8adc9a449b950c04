"""
Flat cosmology of matter and a cosmological constant for the N-body code, in plain numbers.

Lengths are in Mpc/h and wave numbers in h/Mpc. With ``E(a) = (Om / a^3 + 1 - Om)^1/2``, the linear growth is
``D(a) = E(a) int_0^a da' / (a' E(a'))^3``, normalised to ``D(1) = 1`` (Heath 1977).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .._io.shipped import read_shipped
from ..theory.background import comoving_distance, integral


@dataclass(frozen=True)
class Cosmology:
    """
    Background, growth and linear power of a flat universe.

    Methods take a scale factor ``a``, redshift or distance, as a float or an array, and return values of that shape.

    Parameters
    ----------
    omega_m : float
        Matter density today in units of the critical density.
    k, power : ndarray
        Linear power spectrum today: wave numbers in h/Mpc, increasing, and values in (Mpc/h)^3.
    name : str
        Description, written to the metadata of simulations.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    With matter alone ``D = a``, ``E = a^-3/2``, and the distance to redshift 3 is c / H0:

    >>> from astro_massmap.simulation import Cosmology
    >>> matter = Cosmology(1.0, k=[0.1, 1.0], power=[1000.0, 10.0])
    >>> print(f"{matter.growth(0.25):.2f} {matter.expansion(0.25):.2f} {matter.distance(3.0):.3f} Mpc/h")
    0.25 8.00 2997.925 Mpc/h
    >>> print(matter.linear_power([0.01, 0.1, 10.0]).round(6), f"{Cosmology.default().growth(0.5):.4f}")
    [1.e+05 1.e+03 1.e-01] 0.6118
    """

    omega_m: float
    k: np.ndarray
    power: np.ndarray
    name: str = "table"

    def __post_init__(self):
        if not 0 < self.omega_m <= 1:
            raise ValueError(f"omega_m: needs to be between 0 and 1, got {self.omega_m!r}")
        k, power = (np.array(x, dtype=float) for x in (self.k, self.power))
        if k.ndim != 1 or k.shape != power.shape or k.size < 2:
            raise ValueError(f"k, power: need one dimension and equal lengths, got {k.shape} and {power.shape}")
        if not (np.all(k > 0) and np.all(np.diff(k) > 0) and np.all(power > 0) and np.all(np.isfinite(k * power))):
            raise ValueError("k, power: need positive, finite values and increasing k")
        object.__setattr__(self, "k", k)
        object.__setattr__(self, "power", power)

    @classmethod
    def default(cls):
        """Return Om 0.3, Ob 0.05, h 0.7, n_s 0.97, A_s 2.1e-9 and massless neutrinos, with linear power by camb."""
        _, (k, power) = read_shipped("default_linear_power.ecsv")
        return cls(0.3, k, power, "Om 0.3, Ob 0.05, h 0.7, n_s 0.97, As 2.1e-9")

    @classmethod
    def from_astropy(cls, cosmology, *, sigma8=None, As=None, n_s):
        """
        Convert a flat `~astropy.cosmology.LambdaCDM`, with linear power by camb.

        Parameters
        ----------
        cosmology, sigma8, As, n_s
            Cosmology with ``Ob0``, amplitude and spectral index, as for `~astro_massmap.PowerSpectrum.from_cosmology`.
            Radiation and neutrinos affect the power, but not the later growth.

        Raises
        ------
        ImportError, ValueError
            If camb is not installed, an argument is missing or out of range, or dark energy is not Lambda.

        Examples
        --------
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap.simulation import Cosmology
        >>> print(round(Cosmology.from_astropy(FlatLambdaCDM(70, 0.3, Ob0=0.05), As=2.1e-9, n_s=0.97).omega_m, 3))
        0.3
        """
        from ..theory.camb_power import matter_power  # loads astropy

        if getattr(cosmology, "w0", -1.0) != -1.0 or getattr(cosmology, "wa", 0.0) != 0.0:
            raise ValueError(
                "cosmology: needs a cosmological constant (w0 = -1, wa = 0), other dark energy is not simulated"
            )
        power, results = matter_power(cosmology, sigma8=sigma8, As=As, n_s=n_s, z_max=1.0, nonlinear=False)
        h, k = results.Params.H0 / 100, np.geomspace(1e-4, 30, 400)
        name = f"{cosmology.name or type(cosmology).__name__}, n_s {n_s:g}, " + (
            f"sigma8 {sigma8:g}" if As is None else f"As {As:g}"
        )
        return cls(results.Params.omegam, k, power.P(0.0, k * h) * h**3, name)

    def linear_power(self, k):
        """Return the linear power today in (Mpc/h)^3 at wave numbers in h/Mpc; a power law beyond the table."""
        x, y = np.log(self.k), np.log(self.power)
        at = np.log(np.asarray(k, dtype=float))
        low, high = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
        return np.exp(np.interp(at, x, y) + low * np.minimum(at - x[0], 0) + high * np.maximum(at - x[-1], 0))

    def expansion(self, a):
        """Return the expansion rate ``E(a) = H(a) / H0``."""
        return np.sqrt(self.omega_m / np.asarray(a, dtype=float) ** 3 + 1 - self.omega_m)

    def growth(self, a):
        """Return the linear growth ``D(a)``, 1 today."""
        return self._growing(a) / self._growing(1.0)

    def _growing(self, a):
        return self.expansion(a) * integral(lambda x: (x * self.expansion(x)) ** -3, a)

    def growth_rate(self, a):
        """Return the growth rate ``f = dln D / dln a``, close to ``Om(a)^0.55`` (Linder 2005)."""
        a = np.asarray(a, dtype=float)
        square = self.expansion(a) ** 2
        falling = -1.5 * self.omega_m / (a**3 * square)  # dln E / dln a
        return falling + self.expansion(a) / (self._growing(a) * a**2 * square * self.expansion(a))

    def growth_momentum(self, a):
        """Return ``a^3 E dD/da``, the momentum of a displacement D."""
        return np.asarray(a, dtype=float) ** 2 * self.expansion(a) * self.growth_rate(a) * self.growth(a)

    def distance(self, z):
        """Return the comoving distance in Mpc/h to a redshift."""
        return comoving_distance(z, self.omega_m)

    def scale_factor(self, distance):
        """Return the scale factor at a comoving distance in Mpc/h, up to redshift 11."""
        z, distances = _distances(self.omega_m)
        return 1 / (1 + np.interp(distance, distances, z))


@lru_cache(maxsize=8)
def _distances(omega_m):
    z = np.linspace(0, 11**0.5, 4001) ** 2
    return z, comoving_distance(z, omega_m)
