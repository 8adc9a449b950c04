"""Intervals of samples and of probabilities, compared with order statistics and binomial counts."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st
from regions import CirclePixelRegion, PixCoord
from scipy.optimize import brentq
from scipy.stats import binom, norm

from astro_massmap import ConvergenceMap
from astro_massmap.analysis.detection import detection_probability
from astro_massmap.analysis.mass import aperture_mass, projected_mass
from astro_massmap.analysis.peaks import find_peaks, peak_counts
from astro_massmap.analysis.quantiles import interval, probability_interval, quantiles

from helpers.skies import tan_wcs

SHAPE = (12, 17)
GRID = tan_wcs(SHAPE)


@given(st.integers(1, 70), st.data())
def test_quantiles_at_whole_ranks_are_samples(n, data):
    rank = data.draw(st.integers(1, n))
    samples = np.random.default_rng(n).normal(size=(n, 3))
    assert np.allclose(quantiles(samples, rank / (n + 1)), np.sort(samples, axis=0)[rank - 1], rtol=1e-12)
    assert np.array_equal(quantiles(samples, [0, 1]), [samples.min(axis=0), samples.max(axis=0)])
    assert np.allclose(quantiles(samples, 0.5), np.median(samples, axis=0), rtol=1e-12)


@pytest.mark.parametrize("n", [7, 16, 39])
def test_intervals_of_exchangeable_draws_cover_exactly_their_level(n):
    # each of n + 1 draws is the truth once, and the others its samples: for any draws, the interval of the ranks k and
    # n + 1 - k contains exactly n + 1 - 2 k of the n + 1 truths, without a random error
    draws = np.random.default_rng(n).standard_cauchy(size=n + 1)
    for k in range(1, (n + 1) // 2):
        level, inside = 1 - 2 * k / (n + 1), 0
        for i, truth in enumerate(draws):
            low, high = interval(np.delete(draws, i), level - 1e-9)  # within rounding, ends are not truths
            inside += low < truth < high
        assert inside == n + 1 - 2 * k


@pytest.mark.parametrize(("level", "needed"), [(0.5, 3), (0.68, 6), (0.9, 19), (0.95, 39), (0.99, 199)])
def test_a_level_that_needs_more_samples_gives_one_warning(level, needed):
    samples = np.random.default_rng(0).normal(size=(needed, 4, 5))
    interval(samples, level)  # without a warning
    few = samples[:-1]
    pattern = f"^level={level:g}: needs at least {needed} samples, got {needed - 1}; .* covers "
    with pytest.warns(AstropyUserWarning, match=pattern) as caught:
        low, high = interval(few, level)
    assert len(caught) == 1 and (low >= few.min(axis=0)).all() and (high <= few.max(axis=0)).all()


def test_all_intervals_of_a_map_are_of_one_kind():
    rng = np.random.default_rng(3)
    samples, mask = 0.1 + rng.normal(scale=0.02, size=(16, *SHAPE)), np.zeros(SHAPE, dtype=bool)
    kappa = ConvergenceMap(samples.mean(axis=0), wcs=GRID, samples=samples)
    disc, center = CirclePixelRegion(PixCoord(8, 6), 3), GRID.pixel_to_world(8, 6)
    means = kappa.region_means(disc)
    args = (kappa.data, samples, GRID, mask)
    for level in (0.5, 0.8):
        ends = [(1 - level) / 2, (1 + level) / 2]
        row = kappa.region_statistics(disc, level=level)[0]
        assert np.allclose([row["lower"], row["upper"]], np.quantile(means[:, 0], ends, method="weibull"))
        mass = projected_mass(*args, disc, 0.3, 1.0, level=level)
        assert np.allclose((mass["upper"] - mass["mass"]) / mass["mass"], row["upper"] / row["kappa"] - 1)
        table = kappa.power_spectrum([3000, 9000], level=level)
        each = [ConvergenceMap(s, wcs=GRID).power_spectrum([3000, 9000])["cl"][0] for s in samples]
        assert np.allclose([table["lower"][0], table["upper"][0]], np.quantile(each, ends, method="weibull"))
        apertures = aperture_mass(*args, center.reshape(1), 1.6 * u.arcmin, level=level)
        each = [
            aperture_mass(s, samples, GRID, mask, center.reshape(1), 1.6 * u.arcmin)["aperture_mass"] for s in samples
        ]
        bounds = [apertures["lower"], apertures["upper"]]
        assert np.allclose(bounds, np.quantile(each, ends, axis=0, method="weibull"))
    for measure in (
        lambda: kappa.region_statistics(disc, level=0.95),
        lambda: kappa.projected_mass(disc, 0.3, 1.0, level=0.95),
        lambda: kappa.aperture_mass(center.reshape(1), 1.6 * u.arcmin, level=0.95),
        lambda: kappa.power_spectrum([3000, 9000], level=0.95),
    ):
        with pytest.warns(AstropyUserWarning, match="level=0.95: needs at least 39 samples, got 16") as caught:
            measure()
        assert len(caught) == 1


def test_quantiles_of_a_map_warn_about_the_most_extreme(monkeypatch):
    from astro_massmap.analysis import quantiles as _quantiles

    samples = np.random.default_rng(0).normal(size=(16, *SHAPE))
    kappa = ConvergenceMap(samples[0], wcs=GRID, samples=samples)
    monkeypatch.setattr(_quantiles, "_STRIP", samples[:, 0].nbytes)  # rows one by one
    with pytest.warns(AstropyUserWarning, match=r"^q=0.02: needs at least 49 samples, got 16") as caught:
        low, _, high = kappa.quantile([0.02, 0.5, 0.95])
    assert len(caught) == 1 and np.array_equal(low, samples.min(axis=0)) and np.array_equal(high, samples.max(axis=0))
    assert np.array_equal(kappa.quantile(0), samples.min(axis=0))  # the extremes themselves, without a warning
    assert kappa.quantile(0.5).shape == SHAPE and kappa.quantile([[0.2, 0.5], [0.3, 0.6]]).shape == (2, 2, *SHAPE)
    unknown = ConvergenceMap(samples[0], wcs=GRID, samples=samples * np.nan, mask=np.ones(SHAPE, dtype=bool))
    assert np.isnan(unknown.median).all()


@given(st.integers(1, 60), st.floats(0.3, 0.99), st.data())
def test_probability_intervals_are_those_of_wilson(n, level, data):
    # at the ends p, the count differs from its mean by z standard deviations of the binomial
    count, z = data.draw(st.integers(0, n)), norm.ppf((1 + level) / 2)
    lower, upper = probability_interval(count, n, level)
    assert 0 <= lower <= count / n <= upper <= 1 and upper > lower
    for end, sign in ((lower, -1), (upper, 1)):
        if 0 < end < 1 and count not in (0, n):
            ends = sorted((count / n, 0.5 + sign / 2))
            root = brentq(lambda p, s=sign: p - count / n - s * z * np.sqrt(p * (1 - p) / n), *ends)
            assert end == pytest.approx(root, abs=1e-6)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_probability_intervals_cover_probabilities(level):
    # the mean coverage over probabilities between 0 and 1; that of one probability varies with its value
    p, n = np.linspace(0, 1, 1001)[1:-1, None], 16
    lower, upper = probability_interval(np.arange(n + 1), n, level)
    covered = (binom.pmf(np.arange(n + 1), n, p) * ((lower <= p) & (p <= upper))).sum(axis=1)
    assert abs(covered.mean() - level) < 0.01


def test_probabilities_have_intervals_and_regions_without_data_are_flagged():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(16, *SHAPE))
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :9] = True
    discs = [CirclePixelRegion(PixCoord(x, 6), 2) for x in (3, 7.5, 13, 90)]  # no data, few data, all, off the field
    table = detection_probability(samples[0], samples, GRID, mask, discs, -9.0, level=0.9)
    assert table["measured"].tolist() == [False, True, True, False] and 0 < table["data_fraction"][1] < 0.3
    assert table["probability"][:3].tolist() == [1, 1, 1] and np.isnan(table["probability"][3])
    assert table["upper"][:3].tolist() == [1, 1, 1] and np.isnan([table["lower"][3], table["upper"][3]]).all()
    # Wilson's lower end for 16 of 16 samples is 1 / (1 + z^2 / 16)
    assert np.allclose(table["lower"][:3], 1 / (1 + norm.ppf(0.95) ** 2 / 16))
    assert (table["n_samples"] == 16).all() and table.meta["level"] == 0.9
    narrow = detection_probability(samples[0], samples, GRID, mask, discs[2], 0.0, level=0.5)
    wide = detection_probability(samples[0], samples, GRID, mask, discs[2], 0.0, level=0.95)
    assert narrow["upper"] - narrow["lower"] < wide["upper"] - wide["lower"]
    with pytest.raises(ValueError, match="level: needs to be between 0 and 1"):
        detection_probability(samples[0], samples, GRID, mask, discs, 0.0, level=95)


def test_probabilities_of_peaks_have_intervals():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    bump = np.exp(-((x - 8) ** 2 + (y - 6) ** 2) / 4)
    samples = np.stack([bump] * 6 + [0 * bump] * 2)
    table = find_peaks(bump, samples, None, GRID, np.zeros(SHAPE, dtype=bool), 0.5)
    assert table["probability"][0] == 0.75 and table["n_samples"][0] == 8
    assert np.allclose([table["lower"][0], table["upper"][0]], probability_interval(6, 8, 0.68))
    kappa = ConvergenceMap(bump, wcs=GRID, samples=samples)
    assert kappa.peaks(0.5, level=0.95)["upper"][0] > table["upper"][0]
    alone = find_peaks(bump, None, None, GRID, np.zeros(SHAPE, dtype=bool), 0.5)
    assert np.isnan([alone["probability"][0], alone["lower"][0], alone["upper"][0]]).all() and alone["n_samples"] == 0
    assert SkyCoord(table["center"]).separation(GRID.pixel_to_world(8, 6))[0] < 1 * u.arcsec
    counts = peak_counts(bump, samples, GRID, None, [0.5, 2])
    assert [counts["lower"][0], counts["upper"][0]] == [0, 1]
