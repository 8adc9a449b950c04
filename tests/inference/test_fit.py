"""Goodness of fit: statistics with a known expectation, on data that agree with prior and noise, and on others."""

import numpy as np
import pytest
import torch
from scipy import stats

from astro_massmap import PowerSpectrum, Wiener
from astro_massmap.analysis.statements import fit_statements, fit_summary, fit_verdict
from astro_massmap.inference import (
    ConvergenceObservation,
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    Observation,
    model_fit,
    residual_power,
)
from astro_massmap.simulation import lognormal_maps

PIXEL, SIDE, BOX = np.radians(0.4 / 60), 24, (64, 64)
MOCKS = 150


def mock(seed, *, noise=1.0, signal=1.0, kind=Observation):
    """Return data from the default spectrum with inhomogeneous noise, in a field with a hole."""
    rng = np.random.default_rng(seed)
    noise_std = 0.15 * rng.uniform(0.7, 1.4, (SIDE, SIDE))
    noise_std[5:11, 12:18] = np.inf
    grid = FourierGrid((SIDE, SIDE), PIXEL, BOX, dtype=torch.float64)
    white = grid.to_modes(torch.from_numpy(rng.normal(size=BOX)))
    operator = kind.operator(grid)
    truth = operator.forward(signal * grid.mode_variance(PowerSpectrum.default()).sqrt() * white).numpy()
    data = truth + noise * np.where(np.isinf(noise_std), 0, noise_std) * rng.normal(size=truth.shape)
    return kind.from_arrays(data if kind is Observation else data[0], noise_std, PIXEL)


def fit_of(observation, n=2):
    posterior = GaussianPosterior(observation, PowerSpectrum.default(), BOX)
    samples = posterior.mean_modes() + posterior.fluctuations(observation.streams(0, range(n)))
    return model_fit(posterior, observation, *residual_power(posterior, samples))


@pytest.fixture(scope="module")
def fits():
    return [fit_of(mock(seed)) for seed in range(MOCKS)]


@pytest.mark.slow
def test_data_of_the_model_fit_it(fits):
    # 4 sigma of the mean over mocks, and of the scatter, which is at most 1: false alarms 1e-4 each
    for sigma in ("chi2_sigma", "b_mode_sigma"):
        values = np.array([fit[sigma] for fit in fits])
        assert abs(values.mean()) < 4 / MOCKS**0.5
        assert values.std() < 1 + 4 / (2 * MOCKS) ** 0.5
    pulls = [(fit["noise_factor"] - 1) / fit["noise_factor_error"] for fit in fits]
    assert np.abs(pulls).max() < 4.5
    assert not any(fit_statements(fit) for fit in fits)


