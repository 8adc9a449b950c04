"""Reverse diffusion of the posterior: exact for a Gaussian prior at any number of steps, weights of two modes."""

import math

import numpy as np
import pytest
import torch

from astro_massmap import GaussianPrior, Schedule
from astro_massmap.inference import (
    DiffusedStartPlan,
    DiffusionPlan,
    GaussianPosterior,
    Streams,
    posterior_diffusion,
    run_chains,
)

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


# ---- chains that start from it


def diffused_start(observation, prior, network, *, steps, trajectories):
    schedule = Schedule(trajectories=trajectories, reverse_steps=3)
    diffusion = DiffusionPlan(observation, network, steps, observation.shape)
    return DiffusedStartPlan(diffusion, observation, prior, schedule, observation.shape)


@pytest.mark.parametrize("steps", [2, 12])
def test_starts_without_a_network_are_exact(gaussian, steps):
    # with no steps of the chain, kappa is that of the start and of the reverse diffusion
    observation, exact = gaussian
    prior, network = GaussianPrior(problems.spectrum()), GaussianNetwork(problems.spectrum())
    plan = diffused_start(observation, prior, network, steps=steps, trajectories=0)
    modes, run = ensemble(plan, 48, seed=steps)
    agreement = exact.compare(modes)
    assert agreement.good, agreement.row()
    assert run.evaluations == 0


def test_the_diffusion_ends_at_half_of_the_noise_of_the_chains(gaussian):
    observation, _ = gaussian
    prior, network = GaussianPrior(problems.spectrum()), GaussianNetwork(problems.spectrum())
    plan = diffused_start(observation, prior, network, steps=12, trajectories=1)
    sigmas = [target.sigma for target in plan.diffusion.targets]
    signal = math.sqrt(plan.grid.pixel_variance(plan.prior.variance))
    assert len(sigmas) == 12
    assert np.allclose([sigmas[0], sigmas[-1]], [60 * signal, 0.45 * problems.NOISE[30]])
    assert plan.diffusion.down_to(0.0).targets[-1].sigma == sigmas[-1]


@pytest.mark.slow
def test_short_chains_from_the_diffusion_keep_the_weights():
    # as above, with 35 evaluations instead of 75
    problem = problems.two_modes(64, 6.1, wanted=(0.132, 0.842))
    for observation, weight in zip(problem.observations, problem.weights, strict=True):
        diffusion = DiffusionPlan(observation, MixtureNetwork(problem.prior, observation), 12, observation.shape)
        plan = DiffusedStartPlan(diffusion, observation, problem.prior, Schedule.short(), observation.shape)
        run = run_chains(plan, plan.streams(round(1e4 * weight), range(64)))
        measured, _ = problems.cluster_weight(problem.prior, plan.grid, run.modes)
        assert run.evaluations == 35
        assert abs(measured - weight) < 0.03 + 2 * math.sqrt(weight * (1 - weight) / 64)


def test_chains_forget_a_wrong_start(gaussian):
    observation, exact = gaussian

    class Shifted(GaussianNetwork):
        def on(self, grid, weight):
            on_grid = super().on(grid, weight)
            on_grid.gaussian, on_grid.contribution = False, lambda total, mean, sigma: torch.ones_like(mean)
            return on_grid

    prior, network = GaussianPrior(problems.spectrum()), Shifted(problems.spectrum())
    deviations = []
    for trajectories in (0, 8):
        plan = diffused_start(observation, prior, network, steps=4, trajectories=trajectories)
        deviations.append(abs(exact.compare(ensemble(plan, 8)[0]).chi2 - 1))
    assert deviations[0] > 1 and deviations[1] < 0.1


def test_only_the_first_step_is_always_taken(gaussian):
    observation, _ = gaussian

    class Steep(GaussianNetwork):
        def on(self, grid):
            on_grid = super().on(grid, None)
            on_grid.gaussian, on_grid.log_ratio = False, lambda modes, sigma: None
            on_grid.residual = lambda modes, sigma: 100 * modes
            return on_grid

    states = []
    network, prior = GaussianNetwork(problems.spectrum()), Steep(problems.spectrum())
    plan = diffused_start(observation, prior, network, steps=2, trajectories=2)
    streams = plan.streams(1, [0])
    start = plan.start(streams)
    run_chains(plan, streams, modes=start, on_step=lambda level, state: states.append(state))
    assert not states[0].accepted.any() and not states[1].accepted.any()
    assert not torch.equal(states[0].modes, start) and torch.equal(states[1].modes, states[0].modes)
