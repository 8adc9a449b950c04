"""After the training: the power of the denoiser put right, band by band, on many maps."""

import math
from functools import partial

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from ..inference.grid import FourierGrid
from ..priors.correction import Correction, taper

LEVELS = (0.003, 0.006, 0.01, 0.02, 0.035, 0.06, 0.1, 0.17, 0.3, 0.5)
_TABLE = np.geomspace(50, 1e5, 160)


@torch.no_grad()
def fit_correction(denoiser, noiser, n, *, corner=500.0, levels=LEVELS, n_bands=16, seed=0, on_map=lambda: None):
    """
    Regress the truth on both halves of the denoiser, in bands of ell and at some noise levels.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.HybridDenoiser`
        Which.
    noiser : Noiser
        Of the maps, a bank.
    n : int
        Maps, the first of the bank. With few of them the largest scales are not known well: take 200.
    corner : float
        Multipole below which the network and its correction taper off.
    levels : sequence of float
        Noise levels.
    n_bands : int
        Of ell, in equal ratios from 200 to the Nyquist frequency.
    seed : int
        Of the noise.
    on_map : callable
        Called after every map.

    Returns
    -------
    `~astro_massmap.priors.Correction`
        For all multipoles, and at the noise levels.

    Examples
    --------
    If theory knows two thirds of the power only, and no network helps, then noise that hides the map leaves 3/2 of
    the variance that theory expects:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, Noiser, fit_correction
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> theory = PowerSpectrum(spectrum.ell, spectrum.cl * 2 / 3)
    >>> bank = MapBank(lognormal_maps(spectrum, 64, (64, 64), pixel, shift=1.0), pixel)
    >>> silent = lambda z, wiener, sigma: torch.zeros_like(z)
    >>> noiser = Noiser(bank, theory, size=32, margin=8)
    >>> correction = fit_correction(silent, noiser, 64, levels=(1.0,), n_bands=8)
    >>> network, theory, variance = correction.at(1.0, torch.tensor([10000.0]))
    >>> print(f"{float(variance):.1f}")
    1.5
    """
    device, shape, pixel_size = noiser.device, noiser.source.shape, noiser.source.pixel_size
    edges = np.geomspace(200, math.pi / pixel_size, n_bands + 1)
    hann = partial(torch.hann_window, periodic=False, dtype=torch.float64, device="cpu")
    window = torch.outer(*map(hann, shape)).to(device)
    ell = FourierGrid(shape, pixel_size).ell
    band = torch.bucketize(ell, torch.from_numpy(edges), right=True).flatten().to(device)
    tapered = torch.from_numpy(taper(ell.numpy(), corner)).to(device)
    noise = torch.tensor(levels, dtype=torch.float64, device=device)[:, None, None] ** 2
    posterior = (noiser.variance * noise / (noiser.variance + noise)).flatten(1)  # of the Gaussian half
    expected = torch.zeros((len(levels), n_bands + 2), dtype=torch.float64, device=device)
    expected.index_add_(1, band, posterior * window.square().sum())
    sums = torch.zeros((len(levels), 6, n_bands + 2), dtype=torch.float64, device=device)
    n = min(n, len(noiser.source))
    for i in range(n):
        truth = noiser.source.maps[i : i + 1].to(device)
        for row, level in enumerate(levels):
            sigma = torch.full((1,), level, dtype=torch.float32, device=device)
            z, wiener = noiser.noisy(truth, sigma, torch.Generator(device).manual_seed(seed + i))
            added = denoiser(z, wiener, sigma)
            x, g, r = (torch.fft.rfft2(m[0].double() * window) for m in (truth, wiener, added))
            error, g, r = x - g, g * tapered, r * tapered
            for k, (a, b) in enumerate(((g, g), (g, r), (r, r), (g, error), (r, error), (error, error))):
                sums[row, k].index_add_(0, band, (a * b.conj()).real.flatten())
        on_map()
    sums, expected = (t[..., 1:-1].cpu().numpy() for t in (sums, n * expected))
    filled = (expected > 0).all(axis=0)  # a small map has no modes in some of the longest bands
    tables = _solve(sums[..., filled], expected[:, filled])
    middles = np.sqrt(edges[1:] * edges[:-1])[filled]
    fall = taper(_TABLE, corner)
    network, theory, left = ([_smooth(middles, row) for row in table] for table in tables)
    variance = 1 + (np.array(left) - 1) * fall
    return Correction(
        np.array(levels), _TABLE, np.array(network) * fall, np.array(theory) * fall, np.clip(variance, 0.05, 2.0)
    )


def _solve(sums, expected):
    """a, b and c from the sums of products and the variance of the Gaussian half, each ``(levels, bands)``."""
    gg, gr, rr, ge, re, ee = np.moveaxis(sums, 1, 0)
    determinant = gg * rr - gr**2
    safe = determinant > 1e-12 * gg * rr
    determinant = np.where(safe, determinant, 1)
    a = np.where(safe, (gg * re - gr * ge) / determinant, 0)
    b = np.where(safe, (rr * ge - gr * re) / determinant, ge / gg)  # a network that says nothing leaves the theory
    a, b = np.clip(a, 0, 2), np.clip(b, -0.2, 0.2)
    left = ee - 2 * (a * re + b * ge) + a**2 * rr + 2 * a * b * gr + b**2 * gg
    return a, b, left / expected


def _smooth(ell, values):
    """A monotone curve through the bands, constant beyond them."""
    curve = PchipInterpolator(np.log(ell), values)
    return curve(np.clip(np.log(_TABLE), np.log(ell[0]), np.log(ell[-1])))
