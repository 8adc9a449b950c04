"""Calibrated lens planes and maps of random surveys against the power of theory."""

import math

import numpy as np
import torch

from astro_massmap.simulation import (
    Cosmology,
    LensPlanes,
    LightCone,
    PlaneFilter,
    SurveyMaps,
    band_mean,
    band_power,
)
from astro_massmap.simulation.calibration import RESOLUTION
from astro_massmap.simulation.survey_maps import band_limited, random_n_z

SIDE, CELLS = 256.0, 512
DISTANCE = (np.arange(5) + 0.5) * 980.0  # slabs are not contiguous: fewer planes for a test
COSMOLOGY = Cosmology.default()


def power(z, k):
    return 2e3 * (k / 0.1) ** -1.5 / (1 + z) ** 2


def gaussian_planes(seed=0, factor=1.0):
    """Gaussian planes with ``factor`` times the declared power."""
    generator = torch.Generator().manual_seed(seed)
    k = 2 * math.pi / SIDE * np.hypot(*np.meshgrid(*[np.fft.fftfreq(CELLS, 1 / CELLS)] * 2))
    k[0, 0] = np.inf
    scale_factor = COSMOLOGY.scale_factor(DISTANCE)
    planes = []
    for distance, a in zip(DISTANCE, scale_factor, strict=True):
        declared = power(1 / a - 1, k) / SIDE / (1 + (k * distance / RESOLUTION[0]) ** RESOLUTION[1])
        amplitude = torch.from_numpy(np.sqrt(factor * declared)) * CELLS / SIDE
        white = torch.randn(3, CELLS, CELLS, generator=generator, dtype=torch.float64)
        planes.append(torch.fft.ifft2(torch.fft.fft2(white) * amplitude).real)
    return LensPlanes(torch.stack(planes).float(), SIDE, 0.3, DISTANCE, scale_factor, {})


def surveys(planes, filters, shape=(96, 96), **options):
    cone = LightCone([filters.apply(planes)], np.ones(len(DISTANCE)))
    return SurveyMaps([cone], [COSMOLOGY], [power], filters, shape, **options)


def test_the_ratio_is_that_of_planes_and_theory():
    filters = PlaneFilter.fit([([gaussian_planes(1, 1.21), gaussian_planes(2, 1.21)], power)])
    # the linear part of k is not calibrated; the window of the interpolation counts as a loss
    middle = (filters.k > 0.2) & (filters.k < 0.8)
    assert np.abs(filters.ratio[:, middle] / 1.21 - 1).max() < 0.06
    assert np.abs(filters.factor[:, middle] * 1.1 - 1).max() < 0.03
    assert np.abs(filters.factor[:, 0] - 1).max() < 0.01
    assert filters.factor.max() <= 1.3


def test_cosmologies_are_each_compared_with_their_own_power():
    def twice(z, k):
        return 2 * power(z, k)

    alone = PlaneFilter.fit([([gaussian_planes(1)], power)])
    both = PlaneFilter.fit([([gaussian_planes(1)], power), ([gaussian_planes(1, 2.0)], twice)])
    assert np.allclose(alone.ratio, both.ratio, rtol=1e-3)


def test_maps_have_the_spectrum_of_their_survey():
    # maps of the same few planes: 10 % in each band
    planes = gaussian_planes(3, 0.8)
    filters = PlaneFilter.fit([([planes], power)])
    source = surveys(planes, filters)
    for pixel in (0.5, 1.6):
        survey = source.survey(np.random.default_rng(0), redshift=2.0, pixel_size=math.radians(pixel / 60))
        choices = np.random.default_rng(1)
        maps = torch.stack([source.draw(survey, choices) for _ in range(24)])
        assert maps.shape == (24, 96, 96)
        edges = np.geomspace(1500, 5000, 4)
        ratio = band_power(maps, survey.pixel_size, edges).mean(axis=0)
        ratio /= band_mean(survey.spectrum, (96, 96), survey.pixel_size, edges)
        assert np.abs(ratio - 1).max() < 0.12


def test_the_spectrum_is_the_limber_sum():
    filters = PlaneFilter.fit([([gaussian_planes(4)], power)])
    weights = np.zeros(5)
    weights[2] = 0.03
    ell = np.array([1500.0, 3000.0])
    declared = power(filters.redshift[2], ell / DISTANCE[2]) / SIDE / (1 + (ell / RESOLUTION[0]) ** RESOLUTION[1])
    found = filters.spectrum(weights, power)(ell)
    assert np.allclose(found, (0.03 / DISTANCE[2]) ** 2 * declared, rtol=0.08)  # the fit to one cube


def test_what_is_given_is_not_drawn():
    filters = PlaneFilter.fit([([gaussian_planes(5)], power)])
    source = surveys(gaussian_planes(5), filters, pixel_sizes=(1e-4, 4e-4), redshifts=(0.5, 1.5))
    choices = np.random.default_rng(0)
    drawn = [source.survey(choices) for _ in range(40)]
    sizes = [survey.pixel_size for survey in drawn]
    assert 1e-4 < min(sizes) < 1.4e-4 and 3e-4 < max(sizes) < 4e-4
    assert np.ptp([survey.spectrum(1000) for survey in drawn]) > 0
    one, other = (source.survey(choices, redshift=1.0, pixel_size=2e-4) for _ in range(2))
    assert one.pixel_size == 2e-4 and np.array_equal(one.spectrum.cl, other.spectrum.cl)
    n_z = (np.array([0.9, 1.0, 1.1]), np.array([0.0, 1.0, 0.0]))
    assert np.allclose(source.survey(choices, n_z=n_z).weights, one.weights, rtol=0.05, atol=3e-4)


def test_sources_have_the_redshifts_that_were_asked_for():
    choices, kinds = np.random.default_rng(2), set()
    for _ in range(60):
        z, n = random_n_z((0.8, 0.8), choices)
        assert np.all(np.diff(z) > 0) and np.all(n >= 0) and z[-1] <= 3
        mean = np.trapezoid(n * z, z) / np.trapezoid(n, z)
        assert abs(mean - 0.8) < 0.06  # outliers are at 1.5 on average
        kinds.add(len(z))
    assert kinds == {3, 301}


def test_a_map_on_fewer_pixels_keeps_its_modes():
    y, x = np.mgrid[:64, :64] * 2 * math.pi / 64
    long, short = np.cos(3 * x + 5 * y), np.sin(25 * x)
    image = torch.from_numpy(0.4 + long + short)
    limited = band_limited(image, (32, 32))
    assert torch.allclose(limited, torch.from_numpy(0.4 + long)[::2, ::2], atol=1e-10)
