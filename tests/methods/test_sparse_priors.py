"""Samplers under sparse priors, far from Gaussian, with exact denoisers and exact posteriors."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import kstwo

from astro_massmap import AnnealedHMC, Schedule
from astro_massmap.inference import (
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    Observation,
    Streams,
    posterior_diffusion as diffuse,
)

from helpers.sparse_priors import enumerated, gibbs, heavy_tails, jumps, linear_problem, spikes

PIXEL = 1.2e-4
SPIKES = spikes((3, 4), PIXEL, fraction=0.25)
PRIORS = {
    "spikes": SPIKES,
    "student": heavy_tails((3, 4), PIXEL, kind="student", scale=0.03),
    "laplace": heavy_tails((3, 4), PIXEL, kind="laplace", scale=0.035),
    "jumps": jumps(4, PIXEL),
}
N = 1024


def observed(prior, seed=0):
    """Return the shear of a map of the prior, with one masked pixel and inhomogeneous noise."""
    rng = np.random.default_rng(seed)
    grid = FourierGrid(prior.shape, PIXEL, dtype=torch.float64)
    shear = LensingOperator(grid).forward(grid.to_modes(torch.from_numpy(prior.draw(rng, 1)[0]))).numpy()
    noise = rng.uniform(0.08, 0.16, prior.shape)
    shear += rng.normal(size=shear.shape) * noise
    noise[1, 2] = np.inf
    return Observation.from_arrays(shear, noise, PIXEL)


@pytest.fixture(scope="module")
def problem():
    observation = observed(SPIKES)
    return observation, enumerated(SPIKES, observation)


def distance(exact, samples):
    """Return the largest distance of Kolmogorov and Smirnov of the distributions of the pixels, and its p-value."""
    u, steps = np.sort(exact.cdf(samples), axis=0), np.arange(len(samples) + 1)[:, None] / len(samples)
    largest = np.maximum(steps[1:] - u, u - steps[:-1]).max()
    return largest, kstwo.sf(largest, len(samples)) * u.shape[1]


def assert_exact(prior, exact, samples):
    """
    Assert that samples have the distribution of a posterior: in each pixel, and the probabilities of spikes.

    The false alarm rate is 1e-3 for the pixels, and 4 standard errors for each of the probabilities.
    """
    assert distance(exact, samples)[1] > 1e-3
    large = prior.posterior_weights(samples.reshape(len(samples), -1).astype(float))[..., -1]
    assert (np.abs(large.mean(axis=0) - exact.large) < 4 * large.std(axis=0) / np.sqrt(len(samples))).all()


# ---- the references


@pytest.mark.parametrize("name", PRIORS)
def test_the_denoiser_is_the_mean_by_integration(name):
    # of one coefficient, over its mixture density times the likelihood
    prior, sigma = PRIORS[name], 0.07
    c = np.zeros(len(prior.weights))
    c[:3] = 0.02, -0.3, 0.15
    found = (prior.denoised(torch.from_numpy(prior.basis @ c).reshape(1, *prior.shape), sigma)).numpy().ravel()
    x = np.linspace(-3, 3, 60001)
    for i, value in enumerate((prior.basis.T @ found)[:3]):
        weights, variances = prior.weights[i], prior.variances[i]
        density = (weights / np.sqrt(variances) * np.exp(-(x[:, None] ** 2) / (2 * variances))).sum(axis=1)
        density *= np.exp(-((c[i] - x) ** 2) / (2 * sigma**2))
        assert np.isclose(value, (x * density).sum() / density.sum(), rtol=1e-5)


def test_the_gibbs_sampler_agrees_with_the_sum_over_all_components(problem):
    # 1500 sweeps: the error of a probability is below 0.003, that of a mean 0.04 standard deviations
    observation, exact = problem
    found = gibbs(SPIKES, observation, 1500, seed=3, first=1)
    assert np.abs(found.large - exact.large).max() < 0.01
    assert np.abs(found.mean - exact.mean).max() < 0.15 * np.sqrt(exact.variance.min())
    assert np.abs(found.variance / exact.variance - 1).max() < 0.2


def test_draws_have_the_power_spectrum_of_the_prior():
    for prior in PRIORS.values():
        draws = prior.draw(np.random.default_rng(1), 4000).reshape(4000, -1) @ prior.basis
        expected = (prior.weights * prior.variances).sum(axis=1).mean()
        assert np.isclose(draws.var(), expected, rtol=0.06)  # of heavy tails; two standard errors
        grid = FourierGrid(prior.shape, PIXEL, dtype=torch.float64)
        assert np.isclose(grid.pixel_variance(grid.mode_variance(prior.spectrum())), expected, rtol=0.5)


# ---- the samplers


def chains(prior, observation, schedule, n=N):
    method = AnnealedHMC(
        prior.as_score(), n_samples=n, batch_size=n // 2, schedule=schedule, padding=1, information=1.0, n_check=0,
        device="cpu",
    )  # fmt: skip
    return method.solve(observation).samples


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:padding", "ignore:f. as a")
def test_chains_that_end_below_the_finest_structure_are_exact(problem):
    observation, exact = problem
    schedule = dataclasses.replace(Schedule.fast(), reverse_steps=60, sigma_end=0.05)
    assert_exact(SPIKES, exact, chains(SPIKES, observation, schedule))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:padding", "ignore:f. as a")
def test_chains_that_end_above_the_finest_structure_have_its_mean_but_not_its_distribution(problem):
    # 0.6 standard deviations of a pixel are 0.045, and pixels without a spike have 0.01
    observation, exact = problem
    samples = chains(SPIKES, observation, Schedule.fast())
    z = (samples.mean(axis=0).ravel() - exact.mean) / np.sqrt(exact.variance / N)
    assert np.abs(z).max() < 4.5
    ratio = samples.var(axis=0).mean() / exact.variance.mean()
    assert 1.05 < ratio < 1.4
    assert distance(exact, samples)[0] > 0.1


@pytest.mark.slow
def test_the_reverse_diffusion_of_the_posterior_is_exact_with_the_exact_denoiser():
    prior = spikes((2, 4), PIXEL, fraction=0.25)
    observation = observed(prior)
    exact, grid = enumerated(prior, observation), FourierGrid(prior.shape, PIXEL, dtype=torch.float64)
    posterior = GaussianPosterior(observation, prior.spectrum(), prior.shape, tolerance=1e-8, dtype=torch.float64)
    precision, _ = linear_problem(prior, observation)

    def contribution(total, mean, sigma):
        maps = given(prior, precision, grid.to_field(total).numpy().reshape(N, -1), sigma)
        return grid.to_modes(torch.from_numpy(maps).reshape(N, *prior.shape)) - mean

    streams, signal = Streams(4, range(N)), np.sqrt(grid.pixel_variance(posterior.prior_variance))
    levels = list(signal * np.geomspace(60, 0.05, 80))
    start = grid.to_modes(levels[0] * streams.normal(*prior.shape, dtype=torch.float64))
    modes = diffuse(posterior, start, levels, streams, contribution=contribution, tolerance=1e-6)
    assert_exact(prior, exact, grid.to_field(modes).numpy())


def given(prior, precision, total, sigma):
    """Return the mean of maps given the data and maps with white noise, by a sum over all spikes."""
    n = total.shape[1]
    components = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    variance = prior.variances[np.arange(n), components]
    covariance = np.linalg.inv(precision + np.einsum("mi,ij->mij", 1 / variance + sigma**-2, np.eye(n)))
    log = np.log(prior.weights[np.arange(n), components]).sum(axis=1) - np.log(variance).sum(axis=1) / 2
    log += np.linalg.slogdet(covariance)[1] / 2
    means = total @ covariance
    log = log[:, None] + np.einsum("mni,ni->mn", means, total) / 2
    weights = np.exp(log - log.max(axis=0))
    return np.einsum("mn,mni->ni", weights / weights.sum(axis=0), means)
