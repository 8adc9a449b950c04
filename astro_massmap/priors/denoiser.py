"""
The hybrid denoiser: the Wiener filter of a noisy map plus a contribution of a network.

For ``z = x + sigma * white`` the Gaussian component gives the Wiener filter ``D_G = S / (S + sigma^2) z``. The inputs
of the network are z and D_G, scaled to unit variance, and its output is multiplied by the standard deviation of the
Gaussian posterior, ``sp^2 = <S sigma^2 / (S + sigma^2)>``: ``D = D_G + sp * net``. Inputs and outputs are of order one
at every noise level, and with zero output the denoiser is the Wiener filter. The score is ``(D - z) / sigma^2``
(Tweedie's formula), which is equation 6 of Remy et al. (2020) in other units.
"""

import math

import torch
from torch import nn

from ..inference.grid import FourierGrid

_REFERENCE = 192  # pixels on a side of the box whose modes sample the spectrum


class HybridDenoiser(nn.Module):
    """
    Wiener filter of a map with white noise, corrected by a network.

    Parameters
    ----------
    network : `~astro_massmap.priors.UNet`
        Network with two inputs and one output.
    spectrum : callable
        Angular power spectrum C_ell of the Gaussian component.
    pixel_size : float
        Side of a pixel in radians.

    Attributes
    ----------
    variance : float
        Variance of a pixel under the Gaussian component.

    Examples
    --------
    An untrained network adds nothing to the Wiener filter:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import HybridDenoiser, UNet
    >>> denoiser = HybridDenoiser(UNet((8, 8, 8)), PowerSpectrum.default(), pixel_size=1.2e-4)
    >>> z = torch.ones(2, 32, 32)
    >>> float(denoiser(z, 0.1 * z, torch.tensor([0.1, 0.2])).detach().abs().max())
    0.0
    """

    def __init__(self, network, spectrum, pixel_size):
        super().__init__()
        self.network, self.pixel_size = network, float(pixel_size)
        grid = FourierGrid((_REFERENCE, _REFERENCE), pixel_size, dtype=torch.float64)
        modes = grid.mode_variance(spectrum)
        self.register_buffer("modes", modes.flatten(), persistent=False)
        share = (grid.multiplicity / _REFERENCE**2).expand(modes.shape).flatten()
        self.register_buffer("share", share, persistent=False)
        self.variance = float(modes.flatten() @ share)

    def spreads(self, sigma):
        """Return the standard deviations of z, of D_G and of x given z under the Gaussian component, ``(n, 1, 1)``."""
        noise = sigma.to(self.modes.dtype)[:, None] ** 2
        gain = self.modes / (self.modes + noise)
        wiener = (gain * self.modes) @ self.share
        posterior = (gain * noise) @ self.share
        observed = self.variance + noise[:, 0]
        return tuple(v.sqrt().float()[:, None, None] for v in (observed, wiener, posterior))

    def forward(self, z, wiener, sigma):
        """
        Return the contribution of the network, ``D - D_G``, ``(n, ny, nx)``, at noise levels ``(n,)``.

        The inputs are noisy maps and their Wiener filter; parts of larger maps must be filtered before the cut.
        """
        observed, filtered, posterior = self.spreads(sigma)
        seen = torch.stack([z / observed, wiener / filtered], dim=1)
        return posterior * self.network(seen, sigma)[:, 0].float()


def wiener_filter(maps, variance, sigma):
    """Return D_G of periodic maps ``(n, ny, nx)`` for variances S of the modes and noise levels ``(n,)``."""
    gain = variance / (variance + sigma[:, None, None] ** 2)
    return torch.fft.irfft2(torch.fft.rfft2(maps) * gain, s=maps.shape[-2:])


def log_levels(low, high, n, generator, device="cpu"):
    """Draw ``n`` noise levels, log-uniform and stratified: one in each n-th part of the range."""
    cells = torch.arange(n, dtype=torch.float32, device="cpu")
    u = (cells + torch.rand(n, generator=generator, dtype=torch.float32, device="cpu")) / n
    return torch.exp(math.log(low) + u * math.log(high / low)).to(device)
