"""Noise splitting compared with dense linear algebra: z and its relation to kappa."""

import numpy as np
import pytest
import torch

from astro_massmap.inference import GaussianPosterior, Observation, SplitPosterior, Streams

from helpers import problems
from helpers.skies import dense_problem

FIELD, BOX, PIXEL = (9, 10), (14, 16), 1.2e-4  # even sides, with Nyquist rows


def spectrum(ell):
    return 1e-9 * (ell / 1000) ** -1.1


@pytest.fixture(scope="module")
def problem():
    """Return the object of the package, and the dense mean and covariance of z over the whole box."""
    rng = np.random.default_rng(8)
    noise_std = rng.uniform(0.06, 0.14, FIELD)
    noise_std[3:6, 4:8] = np.inf
    sigma = 0.055
    prior, shear, noise, _, seen = dense_problem(FIELD, BOX, PIXEL, spectrum, noise_std)
    n = len(prior)
    y = rng.normal(size=len(noise)) * np.sqrt(noise + 0.02**2)
    # z = kappa + e with e white of deviation s. Its covariance with the noise n of the data is s^2 P'.
    cov_z, cov_zy = prior + sigma**2 * np.eye(n), (prior + sigma**2 * np.eye(n)) @ shear.T
    gain = cov_zy @ np.linalg.inv(shear @ prior @ shear.T + np.diag(noise))
    data = np.zeros((2, n))
    data[:, seen] = y.reshape(2, -1)
    observation = Observation.from_arrays(data.reshape(2, *BOX)[:, : FIELD[0], : FIELD[1]], noise_std, PIXEL)
    posterior = GaussianPosterior(observation, spectrum, BOX, dtype=torch.float64, tolerance=1e-11)
    return SplitPosterior(posterior, sigma), gain @ y, cov_z - gain @ cov_zy.T, prior


def box_field(grid, modes):
    return torch.fft.irfft2(modes, s=grid.box_shape, norm="ortho")


def test_mean_and_covariance_are_the_dense_ones(problem):
    split, mean, covariance, _ = problem
    assert np.abs(box_field(split.grid, split.mean).numpy().ravel() - mean).max() < 1e-9
    unit = torch.eye(len(mean), dtype=torch.float64).reshape(-1, *BOX)
    columns = box_field(split.grid, split.covariance(split.grid.to_modes(unit))).reshape(len(mean), -1)
    assert np.abs(columns.numpy() - covariance).max() < 1e-9 * np.abs(covariance).max()


def test_fluctuations_have_this_covariance(problem):
    # 224 eigenvectors, 1024 draws: 5 sigma, false alarm 1e-4; and the total, false alarm 1e-5
    split, _, covariance, _ = problem
    draws = box_field(split.grid, split.fluctuations(Streams(0, range(1024)))).numpy().reshape(1024, -1)
    values, vectors = np.linalg.eigh(covariance)
    square = (draws @ vectors) ** 2 / values
    assert np.abs(square.mean(axis=0) - 1).max() < 5 * np.sqrt(2 / 1024)
    assert abs(square.mean() - 1) < 4.5 * np.sqrt(2 / square.size)


def test_large_scales_are_correct_at_a_loose_tolerance():
    # solved to 3e-3 instead of 1e-6, with the same random numbers, in a box of twice the field
    generator = torch.Generator().manual_seed(1)
    observation = problems.observe(problems.gaussian_sky(96, generator), problems.noise_map(96, 30), generator)
    posterior = GaussianPosterior(observation, problems.spectrum(), (192, 192))
    split = SplitPosterior(posterior, 0.11)
    tight, loose = (split.fluctuations(Streams(0, range(4)), tolerance) for tolerance in (1e-6, 3e-3))
    long = posterior.grid.ell < 1000
    error = (tight - loose)[:, long].abs().square().mean() / tight[:, long].abs().square().mean()
    assert float(error) ** 0.5 < 0.03


def test_a_noise_level_above_that_of_a_pixel_is_an_error(problem):
    with pytest.raises(ValueError, match="lowest noise of a pixel"):
        SplitPosterior(problem[0].posterior, 0.2)
