"""Calibration of correct posteriors, and of posteriors with known errors."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st
from matplotlib.figure import Figure
from regions import PixCoord, PointPixelRegion
from scipy.integrate import trapezoid
from scipy.stats import binom, chisquare, norm

from astro_massmap import ConvergenceMap, datasets
from astro_massmap.plotting import plot_calibration, plot_reliability
from astro_massmap.validation.diagnostics import coverage, rank_histogram, ranks, reliability, tarp

LEVELS = (0.3, 0.68, 0.95)


def toy(n_surveys, n_samples, *, width=1.0, shift=0.0, shape=(), seed=0):
    """Truths and samples of a normal posterior; samples with another width and mean."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n_surveys, *shape))
    samples = centre[:, None] + shift + width * rng.normal(size=(n_surveys, n_samples, *shape))
    return samples, centre + rng.normal(size=(n_surveys, *shape))


def exact_levels(n_samples, most=5):
    """At most ``most`` levels with intervals from rank k to rank n + 1 - k, the highest first."""
    return [1 - 2 * k / (n_samples + 1) for k in range(1, (n_samples + 1) // 2 + 1)][:most]


@pytest.mark.parametrize("n_samples", [2, 8, 16, 64])
def test_the_coverage_of_a_correct_posterior_is_its_level(n_samples):
    # fifteen levels within 4 standard errors: a false alarm in 1 of 1000 seeds
    table = coverage(*toy(4000, n_samples), exact_levels(n_samples))
    assert (np.abs(table["coverage"] - table["level"]) < 4 * table["error"]).all()
    assert (table["error"] < 0.01).all() and np.allclose(table["expected"], table["level"])


@pytest.mark.parametrize("n_samples", [8, 16, 64])
def test_the_coverage_between_ranks(n_samples):
    # interpolation between samples adds a little; 4 standard errors of 20000 surveys, a false alarm in 1 of 5000 seeds
    row = coverage(*toy(20000, n_samples), [0.68])[0]
    assert -4 * row["error"] < row["coverage"] - 0.68 < 0.3 / (n_samples + 1) + 4 * row["error"]


def test_the_coverage_is_that_of_the_intervals_of_maps():
    # region_statistics and quantile are called for each of the mocks, and no other interval is evaluated
    samples, truth = toy(6, 16, shape=(6, 8), seed=2)
    grid = datasets.demo_truth()[:6, :8]
    mask = np.isnan(samples[0, 0])
    maps = [ConvergenceMap(t, wcs=grid.wcs, samples=s, mask=mask) for s, t in zip(samples, truth, strict=True)]
    pixel, inside, within = PointPixelRegion(PixCoord(3, 2)), [], []
    for kappa, t in zip(maps, truth, strict=True):
        low, high = kappa.quantile([0.16, 0.84])
        inside.append(((low <= t) & (t <= high)).mean())
        row = kappa.region_statistics(pixel, level=0.68)[0]
        within.append(row["lower"] <= t[2, 3] <= row["upper"])
    assert coverage(maps, list(truth), [0.68])["coverage"][0] == pytest.approx(np.mean(inside), abs=1e-12)
    one = [ConvergenceMap(k.data[2:3, 3:4], wcs=grid.wcs, samples=k.samples[:, 2:3, 3:4]) for k in maps]
    assert coverage(one, list(truth[:, 2:3, 3:4]), [0.68])["coverage"][0] == np.mean(within)


def test_a_level_that_needs_more_samples_gives_a_warning_and_the_expected_coverage():
    with pytest.warns(AstropyUserWarning, match="level=0.95: needs at least 39 samples, got 16") as caught:
        row = coverage(*toy(4000, 16), [0.95])[0]
    assert len(caught) == 1 and row["expected"] == pytest.approx(15 / 17)
    assert abs(row["coverage"] - 15 / 17) < 4 * row["error"]  # a false alarm in 1 of 16000 seeds


def test_the_coverage_of_a_narrow_posterior_is_that_of_normal_quantiles():
    table = coverage(*toy(20000, 400, width=0.8), LEVELS)
    # intervals of 400 samples are those of the posterior to 1 / 400
    expected = [2 * norm.cdf(0.8 * norm.ppf((1 + q) / 2)) - 1 for q in LEVELS]
    assert np.allclose(table["coverage"], expected, atol=0.012)


@pytest.mark.parametrize(("n_samples", "k"), [(8, 1), (16, 3), (64, 10)])
@pytest.mark.parametrize(("width", "shift"), [(0.8, 0.0), (1.0, 0.7)])
def test_the_coverage_of_a_wrong_posterior_is_that_of_binomial_ranks(n_samples, k, width, shift):
    # n samples of N(shift, width^2) lie below a truth x of N(0, 1) with the probability Phi((x - shift) / width) each;
    # x is in the interval from the k-th lowest to the k-th highest if k to n - k of them do
    x = np.linspace(-8, 8, 2001)
    below = norm.cdf((x - shift) / width)
    inside = binom.cdf(n_samples - k, n_samples, below) - binom.cdf(k - 1, n_samples, below)
    expected, level = trapezoid(norm.pdf(x) * inside, x), 1 - 2 * k / (n_samples + 1)
    row = coverage(*toy(20000, n_samples, width=width, shift=shift), (level,))[0]
    assert abs(row["coverage"] - expected) < 4 * row["error"] < 0.015  # six of them: a false alarm in 1 of 2600 seeds
    assert abs(row["coverage"] - level) > 7 * row["error"]


def test_ranks_are_uniform_also_with_ties():
    samples, truth = toy(5000, 9)
    counts = np.bincount(ranks(samples, truth).ravel(), minlength=10)
    assert chisquare(counts).pvalue > 1e-3  # the false-alarm rate
    counts = np.bincount(ranks(np.round(samples), np.round(truth)).ravel(), minlength=10)
    assert chisquare(counts).pvalue > 1e-3


def test_the_histogram_of_ranks():
    table = rank_histogram(*toy(3000, 15), bins=5)
    assert (np.abs(table["density"] - 1) < 4 * table["error"]).all()
    assert np.isclose(table["density"].mean(), 1)
    wide = rank_histogram(*toy(3000, 15, width=2), bins=5)["density"]
    narrow = rank_histogram(*toy(3000, 15, width=0.5), bins=5)["density"]
    assert wide[2] > 1.2 > 0.8 > wide[0]
    assert narrow[2] < 0.8 < 1.2 < narrow[0]
    assert len(rank_histogram(*toy(30, 7))) == 8


@pytest.mark.slow
def test_the_p_value_of_the_histogram_is_uniform_for_correlated_pixels():
    # two surveys of 30 correlated pixels, with ties; a false alarm in 1 of 1000 seeds
    def p_value(seed, width=1.0, n_surveys=2):
        rng = np.random.default_rng(seed)
        draws = rng.normal(size=(n_surveys, 9, 1)) + 0.5 * rng.normal(size=(n_surveys, 9, 30))
        draws[:, 1:] *= width
        draws = np.round(4 * draws)
        return rank_histogram(draws[:, 1:], draws[:, 0], bins=4, seed=seed).meta["p_value"]

    p = np.array([p_value(seed) for seed in range(200)])
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() < level + 3 * np.sqrt(level * (1 - level) / 200)
        assert (p <= level).mean() > level - 3 * np.sqrt(level * (1 - level) / 200)
    assert p_value(0, width=0.3, n_surveys=100) == 0.001
    single = np.array([rank_histogram(*toy(1, 19, seed=seed), bins=4).meta["p_value"] for seed in range(20)])
    assert ((single > 0) & (single <= 1)).all()
    assert rank_histogram(*toy(3, 8), bins=1).meta["p_value"] == 1


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 100))
def test_fractions_add_up_to_one(n_samples, bins, seed):
    samples, truth = toy(5, n_samples, shape=(2,), seed=seed)
    assert np.isclose(rank_histogram(samples, truth, bins=bins)["density"].mean(), 1)
    balls = tarp(samples, truth, levels=[1 - 1e-12], n_references=2)["coverage"][0]
    assert np.isclose(balls, 1, atol=1e-9)


