"""
Correction of a trained denoiser by factors that depend on multipole and noise level.

An error of the denoiser of one per cent on large scales, where S is much larger than sigma^2, changes the power of
samples by tens of per cent. Therefore the truth x is regressed on both components of the denoiser D (D_G is the Wiener
filter), in bands of ell and at several noise levels,

    x ~ (1 + b) D_G + a (D - D_G),

and c is the residual variance in units of that of the Gaussian component. The power of a denoised map plus the variance
about it then equals that of the truth in every band. On the largest scales, where theory is accurate, a and b are
tapered by ``1 / (1 + (l_c / l)^4)``.
"""

from dataclasses import dataclass

import numpy as np
import torch


def taper(ell, corner):
    """Return ``1 / (1 + (corner / ell)^4)``: 0 far below the corner, 1 far above it."""
    return 1 / (1 + (corner / np.maximum(ell, 1e-9)) ** 4)


@dataclass(frozen=True)
class Correction:
    """
    Correction factors on a table of noise levels and multipoles.

    Parameters
    ----------
    sigma, ell : ndarray
        Noise levels and multipoles of the table, increasing.
    network, theory, variance : ndarray
        Factors a, b and c, ``(sigma, ell)``: of the network, of the Wiener filter and of the conditional variance.

    Examples
    --------
    The interpolation is linear in log sigma and log ell; 0.03 is the geometric mean of 0.01 and 0.09:

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap.priors import Correction
    >>> sigma, ell = np.array([0.01, 0.09]), np.array([100.0, 10000.0])
    >>> correction = Correction(sigma, ell, np.array([[1.0, 3.0], [2.0, 4.0]]), np.zeros((2, 2)), np.ones((2, 2)))
    >>> [round(a, 6) for a in correction.at(0.03, torch.tensor([100.0, 1000.0, 10000.0]))[0].tolist()]
    [1.5, 2.5, 3.5]
    """

    sigma: np.ndarray
    ell: np.ndarray
    network: np.ndarray
    theory: np.ndarray
    variance: np.ndarray

    @classmethod
    def none(cls, corner=0.0):
        """Return a correction that consists of the taper below ``corner`` only."""
        ell = np.geomspace(10, 1e5, 200)
        one = np.ones((1, len(ell)))
        return cls(np.ones(1), ell, one * taper(ell, corner), 0 * one, one)

    def at(self, sigma, ell):
        """Return a, b and c at a noise level (limited to the table) and multipoles ``ell``, in double precision."""
        levels = np.log(self.sigma)
        low = int(np.clip(np.searchsorted(levels, np.log(sigma)) - 1, 0, max(len(levels) - 2, 0)))
        high = min(low + 1, len(levels) - 1)
        part = 0.0 if low == high else (np.log(sigma) - levels[low]) / (levels[high] - levels[low])
        part, x = np.clip(part, 0, 1), np.log(np.maximum(ell.cpu().numpy(), self.ell[0]))
        rows = ((1 - part) * table[low] + part * table[high] for table in (self.network, self.theory, self.variance))
        return tuple(torch.from_numpy(np.interp(x, np.log(self.ell), row)) for row in rows)


@dataclass(frozen=True)
class CorrectionTable:
    """
    Correction factors of many fields: pixel sizes, and standard deviations of a pixel, which follow from the sources.

    Parameters
    ----------
    pixel_size : ndarray
        Sides of a pixel in radians, increasing, ``(pixels,)``.
    signal : ndarray
        Standard deviations of a pixel, ``(pixels, fields)``, increasing along the last axis.
    ratio, ell : ndarray
        Noise levels in units of ``signal``, and multipoles, increasing.
    network, theory, variance : ndarray
        Factors as those of `Correction`, ``(pixels, fields, ratio, ell)``.

    Examples
    --------
    Between two fields of a pixel size, factors are linear in the logarithm of the signal:

    >>> import numpy as np
    >>> from astro_massmap.priors import CorrectionTable
    >>> one, signal = np.ones((1, 2, 1, 1)), np.array([[0.01, 0.04]])
    >>> network = one * np.array([1.0, 2.0])[None, :, None, None]
    >>> table = CorrectionTable(np.array([1e-4]), signal, np.ones(1), np.array([1e3]), network, 0 * one, one)
    >>> correction = table.of_field(1e-4, 0.02)
    >>> correction.sigma, correction.network.round(3)
    (array([0.02]), array([[1.5]]))
    """

    pixel_size: np.ndarray
    signal: np.ndarray
    ratio: np.ndarray
    ell: np.ndarray
    network: np.ndarray
    theory: np.ndarray
    variance: np.ndarray

    def limits(self, pixel_size):
        """Return the lowest and the highest standard deviation of a pixel at a pixel size."""
        ladder = self._ladder(pixel_size)
        return float(ladder[0]), float(ladder[-1])

    def of_field(self, pixel_size, signal):
        """Return the `Correction` of a field; beyond the table it is that of the nearest field."""
        ladder = np.log(self._ladder(pixel_size))
        place = float(np.interp(np.log(signal), ladder, np.arange(len(ladder))))
        tables = (
            _between(_between(table, self._place(pixel_size)), place)
            for table in (self.network, self.theory, self.variance)
        )
        return Correction(self.ratio * signal, self.ell, *tables)

    def _place(self, pixel_size):
        return float(np.interp(np.log(pixel_size), np.log(self.pixel_size), np.arange(len(self.pixel_size))))

    def _ladder(self, pixel_size):
        """Return the standard deviations of a pixel of the fields at a pixel size."""
        return np.exp(_between(np.log(self.signal), self._place(pixel_size)))


def _between(table, place):
    """Return the linear interpolation between the rows of a table."""
    low = min(int(place), max(len(table) - 2, 0))
    high = min(low + 1, len(table) - 1)
    return table[low] + (place - low) * (table[high] - table[low])
