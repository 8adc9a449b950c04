"""
Correction factors of a denoiser against their expected values.

Every band of ell has a finite number of modes, ``WAVES``. With n maps, of which a Hann window leaves
``(35 / 128)^2 / (3 / 8)^4`` times fewer independent ones, a factor of a regression has the standard error
``sqrt(left / variance / waves)``.
"""

import math

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import HybridDenoiser, UNet
from astro_massmap.priors.correction import taper
from astro_massmap.training import MapBank, Noiser, fit_correction

from helpers import small_priors
from helpers.small_priors import PIXEL, THEORY

SIDE, N, BANDS, CORNER = 128, 160, 10, 500.0
LEVELS = (0.02, 0.06, 0.15)
EDGES = np.geomspace(200, math.pi / PIXEL, BANDS + 1)
ELL = np.sqrt(EDGES[1:] * EDGES[:-1])[1:]  # a box of 128 pixels has no modes in the first band
SHARED = (35 / 128) ** 2 / (3 / 8) ** 4
WAVES = N * math.pi * (EDGES[1:] ** 2 - EDGES[:-1] ** 2)[1:] * (SIDE * PIXEL / (2 * math.pi)) ** 2 / 2 / SHARED
# a sky that differs from theory by at most 15 %, so that b is within its limits
SKY = PowerSpectrum(THEORY.ell, THEORY.cl * (1 + 0.15 * np.tanh(2 * np.log(THEORY.ell / 4000))))


def variances(level):
    """S of the sky and of theory at the middles of bands, and their Wiener gains."""
    sky, theory = (s(ELL) / PIXEL**2 for s in (SKY, THEORY))
    return sky, theory, sky / (sky + level**2), theory / (theory + level**2)


def noiser(maps, theory=THEORY):
    return Noiser(MapBank(maps, PIXEL), theory, size=32, margin=8)


def fitted(denoiser, maps, **options):
    return fit_correction(denoiser, noiser(maps), N, levels=LEVELS, n_bands=BANDS, corner=CORNER, **options)


def silent(z, wiener, sigma):
    return torch.zeros_like(z)


@pytest.fixture(scope="module")
def sky():
    return small_priors.gaussian_maps(SKY, N, (SIDE, SIDE))


@pytest.fixture(scope="module")
def of_sky(sky):
    return fitted(silent, sky)


@pytest.mark.parametrize("level", LEVELS)
def test_theory_is_corrected_if_the_network_adds_nothing(of_sky, level):
    sky, _, right, wrong = variances(level)
    network, theory, _ = (f.numpy() for f in of_sky.at(level, torch.from_numpy(ELL)))
    fall = taper(ELL, CORNER)
    expected = (right / wrong - 1) * fall
    left, filtered = sky * (1 - right), wrong**2 * (sky + level**2)
    error = np.sqrt(left / filtered / WAVES)
    # 5 standard errors; and S is not constant in a band: half a per cent
    assert (np.abs(theory - np.clip(expected, -0.2, 0.2)) < 5 * error + 0.005).all()
    assert (np.abs(theory) > 5 * error).any()
    assert not network.any()


@pytest.mark.parametrize("level", LEVELS)
def test_the_variance_that_is_left(of_sky, level):
    # in units of that of theory, as in samplers: the scatter is 1 / sqrt(modes)
    sky, theory, right, wrong = variances(level)
    _, _, variance = (f.numpy() for f in of_sky.at(level, torch.from_numpy(ELL)))
    expected = 1 + (sky * (1 - right) / (theory * (1 - wrong)) - 1) * taper(ELL, CORNER)
    assert (np.abs(variance - expected) < 5 / np.sqrt(WAVES) + 0.01).all()


@pytest.mark.parametrize("level", LEVELS)
def test_power_adds_up(of_sky, level):
    # power of the denoised map plus the variance about it is that of the sky: the purpose of the correction
    sky, theory, _, wrong = variances(level)
    _, b, c = (f.numpy() for f in of_sky.at(level, torch.from_numpy(ELL)))
    power = ((1 + b) * wrong) ** 2 * (sky + level**2) + c * theory * (1 - wrong)
    assert (np.abs(power / sky - 1) < 5 / np.sqrt(WAVES) + 0.01)[1:].all()  # in the first theory tapers in
    assert np.abs(theory / sky - 1).max() > 0.1


