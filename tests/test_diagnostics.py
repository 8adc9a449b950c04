"""Calibration of posteriors that are right, and of posteriors whose faults are known."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import chisquare, norm, t as student

from astro_massmap import ConvergenceMap, datasets
from astro_massmap.diagnostics import coverage, plot_calibration, rank_histogram, ranks, reliability, tarp

LEVELS = (0.3, 0.68, 0.95)


def toy(n_surveys, n_samples, *, width=1.0, shift=0.0, shape=(), seed=0):
    """Truths and samples from a common normal posterior, the samples of another width and mean."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(n_surveys, *shape))
    samples = centre[:, None] + shift + width * rng.normal(size=(n_surveys, n_samples, *shape))
    return samples, centre + rng.normal(size=(n_surveys, *shape))


@pytest.mark.parametrize("n_samples", [2, 8, 16, 64])
def test_the_coverage_of_a_right_posterior_is_its_level(n_samples):
    # three levels within 4 standard errors, four times: a false alarm in 1 of 1300 seeds
    table = coverage(*toy(4000, n_samples), LEVELS)
    assert (np.abs(table["coverage"] - table["level"]) < 4 * table["error"]).all()
    assert (table["error"] < 0.01).all()


def test_the_coverage_of_a_narrow_posterior_is_that_of_normal_quantiles():
    table = coverage(*toy(20000, 400, width=0.8), LEVELS)
    # intervals of 400 samples are those of the posterior to 1 / 400
    expected = [2 * norm.cdf(0.8 * norm.ppf((1 + q) / 2)) - 1 for q in LEVELS]
    assert np.allclose(table["coverage"], expected, atol=0.012)


def test_few_samples_are_corrected_as_students_t_is():
    # a shift of the mean seen by 8 samples, against the same by brute force over many draws of the rank
    samples, truth = toy(50000, 8, shift=0.7, seed=1)
    r = (samples < truth[:, None]).sum(axis=1)
    place = np.random.default_rng(0).uniform(r / 9, (r + 1) / 9)
    share = (np.abs(place - 0.5) < 0.34).mean()
    assert abs(coverage(samples, truth, (0.68,))["coverage"][0] - share) < 0.01
    # and it is not what one gets by counting intervals of the samples themselves, whose level is that of t
    width = samples.std(axis=1, ddof=1) * student.ppf(0.84, 7) * np.sqrt(1 + 1 / 8)
    right, truth = toy(50000, 8, seed=2)
    width = right.std(axis=1, ddof=1) * student.ppf(0.84, 7) * np.sqrt(1 + 1 / 8)
    assert abs((np.abs(truth - right.mean(axis=1)) < width).mean() - 0.68) < 0.01


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


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 100))
def test_shares_add_up(n_samples, bins, seed):
    samples, truth = toy(5, n_samples, shape=(2,), seed=seed)
    assert np.isclose(rank_histogram(samples, truth, bins=bins)["density"].mean(), 1)
    full = coverage(samples, truth, [1 - 1e-12])["coverage"][0]
    assert np.isclose(full, 1, atol=1e-9)


def test_balls_around_random_points():
    # nine levels within 4 standard errors: a false alarm in 1 of 1700 seeds
    right = tarp(*toy(2000, 32, shape=(3,)), n_references=20)
    assert (np.abs(right["coverage"] - right["level"]) < 4 * right["error"]).all()
    narrow = tarp(*toy(2000, 32, shape=(3,), width=0.5), n_references=20)
    assert (np.abs(narrow["coverage"] - narrow["level"]) > 4 * narrow["error"]).any()


def test_balls_see_correlations_that_intervals_do_not():
    # each place of the samples is right alone, but they lack the correlation of the truths
    rng = np.random.default_rng(3)
    common = rng.normal(size=(3000, 1))
    truth = (common + 0.1 * rng.normal(size=(3000, 10))) / np.hypot(1, 0.1)
    samples = rng.normal(size=(3000, 31, 10))
    table = coverage(samples, truth)
    assert (np.abs(table["coverage"] - table["level"]) < 4 * table["error"]).all()
    table = tarp(samples, truth, n_references=10)
    assert (np.abs(table["coverage"] - table["level"]) > 8 * table["error"]).any()


def test_claims_are_as_reliable_as_they_say():
    rng = np.random.default_rng(4)
    p = rng.uniform(size=(100, 300))
    table = reliability(p, rng.uniform(size=p.shape) < p, bins=5)
    # five bins within 4 standard errors: a false alarm in 1 of 3000 seeds
    assert (np.abs(table["true"] - table["claimed"]) < 4 * table["error"]).all()
    assert table["n"].sum() == p.size
    bold = reliability(np.clip(2 * p - 0.5, 0, 1), rng.uniform(size=p.shape) < p, bins=5)
    assert bold["true"][0] > bold["claimed"][0] + 0.05 and bold["true"][-1] < bold["claimed"][-1] - 0.05


def test_the_error_of_a_share_is_its_scatter_over_surveys():
    rng = np.random.default_rng(5)
    p = np.full((40, 50), 0.5)
    shares, errors = [], []
    for _ in range(300):
        level = np.clip(0.5 + 0.2 * rng.normal(size=(40, 1)), 0, 1)  # surveys differ: claims are not independent
        row = reliability(p, rng.uniform(size=p.shape) < level, bins=2)[0]
        shares.append(row["true"])
        errors.append(row["error"])
    assert abs(np.mean(errors) / np.std(shares) - 1) < 0.15


def test_maps_are_taken_as_they_are():
    grid = datasets.demo_truth()[:6, :8]
    samples, truth = toy(4, 5, shape=(6, 8))
    samples[:, :, 0, 0] = np.nan
    maps = [ConvergenceMap(t, wcs=grid.wcs, samples=s) for s, t in zip(samples, truth, strict=True)]
    truths = [ConvergenceMap(t, wcs=grid.wcs) for t in truth]
    assert coverage(maps, truths)["coverage"].tolist() == coverage(samples, truth)["coverage"].tolist()
    assert ranks(maps, truth).shape == (4, 47)


def test_one_survey_has_no_error():
    assert np.isnan(coverage(*toy(1, 8, shape=(5,)))["error"]).all()
    with pytest.raises(ValueError, match="truth: random points"):
        tarp(*toy(1, 8, shape=(5,)))


def test_bad_input():
    samples, truth = toy(3, 8, shape=(5,))
    with pytest.raises(ValueError, match="samples, truth: need the shapes"):
        coverage(samples, truth[:2])
    with pytest.raises(ValueError, match="point estimate"):
        coverage([datasets.demo_truth()], [datasets.demo_truth()])
    with pytest.raises(ValueError, match="same number"):
        coverage([samples[0], samples[1, :4]], truth[:2])
    with pytest.raises(ValueError, match="no place"):
        coverage(samples * np.nan, truth)
    with pytest.raises(ValueError, match="levels"):
        coverage(samples, truth, [1.5])
    with pytest.raises(ValueError, match="bins"):
        rank_histogram(samples, truth, bins=0)
    with pytest.raises(ValueError, match="probability"):
        reliability([[1.5]], [[True]])
    with pytest.raises(ValueError, match="truth: needs a bool array"):
        reliability([[0.5]], [[1]])


def test_the_figure_shows_all_three():
    posterior = toy(50, 8, shape=(3,))
    figure = plot_calibration(coverage(*posterior, LEVELS), rank_histogram(*posterior), tarp(*posterior))
    left, right = figure.axes
    assert len(left.containers) == 2 and len(right.patches) == 9
    assert plot_calibration(coverage(*posterior), rank_histogram(*posterior)).axes[0].get_legend() is not None