def test_tarp_of_a_correct_and_of_a_narrow_posterior():
    # nine levels within 4 standard errors: a false alarm in 1 of 1700 seeds
    right = tarp(*toy(2000, 32, shape=(3,)), n_references=20)
    assert (np.abs(right["coverage"] - right["level"]) < 4 * right["error"]).all()
    narrow = tarp(*toy(2000, 32, shape=(3,), width=0.5), n_references=20)
    assert (np.abs(narrow["coverage"] - narrow["level"]) > 4 * narrow["error"]).any()


@pytest.mark.slow
def test_tarp_is_exact_for_three_surveys():
    # a point must be independent of its truth; three levels at 4 standard errors, a false alarm in 1 of 5000 seeds
    tables = [tarp(*toy(3, 4, shape=(2,), seed=s), n_references=4, seed=s, levels=LEVELS) for s in range(1500)]
    shares = np.array([table["coverage"] for table in tables])
    assert (np.abs(shares.mean(axis=0) - LEVELS) < 4 * shares.std(axis=0) / np.sqrt(1500)).all()


def test_tarp_detects_a_shift():
    samples, truth = toy(1000, 16, shape=(5,), shift=1.0)
    table = tarp(samples, truth, n_references=20)
    assert (np.abs(table["coverage"] - table["level"]) > 5 * table["error"]).any()


