"""Slopes with survey properties: a known leakage, the distribution of p, and HEALPix maps of properties."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from scipy.stats import kstest

from astro_massmap import ShearCatalog, SkyFields
from astro_massmap.validation.survey_properties import property_test


def catalogue(seed, n=20_000, leakage=0.0, x=None):
    rng = np.random.default_rng(seed)
    coords = SkyCoord(rng.uniform(-6, 6, n), rng.uniform(-6, 6, n), unit="deg")
    # noise that is common to a patch, as that of lensing
    common = rng.normal(scale=0.02, size=(2, 30, 30))
    where = tuple(((c.wrap_at("180d").deg + 7.5) / 0.5).astype(int) for c in (coords.ra, coords.dec))
    g1, g2 = rng.normal(scale=0.25, size=(2, n)) + common[:, where[0], where[1]]
    x = np.sin(coords.ra.rad * 30) if x is None else x
    return ShearCatalog(coords, g1 + leakage * x, g2, axes="west-north"), x


def test_the_slope_of_a_leakage_is_found():
    catalog, x = catalogue(1, leakage=0.02)
    found = property_test(catalog, 3 + 5 * x)  # the property is standardised
    errors = np.sqrt(np.diag(found.covariance))
    assert abs(found.slope[0] - 0.02 * x.std()) < 3 * errors[0] and abs(found.slope[1]) < 3 * errors[1]
    assert errors[0] == pytest.approx(np.sqrt(0.25**2 + 0.02**2) / np.sqrt(len(x)), rel=0.5)
    assert found.p_value < 1e-3
    assert str(found).startswith("slope per standard deviation of the property: g1 +0.01")
    assert (np.diff(found.table["g1"]) > -2e-3).all() and found.table["g1"][-1] > 3 * found.table["g1_std"][-1]


def test_equal_values_are_in_one_bin_and_the_table_has_the_units_of_the_property():
    catalog, _ = catalogue(5, n=4000)
    x = 10 + np.random.default_rng(1).integers(0, 2, 4000)
    assert property_test(catalog, x).table["property"].tolist() == [10, 11]
    few = property_test(catalog[:40], np.arange(40), n_bins=60, nside=16)
    assert few.table["property"].tolist() == list(range(40))


def test_values_of_a_table_of_which_galaxies_were_selected_and_dropped():
    catalog, x = catalogue(6, n=4000, leakage=0.1)
    table = catalog.to_table()
    table["g1"][:40], table["psf"] = np.nan, x
    with pytest.warns(AstropyUserWarning, match="20 of 2000 galaxies dropped"):
        kept = ShearCatalog.from_table(table, axes="west-north", select=np.arange(4000) % 2 == 1)
    assert (kept.rows == np.arange(41, 4000, 2)).all()
    assert (kept[::3][1:].rows == np.arange(41, 4000, 6)[1:]).all()
    found = property_test(kept, table["psf"])
    assert found.slope.tolist() == property_test(kept, x[kept.rows]).slope.tolist()
    assert found.p_value < 1e-6 and ", p < 0.001 (" in str(found)
    with pytest.raises(ValueError, match=r"one value for each of 1980 galaxies, or of the 4000 rows of which they are"):
        property_test(kept, x[:-1])


@pytest.mark.slow
def test_p_values_are_uniform_without_a_dependence():
    """A Kolmogorov-Smirnov test of 200 catalogues, with a false-alarm rate of 1e-3."""
    p = [property_test(*catalogue(seed, n=4000)).p_value for seed in range(200)]
    assert kstest(p, "uniform").pvalue > 1e-3
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.11


def test_a_property_in_a_healpix_map():
    catalog, _ = catalogue(2, leakage=0.03)
    values = np.full(12 * 32**2, np.nan)
    pixels = catalog.healpix_values(np.arange(12.0 * 32**2)).astype(int)
    total = np.bincount(pixels, np.sin(catalog.coords.ra.rad * 30), minlength=len(values))
    counts = np.bincount(pixels, minlength=len(values))
    values[counts > 0] = total[counts > 0] / counts[counts > 0]
    from_map, own = property_test(catalog, values), property_test(catalog, values[pixels])
    assert from_map.slope.tolist() == own.slope.tolist() and from_map.p_value < 1e-3
    values[pixels[0]] = np.nan
    with pytest.warns(AstropyUserWarning, match="values: the property is unknown for"):
        property_test(catalog, values)


def test_the_convergence_of_a_survey(tmp_path):
    catalog, _ = catalogue(3)
    fields = SkyFields(catalog, pixel_scale=20 * u.arcmin, nside=16, margin=1 * u.deg)
    maps = fields.reconstruct(tmp_path, "kaiser_squires", progress=False)
    table = maps.healpix()
    values = np.full(12 * table.meta["nside"] ** 2, np.nan)
    values[np.asarray(table["pixel"])] = table["mean"]
    found = property_test(maps, values, nested=True, nside=32)
    assert found.slope[0] == pytest.approx(np.asarray(table["mean"]).std(), rel=1e-3) and found.p_value < 1e-6


@pytest.mark.parametrize("code", [-99, -9999, -1.6375e30])
def test_codes_for_no_value_are_not_used_in_silence(code):
    catalog, x = catalogue(4, n=2000)
    with pytest.warns(AstropyUserWarning, match="values: 3 of 2000 look like a code for no value"):
        property_test(catalog, np.where(np.arange(2000) < 3, code, x))


def test_errors_name_the_argument():
    catalog, x = catalogue(4, n=200)
    with pytest.raises(TypeError, match="data: needs a ShearCatalog or SkyMaps, got int"):
        property_test(3, x)
    with pytest.raises(ValueError, match="values: needs a property that varies"):
        property_test(catalog, np.ones(200))
    with pytest.raises(ValueError, match="nside: needs a power of two"):
        property_test(catalog, x, nside=100)
    with pytest.raises(TypeError, match="n_bins: needs an integer"):
        property_test(catalog, x, n_bins=2.5)
    with pytest.raises(ValueError, match="nside: needs at least 8 HEALPix cells"):
        property_test(catalog, x, nside=1)
    with pytest.raises(ValueError, match="values: needs one value for each of 200 galaxies"):
        property_test(catalog, x[:50])