class Timid:
    """
    A denoiser with partial knowledge of the truth; its output is ``share`` times the right one.

    ``e``, the error of the Wiener filter, plus white noise of the variance of e per mode: half of it is the best
    guess of e, and half of the variance of e is left.
    """

    def __init__(self, maps, share):
        self.maps, self.share, self.calls = maps, share, 0
        self.variance = FourierGrid((SIDE, SIDE), PIXEL, dtype=torch.float64).mode_variance(THEORY)

    def __call__(self, z, wiener, sigma):
        truth = self.maps[self.calls // len(LEVELS)].double()
        noise = torch.randn(SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(self.calls))
        posterior = self.variance * sigma**2 / (self.variance + sigma**2)
        coloured = torch.fft.irfft2(torch.fft.rfft2(noise) * posterior.sqrt(), s=(SIDE, SIDE))
        self.calls += 1
        return self.share * ((truth - wiener[0].double() + coloured) / 2)[None].float()


@pytest.fixture(scope="module")
def theory_maps():
    return small_priors.gaussian_maps(THEORY, N, (SIDE, SIDE), seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.8, 1.0, 1.25])
def test_a_network_with_too_small_or_too_large_output(theory_maps, share):
    correction = fitted(Timid(theory_maps, share), theory_maps)
    for level in LEVELS:
        network, theory, variance = (f.numpy() for f in correction.at(level, torch.from_numpy(ELL)))
        fall = taper(ELL, CORNER)
        # half of the variance is left, half is in the network: the relative error of a is 1 / sqrt(modes)
        assert (np.abs(network - fall / share) < 5 / share / np.sqrt(WAVES) + 0.03 * (1 - fall)).all()
        _, _, _, gain = variances(level)
        error = np.sqrt((1 - gain) / gain / 2 / WAVES)
        assert (np.abs(theory) < 5 * error + 0.005).all()
        # the network is tapered on large scales, and its part of the variance is left
        assert (np.abs(variance - (1 - fall / 2)) < 5 / np.sqrt(WAVES) + 0.1 * (1 - fall))[fall > 0.9].all()


def test_theory_is_not_corrected_below_the_corner(of_sky, theory_maps):
    for correction in (of_sky, fitted(Timid(theory_maps, 0.8), theory_maps)):
        network, theory, variance = (f.numpy() for f in correction.at(0.06, torch.tensor([0.0, 30.0, 60.0])))
        assert (network < 1e-3).all() and (np.abs(theory) < 1e-3).all() and np.allclose(variance, 1, atol=1e-3)


def test_the_table_covers_all_modes(of_sky):
    assert of_sky.sigma.tolist() == list(LEVELS)
    assert of_sky.ell[0] <= 50 and of_sky.ell[-1] > math.sqrt(2) * math.pi / PIXEL
    for rows in (of_sky.network, of_sky.theory, of_sky.variance):
        assert rows.shape == (3, len(of_sky.ell)) and np.isfinite(rows).all()
    beyond = of_sky.ell > ELL[-1]
    assert np.ptp(of_sky.theory[:, beyond], axis=1).max() < 1e-4  # constant, but for the end of the taper


def test_factors_are_clipped(theory_maps):
    loud = fitted(lambda z, wiener, sigma: -0.01 * wiener, theory_maps[:2])
    assert (loud.network >= 0).all() and (np.abs(loud.theory) <= 0.2).all()
    shrunk = fitted(silent, 3 * theory_maps[:2])
    assert shrunk.theory.max() <= 0.2 and shrunk.variance.max() == 2


def test_a_denoiser_of_this_package_and_reports(theory_maps):
    calls = []
    denoiser = HybridDenoiser(UNet((4, 8, 8)), THEORY, PIXEL)
    by_network = fitted(denoiser, theory_maps[:3], seed=5, on_map=lambda: calls.append(1))
    assert len(calls) == 3  # the bank has three maps
    again, other = (fitted(silent, theory_maps[:3], seed=seed) for seed in (5, 6))
    assert np.array_equal(by_network.theory, again.theory) and not np.array_equal(other.theory, again.theory)


def test_oblong_maps(sky):
    correction = fitted(silent, sky[:4, :, :100])
    assert np.isfinite(correction.theory).all() and np.isfinite(correction.variance).all()
