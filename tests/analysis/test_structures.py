"""Tests of structures: p-values of draws from the posterior, of maps without a halo, and interpolations."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from regions import CircleSkyRegion
from scipy.stats import chisquare

from astro_massmap.analysis.structures import interpolate, structure_test

from helpers.cases import each_case
from helpers.skies import tan_wcs

FALSE_ALARM = 1e-4
SHAPE = (24, 28)
WCS = tan_wcs(SHAPE)
OPEN = np.zeros(SHAPE, dtype=bool)


def circle(x, y, radius=1.6, wcs=WCS):
    return CircleSkyRegion(wcs.pixel_to_world(x, y), radius * u.arcmin)


def halo(x=10, y=12, height=0.3, width=2.0):
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return height * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * width**2))


def smooth_noise(n, seed=0, scale=0.03):
    noise = np.random.default_rng(seed).normal(size=(n, *SHAPE))
    waves = np.exp(-200 * (np.fft.fftfreq(SHAPE[0])[:, None] ** 2 + np.fft.fftfreq(SHAPE[1]) ** 2))
    found = np.fft.ifft2(waves * np.fft.fft2(noise)).real
    return scale * found / found.std()


def test_the_interpolation_is_harmonic():
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    inside = np.hypot(yy - 12, xx - 14) < 6
    inside[:3, :3] = True  # at the edge of the map
    inside[20, 20] = True
    plane = 2 + xx - 3 * yy
    found = interpolate(np.where(inside, 1e3, plane), inside)
    assert np.allclose(found[3:, 3:], plane[3:, 3:])
    assert np.array_equal(found[~inside], plane[~inside])
    noisy = np.random.default_rng(0).normal(size=SHAPE)
    found = interpolate(noisy, inside)
    for y, x in zip(*np.nonzero(inside), strict=True):
        around = [found[j, i] for j, i in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)) if j >= 0 and i >= 0]
        assert found[y, x] == pytest.approx(np.mean(around))
    assert np.array_equal(interpolate(noisy, OPEN), noisy)
    with pytest.raises(ValueError, match=r"^regions: cover the whole map"):
        interpolate(noisy, ~OPEN)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0.8, 4])
def test_the_p_value_of_another_draw_is_uniform(size):
    regions, n, counts = [circle(x, y) for x in (4, 14, 24) for y in (5, 18)], 9, np.zeros(10)
    for seed in range(40):
        maps = np.random.default_rng(seed).normal(size=(n + 1, *SHAPE))  # of regions without common pixels
        table = structure_test(maps[0], maps[1:], WCS, OPEN, regions, size * u.arcmin, other=maps[0])
        ranks = np.rint(table["p_value"] * (n + 1)).astype(int)
        np.add.at(counts, ranks - 1, 1)
    assert chisquare(counts).pvalue > FALSE_ALARM


@pytest.mark.parametrize("kwargs", [{}, {"rotation": 40}, {"flipped": True}, {"center": (0.0, -30.0)}])
def test_a_halo_is_required_and_its_absence_elsewhere_is_not(kwargs):
    wcs = tan_wcs(SHAPE, **kwargs)
    samples = halo() + smooth_noise(99)
    mean = samples.mean(axis=0)
    regions = [circle(10, 12, wcs=wcs), circle(22, 5, wcs=wcs), circle(200, 5, wcs=wcs)]
    table = structure_test(mean, samples, wcs, OPEN, regions, 0.8 * u.arcmin)
    assert table["p_value"][0] == 0.01 and table["deviation"][0] > 4 and table["lower"][0] == 0
    assert table["p_value"][1] > 0.5 and table["kappa"][1] == pytest.approx(table["kappa_tested"][1], abs=0.01)
    assert table["kappa_tested"][0] < 0.5 * table["kappa"][0]
    assert table["n_superpixels"].tolist()[2] == 0 and np.isnan(table["p_value"][2])
    area = np.pi * 1.6**2 / 0.8**2
    assert 0.6 * area < table["n_superpixels"][0] < 1.4 * area
    assert np.array_equal(table["n_samples"], [99] * 3)
    # the truth, and a constant that it is far from
    assert structure_test(mean, samples, wcs, OPEN, regions[0], 0.8 * u.arcmin, other=halo())["p_value"] > 0.5
    zero = structure_test(mean, samples, wcs, OPEN, regions[0], 0.8 * u.arcmin, other=0)
    assert zero["p_value"] == 0.01 and zero["kappa_tested"] == 0
    assert zero["deviation"] > table["deviation"][0]


def test_the_mean_of_a_region_shows_what_no_super_pixel_does():
    # all pixels one standard deviation above the samples: far less than the largest of 50 deviations of a sample, but
    # seven standard deviations of the mean of the region
    samples = np.random.default_rng(0).normal(size=(99, *SHAPE))
    table = structure_test(samples[0], samples, WCS, OPEN, circle(14, 12), 0.4 * u.arcmin, other=1)
    assert table["p_value"][0] <= 0.02 and table["deviation"][0] < 1.5 and table["n_superpixels"][0] > 40


def test_a_region_smaller_than_a_super_pixel_has_one():
    samples = halo() + smooth_noise(19)
    for region in (circle(10, 12, 0.3), circle(10, 12, 0.01)):
        table = structure_test(samples[0], samples, WCS, OPEN, region, 2 * u.arcmin, other=0)
        assert table["n_superpixels"][0] == 1
        # the mean of the block that contains the region, pixels 10 to 14 in both directions
        block = samples[:, 10:15, 10:15].mean(axis=(1, 2))
        expected = block.mean() / block.std(ddof=1) / np.sqrt(1 + 1 / 19)
        assert table["deviation"][0] == pytest.approx(expected)


def test_a_gap_elsewhere_in_the_map_does_not_change_the_tested_mean():
    samples = halo() + smooth_noise(39)
    mean, regions = samples.mean(axis=0), [circle(10, 12), circle(25, 20)]
    whole = structure_test(mean, samples, WCS, OPEN, regions, 0.8 * u.arcmin)
    mean, samples[:, :, 20:] = np.where(np.arange(SHAPE[1]) < 20, mean, np.nan), np.nan
    parted = structure_test(mean, samples, WCS, OPEN, regions, 0.8 * u.arcmin)
    assert parted["kappa_tested"][0] == whole["kappa_tested"][0] and np.isnan(parted["kappa_tested"][1])


def test_a_region_at_a_gap_is_interpolated_as_one_at_the_edge():
    samples = halo() + smooth_noise(39)
    gap = np.arange(SHAPE[1]) >= 20
    at_edge = samples.mean(axis=0)[:, :20], samples[:, :, :20], tan_wcs(SHAPE)
    samples[:, :, gap] = np.nan
    mean = np.where(gap, np.nan, samples.mean(axis=0))
    for x in (18, 20):
        region = [circle(x, 12)]
        found = structure_test(mean, samples, WCS, OPEN, region, 0.4 * u.arcmin)
        edge = structure_test(*at_edge, OPEN[:, :20], region, 0.4 * u.arcmin)
        assert found["kappa_tested"][0] == pytest.approx(edge["kappa_tested"][0])
        assert found["p_value"][0] == edge["p_value"][0]
    with pytest.raises(ValueError, match=r"^regions: cover the whole map"):
        interpolate(mean, ~np.isnan(mean))


def test_samples_with_gaps_and_columns_of_the_regions():
    samples = halo() + smooth_noise(19)
    samples[:, :, 20:] = np.nan
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 20:] = True
    table = structure_test(halo(), samples, WCS, mask, [circle(10, 12), circle(20, 12), circle(26, 12)], 0.4 * u.arcmin)
    assert np.isfinite(table["p_value"][:2]).all() and np.isnan(table["p_value"][2])
    assert 0 < table["n_superpixels"][1] < table["n_superpixels"][0]
    center = SkyCoord([WCS.pixel_to_world(10, 12)])
    clusters = QTable({"ra": center.ra, "dec": center.dec, "radius": [1] * u.arcmin, "z": [0.2]})
    assert structure_test(halo(), samples, WCS, mask, clusters, 0.4 * u.arcmin, keep_columns="z")["z"][0] == 0.2


@each_case(
    ("change", "error", "message"),
    [
        ({"samples": None}, ValueError, "samples: "),
        ({"samples": smooth_noise(2)}, ValueError, "samples: "),
        ({"size": 0.1 * u.arcmin}, ValueError, "size: needs at least the side of a pixel"),
        ({"size": 2}, u.UnitsError, "size: needs an angle"),
        ({"other": np.full(SHAPE, np.nan)}, ValueError, "other: needs finite numbers"),
        ({"other": np.zeros((3, 3))}, ValueError, "other: needs one number or the shape"),
        ({"level": 2}, ValueError, "level: needs to be between 0 and 1"),
        ({"regions": circle(10, 12, 90)}, ValueError, "regions: cover the whole map"),
    ],
)
def test_invalid_arguments(change, error, message):
    arguments = {"samples": smooth_noise(9), "regions": circle(10, 12), "size": 0.8 * u.arcmin} | change
    with pytest.raises(error, match=f"^{message}"):
        structure_test(halo(), wcs=WCS, mask=OPEN, **arguments)