def test_tarp_detects_correlations_that_intervals_do_not():
    # each pixel of the samples has the correct distribution, but they lack the correlation of the truths
    rng = np.random.default_rng(3)
    common = rng.normal(size=(3000, 1))
    truth = (common + 0.1 * rng.normal(size=(3000, 10))) / np.hypot(1, 0.1)
    samples = rng.normal(size=(3000, 39, 10))
    table = coverage(samples, truth, (0.65, 0.95))
    assert (np.abs(table["coverage"] - table["level"]) < 4 * table["error"]).all()
    table = tarp(samples, truth, n_references=10)
    assert (np.abs(table["coverage"] - table["level"]) > 8 * table["error"]).any()


def test_reliability_of_correct_and_of_overconfident_probabilities():
    rng = np.random.default_rng(4)
    p = rng.uniform(size=(100, 300))
    table = reliability(p, rng.uniform(size=p.shape) < p, bins=5)
    # five bins within 4 standard errors: a false alarm in 1 of 3000 seeds
    assert (np.abs(table["true"] - table["claimed"]) < 4 * table["error"]).all()
    assert table["n"].sum() == p.size
    bold = reliability(np.clip(2 * p - 0.5, 0, 1), rng.uniform(size=p.shape) < p, bins=5)
    assert bold["true"][0] > bold["claimed"][0] + 0.05 and bold["true"][-1] < bold["claimed"][-1] - 0.05


@pytest.mark.parametrize("n_samples", [4, 16])
def test_reliability_of_few_samples_is_exact(n_samples):
    # most events are nearly certain or excluded, as clusters; four bins at 4 standard errors, 1 of 4000 seeds
    rng = np.random.default_rng(6)
    chance = rng.beta(0.3, 0.3, size=(400, 200))
    count, true = rng.binomial(n_samples, chance), rng.uniform(size=chance.shape) < chance
    count[0, :5] = 0
    table = reliability(count / n_samples, true, bins=4, n_samples=n_samples)
    assert (np.abs(table["true"] - table["claimed"]) < 4 * table["error"]).all()
    assert table["n"].sum() == chance.size and table.meta["n_samples"] == n_samples
    naive = reliability(count / n_samples, true, bins=4)
    assert (np.abs(naive["true"] - naive["claimed"]) > 6 * naive["error"]).any()
    # overconfident probabilities are detected
    bold = rng.uniform(size=chance.shape) < np.where(chance > 0.5, 0.8 * chance, chance)
    table = reliability(count / n_samples, bold, bins=4, n_samples=n_samples)
    assert (table["claimed"] - table["true"] > 6 * table["error"]).any()
    with pytest.raises(ValueError, match="n_samples: needs probabilities that are multiples"):
        reliability(count / n_samples, true, n_samples=n_samples - 1)
    missing = np.where(rng.uniform(size=count.shape) < 0.5, np.nan, count / n_samples)
    assert reliability(missing, true, n_samples=n_samples)["n"].sum() == np.isfinite(missing).sum()


