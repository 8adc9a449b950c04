"""
A flat universe of matter and a cosmological constant, as an N-body code needs it: plain numbers, no units.

Lengths are in Mpc/h and wave numbers in h/Mpc. With ``E(a) = (Om / a^3 + 1 - Om)^1/2``, the growth of small
fluctuations is ``D(a) = E(a) int_0^a da' / (a' E(a'))^3``, normalised to ``D(1) = 1`` (Heath 1977).
"""

from dataclasses import dataclass
from importlib import resources

import numpy as np

HUBBLE_LENGTH = 2997.92458  # c / H0 in Mpc/h

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def _integral(f, upper):
    """Integral of ``f`` from 0 to each of ``upper``; the nodes crowd at 0, where growth has a root."""
    upper = np.asarray(upper, dtype=float)[..., None]
    x = (_NODES + 1) / 2
    return (f(upper * x**2) * upper * 2 * x * _WEIGHTS / 2).sum(axis=-1)


@dataclass(frozen=True)
class Cosmology:
    """
    Background, growth and linear power of a flat universe.

    Parameters
    ----------
    omega_m : float
        Matter density today over the critical one.
    k, power : ndarray
        Linear power spectrum today: wave numbers in h/Mpc, increasing, and values in (Mpc/h)^3.
    name : str
        What it is; written with everything that is made of it.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    >>> from astro_massmap.simulation import Cosmology
    >>> cosmology = Cosmology.default()
    >>> print(f"{cosmology.growth(0.5):.4f} {cosmology.distance(1.0):.1f} Mpc/h")
    0.6118 2312.7 Mpc/h
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
        """
        Om 0.3, Ob 0.05, h 0.7, n_s 0.97, A_s 2.1e-9, massless neutrinos; linear power by camb.

        Returns
        -------
        Cosmology

        Examples
        --------
        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology.default()
        >>> cosmology.omega_m, cosmology.name
        (0.3, 'Om 0.3, Ob 0.05, h 0.7, n_s 0.97, As 2.1e-9')
        """
        text = (resources.files("astro_massmap") / "data" / "default_linear_power.ecsv").read_text()
        k, power = np.loadtxt([line for line in text.splitlines() if line[:1].isdigit()], unpack=True)
        return cls(0.3, k, power, "Om 0.3, Ob 0.05, h 0.7, n_s 0.97, As 2.1e-9")

    @classmethod
    def from_astropy(cls, cosmology, *, sigma8=None, As=None, n_s):
        """
        Of a flat `~astropy.cosmology.LambdaCDM`, with linear power by camb.

        Parameters
        ----------
        cosmology : `~astropy.cosmology.FLRW`
            Needs ``Ob0``. Radiation and neutrinos count for the power, not for the growth from there on.
        sigma8, As, n_s : float
            As for `~astro_massmap.PowerSpectrum.from_cosmology`.

        Returns
        -------
        Cosmology

        Raises
        ------
        ImportError
            If camb is not installed.
        ValueError
            If an argument is missing or out of range, or dark energy is no cosmological constant.

        Examples
        --------
        >>> from astropy.cosmology import FlatLambdaCDM
        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology.from_astropy(FlatLambdaCDM(70, 0.3, Ob0=0.05), As=2.1e-9, n_s=0.97)
        >>> print(f"{cosmology.linear_power(0.1) / Cosmology.default().linear_power(0.1):.2f}")
        1.00
        """
        from ..theory.limber import matter_power

        if getattr(cosmology, "w0", -1.0) != -1.0 or getattr(cosmology, "wa", 0.0) != 0.0:
            raise ValueError("cosmology: simulations know a cosmological constant only")
        power, results = matter_power(cosmology, sigma8=sigma8, As=As, n_s=n_s, z_max=1.0, nonlinear=False)
        h, k = results.Params.H0 / 100, np.geomspace(1e-4, 30, 400)
        name = f"{cosmology.name or type(cosmology).__name__}, n_s {n_s:g}, " + (
            f"sigma8 {sigma8:g}" if As is None else f"As {As:g}"
        )
        return cls(results.Params.omegam, k, power.P(0.0, k * h) * h**3, name)

    def linear_power(self, k):
        """
        Linear power today, a power law beyond the table.

        Parameters
        ----------
        k : float or array-like
            Wave numbers in h/Mpc, positive.

        Returns
        -------
        float or ndarray
            In (Mpc/h)^3.

        Examples
        --------
        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology(0.3, k=[0.1, 1.0], power=[1000.0, 10.0])
        >>> print(cosmology.linear_power([0.01, 0.1, 10.0]).round(6))
        [1.e+05 1.e+03 1.e-01]
        """
        x, y = np.log(self.k), np.log(self.power)
        at = np.log(np.asarray(k, dtype=float))
        low, high = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
        return np.exp(np.interp(at, x, y) + low * np.minimum(at - x[0], 0) + high * np.maximum(at - x[-1], 0))

    def expansion(self, a):
        """
        The rate of the expansion, ``E(a) = H(a) / H0``.

        Parameters
        ----------
        a : float or array-like
            Scale factor.

        Returns
        -------
        float or ndarray
            1 today.

        Examples
        --------
        Of matter alone:

        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology(1.0, k=[0.1, 1.0], power=[1.0, 1.0])
        >>> round(float(cosmology.expansion(0.25)), 6)
        8.0
        """
        return np.sqrt(self.omega_m / np.asarray(a, dtype=float) ** 3 + 1 - self.omega_m)

    def growth(self, a):
        """
        The growth of small fluctuations, ``D(a)``.

        Parameters
        ----------
        a : float or array-like
            Scale factor.

        Returns
        -------
        float or ndarray
            1 today.

        Examples
        --------
        Of matter alone:

        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology(1.0, k=[0.1, 1.0], power=[1.0, 1.0])
        >>> round(float(cosmology.growth(0.25)), 6)
        0.25
        """
        return self._growing(a) / self._growing(1.0)

    def _growing(self, a):
        return self.expansion(a) * _integral(lambda x: (x * self.expansion(x)) ** -3, a)

    def growth_rate(self, a):
        """
        The rate of the growth, ``f = dln D / dln a``.

        Parameters
        ----------
        a : float or array-like
            Scale factor.

        Returns
        -------
        float or ndarray
            Of the shape of ``a``.

        Examples
        --------
        About ``Om(a)^0.55`` (Linder 2005):

        >>> from astro_massmap.simulation import Cosmology
        >>> print(f"{Cosmology.default().growth_rate(1.0):.3f} {0.3**0.55:.3f}")
        0.513 0.516
        """
        a = np.asarray(a, dtype=float)
        square = self.expansion(a) ** 2
        falling = -1.5 * self.omega_m / (a**3 * square)  # dln E / dln a
        return falling + self.expansion(a) / (self._growing(a) * a**2 * square * self.expansion(a))

    def growth_momentum(self, a):
        """
        The momentum that goes with a displacement D, ``a^3 E dD/da``.

        Parameters
        ----------
        a : float or array-like
            Scale factor.

        Returns
        -------
        float or ndarray
            Of the shape of ``a``.

        Examples
        --------
        Of matter alone:

        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology(1.0, k=[0.1, 1.0], power=[1.0, 1.0])
        >>> round(float(cosmology.growth_momentum(0.25)), 6)
        0.125
        """
        return np.asarray(a, dtype=float) ** 2 * self.expansion(a) * self.growth_rate(a) * self.growth(a)

    def distance(self, z):
        """
        Comoving distance.

        Parameters
        ----------
        z : float or array-like
            Redshift.

        Returns
        -------
        float or ndarray
            In Mpc/h.

        Examples
        --------
        Of matter alone, that to redshift 3 is c / H0:

        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology(1.0, k=[0.1, 1.0], power=[1.0, 1.0])
        >>> print(f"{cosmology.distance(3.0):.3f} Mpc/h")
        2997.925 Mpc/h
        """
        return HUBBLE_LENGTH * _integral(lambda x: 1 / self.expansion(1 / (1 + x)), z)

    def scale_factor(self, distance):
        """
        Scale factor at a distance.

        Parameters
        ----------
        distance : float or array-like
            Comoving, in Mpc/h, to redshift 11 at most.

        Returns
        -------
        float or ndarray
            Between 0 and 1.

        Examples
        --------
        >>> from astro_massmap.simulation import Cosmology
        >>> cosmology = Cosmology.default()
        >>> round(float(cosmology.scale_factor(cosmology.distance(1.0))), 6)
        0.5
        """
        z = np.linspace(0, 11**0.5, 4001) ** 2
        return 1 / (1 + np.interp(distance, self.distance(z), z))
