"""Scores of priors are gradients of their densities, and the Gaussian component has their power."""

import numpy as np
import pytest
import torch

from astro_massmap import GaussianPrior, PowerSpectrum
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import PriorOnGrid

from helpers.analytic_priors import LognormalPrior, MixturePrior

SHAPE, PIXEL = (12, 14), 1.2e-4
SPECTRUM = PowerSpectrum([100, 50000], [3e-9, 3e-12])


@pytest.fixture
def grid():
    return FourierGrid(SHAPE, PIXEL, dtype=torch.float64)


def maps(n, scale=0.03, seed=0):
    return scale * torch.randn(n, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mixture():
    y, x = np.mgrid[:5, :6]
    return MixturePrior(
        SPECTRUM, np.stack([np.zeros((5, 6)), 0.1 * np.exp(-((x - 3) ** 2) - (y - 2) ** 2)]), (0.7, 0.3)
    )


def lognormal():
    return LognormalPrior(PowerSpectrum([100, 50000], [3e-7, 3e-10]), 0.2)


@pytest.mark.parametrize(("prior", "sigma"), [(mixture(), 0.0), (mixture(), 0.1), (lognormal(), 0.0)])
def test_the_residual_is_the_gradient_of_the_log_ratio(grid, prior, sigma):
    on_grid = prior.on(grid)
    x, direction = grid.to_modes(maps(3)), grid.to_modes(maps(3, 1.0, seed=1))
    step = 1e-6
    slope = (on_grid.log_ratio(x + step * direction, sigma) - on_grid.log_ratio(x - step * direction, sigma)) / (
        2 * step
    )
    assert torch.allclose(slope, grid.inner(on_grid.residual(x, sigma), direction), rtol=1e-5, atol=1e-5)


def test_the_score_of_a_mixture_is_that_of_its_dense_density(grid):
    sigma, prior = 0.05, mixture()
    n = SHAPE[0] * SHAPE[1]
    unit = torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)
    variance = prior.on(grid).variance + sigma**2
    inverse = torch.fft.irfft2(grid.to_modes(unit) / variance, s=SHAPE, norm="ortho").reshape(n, n)
    means = torch.zeros(2, *SHAPE, dtype=torch.float64)
    means[:, :5, :6] = torch.from_numpy(prior.means)
    x = maps(2).requires_grad_()
    u = (x[:, None] - means).reshape(2, 2, n)
    log_density = torch.logsumexp(
        torch.log(torch.tensor(prior.weights, dtype=torch.float64))
        - 0.5 * torch.einsum("nki,ij,nkj->nk", u, inverse, u),
        dim=1,
    )
    (expected,) = torch.autograd.grad(log_density.sum(), x)
    assert torch.allclose(prior.on(grid).score(x.detach(), sigma), expected, atol=1e-8)


def test_the_score_of_a_lognormal_field_is_that_of_its_density(grid):
    prior = lognormal()
    on_grid = prior.on(grid)
    x = (0.3 * maps(2)).requires_grad_()
    g = torch.log(1 + x / prior.shift) + on_grid.v / 2
    white = torch.fft.irfft2(torch.fft.rfft2(g, norm="ortho") / on_grid.field_variance, s=SHAPE, norm="ortho")
    log_density = -0.5 * (g * white).sum() - torch.log(1 + x / prior.shift).sum()
    (expected,) = torch.autograd.grad(log_density, x)
    assert torch.allclose(on_grid.score(x.detach(), 0), expected, rtol=1e-6, atol=1e-8)


def test_the_gaussian_component_of_a_lognormal_field_has_its_power(grid):
    on_grid = lognormal().on(grid)
    generator = torch.Generator().manual_seed(0)
    white = grid.to_modes(torch.randn(4000, *SHAPE, dtype=torch.float64, generator=generator))
    x = on_grid.of_gaussian(torch.fft.irfft2(white * on_grid.field_variance.sqrt(), s=SHAPE, norm="ortho"))
    power = grid.to_modes(x)
    ratio = (power.real.square() + power.imag.square()).mean(dim=0) / on_grid.variance
    # 4000 skewed draws of 96 modes: 4 % each; 6 sigma
    assert (ratio - 1).abs().max() < 0.25
    assert abs(ratio.mean() - 1) < 0.02


def test_the_lognormal_density_is_known_without_noise_only(grid):
    on_grid = lognormal().on(grid)
    for call in (on_grid.residual, on_grid.log_ratio):
        with pytest.raises(ValueError, match="sigma"):
            call(grid.to_modes(maps(1)), 0.1)


def test_the_density_is_zero_outside_the_support(grid):
    x = grid.to_modes(torch.stack([maps(1)[0], torch.full(SHAPE, -0.3, dtype=torch.float64)]))
    ratio = lognormal().on(grid).log_ratio(x, 0.0)
    assert torch.isfinite(ratio[0]) and ratio[1] == -torch.inf
    assert torch.isfinite(torch.view_as_real(lognormal().on(grid).residual(x, 0.0))).all()


def test_the_gaussian_prior(grid):
    on_grid = GaussianPrior(SPECTRUM).on(grid)
    x = maps(2)
    expected = -torch.fft.irfft2(grid.to_modes(x) / (on_grid.variance + 0.01), s=SHAPE, norm="ortho")
    assert torch.allclose(on_grid.score(x, 0.1), expected)
    assert on_grid.gaussian and not on_grid.log_ratio(grid.to_modes(x), 0.1).any()
    assert isinstance(mixture().on(grid).gaussian_half(), PriorOnGrid)
    assert torch.equal(mixture().on(grid).gaussian_half().variance, on_grid.variance)
    with pytest.raises(TypeError, match="spectrum"):
        GaussianPrior("flat")