def test_the_error_of_a_fraction_is_its_scatter_over_surveys():
    rng = np.random.default_rng(5)
    p = np.full((40, 50), 0.5)
    shares, errors = [], []
    for _ in range(300):
        level = np.clip(0.5 + 0.2 * rng.normal(size=(40, 1)), 0, 1)  # surveys differ: events are correlated
        row = reliability(p, rng.uniform(size=p.shape) < level, bins=2)[0]
        shares.append(row["true"])
        errors.append(row["error"])
    assert abs(np.mean(errors) / np.std(shares) - 1) < 0.15


def test_maps_give_the_same_as_arrays():
    grid = datasets.demo_truth()[:6, :8]
    samples, truth = toy(4, 39, shape=(6, 8))
    samples[:, :, 0, 0] = np.nan
    mask = np.isnan(samples[0, 0])
    maps = [ConvergenceMap(t, wcs=grid.wcs, samples=s, mask=mask) for s, t in zip(samples, truth, strict=True)]
    truths = [ConvergenceMap(t, wcs=grid.wcs) for t in truth]
    assert coverage(maps, truths)["coverage"].tolist() == coverage(samples, truth)["coverage"].tolist()
    assert ranks(maps, truth).shape == (4, 47)


def test_one_survey_has_no_error():
    assert np.isnan(coverage(*toy(1, 39, shape=(5,)))["error"]).all()
    with pytest.raises(ValueError, match="truth: needs at least three surveys"):
        tarp(*toy(1, 8, shape=(5,)))


def test_bad_input():
    samples, truth = toy(3, 8, shape=(5,))
    with pytest.raises(ValueError, match="samples, truth: need the shapes"):
        coverage(samples, truth[:2])
    with pytest.raises(ValueError, match="point estimate"):
        coverage([datasets.demo_truth()], [datasets.demo_truth()])
    with pytest.raises(ValueError, match="same number"):
        coverage([samples[0], samples[1, :4]], truth[:2])
    with pytest.raises(ValueError, match="at least one pixel"):
        coverage(samples * np.nan, truth)
    with pytest.raises(ValueError, match="levels"):
        coverage(samples, truth, [1.5])
    with pytest.raises(ValueError, match="bins"):
        rank_histogram(samples, truth, bins=0)
    with pytest.raises(ValueError, match="n_references"):
        tarp(samples, truth, n_references=0)
    for bins in (0, [0.5, 0.2], [0.5]):
        with pytest.raises(ValueError, match="bins"):
            reliability([[0.5]], [[True]], bins=bins)
    with pytest.raises(ValueError, match="probability"):
        reliability([[1.5]], [[True]])
    with pytest.raises(ValueError, match="truth: needs a bool array"):
        reliability([[0.5]], [[1]])


def test_the_figure_of_coverage_ranks_and_tarp():
    posterior = toy(50, 39, shape=(3,))
    ranked = rank_histogram(*posterior)
    figure = plot_calibration(coverage(*posterior, LEVELS), ranked, tarp(*posterior))
    left, right = figure.axes
    assert len(left.containers) == 2
    bars, band = right.containers
    assert np.allclose([bar.get_height() for bar in bars], ranked["density"])
    assert np.allclose(
        [(b.get_y(), b.get_height()) for b in band], np.transpose([1 - ranked["error"], 2 * ranked["error"]])
    )
    other = plot_calibration(coverage(*posterior), ranked, figure=Figure())
    assert len(other.axes[0].containers) == 1 and len(other.axes[0].get_legend().texts) == 1
    with pytest.warns(AstropyUserWarning, match="level=0.98"):
        table = coverage(*posterior, [0.5, 0.98])
    few = plot_calibration(table, ranked, figure=Figure()).axes[0]
    assert few.get_lines()[-1].get_ydata() == pytest.approx([38 / 40])
    assert "expected, 39 samples" in [text.get_text() for text in few.get_legend().texts]
    plt.close(figure)


def test_the_figure_of_the_reliability():
    rng = np.random.default_rng(6)
    p = rng.uniform(size=(20, 50))
    table = reliability(p, rng.uniform(size=p.shape) < p, bins=4)
    (points,) = plot_reliability(table, figure=Figure()).axes[0].containers
    assert np.allclose(points.lines[0].get_ydata(), table["true"])
