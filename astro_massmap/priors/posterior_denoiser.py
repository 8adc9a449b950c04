"""
The denoiser of a posterior: the exact Gaussian mean given data and a noisy map, plus a contribution of a network.

A map ``z = x + s white`` and the data ``y = P x + n`` are two independent observations of x. Under the Gaussian
component of the prior, with variance S of the modes, the mean of x given both is

    m = L^-1 b,    L = 1/S + P' N^-1 P + 1/s^2,    b = P' N^-1 y + z/s^2,

and the denoiser is ``D = m + s_p f_1``. The network f sees the inputs

    b s_l^2 / (v + s_l^2)^1/2,    m / s_w,    log(s_l / v^1/2),    1 / (1 + t N),

with the local noise ``s_l^-2 = t + <1/N>`` (the mean is over some pixels around), ``t = s^-2 + s_max^-2``, and the
variance v of a pixel. ``s_w`` and ``s_p`` are the standard deviations of m and of x given z, if the noise of z were
s_l. Inputs and outputs are then of order one with data and in gaps, at all s. A second output is the logarithm of the
variance of x about D in units of ``s_p^2``. With zero output D is m.

For infinite s, D is the mean of x given the data. Without data it is the denoiser of a noisy map
(`~astro_massmap.priors.HybridDenoiser`).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..inference.diffusion import HIGHEST
from .denoiser import CONDITIONS, FieldStatistics
from .unet import UNet

# lowest s_l in units of the standard deviation of a pixel, and number of tabulated ones; s_max is HIGHEST
_LOWEST, _ROWS = 0.02, 64
_CENTRE, _DECADES = 1.8, 1.5  # centre and half width of log(s_l) in the inputs
_WIDTH, _REACH = 1.5, 5  # standard deviation and radius in pixels of the mean of 1/N
_LARGEST = 8.0  # limit of the logarithm of the variance
INPUTS, OUTPUTS, CONDITIONS_OF_POSTERIOR = 4, 2, CONDITIONS + 1  # sizes of the network


@dataclass
class NoisyPair:
    """
    Data and noisy maps: their weighted sums, Gaussian means and noise.

    Attributes
    ----------
    b, mean : `torch.Tensor`
        Sum b and Gaussian mean m, ``(n, ny, nx)``.
    weight, smooth : `torch.Tensor`
        ``1/N`` and its mean over some pixels, see ``posterior_denoiser.smoothed``, ``(n or 1, ny, nx)``.
    sigma, level : `torch.Tensor`
        Noise s, which may be infinite, and the median of s_l over pixels with data, see
        ``posterior_denoiser.typical_noise``, ``(n,)``.
    kind : `torch.Tensor`
        0 for random fields and 1 for fields chosen for a cluster, ``(n,)``.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.priors import NoisyPair
    >>> one = torch.ones(2, 16, 16)
    >>> NoisyPair(one, one, one, one, one[:, 0, 0], one[:, 0, 0], one[:, 0, 0]).level.shape
    torch.Size([2])
    """

    b: torch.Tensor
    mean: torch.Tensor
    weight: torch.Tensor
    smooth: torch.Tensor
    sigma: torch.Tensor
    level: torch.Tensor
    kind: torch.Tensor


class PosteriorDenoiser(nn.Module):
    """
    Mean of the convergence given data and a noisy map, and the standard deviation about it.

    Parameters
    ----------
    network : `~astro_massmap.priors.UNet`
        Network with four inputs, two outputs and one condition more than `~astro_massmap.priors.FieldStatistics` has.
    spectrum : callable
        Angular power spectrum C_ell of the Gaussian component.
    pixel_size : float
        Side of a pixel in radians.
    limits : tuple of float
        See `~astro_massmap.priors.FieldStatistics`.

    Examples
    --------
    An untrained network adds nothing to the Gaussian mean:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import NoisyPair, PosteriorDenoiser, posterior_unet
    >>> denoiser = PosteriorDenoiser(posterior_unet((8, 8, 8)), PowerSpectrum.default(), pixel_size=1.2e-4)
    >>> one, level = torch.ones(2, 32, 32), torch.ones(2)
    >>> added, std = denoiser(NoisyPair(one, one, one, one, level, level, level))
    >>> float(added.detach().abs().max()), std.shape
    (0.0, torch.Size([2, 32, 32]))
    """

    def __init__(self, network, spectrum, pixel_size, limits=(0.0, math.inf)):
        super().__init__()
        self.network, self.pixel_size = network, float(pixel_size)
        self.field = FieldStatistics(spectrum, pixel_size, limits)
        self.register_buffer("shares", posterior_share(self.field), persistent=False)

    def spreads(self, sigma):
        """Return `FieldStatistics.spreads` of the Gaussian component."""
        return self.field.spreads(sigma)

    def scales(self, pair, field=None):
        """Return t, s_l, the standard deviation of a pixel, s_w and s_p for a `NoisyPair`, ``(n, ny, nx)``."""
        shares = self.shares if field is None else posterior_share(field)
        signal = (self.field if field is None else field).variance.sqrt().float()[:, None, None]
        extra = pair.sigma[:, None, None] ** -2 + (HIGHEST * signal) ** -2
        local = (extra + pair.smooth).rsqrt()
        return extra, local, signal, *spreads_at(local, signal, shares)

    def forward(self, pair, field=None):
        """
        Return ``D - m`` and the standard deviation of x about D, ``(n, ny, nx)`` each, for a `NoisyPair`.

        ``field`` are the `FieldStatistics` of a batch of maps of other fields.
        """
        field = self.field if field is None else field
        extra, local, signal, wiener, posterior = self.scales(pair, field)
        channels = (
            pair.b * local**2 / torch.hypot(signal, local),
            pair.mean / wiener,
            torch.log10(local / signal / _CENTRE) / _DECADES,
            pair.weight / (pair.weight + extra),
        )
        inputs = torch.stack([c.expand_as(pair.mean) for c in channels], dim=1)
        kind = pair.kind[:, None].expand(len(pair.mean), 1)
        conditions = torch.cat([field.conditions(pair.level).expand(len(pair.mean), -1), kind], dim=1)
        mean, log_variance = self.network(inputs, conditions).float().unbind(dim=1)
        return posterior * mean, posterior * torch.exp(log_variance.clamp(-_LARGEST, _LARGEST) / 2)


def posterior_unet(widths=(16, 32, 64), **options):
    """
    Return an untrained `~astro_massmap.priors.UNet` for a `PosteriorDenoiser`; ``options`` as for the U-net.

    Examples
    --------
    >>> from astro_massmap.priors import posterior_unet
    >>> posterior_unet((8, 8, 8)).settings["inputs"]
    4
    """
    return UNet(widths, inputs=INPUTS, outputs=OUTPUTS, conditions=CONDITIONS_OF_POSTERIOR, **options)


def smoothed(weight):
    """Return the mean of ``1/N``, ``(n, ny, nx)``, over some pixels around each, zero outside of the maps."""
    offsets = torch.arange(-_REACH, _REACH + 1, dtype=weight.dtype, device=weight.device)
    kernel = torch.exp(-((offsets / _WIDTH) ** 2) / 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    rows = F.conv2d(weight[:, None], kernel, padding=(0, _REACH))
    return F.conv2d(rows, kernel.transpose(2, 3), padding=(_REACH, 0))[:, 0]


def typical_noise(weight, smooth, sigma, signal):
    """
    Return the median of s_l over pixels with data, ``(n,)``; without data it is s.

    ``weight`` and ``smooth`` are ``1/N`` and its mean ``(ny, nx)``, ``sigma`` are noise levels s ``(n,)``, and
    ``signal`` is the standard deviation of a pixel.
    """
    seen = smooth[weight > 0]
    typical = seen.median() if len(seen) else smooth.new_zeros(())
    return (sigma**-2 + (HIGHEST * signal) ** -2 + typical).rsqrt()


def posterior_share(field):
    """Return ``s_p^2 / v`` at `_ROWS` values of ``s_l / v^1/2`` in equal ratios, ``(fields, rows)``."""
    ratios = np.geomspace(_LOWEST, HIGHEST, _ROWS)
    variance = field.variance
    shares = [(field.modes / (field.modes + r**2 * variance[:, None])) @ field.share * r**2 for r in ratios.tolist()]
    return torch.stack(shares, dim=1).float()


def spreads_at(local, signal, table):
    """Return s_w and s_p at local noise ``(n, ny, nx)``, from the table of `posterior_share`."""
    step = math.log(HIGHEST / _LOWEST) / (_ROWS - 1)
    place = (torch.log(local / signal / _LOWEST) / step).clamp(0, _ROWS - 1.001)
    low = place.long()
    flat = low.expand(len(table), *low.shape[1:]).flatten(1) if len(low) == 1 else low.flatten(1)
    rows = table.expand(len(flat), -1)
    below, above = (rows.gather(1, flat + i).view(len(flat), *low.shape[1:]) for i in (0, 1))
    share = below + (place - low) * (above - below)
    return signal * (1 - share).clamp(min=1e-6).sqrt(), signal * share.sqrt()
