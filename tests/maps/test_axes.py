import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion
from scipy.ndimage import gaussian_filter

from astro_massmap import ConvergenceMap, ShearCatalog, datasets
from astro_massmap.maps.axes import AXES, same_axes, to_west_north
from astro_massmap.simulation import observe

from helpers.skies import halo_shear, scatter, tan_wcs


def survey(axes, seed=0, strength=1.0, n=30000):
    """Galaxies behind a few halos, measured along west-north and declared to be along ``axes``."""
    rng = np.random.default_rng(seed)
    shape = (100, 100)
    wcs = tan_wcs(shape)
    galaxies = scatter(wcs, shape, n, seed)
    e = sum(halo_shear(galaxies, wcs.pixel_to_world(*rng.uniform(10, 90, 2))) for _ in range(8)) * strength
    e = e + rng.normal(scale=0.2, size=n) + 1j * rng.normal(scale=0.2, size=n)
    return ShearCatalog(galaxies, e.real, e.imag, axes=axes)


def test_right_axes_pass():
    report = survey("west-north").check_axes()
    assert report.ok
    assert report.suggested == "west-north"
    assert report.e_minus_b > 4 > abs(report.e_minus_b_mirrored)
    assert report.skewness > 4
    assert "consistent with the data" in str(report)


DIRECTIONS = {"west": 1, "north": 1j, "east": -1, "south": -1j}  # on an image with North up and East left


@pytest.mark.parametrize("axes", AXES)
def test_every_pair_of_perpendicular_directions_has_its_signs(axes):
    # an image stretched at the angle phi from x to y, (cos 2 phi, sin 2 phi), independently of the formula in use
    x, y = (DIRECTIONS[name] for name in axes.split("-"))
    assert (x * np.conj(y)).real == 0
    phi = np.linspace(0, np.pi, 20)
    direction = np.cos(phi) * x + np.sin(phi) * y
    assert np.allclose(to_west_north(np.exp(2j * phi), axes), direction**2)
    assert np.allclose(to_west_north(direction**2, axes), np.exp(2j * phi))


def test_eight_names_are_four_conventions():
    names = [f"{x}-{y}" for x in DIRECTIONS for y in DIRECTIONS if (DIRECTIONS[x] * np.conj(DIRECTIONS[y])).real == 0]
    assert sorted(AXES) == sorted(names)
    for names in ("west-north east-south", "east-north west-south", "north-east south-west", "south-east north-west"):
        assert [name for name in AXES if same_axes(name, names.split()[0])] == names.split()


@pytest.mark.slow
@pytest.mark.parametrize("claimed", AXES)
@pytest.mark.parametrize("true", list(AXES)[:4])
def test_the_right_axes_are_suggested(true, claimed):
    catalog = survey("west-north", n=30000)
    e = to_west_north(catalog.g1 + 1j * catalog.g2, true)
    catalog = ShearCatalog(catalog.coords, e.real, e.imag, axes=claimed)
    if same_axes(true, claimed):
        assert catalog.check_axes().suggested == claimed
        return
    with pytest.warns(AstropyUserWarning, match="fit significantly better"):
        suggested = catalog.check_axes().suggested
    assert same_axes(suggested, true)
    assert suggested in list(AXES)[:4]


def test_healpix_components_are_south_east():
    # theta increases to the South and phi to the East: (-g1, g2), the convention of HEALPix codes
    catalog = survey("west-north", n=30000)
    other = ShearCatalog(catalog.coords, -catalog.g1, catalog.g2, axes="south-east")
    assert np.array_equal(other.to_map().data, catalog.to_map().data)


@pytest.mark.parametrize("axes", ["east-north", "north-east", "south-east"])
def test_wrong_axes_are_found(axes):
    with pytest.warns(AstropyUserWarning, match="'west-north' fit significantly better"):
        report = survey(axes).check_axes()
    assert not report.ok
    assert report.suggested == "west-north"


@pytest.mark.parametrize("fault", ["rotated by 45 deg", "North of another frame"])
def test_a_b_mode_that_no_axes_explain_is_found(fault):
    catalog = survey("west-north")
    shapes = (catalog.g2, -catalog.g1) if fault.startswith("rotated") else (catalog.g1, catalog.g2)
    coords = catalog.coords if fault.startswith("rotated") else catalog.coords.galactic
    with pytest.warns(AstropyUserWarning, match="the B mode exceeds the E mode"):
        report = ShearCatalog(coords, *shapes, axes="west-north").check_axes()
    assert report.suggested is None
    assert report.e_minus_b < -4


@pytest.mark.parametrize("axes", AXES)
def test_noise_alone_raises_no_warning(axes):
    # 4 sigma in one of the statistics: about one false alarm in 10,000 catalogues
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(3):
            assert survey(axes, seed, strength=0.0, n=5000).check_axes().ok


@pytest.mark.slow
def test_fields_without_skewness_raise_no_warning():
    # With the standard deviation of noise alone, 21 of 60 such fields have a significant third moment. With that of
    # Gaussian fields the standard deviation of the statistic is 1.5, so that 1 of 200 fields exceeds 4 on this side.
    wcs = tan_wcs((100, 100))
    for seed in range(8):
        kappa = gaussian_filter(np.random.default_rng(seed).normal(size=(100, 100)), 6, mode="wrap")
        truth = ConvergenceMap(0.04 * kappa / kappa.std(), wcs=wcs)
        report = observe(truth, density=20 / u.arcmin**2, shape_noise=0.25, seed=seed).check_axes()
        assert report.ok and report.e_minus_b > 4


def test_part_of_the_demo_field_raises_no_warning():
    assert datasets.demo()[::4].check_axes().ok  # its largest void has a skewness of 7 sigma of the noise


def test_few_galaxies_are_enough_to_run():
    assert survey("west-north", n=30).check_axes().ok


def test_galaxies_in_masked_regions_are_left_out(tmp_path):
    good = survey("west-north")
    star = CircleSkyRegion(good.coords[0], 6 * u.arcmin)
    near = good.coords.separation(star.center) < star.radius
    spoiled = ShearCatalog(good.coords, np.where(near, 0.8, good.g1), good.g2, axes="west-north")
    star.write(tmp_path / "stars.reg", format="ds9")
    expected = good[~near].check_axes()
    assert spoiled.check_axes(mask=str(tmp_path / "stars.reg")) == expected
    assert spoiled.check_axes(mask=[star]) == expected
    with warnings.catch_warnings(action="ignore"):
        assert spoiled.check_axes() != expected
