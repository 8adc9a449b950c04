"""Samples of different data are independent; samples of the same data are identical."""

import dataclasses

import numpy as np
import pytest

from astro_massmap import AnnealedHMC, GaussianPrior, PosteriorDiffusion, ShearMap, Wiener, reconstruct_fields
from astro_massmap.inference import ConvergenceObservation, Observation

from helpers import small_priors
from helpers.skies import tan_wcs

SIDE, FIELDS, SAMPLES = 16, 10, 64
METHODS = {
    "wiener": Wiener(n_samples=SAMPLES),
    "annealed_hmc": AnnealedHMC(GaussianPrior(), n_samples=SAMPLES, n_check=0),
    "posterior_diffusion": PosteriorDiffusion(
        small_priors.posterior(), n_samples=SAMPLES, steps=3, batch_size=32, n_check=0
    ),
}


def noise_fields(n):
    """Return maps of inhomogeneous noise alone."""
    rng, wcs = np.random.default_rng(0), tan_wcs((SIDE, SIDE))
    for _ in range(n):
        noise_std = 0.1 * rng.uniform(0.7, 1.4, (SIDE, SIDE))
        yield ShearMap(noise_std * rng.normal(size=(2, SIDE, SIDE)), wcs=wcs, noise_std=noise_std)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_samples_of_different_fields_are_independent(name):
    maps = list(reconstruct_fields(noise_fields(FIELDS), METHODS[name], progress=False))
    values = np.array([kappa.samples[:, 4:12, 4:12].mean(axis=(1, 2)) for kappa in maps])
    # 45 pairs of 64 samples: standard error of the mean correlation 0.019; 4 of them, false alarm 6e-5
    assert abs(np.corrcoef(values)[np.triu_indices(FIELDS, 1)].mean()) < 4 / np.sqrt(45 * SAMPLES)
    # the standard deviation of the stack falls as 1 / sqrt(n), to 4 standard errors (9 % each)
    ratio = values.mean(axis=0).std(ddof=1) / values.std(axis=1, ddof=1).mean() * FIELDS**0.5
    assert abs(ratio - 1) < 4 / np.sqrt(2 * SAMPLES)


@pytest.mark.slow
def test_monte_carlo_errors_of_a_stack_average_down():
    # the mean of 16 samples has errors of a quarter of a standard deviation, which are independent between fields
    method = AnnealedHMC(GaussianPrior(), n_samples=16, n_check=0)
    maps = np.array([k.data for k in reconstruct_fields(noise_fields(40), method, progress=False)])
    ratio = maps.mean(axis=0).std() / maps.std(axis=(1, 2)).mean() * 40**0.5
    assert abs(ratio - 1) < 0.35  # neighbours are correlated: scatter 0.08 measured with a seed for each field


def test_the_noise_of_the_noise_floor_depends_on_the_data():
    first, second = (Observation.from_arrays(f.data, f.noise_std, 1.2e-4) for f in noise_fields(2))
    added = [(o.with_noise_floor(0.7, 0).shear - o.shear) for o in (first, first, second)]
    assert np.array_equal(added[0], added[1])
    both = (added[0] != 0) & (added[2] != 0)
    assert int(both.sum()) > 100
    assert abs(np.corrcoef(added[0][both], added[2][both])[0, 1]) < 4 / np.sqrt(int(both.sum()))


def test_the_key_is_the_checksum_of_all_data():
    data = next(noise_fields(1))
    one = Observation.from_arrays(data.data, data.noise_std, 1.2e-4)
    assert dataclasses.replace(one).sha256 == one.sha256
    others = [
        Observation.from_arrays(data.data + 1e-12, data.noise_std, 1.2e-4),
        Observation.from_arrays(data.data, data.noise_std * 1.001, 1.2e-4),
        Observation.from_arrays(data.data, data.noise_std, 1.3e-4),
        ConvergenceObservation.from_arrays(data.data[0], data.noise_std, 1.2e-4),
    ]
    assert len({o.sha256 for o in [one, *others]}) == 5
    number = [float(o.streams(3, [0]).uniform()) for o in (one, *others)]
    assert len(set(number)) == 5
