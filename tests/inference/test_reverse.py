"""Reverse diffusion from z to kappa: exact for a Gaussian prior at any number of steps."""

import pytest
import samplers
import torch

from astro_massmap.inference import FourierGrid, Streams, reverse_diffusion
from astro_massmap.priors import PriorOnGrid

from helpers import problems
from helpers.analytic_priors import MixturePrior


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_gaussian_draws_are_exact(steps):
    # 6000 draws, 72 modes: mean to 5 sigma (false alarm 1e-4), variance to 6 (some modes are real)
    grid = FourierGrid((8, 8), problems.PIXEL * 4, dtype=torch.float64)
    prior, a, n = PriorOnGrid(grid, problems.spectrum()), 0.1, 6000
    z = grid.to_modes(torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.1)
    sigmas = [a * 0.5**k for k in range(steps)]
    x = reverse_diffusion(prior, z.expand(n, -1, -1), sigmas, Streams(0, range(n)))
    gain = prior.variance / (prior.variance + a**2)
    deviation = x - gain * z
    variance = gain * a**2
    assert ((deviation.mean(dim=0).abs() / variance.sqrt()).max()) < 5 / n**0.5
    ratio = deviation.abs().square().mean(dim=0) / variance
    assert (ratio - 1).abs().max() < 6 * (2 / n) ** 0.5


def test_a_deterministic_flow_has_too_small_a_standard_deviation():
    assert samplers.deterministic_std(8) < 0.9


def noisy_mixture(n, a):
    """n truths, half of them with a cluster 4.1 standard deviations from none, with noise a: prior, truths and z."""
    side = 32
    problem = problems.two_modes(side, 4.1, wanted=(0.5,))
    prior = MixturePrior(problem.prior.spectrum, problem.prior.means, (0.5, 0.5))
    grid = FourierGrid((side, side), problems.PIXEL)
    on_grid, streams = prior.on(grid), Streams(0, range(n))
    has = (torch.arange(n) % 2).to(torch.complex64)
    x = on_grid.variance.sqrt() * grid.to_modes(streams.normal(side, side)) + has[:, None, None] * on_grid.means[1]
    return on_grid, streams, x, x + a * grid.to_modes(streams.normal(side, side))


def test_reverse_diffusion_keeps_the_weights_of_a_mixture():
    # z is drawn with its truth: given z, draws must have the cluster as often as the truths
    n, a = 400, 0.11
    on_grid, streams, _, z = noisy_mixture(n, a)
    back = reverse_diffusion(on_grid, z, [a * 0.7**k for k in range(10)], streams)
    given_z = torch.softmax(on_grid.component_log_odds(z, a), dim=1)[:, 1]
    found = torch.softmax(on_grid.component_log_odds(back, 0.0), dim=1)[:, 1]
    scatter = float((given_z * (1 - given_z)).mean() / n) ** 0.5
    assert abs(float((found - given_z).mean())) < 0.015 + 4 * scatter


def test_few_steps_lose_little_of_the_variance_between_modes():
    # amplitude of the cluster: a variance of 0.25 from its presence. Eight steps lose 0.014, without the change of the
    # residual 0.030; the standard error is 0.003
    on_grid, streams, x, z = noisy_mixture(4000, 0.3)
    back = reverse_diffusion(on_grid, z, [0.3 * 0.72**k for k in range(8)], streams)
    cluster = on_grid.means[1] / on_grid.variance
    exact, found = (on_grid.grid.inner(m, cluster).var() for m in (x, back))
    assert abs(float((found - exact) / on_grid.grid.inner(on_grid.means[1], cluster) ** 2)) < 0.022
