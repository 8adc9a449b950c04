"""
The last touch on simulated maps: an isotropic filter that gives them the declared power spectrum.

A particle-mesh code is a little short of power near its resolution, and has grain beyond it. The filter T(ell) is
fitted on some boxes, at most 1.3, and has to be judged on others.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..inference.grid import FourierGrid
from .statistics import band_mean, band_power

RESOLUTION = (5200.0, 2.2)  # of MassiveNuS: C / C_HMcode = 1 / (1 + (ell / 5200)^2.2)
_LIMIT = 1.3
_MARGIN = 16  # pixels that the filter reaches over the edge of a map


def declared_spectrum(spectrum):
    """The power spectrum that maps are calibrated to: ``spectrum`` at the resolution of MassiveNuS."""
    return spectrum.resolved(*RESOLUTION)


@dataclass(frozen=True)
class Transfer:
    """
    An isotropic filter of maps.

    Parameters
    ----------
    ell, factor : ndarray
        Multipoles and T(ell), interpolated in log(ell) and constant beyond the table.
    """

    ell: np.ndarray
    factor: np.ndarray

    @classmethod
    def fit(cls, maps, pixel_size, spectrum, *, degree=5):
        """
        The filter that leads from the mean power of some maps to a spectrum.

        The logarithm of T is a polynomial in log(ell), fitted to bands from 200 to the Nyquist frequency with the
        square root of their number of modes as weight, but not more than that of a thousand: short waves are many.
        Bands of waves as long as the map, whose power is not measured well, are left out.

        Parameters
        ----------
        maps : array-like
            ``(n, ny, nx)``.
        pixel_size : float
            In radians.
        spectrum : callable
            C_ell to reach.
        degree : int
            Of the polynomial.

        Returns
        -------
        Transfer
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
        """T at some multipoles."""
        return np.interp(np.log(np.maximum(ell, 1e-9)), np.log(self.ell), self.factor)

    def apply(self, maps, pixel_size):
        """Filter maps ``(n, ny, nx)``, taken as periodic."""
        shape = maps.shape[-2:]
        factor = torch.from_numpy(self(FourierGrid(shape, pixel_size).ell.numpy())).to(maps)
        return torch.fft.irfft2(torch.fft.rfft2(maps) * factor, s=shape)

    def draw(self, light_cone, n, shape, pixel_size, generator):
        """``n`` filtered maps of a `LightCone`: drawn with a margin, which is cut off."""
        larger = tuple(side + 2 * _MARGIN for side in shape)
        maps = self.apply(light_cone.draw(n, larger, pixel_size, generator), pixel_size)
        return maps[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].contiguous()