@pytest.mark.slow
def test_p_values_are_uniform(fits):
    # a Kolmogorov-Smirnov test at 1e-3
    assert stats.kstest([fit["power_p_value"] for fit in fits], "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_the_mean_power_ratio_is_one(fits):
    ratio, error = (np.array([fit[name] for fit in fits]) for name in ("power_ratio", "power_error"))
    # the mean of 32 mock data sets scatters, too
    assert (np.abs(ratio.mean(axis=0) - 1) < 5 * error.mean(axis=0) * (1 / MOCKS + 1 / MOCKS / 32) ** 0.5 + 0.03).all()


@pytest.mark.slow
@pytest.mark.parametrize("signal", [1.0, 2.0])
def test_the_amplitude_of_the_spectrum_is_measured(fits, signal):
    # 4 sigma of the mean over mocks; the errors are those for the prior spectrum
    found = fits if signal == 1 else [fit_of(mock(seed, signal=signal)) for seed in range(MOCKS)]
    amplitude, error = (np.array([fit[name] for fit in found]) for name in ("amplitude", "amplitude_error"))
    assert abs(amplitude.mean() - signal**2) < 4 * amplitude.std() / MOCKS**0.5 + 4 * error.mean() / (32 * MOCKS) ** 0.5
    if signal == 1:
        assert amplitude.std() == pytest.approx(error.mean(), rel=4 / (2 * MOCKS) ** 0.5 + 0.1)


@pytest.mark.slow
def test_the_b_mode_expectation_is_that_of_white_noise():
    # by a sum over the modes of the box, each with half the pixels of the shear
    observation = mock(0)
    grid = FourierGrid((SIDE, SIDE), PIXEL, BOX, dtype=torch.float64)
    operator, rng = LensingOperator(grid), np.random.default_rng(5)
    white = torch.from_numpy(rng.normal(size=(400, 2, SIDE, SIDE))) * observation.observed
    b_mode = operator.e_and_b_modes(white)[1]
    measured = grid.inner(b_mode, b_mode)
    expected = int(observation.observed.sum()) * grid.pixel_variance(operator.power)
    assert abs(float(measured.mean()) / expected - 1) < 4 * float(measured.std()) / expected / 20


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_wrong_noise_is_measured(factor):
    fit = fit_of(mock(1, noise=factor))
    assert abs(fit["noise_factor"] - factor) < 4 * fit["noise_factor_error"]
    assert "the noise seems" in fit_statements(fit)[0][1]


def test_a_field_with_more_structure_than_the_prior_has_a_low_p_value():
    fit = fit_of(mock(2, signal=6.0))
    assert fit["power_p_value"] < 1e-6 and abs(fit["b_mode_sigma"]) < 4
    assert any("unlike those" in message for _, message in fit_statements(fit))


@pytest.mark.slow
def test_a_map_of_the_convergence_has_no_b_mode():
    fits = [fit_of(mock(seed, kind=ConvergenceObservation)) for seed in range(40)]
    assert all(fit["b_mode_chi2"] is None and fit["n_data"] == SIDE**2 - 36 for fit in fits)
    sigma = np.array([fit["chi2_sigma"] for fit in fits])
    assert abs(sigma.mean()) < 4 / 40**0.5 and sigma.std() < 1 + 4 / 80**0.5
    wrong = fit_of(mock(3, noise=2.0, kind=ConvergenceObservation))
    assert abs(wrong["noise_factor"] - 2) < 4 * wrong["noise_factor_error"] + 0.1
    assert "the noise seems" in fit_statements(wrong)[0][1]


def test_deviations_are_stated_in_words():
    fit = fit_of(mock(1, noise=3.0))
    assert fit_statements(None) == fit_statements({}) == [] and fit_summary(None) == ""
    for key in set(fit) - {"n_data", "amplitude", "amplitude_error"}:  # a damaged file
        damaged = {k: v for k, v in fit.items() if k != key}
        assert fit_statements(damaged) == fit_statements(fit | {key: "?"}) == []
    assert "times the stated value" in fit_summary(fit) and "prior spectrum" in fit_summary(fit)
    assert "prior spectrum" not in fit_summary(fit | {"amplitude": None})
    only_chi2 = fit | {"b_mode_chi2": 1.01, "b_mode_sigma": 0.2, "power_p_value": None}
    assert [short.split()[0] for short, _ in fit_statements(only_chi2)] == ["residuals"]
    small = fit | {"chi2": 1.01, "chi2_sigma": 9.0, "b_mode_chi2": 1.01, "b_mode_sigma": 9.0, "power_p_value": None}
    assert fit_statements(small) == []


def test_the_verdict_does_not_contradict_the_p_value():
    fit = fit_of(mock(1)) | {"gaussian": False, "power_p_value": 0.3}
    assert fit_verdict(fit) == "the data agree with the noise and the prior"
    band, n = 2, len(fit["ell"])
    bands = {"power_ratio": [1.7 if i == band else 1.0 for i in range(n)], "power_error": [0.1] * n}
    low = fit | bands | {"power_p_value": 3e-6}
    assert fit_statements(low) == []
    measured = f"1.7 times that of prior and noise at ell = {fit['ell'][band]:.0f}"
    assert f"{measured}, within the factor of 2" in fit_verdict(low)
    assert fit_verdict(low | {"gaussian": True}) == "unlike its prior (p = 3e-06)"


@pytest.mark.filterwarnings("ignore:padding")
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 2), (1, 40)])
@pytest.mark.parametrize("padding", [1, 2])
def test_the_smallest_fields_have_a_fit(shape, padding):
    data = 0.1 * np.random.default_rng(0).normal(size=(2, *shape))
    fit = Wiener(n_samples=2, padding=padding).solve(Observation.from_arrays(data, np.full(shape, 0.1), PIXEL))
    assert np.isfinite(fit.diagnostics["fit"]["power_ratio"]).all()
    assert np.isfinite(fit.std).all()


def test_non_gaussian_structure_gives_no_warning():
    # lognormal skies of the default spectrum, skewness 2.8, at a low noise: 15 % have p < 6e-5
    skies = lognormal_maps(PowerSpectrum.default(), 12, (48, 48), PIXEL, shift=0.03, seed=3).numpy()
    rng, found = np.random.default_rng(0), []
    grid = FourierGrid((48, 48), PIXEL, dtype=torch.float64)
    for sky in skies:
        shear = LensingOperator(grid).forward(grid.to_modes(torch.from_numpy(sky).double())).numpy()[:, :40, :40]
        data = Observation.from_arrays(shear + 0.05 * rng.normal(size=shear.shape), np.full((40, 40), 0.05), PIXEL)
        posterior = GaussianPosterior(data, PowerSpectrum.default(), (80, 80))
        samples = posterior.mean_modes() + posterior.fluctuations(data.streams(0, [0]))
        found += fit_statements(model_fit(posterior, data, *residual_power(posterior, samples), gaussian=False))
    assert not found
