"""Simultaneous intervals and p-values of correlated values, whose truth is one more draw of the same distribution."""

import numpy as np
import pytest
from scipy.stats import binom, chisquare

from astro_massmap.analysis.probability import Probability, PValue, need_samples
from astro_massmap.analysis.simultaneous import count_beyond, deviation, joint_interval

FALSE_ALARM = 1e-4  # of each statistical test


def drawn(n, m, kind, rng):
    """Return n + 1 draws of m correlated values, normal or of a skewed distribution."""
    values = rng.normal(size=(n + 1, m)) @ (np.eye(m) + 0.5 * np.random.default_rng(m).normal(size=(m, m)) / m**0.5)
    return np.exp(0.6 * values) if kind == "skewed" else values


@pytest.mark.parametrize(
    ("n", "m", "kind"), [(9, 1, "normal"), (9, 40, "normal"), (19, 100, "skewed"), (19, 3, "skewed")]
)
def test_the_rank_of_one_more_draw_is_uniform(n, m, kind):
    rng, counts = np.random.default_rng(n + m), np.zeros(n + 1)
    for _ in range(1500):
        draws = drawn(n, m, kind, rng)
        counts[count_beyond(draws[:-1], draws[-1])] += 1
    assert chisquare(counts).pvalue > FALSE_ALARM


@pytest.mark.parametrize(("n", "level"), [(9, 0.8), (19, 0.95), (60, 0.95)])
@pytest.mark.parametrize("m", [1, 60])
def test_joint_intervals_contain_all_values_with_their_level(n, m, level):
    rng, trials, inside = np.random.default_rng(n * m), 1000, 0
    for _ in range(trials):
        draws = drawn(n, m, "normal", rng)
        low, high = joint_interval(draws[:-1], level)
        inside += ((low <= draws[-1]) & (draws[-1] <= high)).all()
    # the level of n samples is exact in the p-value; the interval is wider by at most the next rank
    least, most = binom.ppf([FALSE_ALARM / 2], trials, level), binom.isf(FALSE_ALARM / 2, trials, level + 0.6 / (n + 1))
    assert least <= inside <= most


def test_joint_intervals_of_one_value_are_those_of_leaving_out_each_sample():
    samples = np.random.default_rng(2).normal(size=(12, 1))
    t = []
    for i in range(12):
        others = np.delete(samples, i, axis=0)
        t.append(deviation(others, samples[i]))
    low, high = joint_interval(samples, 12 / 13 - 1e-12)  # the rank of the largest
    assert high[0] - low[0] == pytest.approx(2 * max(t) * samples.std(ddof=1) * np.sqrt(13 / 12))


def test_constant_values_do_not_count():
    samples = np.random.default_rng(0).normal(size=(9, 4))
    samples[:, 1] = 0.1
    joint, alone = joint_interval(samples, 0.8), joint_interval(np.delete(samples, 1, axis=1), 0.8)
    assert np.allclose(np.delete(joint, 1, axis=1), alone) and np.allclose(joint[:, 1], 0.1)
    tested = np.array([0, 0.1, 0, 0])
    assert count_beyond(samples, tested) == count_beyond(np.delete(samples, 1, axis=1), np.delete(tested, 1))
    assert count_beyond(samples, np.array([0, 0.2, 0, 0])) == 0  # never seen
    assert deviation(samples, tested) == deviation(np.delete(samples, 1, axis=1), np.delete(tested, 1))
    assert deviation(np.full((7, 1), 0.1), np.array([0.1])) == 0  # the standard deviation is rounding
    assert np.array_equal(joint_interval(np.ones((9, 3)), 0.8), np.ones((2, 3)))
    with_gap = samples.copy()
    with_gap[0, 2] = np.nan
    found = joint_interval(with_gap, 0.8)
    assert np.isnan(found[:, 2]).all() and np.isfinite(np.delete(found, 2, axis=1)).all()


def test_intervals_of_two_samples_are_refused():
    # their level is at most 2 / 3, but one of two has no standard deviation: intervals were NaN, of one sample a point
    for n in (1, 2):
        with pytest.raises(ValueError, match=f"samples: simultaneous intervals need at least three samples, got {n}"):
            joint_interval(np.random.default_rng(0).normal(size=(n, 4)), 0.5)


def test_levels_that_need_more_samples_are_refused():
    for level, needed in ((0.5, 1), (0.8, 4), (0.95, 19), (0.99, 99)):
        need_samples(needed, level)
        if needed > 1:
            with pytest.raises(ValueError, match=f"^level: a region of {level:g} needs at least {needed} samples, got"):
                need_samples(needed - 1, level)


def test_p_values_are_ranks_with_the_interval_of_the_count():
    p, count = PValue(3, 39, 0.9), Probability(3, 39, 0.9)
    assert p == 4 / 40 and (p.lower, p.upper, p.n_samples) == (count.lower, count.upper, 39)
    none, every = PValue(0, 19), PValue(19, 19)
    assert none == 0.05 and none.lower == 0 and none.upper >= 0.05
    assert every == every.upper == 1 and every.lower > 0.9
