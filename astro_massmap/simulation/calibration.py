"""
Calibration of simulated maps: an isotropic filter that gives them the declared power spectrum.

A particle-mesh code loses some power near its resolution and has discreteness noise beyond it. The filter T(ell), at
most 1.3, is fitted on some boxes and validated on others.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..inference.grid import FourierGrid
from .statistics import band_mean, band_power

RESOLUTION = (5200.0, 2.2)  # of MassiveNuS: C / C_HMcode = 1 / (1 + (ell / 5200)^2.2)
_LIMIT = 1.3
_MARGIN = 16  # pixels that are drawn around a map and cut off after the filter


def declared_spectrum(spectrum):
    """
    Return the `~astro_massmap.PowerSpectrum` that maps are calibrated to.

    It is the theoretical spectrum at the resolution of MassiveNuS, divided by ``1 + (ell / 5200)**2.2``.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`
        Theoretical spectrum.

    Examples
    --------
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import declared_spectrum
    >>> spectrum = PowerSpectrum([100, 5200, 50000], [1e-8, 1e-11, 1e-13])
    >>> print(f"{declared_spectrum(spectrum)(5200) / spectrum(5200):.3f}")
    0.500
    """
    return spectrum.resolved(*RESOLUTION)


@dataclass(frozen=True)
class Transfer:
    """
    Isotropic filter of maps.

    Parameters
    ----------
    ell, factor : ndarray
        Multipoles, increasing, and T(ell), both ``(n,)``; interpolated in log(ell) and constant beyond the table.

    Examples
    --------
    The filter from white noise to a spectrum proportional to 1 / ell^2 is proportional to 1 / ell:

    >>> import torch
    >>> from astro_massmap.simulation import Transfer
    >>> white, pixel = torch.randn(32, 64, 64, generator=torch.Generator().manual_seed(0)), 1e-4
    >>> transfer = Transfer.fit(white, pixel, lambda ell: pixel**2 * (1000 / ell) ** 2, degree=1)
    >>> print(f"{transfer(4000):.2f} {transfer(10000):.2f}", transfer.apply(white, pixel).shape)
    0.25 0.10 torch.Size([32, 64, 64])
    """

    ell: np.ndarray
    factor: np.ndarray

    @classmethod
    def fit(cls, maps, pixel_size, spectrum, *, degree=5):
        """
        Fit the filter that changes the mean power of some maps to a given spectrum.

        The logarithm of T is a polynomial in log(ell), fitted to bands from 200 to the Nyquist frequency. The weight of
        a band is the square root of its number of modes, at most of 1000, which limits the weight of small scales.
        Bands of scales close to the size of the map, whose power is not measured well, are excluded.

        Parameters
        ----------
        maps, pixel_size
            Maps ``(n, ny, nx)``, and side of a pixel in radians.
        spectrum, degree
            Target, a function that returns C_ell at an array of ``ell > 0``, and degree of the polynomial.
        """
        edges = np.geomspace(200, math.pi / pixel_size, 25)
        shape = np.shape(maps)[-2:]
        measured = band_power(maps, pixel_size, edges).mean(axis=0)
        wanted = band_mean(spectrum, shape, pixel_size, edges)
        longest = 2 * math.pi / (min(shape) * pixel_size)
        good = np.isfinite(measured) & (measured > 0) & (edges[:-1] > 1.5 * longest)
        ell = np.sqrt(edges[1:] * edges[:-1])
        modes = (edges[1:] ** 2 - edges[:-1] ** 2) * len(maps) * np.prod(shape) * pixel_size**2 / (8 * math.pi)
        weight = np.sqrt(np.minimum(modes, 1000.0))
        target = 0.5 * np.log(wanted[good] / measured[good])
        fitted = np.polynomial.Polynomial.fit(np.log(ell[good]), target, degree, w=weight[good])
        table = np.geomspace(ell[good][0], ell[good][-1], 100)
        return cls(table, np.minimum(np.exp(fitted(np.log(table))), _LIMIT))

    def __call__(self, ell):
        """Return T at one or more multipoles."""
        return np.interp(np.log(np.maximum(ell, 1e-9)), np.log(self.ell), self.factor)

    def apply(self, maps, pixel_size):
        """Filter maps ``(n, ny, nx)``, a `torch.Tensor`, as periodic maps with pixels of ``pixel_size`` radians."""
        shape = maps.shape[-2:]
        factor = torch.from_numpy(self(FourierGrid(shape, pixel_size).ell.numpy())).to(maps)
        return torch.fft.irfft2(torch.fft.rfft2(maps) * factor, s=shape)

    def draw(self, light_cone, n, shape, pixel_size, generator):
        """Draw filtered maps; arguments and result as for `LightCone.draw`. A margin of 16 pixels is cut off."""
        larger = tuple(side + 2 * _MARGIN for side in shape)
        maps = self.apply(light_cone.draw(n, larger, pixel_size, generator), pixel_size)
        return maps[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].contiguous()
