"""Reverse diffusion of the posterior: exact for a Gaussian prior at any number of steps, weights of two modes."""

import math

import numpy as np
import pytest
import torch

from astro_massmap.inference import DiffusionPlan, GaussianPosterior, Streams, posterior_diffusion

from helpers import problems
from helpers.analytic_priors import GaussianNetwork, MixtureNetwork
from helpers.ensembles import ensemble


@pytest.fixture(scope="module")
def gaussian():
    generator = torch.Generator().manual_seed(64)
    observation = problems.observe(problems.gaussian_sky(64, generator), problems.noise_map(64, 30), generator)
    return observation, problems.Exact(observation, 64)


def draws(observation, network, steps, n, seed=0):
    plan = DiffusionPlan(observation, network, steps, observation.shape)
    return plan, *ensemble(plan, n, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 4, 15])
def test_without_a_network_draws_are_exact(gaussian, steps):
    observation, exact = gaussian
    _, modes, run = draws(observation, GaussianNetwork(problems.spectrum()), steps, 64)
    agreement = exact.compare(modes)
    assert agreement.good, agreement.row()
    assert run.evaluations == 0


def test_without_the_fluctuation_the_variance_is_too_small(gaussian, monkeypatch):
    observation, exact = gaussian
    monkeypatch.setattr(GaussianPosterior, "fluctuation_source", lambda self, streams: 0 * exact.mean[None])
    posterior = GaussianPosterior(observation, problems.spectrum())
    streams = Streams(0, range(16))
    z = exact.mean + posterior.grid.to_modes(streams.normal(64, 64))
    modes = posterior_diffusion(posterior, z, list(np.geomspace(1, 0.01, 15)), streams)
    assert exact.compare(modes).std_observed < 0.9


@pytest.mark.slow
def test_modes_get_their_weights():
    # 64 samples of each of 4 data sets; without bias a new seed would fail less than one time in 6
    problem = problems.two_modes(64, 6.1)
    for observation, weight in zip(problem.observations, problem.weights, strict=True):
        network = MixtureNetwork(problem.prior, observation)
        plan, modes, run = draws(observation, network, 25, 64, seed=round(1e4 * weight))
        measured, _ = problems.cluster_weight(problem.prior, plan.grid, modes)
        assert run.evaluations == 25
        assert abs(measured - weight) < 0.03 + 2 * math.sqrt(weight * (1 - weight) / 64)
