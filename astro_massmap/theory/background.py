"""Distances of flat universes, with numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

HUBBLE_LENGTH = 2997.92458  # c / H0 in Mpc/h

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def integral(
    f: Callable[[NDArray[np.float64]], NDArray[np.float64]], upper: ArrayLike
) -> np.float64 | NDArray[np.float64]:
    """Return the integral of ``f`` from 0 to each of ``upper``, with nodes that are dense near 0."""
    upper = np.asarray(upper, dtype=float)[..., None]
    x = (_NODES + 1) / 2
    return (f(upper * x**2) * upper * 2 * x * _WEIGHTS / 2).sum(axis=-1)


def comoving_distance(z: ArrayLike, omega_m: float, omega_r: float = 0.0) -> np.float64 | NDArray[np.float64]:
    """
    Return the comoving distance in Mpc/h to redshifts ``z``.

    ``omega_m`` and ``omega_r`` are the densities today of matter and of radiation with massless neutrinos, in units of
    the critical density; the rest is a cosmological constant.
    """
    rest = 1 - omega_m - omega_r
    return HUBBLE_LENGTH * integral(lambda x: (omega_m * (1 + x) ** 3 + omega_r * (1 + x) ** 4 + rest) ** -0.5, z)
