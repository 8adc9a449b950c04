import math
from itertools import pairwise

import astropy.units as u
import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.inference import FourierGrid
from astro_massmap.simulation.lognormal import gaussian_variance, lognormal_maps

from helpers.cases import each_case

SHAPE, PIXEL, SHIFT, N = (64, 64), 0.4 / 60 * math.pi / 180, 0.03, 40


def power_law(ell):
    return 4e-10 * (ell / 1000) ** -1.2


@pytest.fixture(scope="module")
def maps():
    return lognormal_maps(PowerSpectrum.default(), N, SHAPE, PIXEL, seed=2, dtype=torch.float64).numpy()


def expected_variance(shape=SHAPE):
    """Variance of a pixel: C_ell summed over the modes of the box, with the longest mode for the mean."""
    ell = wave_numbers(shape)
    ell[0, 0] = ell[0, 1]
    return PowerSpectrum.default()(ell).sum() / (shape[0] * shape[1] * PIXEL**2)


def wave_numbers(shape):
    return 2 * np.pi * np.hypot(*np.meshgrid(*(np.fft.fftfreq(side, PIXEL) for side in shape[::-1])))


def within(values, expected, errors=4):
    """Return whether the mean over the first axis agrees with ``expected`` within its standard error."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return bool(np.all(np.abs(values.mean(axis=0) - expected) < errors * error))


def test_the_maps_have_the_given_power(maps):
    power = np.abs(np.fft.fft2(maps)) ** 2 * PIXEL**2 / maps[0].size
    ell = wave_numbers(SHAPE)
    edges = np.geomspace(ell[0, 1] * 0.99, ell[0, 32], 11)
    bands = [(ell >= low) & (ell < high) for low, high in pairwise(edges)]
    bands = [band for band in bands if band.any()]
    assert len(bands) > 7
    expected = [PowerSpectrum.default()(ell[band]).mean() for band in bands]
    assert within(np.stack([power[:, band].mean(axis=1) for band in bands], axis=1), expected)


def test_the_maps_have_the_moments_of_a_lognormal_field(maps):
    # kappa + shift is lognormal: with y = sigma / shift its third moment is sigma^3 (3 y + y^3)
    sigma = math.sqrt(expected_variance())
    y = sigma / SHIFT
    assert 0.5 < y < 1
    assert within(maps.mean(axis=(1, 2)), 0)
    assert within((maps**2).mean(axis=(1, 2)), sigma**2)
    assert within((maps**3).mean(axis=(1, 2)), sigma**3 * (3 * y + y**3))
    assert -SHIFT <= maps.min() < -0.8 * SHIFT


def test_independent_pixels_are_lognormal():
    # white noise: 40 x 4096 pixels give the moments to a percent
    sigma = 0.02
    y = sigma / SHIFT
    kappa = lognormal_maps(lambda ell: sigma**2 * PIXEL**2 + 0 * ell, N, SHAPE, PIXEL, dtype=torch.float64).numpy()
    assert within(kappa.mean(axis=(1, 2)), 0)
    assert within((kappa**2).mean(axis=(1, 2)), sigma**2)
    assert within((kappa**3).mean(axis=(1, 2)), sigma**3 * (3 * y + y**3))


def test_the_logarithm_is_gaussian(maps):
    v = math.log1p(expected_variance() / SHIFT**2)
    g = np.log1p(maps / SHIFT) + v / 2
    assert within(g.mean(axis=(1, 2)), 0)
    assert within((g**2).mean(axis=(1, 2)), v)
    assert within((g**3).mean(axis=(1, 2)), 0)
    assert within((g**4).mean(axis=(1, 2)), 3 * v**2)


def test_with_a_large_shift_the_maps_are_gaussian():
    kappa = lognormal_maps(PowerSpectrum.default(), N, SHAPE, PIXEL, shift=30, dtype=torch.float64).numpy()
    assert within((kappa**2).mean(axis=(1, 2)), expected_variance())
    assert within((kappa**3).mean(axis=(1, 2)), 0)


def test_maps_cut_from_a_larger_box_do_not_repeat():
    kappa = lognormal_maps(PowerSpectrum.default(), N, (32, 48), PIXEL, padding=2, dtype=torch.float64).numpy()
    assert kappa.shape == (N, 32, 48)
    # neighbours across the edge of a periodic map are correlated
    periodic = lognormal_maps(PowerSpectrum.default(), N, (32, 48), PIXEL, dtype=torch.float64).numpy()
    here, there = (((m[:, :, 0] - m[:, :, -1]) ** 2).mean() / m.var() for m in (periodic, kappa))
    assert here < 1 < there
    assert within((kappa**2).mean(axis=(1, 2)), expected_variance((64, 96)))


def test_a_map_depends_on_the_seed_and_its_number_alone():
    maps = lognormal_maps(power_law, 5, (12, 15), PIXEL, seed=3)
    assert torch.equal(lognormal_maps(power_law, 2, (12, 15), PIXEL, seed=3, start=3), maps[3:])
    assert torch.equal(lognormal_maps(power_law, 5, (12, 15), PIXEL, seed=3), maps)
    others = lognormal_maps(power_law, 5, (12, 15), PIXEL, seed=4)
    both = torch.cat([maps, others]).flatten(1)
    similarity = torch.corrcoef(both) - torch.eye(10)
    assert float(similarity.abs().max()) < 0.9
    assert maps.dtype == torch.float32
    double = lognormal_maps(power_law, 2, (12, 15), PIXEL, dtype=torch.float64)
    assert double.dtype == torch.float64 and torch.isfinite(double).all()


@pytest.mark.parametrize("shape", [(16, 16), (15, 22), (1, 9), (1, 1)])
def test_the_covariance_of_the_logarithm_is_the_logarithm_of_the_covariance(shape):
    # both as explicit sums over complex modes
    variance, v = gaussian_variance(FourierGrid(shape, PIXEL, dtype=torch.float64), power_law, SHIFT)
    ell = wave_numbers(shape)
    ell[0, 0] = np.delete(ell.ravel(), 0).min() if ell.size > 1 else 1 / PIXEL
    covariance = np.fft.ifft2(power_law(ell) / PIXEL**2).real
    logarithm = np.log1p(covariance / SHIFT**2)
    assert np.isclose(v, logarithm[0, 0])
    assert np.allclose(variance, np.fft.fft2(logarithm).real[:, : shape[1] // 2 + 1])


def test_a_shift_too_small_for_the_spectrum():
    def ring(ell):
        """Power on one scale, whose covariance has negative values."""
        return 1e-8 * np.exp(-(((ell - 4000) / 300) ** 2))

    with pytest.raises(ValueError, match=r"shift: needs to be larger than .* for this spectrum"):
        lognormal_maps(ring, 1, SHAPE, PIXEL, shift=0.001)
    with pytest.warns(UserWarning, match=r"spectrum, shift: .* the power of the maps is wrong by"):
        lognormal_maps(ring, 1, SHAPE, PIXEL, shift=0.05)
    lognormal_maps(ring, 1, SHAPE, PIXEL, shift=5.0)  # nearly Gaussian, and possible


def test_no_warning_for_negligible_power():
    # far beyond the beam a lognormal field has some power where the spectrum has none, which is negligible
    def beamed(ell):
        return power_law(ell) * np.exp(-((ell / 8000) ** 2))

    box = FourierGrid(SHAPE, PIXEL, dtype=torch.float64)
    variance, _ = gaussian_variance(box, beamed, 0.1)
    assert float(variance.min()) == 0  # some was cut off


@each_case(
    ("options", "error", "named"),
    [
        ({"spectrum": 1e-9}, TypeError, "spectrum"),
        ({"spectrum": lambda ell: -power_law(ell)}, ValueError, "spectrum"),
        ({"spectrum": lambda ell: 0 * ell}, ValueError, "spectrum"),
        ({"spectrum": lambda ell: np.nan * ell}, ValueError, "spectrum"),
        ({"n": 0}, ValueError, "n"),
        ({"n": 2.0}, TypeError, "n"),
        ({"shape": (16,)}, ValueError, "shape"),
        ({"shape": 16}, ValueError, "shape"),
        ({"shape": (16, 0)}, ValueError, "shape"),
        ({"shape": (16, 1.5)}, ValueError, "shape"),
        ({"pixel_size": 0}, ValueError, "pixel_size"),
        ({"pixel_size": 24.0}, ValueError, "pixel_size"),
        ({"pixel_size": 0.4 * u.arcmin}, ValueError, "pixel_size"),
        ({"shift": 0}, ValueError, "shift"),
        ({"shift": math.inf}, ValueError, "shift"),
        ({"padding": 0.9}, ValueError, "padding"),
        ({"seed": -1}, ValueError, "seed"),
        ({"start": -1}, ValueError, "start"),
    ],
)
def test_errors_name_the_argument(options, error, named):
    options = {"spectrum": power_law, "n": 1, "shape": (16, 16), "pixel_size": PIXEL} | options
    with pytest.raises(error, match=f"^{named}:"):
        lognormal_maps(**options)
