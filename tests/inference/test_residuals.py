"""Peaks of residuals: those of noise for exact samples, higher where a map lacks a structure."""

import numpy as np
import torch

from astro_massmap.inference import GaussianPosterior, Observation, Streams, residual_peak

from helpers import problems


def observed(height, seed):
    """Exact samples of a Gaussian sky; the data contain a compact structure of this height, too."""
    generator = torch.Generator().manual_seed(seed)
    sky = problems.gaussian_sky(64, generator)
    noise_std = problems.noise_map(64, 30, seed=seed, seen=problems.cluster(64) > 0.1)
    observation = problems.observe(sky, noise_std, generator)
    posterior = GaussianPosterior(observation, problems.spectrum())
    samples = posterior.mean_modes() + posterior.fluctuations(Streams(seed, range(4)), 1e-3)
    bump = posterior.grid.to_modes(torch.from_numpy(height * problems.cluster(64)).float())
    shear = observation.shear + posterior.operator.forward(bump) * observation.observed
    return GaussianPosterior(Observation(shear, noise_std_of(noise_std), problems.PIXEL), problems.spectrum()), samples


def noise_std_of(array):
    return torch.from_numpy(np.array(array))


def test_peaks_of_exact_samples_are_those_of_noise():
    # the highest of some 500 independent normal values is 3.0 +- 0.35; twelve fields: false alarm 1e-4
    medians = [float(residual_peak(*observed(0.0, seed)).median()) for seed in range(12)]
    assert 2.6 < np.mean(medians) < 3.8
    assert max(medians) < 5.0


def test_noise_of_two_depths_has_the_peaks_of_noise():
    # the noise of a pixel comes from the pixels around it: with a variance of its own pixel, one in ten of these
    # fields has a peak above 5.5
    noise_std = np.full((64, 64), 0.1)
    noise_std[:, :32] = 0.03
    peaks = []
    for seed in range(20):
        noise = noise_std * np.random.default_rng(seed).normal(size=(2, 64, 64))
        observation = Observation.from_arrays(noise, noise_std, problems.PIXEL)
        posterior = GaussianPosterior(observation, problems.spectrum(), (128, 128))
        peaks.append(float(residual_peak(posterior, torch.zeros_like(posterior.prior_variance)[None] + 0j)))
    assert 3 < np.mean(peaks) < 4.2
    assert max(peaks) < 5.5


def test_a_structure_that_a_map_lacks_is_a_peak():
    for seed in range(3):
        assert float(residual_peak(*observed(1.0, seed)).median()) > 5.5


def test_pixels_without_data_do_not_count():
    noise_std = np.full((32, 32), 0.1)
    noise_std[8:24, 8:24] = np.inf
    shear = np.full((2, 32, 32), 50.0)
    shear[:, np.isfinite(noise_std)] = 0
    posterior = GaussianPosterior(Observation.from_arrays(shear, noise_std, problems.PIXEL), problems.spectrum())
    assert float(residual_peak(posterior, torch.zeros_like(posterior.prior_variance)[None] + 0j)) == 0


def test_one_pixel_with_data_has_no_peak():
    # the shear of a pixel does not measure the convergence in the same pixel
    noise_std = np.full((16, 16), np.inf)
    noise_std[8, 8] = 0.1
    observation = Observation.from_arrays(np.full((2, 16, 16), 5.0), noise_std, problems.PIXEL)
    posterior = GaussianPosterior(observation, problems.spectrum(), (64, 64))
    assert residual_peak(posterior, 0 * posterior.mean_modes()[None]).tolist() == [0.0]
