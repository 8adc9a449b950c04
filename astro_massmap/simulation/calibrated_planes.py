"""
Calibration of lens planes, which gives maps of any sources the power of theory.

The projected overdensity of a slab of thickness L at distance chi has the power ``P(k, z) / L``. The filter of a slab,
an isotropic T(k) of at most 1.3, changes the mean power of its planes to that of theory divided by
``1 + (k chi / 5200)^2.2``, the resolution of `declared_spectrum`. Maps with weights w_i of the slabs then have

    C_ell = sum_i w_i^2 P_i(ell / chi_i) / chi_i^2

in the Limber approximation; P_i is less than declared where T is at its limit.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..priors.correction import taper
from ..theory.spectrum import PowerSpectrum
from .calibration import RESOLUTION

_LIMIT = 1.3
_DEGREE, _BANDS = 5, 32
_LINEAR = 0.1  # h/Mpc
_ELL = np.geomspace(10, 1e5, 160)


@dataclass(frozen=True)
class PlaneFilter:
    """
    Isotropic filters of the lens planes of each slab.

    Parameters
    ----------
    k : ndarray
        Wave numbers in h/Mpc, increasing, ``(n,)``; filters are constant beyond them.
    ratio, factor : ndarray
        Power of the planes before the filter over the declared power, and T, ``(slabs, n)``.
    distance, redshift : ndarray
        Distances of the slabs in Mpc/h, and their redshifts, ``(slabs,)``.
    thickness : float
        Thickness of a slab in Mpc/h.

    Examples
    --------
    White planes with half of the power of theory are multiplied by 1.3, the limit, instead of 2^1/2:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap.simulation import LensPlanes, PlaneFilter
    >>> noise = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    >>> planes = LensPlanes(noise, 64.0, 0.3, np.array([100.0]), np.array([0.97]), meta={})
    >>> filters = PlaneFilter.fit([([planes], lambda z, k: np.full(len(k), 2 * 64**3 / 128**2))])
    >>> print(f"{filters.apply(planes).overdensity.std():.2f}")
    1.30
    """

    k: np.ndarray
    ratio: np.ndarray
    factor: np.ndarray
    distance: np.ndarray
    redshift: np.ndarray
    thickness: float

    @classmethod
    def fit(cls, cosmologies):
        """
        Fit the filters to the mean of some cubes, which may have different cosmologies.

        Parameters
        ----------
        cosmologies : sequence of (list of LensPlanes, callable)
            Cubes with the same slabs and cells, and the nonlinear matter power of their cosmology,
            ``power(z, k)`` in (Mpc/h)^3 at a redshift and wave numbers ``(n,)`` in h/Mpc.
        """
        first = cosmologies[0][0][0]
        cells, side = first.overdensity.shape[-1], first.box_size
        edges = np.geomspace(2 * math.pi / side, math.pi * cells / side, _BANDS + 1)
        middles = np.sqrt(edges[1:] * edges[:-1])
        number, modes = _bands(cells, side, edges)
        redshift = 1 / first.scale_factor - 1
        ratio = []
        for slab, (z, distance) in enumerate(zip(redshift, first.distance, strict=True)):
            over = []
            for cubes, power in cosmologies:
                declared = _declared(power, z, middles, distance, side) / _window(middles, side / cells) ** 2
                over += [np.log(_band_power(cube.overdensity[slab], side, number) / declared) for cube in cubes]
            good = np.isfinite(over).all(axis=0) & (modes > 0)
            curve = np.polynomial.Polynomial.fit(
                np.log(middles[good]), np.mean(over, axis=0)[good], _DEGREE, w=np.sqrt(np.minimum(modes[good], 1000.0))
            )
            # on large scales the power of a few boxes scatters, and that of the simulation is right
            ratio.append(np.exp(curve(np.log(middles)) * taper(middles, _LINEAR)))
        ratio = np.array(ratio)
        return cls(middles, ratio, np.minimum(ratio**-0.5, _LIMIT), first.distance, redshift, side)

    def apply(self, planes):
        """Return the filtered `LensPlanes`."""
        cells = planes.overdensity.shape[-1]
        k = _wave_numbers(cells, planes.box_size)
        filtered = torch.empty_like(planes.overdensity)
        for slab, factor in enumerate(self.factor):
            at = torch.from_numpy(np.interp(np.log(np.maximum(k, self.k[0])), np.log(self.k), factor)).float()
            for axis, plane in enumerate(planes.overdensity[slab]):
                filtered[slab, axis] = torch.fft.irfft2(torch.fft.rfft2(plane.float()) * at, s=(cells, cells))
        return replace(planes, overdensity=filtered)

    def spectrum(self, weights, power, name="maps"):
        """Return the `~astro_massmap.PowerSpectrum` of maps with weights ``(slabs,)`` for the power of `fit`."""
        cl = np.zeros(len(_ELL))
        for weight, distance, z, ratio, factor in zip(
            weights, self.distance, self.redshift, self.ratio, self.factor, strict=True
        ):
            k = _ELL / distance
            left = np.interp(np.log(k), np.log(self.k), ratio * factor**2)
            cl += (weight / distance) ** 2 * left * _declared(power, z, k, distance, self.thickness)
        return PowerSpectrum(_ELL, cl, name=name)


def matter_power(matter, h=0.7):
    """
    Return a `~astro_massmap.theory.matter_power.MatterPower` as a function of z and k in h/Mpc, in (Mpc/h)^3.

    Examples
    --------
    >>> from astro_massmap.simulation import matter_power
    >>> from astro_massmap.theory.matter_power import MatterPower
    >>> print(f"{matter_power(MatterPower.default())(0.0, 1.0):.0f} (Mpc/h)^3")
    403 (Mpc/h)^3
    """
    return lambda z, k: matter(z, np.asarray(k) * h) * h**3


def _declared(power, z, k, distance, thickness):
    ell, slope = RESOLUTION
    return power(z, k) / thickness / (1 + (k * distance / ell) ** slope)


def _window(k, cell):
    """Return the mean window of bilinear interpolation between cells, which the filter compensates."""
    return np.maximum(np.sinc(k * cell / (2 * math.pi * 2**0.5)) ** 4, 0.1)


def _wave_numbers(cells, side):
    axes = np.fft.fftfreq(cells, 1 / cells)[:, None], np.fft.rfftfreq(cells, 1 / cells)[None]
    return 2 * math.pi / side * np.hypot(*axes)


def _bands(cells, side, edges):
    """Return the number of the band of each mode, 0 and ``len(edges)`` outside, and the number of modes in bands."""
    number = np.searchsorted(edges, _wave_numbers(cells, side).ravel(), side="right")
    return number, np.bincount(number, minlength=len(edges) + 1)[1:-1] * 2.0


def _band_power(planes, side, number):
    """Return the mean power of planes ``(axes, cells, cells)`` in bands, NaN in empty bands."""
    cells = planes.shape[-1]
    total, count = 0, np.bincount(number, minlength=_BANDS + 2)
    for plane in planes:
        square = torch.fft.rfft2(plane.float()).abs().square().numpy().ravel()
        total = total + np.bincount(number, weights=square, minlength=_BANDS + 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count / len(planes) * side**2 / cells**4)[1:-1]
