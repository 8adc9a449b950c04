"""Maps with halos against the analytic profile, and the factor of their power against a known one."""

from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM

from astro_massmap import PowerSpectrum
from astro_massmap.simulation import Cosmology, NFWHalo, TargetedMaps, power_factor
from astro_massmap.simulation.targeted_maps import ARCMIN, Halo, efficiency

COSMOLOGY, H = Cosmology.default(), 0.7
SOURCES = COSMOLOGY.distance(np.array([1.0])), np.ones(1)
PIXEL = 0.2 * ARCMIN


def radii(shape=(65, 65)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return PIXEL * np.hypot(x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2)


class Fields:
    """Flat fields of sources at redshift 1."""

    shape, cosmologies = (65, 65), [COSMOLOGY]

    def survey(self, generator, *, cosmology, redshift, n_z, pixel_size):
        return SimpleNamespace(
            cosmology=0, weights=np.zeros(0), spectrum=PowerSpectrum.default(), pixel_size=pixel_size
        )

    def draw(self, survey, generator):
        return torch.zeros(self.shape)


def test_a_halo_is_that_of_the_catalogues():
    halo = Halo.average(8e14 * H, 0.3)
    other = NFWHalo(8e14 * u.Msun, 0.3, cosmology=FlatLambdaCDM(70, 0.3))
    assert halo.concentration == pytest.approx(other.concentration)
    kappa, theta = halo.convergence((65, 65), PIXEL, COSMOLOGY, SOURCES), radii()
    outer = theta > 7 * PIXEL
    expected = other.convergence(theta[outer] * u.rad, 1.0)
    assert np.allclose(kappa[outer], expected, rtol=1e-3)
    assert np.allclose(halo.mean_convergence([PIXEL], COSMOLOGY, SOURCES), 0.6, rtol=0.3)


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_pixels_contain_the_mass_of_the_cusp(ratio):
    # the mean within a circle of 4 arcmin, with the centre of the halo between pixels
    halo = Halo.average(1e15 * H, 0.3, center=(0.07 * ARCMIN, -0.04 * ARCMIN), axis_ratio=ratio, angle=0.5)
    kappa = halo.convergence((65, 65), PIXEL, COSMOLOGY, SOURCES)
    assert kappa.max() == kappa[32, 32]
    round_one = halo.mean_convergence(4 * ARCMIN, COSMOLOGY, SOURCES)
    assert kappa[radii() < 4 * ARCMIN].mean() == pytest.approx(round_one, rel=0.01 if ratio == 1 else 0.06)
    # contours are longer along the major axis by 1 / ratio
    along = Halo.average(1e15 * H, 0.3, axis_ratio=ratio).convergence((65, 65), PIXEL, COSMOLOGY, SOURCES)
    assert along[32, 32 + 20] == pytest.approx(along[32 + round(20 * ratio), 32], rel=0.01)


def test_sources_in_front_of_a_halo_are_not_lensed():
    distance = COSMOLOGY.distance(np.array([0.2, 1.0]))
    half = efficiency(COSMOLOGY, 0.3, (distance, np.array([0.5, 0.5])))
    assert half == pytest.approx(0.5 * efficiency(COSMOLOGY, 0.3, SOURCES))
    assert efficiency(COSMOLOGY, 0.3, (distance[:1], np.ones(1))) == 0


def test_a_map_is_its_field_and_halos_near_the_middle():
    maps = TargetedMaps(Fields(), scatter=0.5 * ARCMIN, empty=0.25)
    choices, distances, empty, sizes = np.random.default_rng(3), [], 0, []
    for _ in range(60):
        survey = maps.survey(choices)
        sizes.append(survey.pixel_size / ARCMIN)
        image = maps.draw(survey, choices).numpy()
        if not image.any():
            empty += 1
            continue
        y, x = np.unravel_index(image.argmax(), image.shape)
        distances.append(np.hypot(x - 32, y - 32) * survey.pixel_size / ARCMIN)
        assert image.min() > 0
    assert 6 < empty < 26
    assert np.median(distances) < 1 and max(distances) < 6.5
    assert 0.1 < min(sizes) < 0.13 and 0.45 < max(sizes) < 0.6
    same = [maps.draw(survey, np.random.default_rng(5)) for _ in range(2)]
    assert torch.equal(*same)


def test_the_spectrum_is_that_of_the_field_times_the_factor():
    maps = TargetedMaps(Fields(), PowerSpectrum([10, 1e5], [4.0, 4.0], name="targeted"))
    survey = maps.survey(np.random.default_rng(0), redshift=1.0, pixel_size=PIXEL)
    assert survey.spectrum(777) == pytest.approx(4 * PowerSpectrum.default()(777))
    assert survey.spectrum.name == "default: z_s = 1, targeted"


def test_the_factor_is_one_plus_the_power_of_the_halos():
    flat, image = PowerSpectrum([10, 1e5], [1e-11, 1e-11]), np.zeros((65, 65))
    image[32, 32] = 5.0  # the same power at all ell
    survey = SimpleNamespace(spectrum=flat, pixel_size=PIXEL)
    maps = SimpleNamespace(survey=lambda _: survey, halos=lambda *_: image, shape=image.shape)
    factor = power_factor(maps, 2, np.random.default_rng(0))
    expected = 25 * PIXEL**4 / (15 * ARCMIN) ** 2 / 1e-11
    assert expected > 0.5
    assert np.allclose(factor([5e3, 2e4, 1e6]), 1 + expected, rtol=1e-3)
    assert factor(500) == pytest.approx(1 + expected / 2, rel=0.02) and factor(20) == pytest.approx(1, abs=1e-4)
