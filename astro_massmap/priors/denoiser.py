"""
The hybrid denoiser: what theory makes of a noisy map, and what a network adds to it.

With ``z = x + sigma * white`` the Gaussian half knows ``D_G = S / (S + sigma^2) z``, the Wiener filter. The network
is told z and D_G, both scaled to unit variance, and its output times the standard deviation of the Gaussian
posterior, ``sp^2 = <S sigma^2 / (S + sigma^2)>``, is added: ``D = D_G + sp * net``. All it sees and says is of order
one at every noise level, and a network that says nothing leaves the theory. The score is ``(D - z) / sigma^2``
(Tweedie), which is equation 6 of Remy et al. (2020) in other units.
"""

import math

import torch
from torch import nn

_REFERENCE = 192  # pixels on a side of the box whose modes stand for the spectrum


class HybridDenoiser(nn.Module):
    """
    A network around a Gaussian half.

    Parameters
    ----------
    network : `~astro_massmap.priors.UNet`
        From two channels to one.
    spectrum : callable
        C_ell of the Gaussian half.
    pixel_size : float
        Side of a pixel in radians.

    Attributes
    ----------
    variance : float
        Of a pixel under the Gaussian half.

    Examples
    --------
    A network that has learned nothing leaves theory as it is. What the Wiener filter tells of a pixel, and what it
    does not, add up to the variance:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import HybridDenoiser, UNet
    >>> network = UNet((8, 8, 8)).requires_grad_(False)
    >>> denoiser = HybridDenoiser(network, PowerSpectrum.default(), pixel_size=1.2e-4)
    >>> z, sigma = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.2])
    >>> float(denoiser(z, 0.1 * z, sigma).abs().max())
    0.0
    >>> observed, wiener, posterior = denoiser.spreads(sigma)
    >>> torch.allclose(wiener**2 + posterior**2, torch.tensor(denoiser.variance).float())
    True
    """

    def __init__(self, network, spectrum, pixel_size):
        from ..inference.grid import FourierGrid

        super().__init__()
        self.network, self.pixel_size = network, float(pixel_size)
        grid = FourierGrid((_REFERENCE, _REFERENCE), pixel_size, dtype=torch.float64)
        modes = grid.mode_variance(spectrum)
        self.register_buffer("modes", modes.flatten(), persistent=False)
        share = (grid.multiplicity / _REFERENCE**2).expand(modes.shape).flatten()
        self.register_buffer("share", share, persistent=False)
        self.variance = float(modes.flatten() @ share)

    def spreads(self, sigma):
        """
        Standard deviations of z, of D_G, and of x given z, under the Gaussian half.

        Parameters
        ----------
        sigma : `torch.Tensor`
            Noise levels ``(n,)``.

        Returns
        -------
        tuple of `torch.Tensor`
            Three times ``(n, 1, 1)``.
        """
        noise = sigma.to(self.modes.dtype)[:, None] ** 2
        gain = self.modes / (self.modes + noise)
        wiener = (gain * self.modes) @ self.share
        posterior = (gain * noise) @ self.share
        observed = self.variance + noise[:, 0]
        return tuple(v.sqrt().float()[:, None, None] for v in (observed, wiener, posterior))

    def forward(self, z, wiener, sigma):
        """
        What the network adds to the Wiener filter: ``D - D_G``.

        Parameters
        ----------
        z, wiener : `torch.Tensor`
            Noisy maps and their Wiener filter, ``(n, ny, nx)``; pieces of larger maps, filtered before they were cut.
        sigma : `torch.Tensor`
            Noise levels ``(n,)``.

        Returns
        -------
        `torch.Tensor`
            ``(n, ny, nx)``.
        """
        observed, filtered, posterior = self.spreads(sigma)
        seen = torch.stack([z / observed, wiener / filtered], dim=1)
        return posterior * self.network(seen, sigma)[:, 0].float()


def wiener_filter(maps, variance, sigma):
    """
    ``D_G`` of periodic maps.

    Parameters
    ----------
    maps : `torch.Tensor`
        ``(n, ny, nx)``.
    variance : `torch.Tensor`
        S, of the modes of such a map, ``(ny, nx // 2 + 1)``.
    sigma : `torch.Tensor`
        Noise levels ``(n,)``.
    """
    gain = variance / (variance + sigma[:, None, None] ** 2)
    return torch.fft.irfft2(torch.fft.rfft2(maps) * gain, s=maps.shape[-2:])


def log_levels(low, high, n, generator, device="cpu"):
    """Noise levels ``(n,)``, log-uniform and stratified: one in each n-th part of the range."""
    cells = torch.arange(n, dtype=torch.float32, device="cpu")
    u = (cells + torch.rand(n, generator=generator, dtype=torch.float32, device="cpu")) / n
    return torch.exp(math.log(low) + u * math.log(high / low)).to(device)
