"""
What is put right in a trained denoiser, wave by wave.

A mean squared error hardly notices that a denoiser is a per cent too timid on large scales; but where S is much
larger than sigma^2 that per cent of the denoiser is tens of per cent of the power of samples. So, on maps that the
training has seen or not, the truth is regressed on both halves of the denoiser in bands of ell and of sigma,

    x ~ (1 + b) D_G + a (D - D_G),

and what is left of the variance, over that of the Gaussian half, is kept as c. Then the power of a denoised map
and the variance about it add up to that of the truth, in every band. On the largest scales theory is right, and
cannot be improved by few maps: there a tapers off, as ``1 / (1 + (l_c / l)^4)``, and b with it.
"""

from dataclasses import dataclass

import numpy as np
import torch


def taper(ell, corner):
    """0 far below the corner, 1 far above it."""
    return 1 / (1 + (corner / np.maximum(ell, 1e-9)) ** 4)


@dataclass(frozen=True)
class Correction:
    """
    Factors by noise level and ell.

    Parameters
    ----------
    sigma, ell : ndarray
        Noise levels and multipoles of the table, increasing.
    network, theory, variance : ndarray
        a, b and c of the module, ``(sigma, ell)``.

    Examples
    --------
    Between the nodes it is linear in the logarithms: 0.03 is half way from 0.01 to 0.09.

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap.priors import Correction
    >>> sigma, ell = np.array([0.01, 0.09]), np.array([100.0, 10000.0])
    >>> correction = Correction(sigma, ell, np.array([[1.0, 3.0], [2.0, 4.0]]), np.zeros((2, 2)), np.ones((2, 2)))
    >>> network, theory, variance = correction.at(0.03, torch.tensor([100.0, 1000.0, 10000.0]))
    >>> [round(a, 6) for a in network.tolist()], theory.tolist(), variance.tolist()
    ([1.5, 2.5, 3.5], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    """

    sigma: np.ndarray
    ell: np.ndarray
    network: np.ndarray
    theory: np.ndarray
    variance: np.ndarray

    @classmethod
    def none(cls, corner=0.0):
        """Nothing but the taper below ``corner``."""
        ell = np.geomspace(10, 1e5, 200)
        one = np.ones((1, len(ell)))
        return cls(np.ones(1), ell, one * taper(ell, corner), 0 * one, one)

    def at(self, sigma, ell):
        """
        The factors at a noise level.

        Parameters
        ----------
        sigma : float
            Noise level; beyond the table that of its end.
        ell : `torch.Tensor`
            Of modes.

        Returns
        -------
        tuple of three `torch.Tensor`
            a, b and c, in double precision, of the shape of ``ell``.
        """
        levels = np.log(self.sigma)
        low = int(np.clip(np.searchsorted(levels, np.log(sigma)) - 1, 0, max(len(levels) - 2, 0)))
        high = min(low + 1, len(levels) - 1)
        share = 0.0 if low == high else (np.log(sigma) - levels[low]) / (levels[high] - levels[low])
        share, x = np.clip(share, 0, 1), np.log(np.maximum(ell.cpu().numpy(), self.ell[0]))
        rows = ((1 - share) * table[low] + share * table[high] for table in (self.network, self.theory, self.variance))
        return tuple(torch.from_numpy(np.interp(x, np.log(self.ell), row)) for row in rows)
