"""Correction of the power of a trained denoiser, band by band, by a regression on many maps."""

import math
from functools import partial

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from ..inference.grid import FourierGrid
from ..priors.correction import Correction, taper

LEVELS = (0.003, 0.006, 0.01, 0.02, 0.035, 0.06, 0.1, 0.17, 0.3, 0.5)
_TABLE = np.geomspace(50, 1e5, 80)


@torch.no_grad()
def fit_correction(denoiser, noiser, n, *, corner=500.0, levels=LEVELS, n_bands=16, seed=0, on_map=lambda: None):
    """
    Regress the truth on both components of the denoiser, in bands of ell and at several noise levels.

    Parameters
    ----------
    denoiser, noiser
        Trained `~astro_massmap.priors.HybridDenoiser`, and a `Noiser` of the maps of a bank.
    n : int
        Number of maps, the first of the bank; about 200 are needed on the largest scales.
    corner : float
        Multipole of the taper: below it network and correction fade.
    levels, n_bands : sequence of float, int
        Noise levels, and number of bands, equal in log ell from 200 to the Nyquist frequency.
    seed, on_map : int, callable
        Seed of the noise, and function called after every map.

    Returns
    -------
    `~astro_massmap.priors.Correction`
        Factors at all multipoles and the given noise levels.

    Examples
    --------
    The assumed spectrum has two thirds of the true power: with strong noise, 3/2 of the expected variance is left.

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.simulation import lognormal_maps
    >>> from astro_massmap.training import MapBank, Noiser, fit_correction
    >>> spectrum, pixel = PowerSpectrum.default(), 1.2e-4
    >>> bank = MapBank(lognormal_maps(spectrum, 64, (64, 64), pixel, shift=1.0), pixel)
    >>> noiser = Noiser(bank, PowerSpectrum(spectrum.ell, spectrum.cl * 2 / 3), size=32, margin=8)
    >>> silent = lambda z, wiener, sigma: torch.zeros_like(z)
    >>> correction = fit_correction(silent, noiser, 64, levels=(1.0,), n_bands=8)
    >>> print(f"{float(correction.at(1.0, torch.tensor([10000.0]))[2]):.1f}")
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
    posterior = (noiser.variance * noise / (noiser.variance + noise)).flatten(1)  # of the Gaussian component
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
    filled = (expected > 0).all(axis=0)  # a small map has no modes in some of the lowest bands
    tables = _solve(sums[..., filled], expected[:, filled])
    middles = np.sqrt(edges[1:] * edges[:-1])[filled]
    fall = taper(_TABLE, corner)
    network, theory, left = ([_smooth(middles, row) for row in table] for table in tables)
    variance = 1 + (np.array(left) - 1) * fall
    return Correction(
        np.array(levels), _TABLE, np.array(network) * fall, np.array(theory) * fall, np.clip(variance, 0.05, 2.0)
    )


def _solve(sums, expected):
    """Return a, b and c, ``(levels, bands)``, from the sums of products and the variance of the Gaussian component."""
    gg, gr, rr, ge, re, ee = np.moveaxis(sums, 1, 0)
    determinant = gg * rr - gr**2
    safe = determinant > 1e-12 * gg * rr
    determinant = np.where(safe, determinant, 1)
    a = np.where(safe, (gg * re - gr * ge) / determinant, 0)
    b = np.where(safe, (rr * ge - gr * re) / determinant, ge / gg)  # zero output of the network
    a, b = np.clip(a, 0, 2), np.clip(b, -0.2, 0.2)
    left = ee - 2 * (a * re + b * ge) + a**2 * rr + 2 * a * b * gr + b**2 * gg
    return a, b, left / expected


def _smooth(ell, values):
    """Return a monotone curve through the bands, constant outside of them."""
    curve = PchipInterpolator(np.log(ell), values)
    return curve(np.clip(np.log(_TABLE), np.log(ell[0]), np.log(ell[-1])))
