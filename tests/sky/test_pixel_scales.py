"""The default pixel scale of a catalogue."""

import dataclasses

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from astro_massmap import AnnealedHMC, GaussianPrior, PosteriorMean, ShearCatalog, Wiener
from astro_massmap._sky.pixel_scales import default_pixel_scale, surface_density
from astro_massmap.maps.catalog_bins import fixed_scale
from astro_massmap.priors import PosteriorNetwork

from helpers.cases import each_case


def sky(density, side=60.0, center=(150.0, 2.2), seed=1):
    """Positions with a uniform density per square arcminute."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-side / 2, side / 2, (2, rng.poisson(density * side**2))) / 60
    return SkyCoord(center[0] + x / np.cos(np.radians(center[1])), center[1] + y, unit="deg")


def measured(coords, weight=None):
    weight = np.ones(len(coords)) if weight is None else weight
    return surface_density(coords, weight).to_value(u.arcmin**-2)


@each_case(
    ("density", "scale"),
    [
        (64, 0.4), (70, 0.4), (20, 0.4), (15, 0.4), (30, 0.4),  # COSMOS, HSC, Euclid
        (1.4, 1.0), (1.2, 1.0), (1.85, 0.8), (0.62, 1.5), (3, 0.6), (0.1, 2.0),  # bins of DES, KiDS and Euclid
        (110, 0.3), (150, 0.3), (250, 0.25), (400, 0.25),  # cluster fields of HST and JWST
    ],
)  # fmt: skip
def test_the_scale_of_surveys(density, scale):
    assert default_pixel_scale(density / u.arcmin**2).to_value(u.arcmin) == scale
    assert default_pixel_scale((density * 3600) / u.deg**2).to_value(u.arcmin) == scale


@each_case("density", [0.3, 1.4, 6, 30, 110])
@each_case("center", [(150.0, 2.2), (0.0, -60.0), (20.0, 60.0)])
def test_a_uniform_density_is_recovered(density, center):
    side = max(20.0, np.sqrt(2000 / density))
    assert measured(sky(density, side, center)) == pytest.approx(density, rel=0.1)


def test_small_fields():
    assert measured(sky(150, 3)) == pytest.approx(150, rel=0.1)
    assert measured(sky(30, 5)) == pytest.approx(30, rel=0.15)


def test_holes_and_distant_patches_do_not_matter():
    coords = sky(20)
    x, y = coords.ra.deg - 150, coords.dec.deg - 2.2
    holes = np.hypot((x * 60) % 8 - 4, (y * 60) % 8 - 4) < 2.5  # 31 % of the area
    assert 0.25 < holes.mean() < 0.35
    assert measured(coords[~holes]) == pytest.approx(20, rel=0.1)
    assert measured(both(coords, sky(20, center=(210.0, 52.0), seed=2))) == pytest.approx(20, rel=0.1)
    # a cluster of galaxies does not dominate
    crowd = SkyCoord(150 + np.random.default_rng(3).normal(0, 0.01, 3000), np.full(3000, 2.2), unit="deg")
    assert measured(both(coords, crowd)) == pytest.approx(20, rel=0.1)


def both(one, two):
    return SkyCoord(*(np.append(getattr(one, axis).deg, getattr(two, axis).deg) for axis in ("ra", "dec")), unit="deg")


def test_galaxies_of_small_weight_hardly_count():
    coords = sky(40)
    weight = np.where(np.arange(len(coords)) % 2, 1, 1e-6)
    assert measured(coords, weight) == pytest.approx(20, rel=0.1)
    assert measured(coords, 1e-200 * weight) == pytest.approx(20, rel=0.1)


def test_many_galaxies_are_thinned():
    assert measured(sky(100, 120)) == pytest.approx(100, rel=0.1)  # 1.4 million


@each_case("n", [2, 3, 10])
def test_very_few_galaxies(n):
    assert default_pixel_scale(surface_density(sky(1)[:n], np.ones(n))).unit == u.arcmin


def test_the_grid_follows_and_can_be_given():
    coords = sky(1.4, 40)
    e = np.random.default_rng(1).normal(scale=0.26, size=(2, len(coords)))
    catalog = ShearCatalog(coords, *e, axes="west-north")
    shear = catalog.to_map()
    assert shear.pixel_scale.to_value(u.arcmin) == pytest.approx(1, rel=1e-6)
    assert shear.meta["pixel_scale"].startswith("1 arcmin, from 1.")
    fine = catalog.to_map(pixel_scale=0.4 * u.arcmin)
    assert fine.pixel_scale.to_value(u.arcmin) == pytest.approx(0.4, rel=1e-6) and "pixel_scale" not in fine.meta
    assert catalog[::2].to_map(wcs=fine.wcs, shape=fine.shape).shape == fine.shape


def test_a_network_for_one_scale_defines_the_grid():
    coords = sky(1.4, 20)
    e = np.random.default_rng(1).normal(scale=0.26, size=(2, len(coords)))
    catalog = ShearCatalog(coords, *e, axes="west-north")
    one = np.full((2, 2), np.radians(0.4 / 60))
    network = PosteriorMean(dataclasses.replace(PosteriorNetwork.load(), pixel_sizes=one))
    assert fixed_scale(PosteriorMean()) is None
    assert fixed_scale(network) == 0.4 * u.arcmin and fixed_scale(AnnealedHMC(GaussianPrior())) is None
    assert fixed_scale(Wiener()) is None
    kappa = catalog.reconstruct(Wiener(n_samples=0, uncertainty=False), progress=False)
    assert kappa.meta["pixel_scale"].startswith("1 arcmin, from 1.")
    pixel, note = catalog._pixel_scale(None, network)
    assert pixel == 0.4 * u.arcmin and note == {"pixel_scale": "0.4 arcmin, for which the prior or network was trained"}
    assert catalog._pixel_scale(2 * u.arcmin, network) == (2 * u.arcmin, {})
