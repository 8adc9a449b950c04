"""Priors and maps that are small enough for tests."""

import math

import numpy as np
import torch

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import Correction, HybridDenoiser, UNet

from helpers import problems

PIXEL = problems.PIXEL
THEORY = problems.spectrum()
# a sky whose spectrum differs from theory: by -30 % on large scales, +10 % on small ones
TRUTH = PowerSpectrum(THEORY.ell, THEORY.cl * (0.9 + 0.2 * np.tanh(2 * np.log(THEORY.ell / 9000))), name="truth")
WIDTHS = (4, 8, 8)


def network(seed=0, gain=0.3, widths=WIDTHS, outputs=1, conditions=15):
    """An untrained network whose output is not small and depends on maps and noise levels."""
    generator = torch.Generator().manual_seed(seed)
    unet = UNet(widths, outputs=outputs, conditions=conditions).requires_grad_(False)
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


def gaussian_maps(spectrum, n, shape, seed=0):
    """Periodic Gaussian maps ``(n, ny, nx)``, in single precision."""
    grid = FourierGrid(shape, PIXEL, dtype=torch.float64)
    white = torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    modes = grid.mode_variance(spectrum).sqrt() * grid.to_modes(white)
    return torch.fft.irfft2(modes, s=shape, norm="ortho").float()
