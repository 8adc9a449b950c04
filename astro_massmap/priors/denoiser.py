"""
The hybrid denoiser: the Wiener filter of a noisy map plus a contribution of a network.

For ``z = x + sigma * white`` the Gaussian component gives the Wiener filter ``D_G = S / (S + sigma^2) z``. The inputs
of the network are z and D_G, scaled to unit variance, and its output is multiplied by the standard deviation of the
Gaussian posterior, ``sp^2 = <S sigma^2 / (S + sigma^2)>``: ``D = D_G + sp * net``. Inputs and outputs are of order one
at every noise level, and with zero output the denoiser is the Wiener filter. The score is ``(D - z) / sigma^2``
(Tweedie's formula), which is equation 6 of Remy et al. (2020) in other units.

The network is conditioned on the logarithms of the noise level over the standard deviation of a pixel, of the pixel
size, and of this standard deviation. These follow from the spectrum and the pixel size, and replace the redshifts of
the sources.
"""

import copy
import math

import torch
from torch import nn

from ..inference.grid import FourierGrid

_REFERENCE = 192  # pixels on a side of the box whose modes sample the spectrum
# centres and half widths of the conditions: decades of noise over signal and of signal, octaves of 0.25 to 2 arcmin
_NOISE, _SIGNAL, _PIXEL = (1.8, 1.5), (0.014, 0.5), (math.radians(0.7 / 60), 1.5)
CONDITIONS = 15  # numbers of a `FieldStatistics.conditions`


class FieldStatistics(nn.Module):
    """
    Standard deviations of noisy and filtered pixels of Gaussian fields, and the conditions of the network.

    Parameters
    ----------
    spectrum : callable
        Angular power spectrum C_ell.
    pixel_size : float
        Side of a pixel in radians.
    limits : tuple of float
        Range of the standard deviations of a pixel in the training; the conditions are those of the nearest one.

    Attributes
    ----------
    variance : `torch.Tensor`
        Variance of a pixel, ``(fields,)``, in double precision.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import FieldStatistics
    >>> field = FieldStatistics(PowerSpectrum.default(), pixel_size=1.2e-4)
    >>> observed, wiener, posterior = field.spreads(torch.tensor([0.1]))
    >>> print(f"{field.variance.sqrt().item():.4f} {observed.item():.4f} {wiener.item():.4f} {posterior.item():.4f}")
    0.0232 0.1026 0.0128 0.0193
    """

    def __init__(self, spectrum, pixel_size, limits=(0.0, math.inf)):
        super().__init__()
        self.limits = limits
        grid = FourierGrid((_REFERENCE, _REFERENCE), pixel_size, dtype=torch.float64)
        modes = grid.mode_variance(spectrum)
        share = (grid.multiplicity / _REFERENCE**2).expand(modes.shape).flatten()
        self.register_buffer("modes", modes.flatten()[None], persistent=False)
        self.register_buffer("share", share, persistent=False)
        size = torch.tensor([float(pixel_size)], dtype=torch.float64, device="cpu")
        self.register_buffer("pixel_size", size, persistent=False)

    @classmethod
    def of_batch(cls, fields):
        """Return the statistics of a batch of maps, one field for each."""
        batch = copy.copy(fields[0])
        batch._buffers = {"share": fields[0].share} | {
            name: torch.cat([getattr(field, name) for field in fields]) for name in ("modes", "pixel_size")
        }
        return batch

    @property
    def variance(self):
        """Variance of a pixel."""
        return self.modes @ self.share

    def spreads(self, sigma):
        """Return the standard deviations of z, of D_G and of x given z, ``(n, 1, 1)``, at noise levels ``(n,)``."""
        noise = sigma.to(self.modes.dtype)[:, None] ** 2
        gain = self.modes / (self.modes + noise)
        wiener = (gain * self.modes) @ self.share
        posterior = (gain * noise) @ self.share
        observed = self.variance + noise[:, 0]
        return tuple(v.sqrt().float()[:, None, None] for v in (observed, wiener, posterior))

    def conditions(self, sigma):
        """Return the conditions of the network at noise levels ``(n,)``: ``(n, 15)`` numbers of order one."""
        signal = self.variance.sqrt()
        noise = waves(torch.log10(sigma / signal / _NOISE[0]) / _NOISE[1], 4)
        size = waves(torch.log2(self.pixel_size / _PIXEL[0]) / _PIXEL[1], 1)
        signal = waves(torch.log10(signal.clamp(*self.limits) / _SIGNAL[0]) / _SIGNAL[1], 1)
        return torch.cat([noise, *(x.expand(len(noise), -1) for x in (size, signal))], dim=1).float()


def waves(u, n):
    """Return u, and n sines and cosines of it, ``(len(u), 2 n + 1)``."""
    waves = math.pi / 2 * u[:, None] * torch.arange(1, n + 1, dtype=u.dtype, device=u.device)
    return torch.cat([u[:, None], torch.sin(waves), torch.cos(waves)], dim=1)


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
    limits : tuple of float
        See `FieldStatistics`.

    Attributes
    ----------
    field : FieldStatistics
        Statistics of the Gaussian component.

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

    def __init__(self, network, spectrum, pixel_size, limits=(0.0, math.inf)):
        super().__init__()
        self.network, self.pixel_size = network, float(pixel_size)
        self.field = FieldStatistics(spectrum, pixel_size, limits)

    @property
    def signal(self):
        """Standard deviation of a pixel under the Gaussian component."""
        return float(self.field.variance.sqrt())

    def spreads(self, sigma):
        """Return `FieldStatistics.spreads` of the Gaussian component."""
        return self.field.spreads(sigma)

    def forward(self, z, wiener, sigma, field=None):
        """
        Return the contribution of the network, ``D - D_G``, ``(n, ny, nx)``, at noise levels ``(n,)``.

        The inputs are noisy maps and their Wiener filter; parts of larger maps must be filtered before the cut.
        ``field`` are the `FieldStatistics` of a batch of maps of other fields.
        """
        field = self.field if field is None else field
        observed, filtered, posterior = field.spreads(sigma)
        seen = torch.stack([z / observed, wiener / filtered], dim=1)
        return posterior * self.network(seen, field.conditions(sigma))[:, 0].float()


def wiener_filter(maps, variance, sigma):
    """Return D_G of periodic maps ``(n, ny, nx)`` for variances S of the modes and noise levels ``(n,)``."""
    gain = variance / (variance + sigma[:, None, None] ** 2)
    return torch.fft.irfft2(torch.fft.rfft2(maps) * gain, s=maps.shape[-2:])


def log_levels(low, high, n, generator, device="cpu"):
    """Draw ``n`` noise levels, log-uniform and stratified: one in each n-th part of the range."""
    cells = torch.arange(n, dtype=torch.float32, device="cpu")
    u = (cells + torch.rand(n, generator=generator, dtype=torch.float32, device="cpu")) / n
    return torch.exp(math.log(low) + u * math.log(high / low)).to(device)
