"""Joint sampler of map and power spectrum, against posteriors that are known."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from astro_massmap import PowerSpectrum
from astro_massmap.inference import (
    Bands,
    ConvergenceObservation,
    DirectOperator,
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    Observation,
    SpectrumGibbs,
)

PIXEL = np.radians(1 / 60)
EDGES, LIMITS = (0, 2500, 5000, 1e9), (0.1, 10.0)


def mock(seed, amplitudes, noise_std, box, *, operator=LensingOperator, uniform=(0.0, 0.0)):
    """Return data of a sky with these amplitudes in the bands of a periodic box, and a uniform shear."""
    rng = np.random.default_rng([seed, 7])
    grid = FourierGrid(noise_std.shape, PIXEL, box, dtype=torch.float64)
    number = Bands(grid, edges=EDGES).number.long()
    variance = torch.tensor([*amplitudes, 1.0], dtype=torch.float64)[number] * grid.mode_variance(reference)
    data = operator(grid).forward(variance.sqrt() * grid.to_modes(torch.from_numpy(rng.normal(size=box)))).numpy()
    data = data + np.where(np.isfinite(noise_std), noise_std, 0) * rng.normal(size=data.shape)
    data = data + np.reshape(uniform, (2, 1, 1))
    if operator is DirectOperator:
        return ConvergenceObservation.from_arrays(data[0], noise_std, PIXEL)
    return Observation.from_arrays(data, noise_std, PIXEL)


reference = PowerSpectrum.default()


def sampler(observation, box, k=0.0, tolerance=1e-4, *, uniform_shear=False):
    posterior = GaussianPosterior(observation, reference, box, tolerance=tolerance, uniform_shear=uniform_shear)
    return SpectrumGibbs(posterior, Bands(posterior.grid, edges=EDGES), limits=LIMITS, k=k)


def exact_cdf(observation, k):
    """
    Return a grid of log amplitudes and the distribution functions ``(bands, n)`` for homogeneous noise in a full box.

    The modes of the E mode are independent, with the variance a S + N; integrals over log(a) are sums.
    """
    grid = FourierGrid(observation.shape, PIXEL, dtype=torch.float64)
    noise, operator = float(observation.noise_std[0, 0]) ** 2, observation.operator(grid)
    signal, power, weight = (x.numpy() for x in (grid.mode_variance(reference), operator.power, grid.multiplicity))
    square = operator.adjoint(observation.shear).abs().square().numpy()
    number, u, cdf = Bands(grid, edges=EDGES).number.numpy(), np.linspace(*np.log(LIMITS), 2001), []
    for b in range(len(EDGES) - 1):
        inside = (number == b) & (power > 0)
        total = np.exp(u)[:, None] * signal[inside] * power[inside] + noise
        terms = np.log(total) + square[inside] / power[inside] / total
        log_density = (1 - k) * u - terms @ np.broadcast_to(weight, inside.shape)[inside] / 2
        density = np.exp(log_density - log_density.max())
        cdf.append(np.cumsum(density) / density.sum())
    return u, np.array(cdf)


@pytest.mark.parametrize(
    ("noise", "k", "operator"),
    [(0.02, 0.0, LensingOperator), (0.08, 1.0, LensingOperator), (0.05, 0.0, DirectOperator)],
)
def test_band_powers_of_homogeneous_noise_in_a_periodic_box(noise, k, operator):
    # 20 chains of 60 steps; the fraction of samples below an exact quantile p has a standard error of
    # sqrt(p (1 - p) tau / 1000), with an autocorrelation time tau of at most 4: 27 comparisons at 4.5 sigma, so that
    # the false-alarm rate is 2e-4
    shape = (25, 25)
    observation = mock(3, (0.7, 1.5, 1.0), np.full(shape, noise), shape, operator=operator)
    gibbs, streams, drawn = sampler(observation, shape, k), observation.streams(1, range(20)), []
    amplitudes = np.ones((20, 3))
    for _ in range(60):
        amplitudes = gibbs.step(streams, amplitudes).amplitudes
        drawn.append(np.log(amplitudes))
    u, cdf = exact_cdf(observation, k)
    samples = np.concatenate(drawn[10:])
    for b in range(3):
        for level in (0.16, 0.5, 0.84):
            below = np.mean(samples[:, b] < np.interp(level, cdf[b], u))
            assert abs(below - level) < 4.5 * np.sqrt(level * (1 - level) * 4 / 1000), (b, level, below)


@pytest.mark.slow
def test_ranks_of_band_powers_in_a_masked_field_are_uniform():
    """
    Simulation-based calibration (Talts et al. 2018): amplitudes are drawn from their prior, and ranked.

    A uniform shear of a hundred standard deviations of its error, which is marginalised, has no effect.
    """
    # 100 mocks, ranks among 9 chains: chi^2 of 10 bins, three bands; false-alarm rate 6e-4 in total
    noise_std = np.full((16, 20), 0.04)
    noise_std[5:9, 3:10], noise_std[:, 14:] = np.inf, 0.08
    rng, ranks, box = np.random.default_rng(5), [], (24, 30)
    for i in range(100):
        truth = rng.uniform(*LIMITS, size=3)
        observation = mock(i, truth, noise_std, box, uniform=(0.3, -0.2))
        gibbs = sampler(observation, box, tolerance=1e-3, uniform_shear=True)
        streams = observation.streams(0, range(9))
        amplitudes = np.exp(rng.uniform(*np.log(LIMITS), size=(9, 3)))
        for _ in range(9):
            amplitudes = gibbs.step(streams, amplitudes).amplitudes
        ranks.append((amplitudes < truth).sum(axis=0))
    for of_band in np.array(ranks).T:
        counts = np.bincount(of_band, minlength=10)
        assert chi2.sf(((counts - 10) ** 2 / 10).sum(), 9) > 1e-4, counts
        # the mean rank has a standard error of 0.032, and a chance of 1e-4 to be off by more than this
        assert abs(of_band.mean() / 9 - 0.5) < 0.12


def test_map_given_completed_data_has_the_moments_of_the_samples():
    noise_std = np.full((16, 16), 0.05)
    noise_std[4:8, 4:8] = np.inf
    observation = mock(2, (1.0, 1.0, 1.0), noise_std, (24, 24), uniform=(0.05, 0.1))
    gibbs = sampler(observation, (24, 24), uniform_shear=True)
    streams, amplitudes = observation.streams(0, range(16)), np.ones((16, 3))
    grid, maps, means, variance = gibbs.posterior.grid, [], [], []
    for _ in range(40):
        state = gibbs.step(streams, amplitudes)
        amplitudes = state.amplitudes
        maps.append(grid.to_field(state.modes))
        means.append(grid.to_field(state.mean))
        variance.extend(state.variance)
    maps, means = torch.cat(maps).numpy(), torch.cat(means).numpy()
    total = np.mean(variance) + means.var(axis=0)
    # standard deviations of 640 samples are correct to 3 % per pixel, and their mean to about 1 % (4 sigma: 4 %)
    assert abs(np.sqrt(total).mean() / maps.std(axis=0).mean() - 1) < 0.04
    assert np.abs(means.mean(axis=0) - maps.mean(axis=0)).max() < 5.5 * maps.std(axis=0).max() / np.sqrt(640 / 2)


def test_steps_depend_on_the_stream_alone():
    observation = mock(1, (1.0, 1.0, 1.0), np.full((16, 16), 0.05), (24, 24))
    gibbs = sampler(observation, (24, 24), tolerance=1e-6)
    both = gibbs.step(observation.streams(3, [0, 1]), np.ones((2, 3)))
    again = gibbs.step(observation.streams(3, [1]), np.ones((1, 3)))
    assert np.allclose(both.amplitudes[1], again.amplitudes[0], rtol=1e-3)
    assert np.array_equal(gibbs.step(observation.streams(3, [1]), np.ones((1, 3))).amplitudes, again.amplitudes)
    assert gibbs.residual <= 1e-6 and gibbs.iterations > 3


def test_bands_with_edges():
    grid = FourierGrid((32, 32), PIXEL)
    bands = Bands(grid, edges=[1000, 3000, 6000])
    ell, number = grid.ell, bands.number
    assert bands.n == 2 and number[0, 0] == 2
    assert ((ell[number == 0] >= 1000) & (ell[number == 0] < 3000)).all() and (ell[number == 2][1:] > 0).all()
    assert int(bands.count.sum()) == int((grid.multiplicity * ((ell >= 1000) & (ell < 6000))).sum())
    modes = torch.ones(1, 32, 17, dtype=torch.complex64)
    assert torch.allclose(bands.mean_square(modes), torch.ones(1, 2, dtype=torch.float64))
