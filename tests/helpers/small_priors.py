"""Priors and maps that are small enough for tests."""

import math

import numpy as np
import torch

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import (
    CONDITIONS,
    Correction,
    FieldStatistics,
    HybridDenoiser,
    PosteriorDenoiser,
    PosteriorNetwork,
    UNet,
    posterior_unet,
)

from helpers import problems

PIXEL = problems.PIXEL
THEORY = problems.spectrum()
# a sky whose spectrum differs from theory: by -30 % on large scales, +10 % on small ones
TRUTH = PowerSpectrum(THEORY.ell, THEORY.cl * (0.9 + 0.2 * np.tanh(2 * np.log(THEORY.ell / 9000))), name="truth")
WIDTHS = (4, 8, 8)


def network(seed=0, gain=0.3, widths=WIDTHS, **options):
    """An untrained network whose output is not small and depends on maps and noise levels."""
    generator = torch.Generator().manual_seed(seed)
    unet = UNet(widths, **options).requires_grad_(False)
    for name, parameter in unet.named_parameters():
        if name.endswith("weight"):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel()))
        elif name.endswith("bias"):
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    unet.leave.gain.fill_(gain)
    return unet


def table(network=(1.2, 0.9), theory=(0.05, -0.05), variance=(0.8, 0.95)):
    """A correction that depends on the noise level, from 0.01 to 0.5, and on ell."""
    ell = np.geomspace(300, 3e4, 20)
    slope = np.linspace(1, 1.1, 20)
    rows = (np.array(pair)[:, None] * slope for pair in (network, theory, variance))
    return Correction(np.array([0.01, 0.5]), ell, *rows)


def prior(seed=0, gain=0.3, **options):
    """A score prior around `network`."""
    denoiser = HybridDenoiser(network(seed, gain), THEORY, PIXEL)
    return ScorePrior(denoiser, THEORY, (0.003, 0.5), **{"correction": table(), "margin": 8} | options)


def signal(pixel_size=PIXEL, spectrum=THEORY):
    """The standard deviation of a pixel."""
    return float(FieldStatistics(spectrum, pixel_size).variance) ** 0.5


def posterior(unet=None, spectrum=THEORY, pixel=PIXEL, seed=0, **options):
    """
    A network of the posterior for noise of 0.8 to 60 signals, around `network` or another one.

    It is for pixels of half to twice the given size, and in targeted fields of half of it to this size.
    """
    unet = network(seed, inputs=4, outputs=2, conditions=CONDITIONS + 1) if unet is None else unet
    sizes = pixel * np.array([[0.5, 2.0], [0.5, 1.0]])
    factor = PowerSpectrum([1, 1e6], [4, 4], name="fourfold")
    signals = [
        [[0.7 * f * signal(size, spectrum), 1.4 * f * signal(size, spectrum)] for size in row]
        for f, row in zip((1, 2), sizes, strict=True)
    ]
    denoiser = PosteriorDenoiser(unet, spectrum, pixel)
    return PosteriorNetwork(
        denoiser, spectrum, (0.8, 60.0), sizes, np.array(signals), factor, **{"margin": 8} | options
    )


def untrained_posterior(**options):
    """A network of the posterior that adds nothing to the Gaussian mean."""
    return posterior(posterior_unet(WIDTHS).requires_grad_(False), **options)


def gaussian_maps(spectrum, n, shape, seed=0):
    """Periodic Gaussian maps ``(n, ny, nx)``, in single precision."""
    grid = FourierGrid(shape, PIXEL, dtype=torch.float64)
    white = torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    modes = grid.mode_variance(spectrum).sqrt() * grid.to_modes(white)
    return torch.fft.irfft2(modes, s=shape, norm="ortho").float()
