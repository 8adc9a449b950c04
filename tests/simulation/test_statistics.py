"""Power, moments and peaks of maps with known statistics."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from astro_massmap.simulation import band_mean, band_power, moments, peak_density, smoothed

PIXEL = 1.2e-4
EDGES = np.array([2500.0, 4000, 6400, 10000, 16000, 25000])


def rng(seed=0):
    return np.random.default_rng(seed)


def multipoles(shape):
    ly, lx = (2 * np.pi * np.fft.fftfreq(side, PIXEL) for side in shape)
    return np.hypot(ly[:, None], lx)


def gaussian_maps(n, shape, spectrum, seed=0):
    """Maps cut from periodic maps twice as large."""
    large = tuple(2 * side for side in shape)
    ell = multipoles(large)
    ell[0, 0] = ell[0, 1]
    white = rng(seed).normal(size=(n, *large))
    maps = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(spectrum(ell)) / PIXEL).real
    return maps[:, : shape[0], : shape[1]]


def within(values, expected, errors=4.5):
    """Return whether the mean over the maps agrees with ``expected`` within its standard error."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return bool(np.all(np.abs(values.mean(axis=0) - expected) < errors * error))


# ---- power


@pytest.mark.parametrize("shape", [(64, 64), (50, 71)])
def test_white_noise_has_the_same_power_in_every_band(shape):
    power = band_power(rng().normal(scale=0.03, size=(100, *shape)), PIXEL, EDGES)
    assert power.shape == (100, 5)
    assert within(power, 0.03**2 * PIXEL**2)


def test_the_power_of_a_gaussian_field_is_its_spectrum():
    # as steep as that of the convergence; the window mixes neighbouring modes, 5 % at four periods in the map
    def spectrum(ell):
        return 1e-9 * (ell / 1000) ** -1.3

    power = band_power(gaussian_maps(200, (96, 96), spectrum), PIXEL, EDGES)
    expected = band_mean(spectrum, (96, 96), PIXEL, EDGES)
    assert np.abs(power.mean(axis=0) / expected - 1).max() < 0.05
    assert within(power[:, 2:], expected[2:])


def test_a_wave_is_in_its_band_with_all_its_variance():
    y, x = np.mgrid[:64, :64] * 2 * np.pi / 64
    wave = 0.02 * np.cos(9 * x - 7 * y + 0.3)
    unit = 2 * np.pi / (64 * PIXEL)
    edges = unit * np.array([1, 8, 14, 40])  # the wave is at 11.4
    power = band_power(wave[None], PIXEL, edges)[0]
    assert power[0] < 1e-4 * power[1]
    assert power[2] < 1e-4 * power[1]
    # power in the band times the number of its modes
    ell = multipoles((64, 64))
    modes = ((ell >= edges[1]) & (ell < edges[2])).sum()
    assert abs(power[1] * modes / (64 * PIXEL) ** 2 / (0.02**2 / 2) - 1) < 0.01


def test_a_constant_has_no_power():
    noise = rng().normal(size=(2, 32, 32))
    assert np.allclose(band_power(noise + 50.0, PIXEL, EDGES), band_power(noise, PIXEL, EDGES), rtol=1e-6)


def test_arrays_and_tensors_give_the_same():
    maps = rng().normal(size=(2, 32, 40)).astype(np.float32)
    assert np.array_equal(band_power(torch.from_numpy(maps), PIXEL, EDGES), band_power(maps, PIXEL, EDGES))
    assert np.array_equal(band_power(maps.astype(">f4"), PIXEL, EDGES), band_power(maps, PIXEL, EDGES))


def test_bands_without_modes_are_not_a_number():
    edges = [10, 20, 4000, 8000, 1e6, 2e6]
    power = band_power(rng().normal(size=(3, 32, 32)), PIXEL, edges)
    assert np.array_equal(np.isnan(power), [[True, False, False, False, True]] * 3)
    assert np.array_equal(np.isnan(band_mean(lambda ell: 1 + 0 * ell, (32, 32), PIXEL, edges)), np.isnan(power[0]))


@pytest.mark.parametrize("shape", [(32, 32), (31, 40), (20, 27)])
def test_a_band_mean_is_over_all_modes(shape):
    # one by one, over both halves of the plane
    ell = multipoles(shape)
    expected = [(1 / ell[(ell >= low) & (ell < high)]).mean() for low, high in pairwise(EDGES)]
    assert np.allclose(band_mean(lambda ell: 1 / ell, shape, PIXEL, EDGES), expected)


# ---- smoothing, moments, peaks


def test_smoothing_averages_white_noise():
    # variance sigma^2 / (4 pi s^2) for a Gaussian of s pixels; 2 % for 16 maps of 580 independent patches
    s = 2.0
    maps = smoothed(rng().normal(size=(16, 128, 128)), PIXEL, s * PIXEL)
    assert maps.shape == (16, 116, 116)
    assert abs(maps.var() * 4 * math.pi * s**2 - 1) < 0.06


def test_smoothing_damps_a_wave():
    x = np.arange(100)
    wave = np.broadcast_to(np.sin(2 * np.pi * x / 20), (1, 90, 100))
    maps = smoothed(wave, PIXEL, 2.5 * PIXEL)
    assert maps.shape == (1, 90 - 16, 100 - 16)
    assert np.allclose(maps, wave[:, 8:-8, 8:-8] * np.exp(-0.5 * (2.5 * 2 * np.pi / 20) ** 2), atol=2e-3)


def test_moments_are_those_of_scipy():
    maps = 0.02 * rng().gamma(2.0, size=(3, 40, 50))
    std, skewness, kurtosis = moments(torch.from_numpy(maps))
    assert np.isclose(std, maps.std())
    assert np.isclose(skewness, stats.skew(maps, axis=None))
    assert np.isclose(kurtosis, stats.kurtosis(maps, axis=None))
    # of a gamma distribution: 2 / k^1/2 and 6 / k
    assert abs(skewness - math.sqrt(2)) < 0.15
    assert abs(kurtosis - 3) < 1


def test_peaks_are_counted():
    y, x = np.mgrid[:42, :62]
    image = np.zeros((42, 62))
    for row, column, height in ((10, 10, 0.05), (10, 30, 0.03), (25, 45, 0.09), (30, 12, 0.015)):
        image += height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
    image[0, 5] = image[20, -1] = 1.0  # border pixels are not counted
    area = 40 * 60 * math.degrees(PIXEL) ** 2
    found = peak_density([image, image - 0.02, 0 * image], PIXEL, [0.02, 0.04, 0.08, 0.1])
    assert np.allclose(found * area, [[3, 2, 1, 0], [2, 1, 0, 0], [0, 0, 0, 0]])


def test_neighbours_of_a_peak_are_not_peaks():
    image = rng().normal(size=(1, 50, 50))
    peaks = sum(
        image[0, i, j] == image[0, i - 1 : i + 2, j - 1 : j + 2].max() for i in range(1, 49) for j in range(1, 49)
    )
    found = peak_density(image, PIXEL, [-10.0])
    assert found.shape == (1, 1)
    assert np.isclose(found[0, 0] * 48**2 * math.degrees(PIXEL) ** 2, peaks)


def test_a_plateau_is_one_peak():
    image = np.zeros((1, 30, 30))
    image[0, 10:13, 10:14] = image[0, 20, 5] = 0.1
    assert np.isclose(peak_density(image, PIXEL, [0.05])[0, 0] * 28**2 * math.degrees(PIXEL) ** 2, 2)
