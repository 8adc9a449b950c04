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
    """
    The power spectrum that maps are calibrated to: that of the matter at the resolution of MassiveNuS.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`
        Of the matter itself.

    Returns
    -------
    `~astro_massmap.PowerSpectrum`
        Divided by ``1 + (ell / 5200)**2.2``.

    Examples
    --------
    Half of the power is left at the multipole of the resolution, and nearly all of it far below:

    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import RESOLUTION, declared_spectrum
    >>> spectrum = PowerSpectrum([100, 5200, 50000], [1e-8, 1e-11, 1e-13])
    >>> declared = declared_spectrum(spectrum)
    >>> print(f"{declared(RESOLUTION[0]) / spectrum(RESOLUTION[0]):.3f}, {declared(100) / spectrum(100):.3f}")
    0.500, 1.000
    """
    return spectrum.resolved(*RESOLUTION)


@dataclass(frozen=True)
class Transfer:
    """
    An isotropic filter of maps.

    Parameters
    ----------
    ell, factor : ndarray
        Multipoles, increasing, and T(ell), both ``(n,)``; interpolated in log(ell) and constant beyond the table.

    Examples
    --------
    What leads from white noise to a spectrum that falls as ell to the power of -2 falls itself as 1 / ell:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap.simulation import Transfer
    >>> white, pixel = torch.randn(32, 64, 64, generator=torch.Generator().manual_seed(0)), 1e-4
    >>> transfer = Transfer.fit(white, pixel, lambda ell: pixel**2 * (1000 / ell) ** 2, degree=1)
    >>> print(f"{transfer(4000):.2f} {transfer(10000):.2f}")
    0.25 0.10

    A filter is applied to periodic maps; where it is constant it only scales them:

    >>> half = Transfer(np.array([100.0, 1000.0]), np.array([0.5, 0.5]))
    >>> torch.allclose(half.apply(white, pixel), white / 2, atol=1e-6)
    True
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
            Side of a pixel in radians.
        spectrum : callable
            C_ell to reach, at an array of ``ell > 0``.
        degree : int
            Of the polynomial.

        Returns
        -------
        Transfer
            With a table of 100 multipoles.

        Examples
        --------
        White noise has the power of a pixel's area; a quarter of it takes half of the noise:

        >>> import torch
        >>> from astro_massmap.simulation import Transfer
        >>> white, pixel = torch.randn(32, 64, 64, generator=torch.Generator().manual_seed(0)), 1e-4
        >>> transfer = Transfer.fit(white, pixel, lambda ell: pixel**2 / 4 + 0 * ell, degree=0)
        >>> print(f"{transfer(3000):.2f}")
        0.50
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
        """T at some multipoles, a number or an array, which gives its shape."""
        return np.interp(np.log(np.maximum(ell, 1e-9)), np.log(self.ell), self.factor)

    def apply(self, maps, pixel_size):
        """
        Filter maps, which are taken as periodic.

        Parameters
        ----------
        maps : `torch.Tensor`
            ``(n, ny, nx)``.
        pixel_size : float
            Side of a pixel in radians.

        Returns
        -------
        `torch.Tensor`
            ``(n, ny, nx)``.

        Examples
        --------
        >>> import numpy as np
        >>> import torch
        >>> from astro_massmap.simulation import Transfer
        >>> half = Transfer(np.array([100.0, 1000.0]), np.array([0.5, 0.5]))
        >>> half.apply(torch.ones(1, 8, 8), 1e-4).mean().item()
        0.5
        """
        shape = maps.shape[-2:]
        factor = torch.from_numpy(self(FourierGrid(shape, pixel_size).ell.numpy())).to(maps)
        return torch.fft.irfft2(torch.fft.rfft2(maps) * factor, s=shape)

    def draw(self, light_cone, n, shape, pixel_size, generator):
        """
        Draw filtered maps at random, with a margin that is cut off.

        Parameters
        ----------
        light_cone : LightCone
            Whose maps they are.
        n, shape, pixel_size, generator
            As for `LightCone.draw`.

        Returns
        -------
        `torch.Tensor`
            ``(n, *shape)``.

        Examples
        --------
        >>> import numpy as np
        >>> import torch
        >>> from astro_massmap.simulation import LensPlanes, LightCone, Transfer
        >>> planes = LensPlanes(torch.ones(1, 3, 8, 8), 100.0, 0.3, np.array([50.0]), np.array([0.98]), meta={})
        >>> half = Transfer(np.array([100.0, 1000.0]), np.array([0.5, 0.5]))
        >>> cone = LightCone([planes], weights=[0.1])
        >>> maps = half.draw(cone, 2, (16, 24), 1e-3, np.random.default_rng(0))
        >>> maps.shape, round(float(maps.mean()), 3)
        (torch.Size([2, 16, 24]), 0.05)
        """
        larger = tuple(side + 2 * _MARGIN for side in shape)
        maps = self.apply(light_cone.draw(n, larger, pixel_size, generator), pixel_size)
        return maps[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].contiguous()
