"""
Projected profile of Navarro, Frenk & White (1997), with numpy alone.

With ``x`` the distance from the centre in scale radii ``r_s = r200 / c`` and ``kappa_s = rho_s r_s / Sigma_crit``, the
convergence and its mean within x are (Bartelmann 1996; Wright & Brainerd 2000)

    kappa(x) = 2 kappa_s (1 - A) / (x^2 - 1),    kbar(x) = 4 kappa_s (ln(x / 2) + A) / x^2,
    A = arccosh(1 / x) / (1 - x^2)^1/2  where x < 1,    A = arccos(1 / x) / (x^2 - 1)^1/2  where x > 1.

Both expressions are rearranged where they would lose digits: around x = 1 and at small x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# sum of w^k (1 / (2k + 1) + 1 / (2k + 3)), with w = (1 - x) / (1 + x), and of w^k / (2k + 1)
_SERIES_F, _SERIES_A = ([1 / (2 * k + 1) + more / (2 * k + 3) for k in range(11)] for more in (1, 0))
_NEAR_ONE = 0.05  # of w; the series are right to 1e-14


def profile(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(1 - A) / (x^2 - 1)``."""
    w = (1 - x) / (1 + x)
    square = np.where(np.abs(w) < _NEAR_ONE, 2.0, (x - 1) * (x + 1))
    near = (1 + w) ** 2 / 4 * np.polynomial.polynomial.polyval(w, _SERIES_F)
    return np.where(np.abs(w) < _NEAR_ONE, near, (1 - _arc(x)) / square)


def mean_profile(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(ln(x / 2) + A) / x^2``."""
    inner = np.minimum(x, 0.5)
    root = np.sqrt(1 - inner**2)
    small = np.log(2 / inner) / (1 + root) + np.log1p(-(inner**2) / (2 * (1 + root))) / inner**2
    return np.where(x < 0.5, small / root, (np.log(x / 2) + _arc(x)) / x**2)


def _arc(x):
    """``A``."""
    w = (1 - x) / (1 + x)
    near = (1 + w) * np.polynomial.polynomial.polyval(w, _SERIES_A)
    inner, outer = np.where(w > _NEAR_ONE, x, 0.5), np.where(w < -_NEAR_ONE, x, 2.0)
    root_in, root_out = np.sqrt(1 - inner**2), np.sqrt(outer**2 - 1)
    inside, outside = np.log((1 + root_in) / inner) / root_in, np.arctan(root_out) / root_out
    return np.where(w > _NEAR_ONE, inside, np.where(w < -_NEAR_ONE, outside, near))


def mean_concentration(mass: ArrayLike, z: float, h: float) -> NDArray[np.float64]:
    """Return the mean concentration of halos of a mass M200c in Msun (Duffy et al. 2008, table 1, all halos)."""
    return 5.71 * (np.asarray(mass) * h / 2e12) ** -0.084 * (1 + z) ** -0.47


def mass_in_units(c: ArrayLike) -> NDArray[np.float64]:
    """Return ``m(c) = ln(1 + c) - c / (1 + c)``, the mass within c scale radii in units of ``4 pi rho_s r_s^3``."""
    c = np.asarray(c, dtype=float)
    return np.log1p(c) - c / (1 + c)
