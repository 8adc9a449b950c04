"""The calibration filter, on Gaussian maps of known power."""

import math

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.simulation import RESOLUTION, Transfer, band_mean, band_power, declared_spectrum

PIXEL = 0.4 * math.pi / 10800
SHAPE = (96, 96)


def spectrum(ell):
    return 1e-9 * (ell / 1000) ** -1.2


def expected_filter(ell):
    """Filter from the biased to the declared spectrum: 0.8 on large scales, 1.25 on small scales."""
    return 1.025 + 0.225 * np.tanh(np.log(ell / 3000))


def gaussian_maps(n, spectrum, seed=0):
    """Maps cut from periodic maps twice as large."""
    large = [2 * side for side in SHAPE]
    ell = np.hypot(*np.meshgrid(*(2 * np.pi * np.fft.fftfreq(side, PIXEL) for side in large[::-1])))
    ell[0, 0] = ell[0, 1]
    white = np.random.default_rng(seed).normal(size=(n, *large))
    maps = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(spectrum(ell)) / PIXEL).real
    return torch.from_numpy(maps[:, : SHAPE[0], : SHAPE[1]])


def biased_spectrum(ell):
    return spectrum(ell) / expected_filter(ell) ** 2


@pytest.fixture(scope="module")
def fitted():
    return Transfer.fit(gaussian_maps(150, biased_spectrum), PIXEL, spectrum)


def test_the_filter_is_the_square_root_of_the_ratio(fitted):
    # 2 % on small scales; the window mixes neighbouring modes, 5 % at two periods in the map
    ell = np.geomspace(1100, 25000, 40)
    error = np.abs(fitted(ell) / expected_filter(ell) - 1)
    assert error.max() < 0.07
    assert error[ell > 2500].max() < 0.02


def test_filtered_maps_have_the_declared_power(fitted):
    edges = np.geomspace(2500, 20000, 7)
    maps = fitted.apply(gaussian_maps(150, biased_spectrum, seed=1), PIXEL)
    power = band_power(maps, PIXEL, edges)
    # measured with the same window: 0.5 % in the wider bands, 3 % from the scatter in the first band
    assert np.abs(power.mean(axis=0) / band_mean(spectrum, SHAPE, PIXEL, edges) - 1).max() < 0.04


def test_the_filter_is_limited():
    transfer = Transfer.fit(gaussian_maps(20, lambda ell: spectrum(ell) / 4), PIXEL, spectrum)
    assert transfer.factor.max() == 1.3
    assert np.allclose(transfer(np.geomspace(100, 1e5, 50)), 1.3)
    lowered = Transfer.fit(gaussian_maps(20, lambda ell: spectrum(ell) * 4), PIXEL, spectrum)
    assert np.abs(lowered(np.geomspace(1000, 2e4, 50)) / 0.5 - 1).max() < 0.1


def test_maps_of_the_declared_power_do_not_change():
    # including modes of the size of the map, although the window halves their power
    transfer = Transfer.fit(gaussian_maps(150, spectrum, seed=2), PIXEL, spectrum)
    assert np.abs(transfer(np.geomspace(200, 25000, 40)) - 1).max() < 0.06
    assert np.abs(transfer(np.geomspace(2500, 25000, 40)) - 1).max() < 0.02


def test_the_filter_is_constant_beyond_its_table():
    transfer = Transfer(np.array([100.0, 10000.0]), np.array([0.8, 1.2]))
    assert np.allclose(transfer([0, 10, 100, 1000, 10000, 1e6]), [0.8, 0.8, 0.8, 1.0, 1.2, 1.2])
    assert transfer(np.ones((2, 3))).shape == (2, 3)


@pytest.mark.parametrize("shape", [(32, 32), (31, 45)])
def test_a_factor_of_one_changes_nothing(shape):
    maps = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))
    filtered = Transfer(np.array([100.0, 10000.0]), np.ones(2)).apply(maps, PIXEL)
    assert filtered.dtype == torch.float32
    assert torch.allclose(filtered, maps, atol=1e-6)


def test_a_wave_is_multiplied_by_its_factor():
    transfer = Transfer(np.array([1000.0, 20000.0]), np.array([0.5, 1.3]))
    y, x = np.mgrid[:40, :60]
    wave = torch.from_numpy(np.cos(2 * np.pi * (3 * x / 60 + 5 * y / 40)))[None]
    ell = 2 * math.pi / PIXEL * math.hypot(3 / 60, 5 / 40)
    assert torch.allclose(transfer.apply(wave, PIXEL), wave * float(transfer(ell)), atol=1e-12)
    assert torch.allclose(transfer.apply(torch.ones(1, 8, 8), PIXEL), torch.full((1, 8, 8), 0.5))


def test_maps_are_drawn_with_a_margin_that_is_cut_off():
    class Cone:
        def draw(self, n, shape, pixel_size, generator):
            return torch.from_numpy(generator.normal(size=(n, *shape)))

    transfer = Transfer(np.array([1000.0, 20000.0]), np.array([0.5, 1.3]))
    maps = transfer.draw(Cone(), 2, (20, 30), PIXEL, np.random.default_rng(3))
    larger = Cone().draw(2, (52, 62), PIXEL, np.random.default_rng(3))
    assert maps.shape == (2, 20, 30)
    assert maps.is_contiguous()
    assert torch.equal(maps, transfer.apply(larger, PIXEL)[:, 16:-16, 16:-16])


def test_the_declared_spectrum_has_the_resolution_of_massivenus():
    matter = PowerSpectrum.default()
    declared = declared_spectrum(matter)
    assert RESOLUTION == (5200, 2.2)
    assert np.allclose(declared.cl, matter.cl / (1 + (matter.ell / 5200) ** 2.2))
    assert abs(declared(5200) / matter(5200) - 0.5) < 1e-3
