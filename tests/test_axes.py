import warnings

import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import ShearCatalog
from astro_massmap._axes import AXES

from skies import halo_shear, scatter, tan_wcs


def survey(axes, seed=0, strength=1.0, n=30000):
    """Galaxies behind a few halos, measured west-north, claimed to be along ``axes``."""
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
    assert "no sign" in str(report)


@pytest.mark.parametrize("axes", ["east-north", "north-east"])
def test_wrong_axes_are_found(axes):
    with pytest.warns(AstropyUserWarning, match="'west-north' fit clearly better"):
        report = survey(axes).check_axes()
    assert not report.ok
    assert report.suggested == "west-north"


def test_axes_beyond_the_known_ones_are_said_to_be_others():
    catalog = survey("west-north")
    turned = ShearCatalog(catalog.coords, -catalog.g1, catalog.g2, axes="west-north")
    with pytest.warns(AstropyUserWarning, match="others"):
        assert turned.check_axes().suggested is None


@pytest.mark.parametrize("fault", ["turned by 45 deg", "North of another frame"])
def test_a_b_mode_that_no_axes_explain_is_found(fault):
    catalog = survey("west-north")
    shapes = (catalog.g2, -catalog.g1) if fault.startswith("turned") else (catalog.g1, catalog.g2)
    coords = catalog.coords if fault.startswith("turned") else catalog.coords.galactic
    with pytest.warns(AstropyUserWarning, match="the B mode exceeds the E mode"):
        report = ShearCatalog(coords, *shapes, axes="west-north").check_axes()
    assert report.suggested is None
    assert report.e_minus_b < -4


@pytest.mark.parametrize("axes", AXES)
def test_noise_alone_raises_no_alarm(axes):
    # 4 sigma on one statistic or another: a false alarm in some 10,000 catalogues
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(3):
            assert survey(axes, seed, strength=0.0, n=5000).check_axes().ok


def test_a_handful_of_galaxies_is_enough_to_run():
    assert survey("west-north", n=30).check_axes().ok
