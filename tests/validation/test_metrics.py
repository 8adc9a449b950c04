"""Scores of samples, scatter of summaries, and completeness of peaks, compared with definitions and known values."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from astro_massmap.validation.peak_completeness import FALSE, THRESHOLDS, Lists, lists_of
from astro_massmap.validation.replicates import grouped, jackknife, jackknife_replicates, spread
from astro_massmap.validation.scoring_rules import crps, mira, mira_of_correct_posterior
from astro_massmap.validation.summary_covariance import (
    covariance_ratio,
    moments_of_each,
    summary_sums,
    variance_ratio,
)

ARCMIN = np.radians(1 / 60)

# ---- scores of samples


def test_crps_by_its_definition():
    rng = np.random.default_rng(1)
    samples, truth = rng.normal(size=(3, 5, 7)), rng.normal(size=(3, 7))
    pairs = np.abs(samples[:, :, None] - samples[:, None]).sum(axis=(1, 2)) / (2 * 5 * 4)
    expected = (np.abs(samples - truth[:, None]).mean(axis=1) - pairs).mean(axis=1)
    assert np.allclose(crps(samples, truth), expected)
    with pytest.raises(ValueError, match="samples: need at least two, got 1"):
        crps(samples[:, :1], truth)


def test_crps_is_lowest_for_the_true_posterior():
    draws = np.random.default_rng(2).normal(size=(400, 6, 50))
    found = {width: crps(width * draws[:, 1:], draws[:, 0]) for width in (0.5, 1.0, 1.5)}
    # without bias for five samples; 4 standard errors
    exact = found[1.0]
    assert abs(exact.mean() - 1 / np.sqrt(np.pi)) < 4 * exact.std() / np.sqrt(len(exact))
    for width in (0.5, 1.5):
        worse = found[width] - exact
        assert worse.mean() > 10 * worse.std() / np.sqrt(len(worse))


def mira_by_its_definition(samples, truth, centre):
    """The score of random balls, with every sample as the end of the ball once (Sharief et al. 2026)."""
    n = len(samples) - 1
    distances, to_truth = (np.linalg.norm(x - centre, axis=-1) for x in (samples, truth))
    scores = []
    for i, radius in enumerate(distances):
        count = (np.delete(distances, i) < radius).sum()
        probability = (count + 1) / (n + 2) if to_truth <= radius else (n - count + 1) / (n + 2)
        scores.append(probability / ((n + 1) / (n + 2)))
    return np.mean(scores)


def test_mira_by_its_definition():
    rng = np.random.default_rng(3)
    samples, truth, centre = rng.normal(size=(50, 8, 3)), rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    expected = [mira_by_its_definition(*part) for part in zip(samples, truth, centre, strict=True)]
    to_truth = np.linalg.norm(truth - centre, axis=-1)[:, None]
    r = (np.linalg.norm(samples - centre[:, None], axis=-1) < to_truth).sum(axis=1)
    assert np.allclose(9 / 16 + r * (8 - r) / 64, expected)
    # the truth of a correct posterior has each rank with the same probability
    for n in (2, 8, 19):
        ranks = np.arange(n + 1)
        assert np.mean((n + 1) / (2 * n) + ranks * (n - ranks) / n**2) == pytest.approx(mira_of_correct_posterior(n))


@pytest.mark.parametrize(("change", "off"), [(lambda x: x, 0), (lambda x: 0.5 * x, -1), (lambda x: x + 1, -1)])
def test_mira_of_samples(change, off):
    draws = np.random.default_rng(4).normal(size=(300, 11, 3))
    found = mira(change(draws[:, 1:]), draws[:, 0], n_references=20)
    value, error = found.mean() / mira_of_correct_posterior(10) - 1, found.std() / np.sqrt(len(found)) / (2 / 3)
    assert abs(value) < 4 * error if off == 0 else value < -4 * error
    with pytest.raises(ValueError, match="truth: needs at least three surveys"):
        mira(draws[:2, 1:], draws[:2, 0])


# ---- scatter of summaries


def summaries(n_mocks, n, seed):
    """Truths and samples of the same posteriors: a mean for each mock, which has scatter, and correlated deviations."""
    rng = np.random.default_rng(seed)
    mixing = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.5, 0.5, 1]])
    mean = rng.normal(size=(n_mocks, 1, 3)) @ mixing
    draws = mean + 0.8 * rng.normal(size=(n_mocks, n + 1, 3)) @ mixing
    return draws[:, 1:] * [1, 10, 1e-6], draws[:, 0] * [1, 10, 1e-6]


@pytest.mark.parametrize("width", [1, 0.75**0.5])
def test_the_scatter_of_summaries(width):
    samples, truth = summaries(300, 6, 5)
    mean = truth.mean(axis=0)
    sums = summary_sums("x", mean + width * (samples - mean), truth)
    value, error = jackknife(lambda s: covariance_ratio("x", s), sums)
    # 1 for a correct posterior, 0.75 for samples with that part of the covariance; 4 standard errors
    assert abs(value[0] - width**2) < 4 * error[0] and error[0] < 0.07
    within = samples.mean(axis=1, keepdims=True)
    sums = summary_sums("x", within + width * (samples - within), truth)
    value, error = jackknife(lambda s: variance_ratio("x", s), sums)
    assert abs(value[0] - width**2) < 4 * error[0] and error[0] < 0.07


def test_summaries_that_are_not_known_or_do_not_vary():
    samples, truth = summaries(20, 4, 6)
    known = [jackknife(lambda s: covariance_ratio("x", s), summary_sums("x", samples, truth))]
    samples, truth = (np.concatenate([x, np.full_like(x[..., :1], bad)], axis=-1) for x, bad in
                      ((samples, np.nan), (truth, np.nan)))  # fmt: skip
    samples, truth = (np.concatenate([x, np.zeros_like(x[..., :1])], axis=-1) for x in (samples, truth))
    known.append(jackknife(lambda s: covariance_ratio("x", s), summary_sums("x", samples, truth)))
    assert np.allclose(known[0], known[1])


def test_truths_that_are_equal_have_no_covariance():
    samples, truth = summaries(12, 4, 6)
    same = truth[:1] * (1 + 1e-14 * np.arange(12)[:, None])
    assert np.isnan(jackknife(lambda s: covariance_ratio("x", s), summary_sums("x", samples, same))[0]).all()


def test_moments():
    x = np.random.default_rng(7).exponential(size=(2, 300, 300))
    assert moments_of_each(x)[0] == pytest.approx([1, 2, 6], rel=0.1)


def test_mocks_of_the_same_truth_are_left_out_together():
    x = np.random.default_rng(8).normal(size=10)
    sums = {"x": np.repeat(x, 2), "n": np.ones(20)}
    groups = np.repeat([f"map {i}" for i in range(10)], 2)
    value, error = jackknife(lambda s: s["x"] / s["n"], grouped(sums, groups))
    assert value[0] == pytest.approx(x.mean()) and error[0] == pytest.approx(x.std(ddof=1) / np.sqrt(10))


def test_the_error_of_a_paired_difference():
    rng = np.random.default_rng(9)
    shared = rng.normal(size=32)
    methods = shared + 0.01 * rng.normal(size=(2, 32))
    replicates = [jackknife_replicates(lambda s: s["x"] / s["n"], {"x": x, "n": np.ones(32)})[1] for x in methods]
    expected = (methods[1] - methods[0]).std(ddof=1) / np.sqrt(32)
    assert spread(replicates[1] - replicates[0])[0] == pytest.approx(expected) and expected < 0.02 * spread(
        replicates[0]
    )


# ---- peaks


def skies(n, seed, scale=0.03):
    white = np.random.default_rng(seed).normal(size=(n, 80, 80))
    smooth = gaussian_filter(white, (0, 2.5, 2.5), mode="wrap")
    return scale * smooth / smooth.std()


def completeness(*args, **options):
    options = {"pixel_size": 0.4 * ARCMIN, "seen": np.ones(args[0].shape, dtype=bool)} | options
    return {name: lists.scores(0)["completeness"] for name, lists in lists_of(*args, **options).items()}


def test_completeness_of_the_truth_is_one_and_of_noise_zero():
    truth, noise = skies(6, 10), skies(6, 11)
    value, replicates = completeness(truth, truth)["kappa"]
    assert (value == 1).all() and (replicates == 1).all()
    # every sample is the truth
    draws = np.stack([truth] * 3, axis=1)
    found = completeness(truth, truth, stds=np.full_like(truth, 0.01), draws=draws)
    assert sorted(found) == ["kappa", "probability", "signal to noise"]
    assert all((value == 1).all() for value, _ in found.values())
    # a list of noise is 90 % true only by chance: half of the field is near a peak above 0.02, a seventh above 0.06
    for value, _ in completeness(noise, truth).values():
        assert (value < 0.06).all()
    # with less noise more peaks are found
    levels = [completeness(truth + scale * noise, truth)["kappa"][0] for scale in (0.1, 0.5, 2)]
    assert (levels[0] > levels[1]).all() and (levels[1] > levels[2]).all() and levels[0][1] > 0.5


def test_completeness_by_hand():
    # two mocks with the ranks of their peaks, of which two are false, and 5 true peaks
    ranks = [np.array([[9.0, 7, 5, 1]]), np.array([[8.0, 6, 4]])]
    true = [np.array([[True, True, False, False]]), np.array([[True, True, True]])]
    counted = [np.ones((1, 4), dtype=bool), np.ones((1, 3), dtype=bool)]
    lists = Lists(ranks, true, counted, np.array([[3], [2]]))
    # 9, 8, 7, 6 are true; from 5 on at least one of six is false
    assert lists.scores(0)["completeness"][0] == pytest.approx([4 / 5]) and FALSE == 0.1
    # mean purity: (1 + 1 + 1 + 1 + 5 / 6) / 5
    assert lists.scores(0)["purity"][0] == pytest.approx([(4 + 5 / 6) / 5])
    # the false one does not count, so that 4 is found too
    counted[0][0, 2] = False
    assert Lists(ranks, true, counted, np.array([[3], [2]])).scores(0)["completeness"][0] == pytest.approx([1.0])
    # peaks of the same rank are in a list together
    same = Lists([np.zeros((1, 4)), np.zeros((1, 3))], true, counted, np.array([[3], [2]]))
    assert same.scores(0)["completeness"][0] == pytest.approx([0.0])
    assert same.scores(0)["purity"][0] == pytest.approx([5 / 6])
    # without peaks of the truth there is no completeness
    assert np.isnan(Lists(ranks, true, counted, np.zeros((2, 1), dtype=int)).scores(0)["completeness"][0]).all()


def test_the_error_of_the_completeness_is_that_of_a_bootstrap_over_truths():
    found = np.random.default_rng(12).random(200) < 0.7
    ranks = [np.ones((1, int(f))) for f in found]
    true = [np.ones((1, int(f)), dtype=bool) for f in found]
    value, replicates = Lists(ranks, true, true, np.ones((200, 1), dtype=int)).scores(0)["completeness"]
    assert value[0] == found.mean()
    assert spread(replicates)[0] == pytest.approx(np.sqrt(value[0] * (1 - value[0]) / 200), rel=0.2)
    pairs = [f"map {i // 2}" for i in range(200)]
    _, fewer = Lists(ranks, true, true, np.ones((200, 1), dtype=int), pairs).scores(0)["completeness"]
    by_pair = found.reshape(100, 2).mean(axis=1)
    assert spread(fewer)[0] == pytest.approx(by_pair.std() / 10, rel=0.2)


def test_peaks_outside_of_the_data_do_not_count():
    truth = np.zeros((1, 40, 40))
    y, x = np.mgrid[:40, :40]
    for i, j in ((10, 10), (10, 30), (30, 19)):
        truth[0] += 0.08 * np.exp(-((y - i) ** 2 + (x - j) ** 2) / 12)
    kappa, seen = np.roll(truth, 1, axis=2), np.ones((1, 40, 40), dtype=bool)
    seen[0, :, :20] = False  # the third peak of the map is inside, that of the truth outside
    kappa[0, 20, 30] = 0.01  # a false peak below all others
    lists = lists_of(kappa, truth, seen, 1.0 * ARCMIN)["kappa"]
    assert lists.n_truth.tolist() == [[1] * len(THRESHOLDS)]
    assert lists.scores(0)["completeness"][0].tolist() == [1.0] * len(THRESHOLDS)
    assert lists.counted.sum(axis=1).tolist() == [2] * len(THRESHOLDS)  # one true, one false
