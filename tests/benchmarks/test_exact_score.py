"""Samplers under independent lognormal pixels, whose posterior is known: no structure from the noise in gaps."""

import exact_score
import numpy as np
import pytest
import torch

from astro_massmap.inference import FourierGrid, run_chains


@pytest.fixture(scope="module")
def known():
    grid = FourierGrid((exact_score.FIELD,) * 2, exact_score.PIXEL, dtype=torch.float64)
    prior = exact_score.Lognormal(grid, 0.012, 3.5)
    return prior, *exact_score.problem(prior, 0)


def in_gaps(known, plan_of, n=96):
    prior, observation, exact = known
    plan, gaps = plan_of(prior, observation), ~observation.observed.numpy()
    samples = prior.grid.to_field(run_chains(plan, plan.streams(1, range(n))).modes).numpy()
    return exact_score.against_exact([(samples[:, gaps], exact[:, gaps])])


def test_moments_of_a_pixel_are_those_of_the_prior_without_data_and_of_the_data_without_noise(known):
    prior, *_ = known
    mean, variance, third = prior.moments(np.zeros(1), np.inf)
    assert abs(mean[0]) < 1e-5 and np.allclose([variance[0], third[0]], [0.012**2, 3.5 * 0.012**3], rtol=1e-3)
    mean, variance, _ = prior.moments(np.full(1, 0.02), 1e-3)
    assert abs(mean[0] - 0.02) < 1e-4 and abs(variance[0] / 1e-6 - 1) < 0.1


def test_annealed_chains_make_no_structure_of_noise_in_gaps(known):
    # with all noise kept between levels the mean is 0.03 standard deviations too high, the variance 1.2 and the third
    # moment 1.6 of the exact ones; false alarm of 4 standard errors 1e-4
    (mean, variance, third), error = in_gaps(known, exact_score.annealed)
    assert abs(mean) < 4 * error[0] < 0.02
    assert abs(variance - 1) < 0.05 + 3 * error[1] < 0.17
    assert 0.6 < third < 1.25


def test_chains_that_keep_their_noise_fail(known):
    (mean, variance, third), error = in_gaps(known, lambda *given: exact_score.annealed(*given, exact_score.Heated))
    assert mean > 4 * error[0] and variance > 1.1 and third > 1.25
