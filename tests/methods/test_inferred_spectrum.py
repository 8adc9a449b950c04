"""Wiener filter with an inferred spectrum: options, maps, posterior of the spectrum, and its use as a prior."""

from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import ConvergenceMap, InferredSpectrum, PowerSpectrum, ScorePrior, ShearMap, Wiener, datasets
from astro_massmap.inference import (
    Bands,
    FourierGrid,
    GaussianPosterior,
    LensingOperator,
    Observation,
    SpectrumGibbs,
)
from astro_massmap.methods._spectrum_chains import _Chains
from astro_massmap.methods._spectrum_summary import mixing

from helpers.cases import each_case
from helpers.skies import tan_wcs

SIDE, PIXEL = 20, np.radians(2 / 60)


def sky(seed, amplitude, noise=0.02):
    """Return a sky whose spectrum is the default one times an amplitude, and its data with a hole."""
    rng = np.random.default_rng([seed, 3])
    grid = FourierGrid((SIDE, SIDE), PIXEL, (64, 64), dtype=torch.float64)
    modes = (amplitude * grid.mode_variance(PowerSpectrum.default())).sqrt()
    modes = modes * grid.to_modes(torch.from_numpy(rng.normal(size=(64, 64))))
    noise_std = np.full((SIDE, SIDE), noise)
    noise_std[5:10, 8:14] = np.inf
    shear = LensingOperator(grid).forward(modes).numpy() + noise * rng.normal(size=(2, SIDE, SIDE))
    return grid.to_field(modes).numpy(), Observation.from_arrays(shear, noise_std, PIXEL)


QUICK = {"bands": 3, "burn_in": 5, "thin": 1}


@pytest.fixture(scope="module")
def kappa():
    shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    return shear.reconstruct(Wiener(InferredSpectrum(thin=2), n_samples=120, seed=2), progress=False)


def test_the_spectrum_of_the_map_and_its_file(kappa, tmp_path):
    found = kappa.spectrum_posterior
    table = found.to_table()
    assert found.samples.shape == (120, len(table)) and np.isfinite(found.samples).all()
    assert (table["lower"] < table["cl"]).all() and (table["cl"] < table["upper"]).all()
    assert np.allclose(table["cl"], np.median(found.samples, axis=0), rtol=0.1)
    record = kappa.diagnostics["spectrum_posterior"]
    assert min(record["effective_samples"]) > 10 and max(record["autocorrelation_time"]) < 10
    assert record["burn_in"] == 40 and record["n_chains"] == 4 and record["prior"] == "flat"
    kappa.write(tmp_path / "kappa.fits")
    again = ConvergenceMap.read(tmp_path / "kappa.fits")
    assert np.array_equal(again.spectrum_posterior.samples, found.samples)
    assert np.array_equal(again.spectrum_posterior.spectrum().cl, found.spectrum().cl)
    assert again.diagnostics["fit"]["n_data"] == kappa.diagnostics["fit"]["n_data"]
    assert datasets.demo_truth().spectrum_posterior is None


def test_the_inferred_spectrum_is_the_spectrum_of_other_priors(kappa):
    inferred = kappa.spectrum_posterior.spectrum()
    band = kappa.spectrum_posterior.to_table()[1]
    assert abs(inferred(band["ell"]) / PowerSpectrum.default()(band["ell"]) / band["amplitude"] - 1) < 0.01
    prior = ScorePrior.load("default", spectrum=inferred)
    assert prior.theory.name.startswith("inferred") and prior.of_pixels(PIXEL).table is None
    low, high = (kappa.spectrum_posterior.spectrum(q) for q in (0.16, 0.84))
    assert (low.cl <= inferred.cl).all() and (inferred.cl <= high.cl).all()
    shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    assert shear.reconstruct(Wiener(inferred, n_samples=0), progress=False).diagnostics["spectrum"] == inferred.name


def test_map_and_standard_deviation_are_those_of_the_samples(kappa):
    scatter = np.std(kappa.samples, axis=0, ddof=1)
    # the standard deviation of 120 samples is correct to 7 % per pixel; the mean over the map to about 2 %
    assert abs(scatter.mean() / kappa.uncertainty.array.mean() - 1) < 0.08
    assert np.abs((kappa.samples.mean(axis=0) - kappa.data) / scatter).max() < 5 / np.sqrt(120 / 4)


@pytest.mark.filterwarnings("ignore:spectrum. the samples")  # are few
def test_results_are_reproducible_and_do_not_depend_on_the_number_of_samples_or_jobs():
    _, observation = sky(0, 1.0)
    method = {"spectrum": InferredSpectrum(**QUICK), "seed": 5}
    one, two = (Wiener(**method, n_samples=9, n_jobs=n).solve(observation) for n in (1, 3))
    few = Wiener(**method, n_samples=5).solve(observation)
    other = Wiener(**method | {"seed": 6}, n_samples=5).solve(observation)
    assert np.array_equal(one.samples, two.samples) and np.array_equal(one.mean, two.mean)
    assert np.array_equal(one.std, two.std) and np.array_equal(one.samples[:5], few.samples)
    assert not np.allclose(other.samples, few.samples, atol=1e-3)
    records = [e.diagnostics["spectrum_posterior"]["amplitudes"] for e in (one, few)]
    assert np.array_equal(records[0][:5], records[1])


@pytest.mark.filterwarnings("ignore:spectrum. the samples")  # are few
def test_the_uniform_shear_of_structure_beyond_the_box_is_no_signal():
    _, observation = sky(0, 1.0)
    sheared = observation.shear.numpy() + np.reshape([0.2, -0.3], (2, 1, 1))  # 300 standard deviations
    sheared = Observation.from_arrays(sheared, observation.noise_std.numpy(), PIXEL)
    method = Wiener(InferredSpectrum(**QUICK), n_samples=40)
    one, two = method.solve(observation), method.solve(sheared)
    assert np.abs(one.mean - two.mean).max() < one.std.min() and abs(two.std / one.std - 1).max() < 0.5
    fit, usual = two.diagnostics["fit"], one.diagnostics["fit"]
    assert abs(fit["chi2_sigma"]) < 4 and abs(fit["b_mode_sigma"]) < 4 and fit["power_p_value"] > 1e-3
    assert np.allclose(fit["power_ratio"], usual["power_ratio"], rtol=0.3)


def test_chains_in_one_batch_are_those_that_run_one_by_one():
    # a GPU computes all chains together; 7 samples of 3 chains: the last step has one chain with a sample
    _, observation = sky(0, 1.0)
    method = Wiener(InferredSpectrum(**QUICK | {"n_chains": 3}), n_samples=7, tolerance=1e-6)
    posterior = GaussianPosterior(observation, PowerSpectrum.default(), (64, 64), tolerance=1e-6)
    chains = []
    for batches in ([[0], [1], [2]], [[0, 1, 2]]):
        gibbs = SpectrumGibbs(posterior, method.spectrum.on(posterior), limits=method.spectrum.limits)
        chains.append(_Chains(method, observation, gibbs))
        for batch in batches:
            chains[-1]._keep(chains[-1]._chains(batch, SimpleNamespace(update=lambda n: None)))
    alone, together = chains
    assert [len(a) for a in together.amplitudes] == [3, 2, 2]
    assert np.allclose(alone.in_order(), together.in_order(), rtol=1e-3)
    assert torch.allclose(alone.samples, together.samples, atol=1e-4)
    assert torch.allclose(alone.std(alone.mean()), together.std(together.mean()), rtol=1e-3)
    assert sum(chi2.shape[1] for chi2 in together.chi2) == 7


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:spectrum. the samples")  # are few
def test_maps_with_an_unknown_spectrum_are_calibrated():
    # skies with amplitudes from 0.3 to 3: (truth - mean) / std has unit variance, and 68 % of the truths of pixels and
    # of the amplitudes lie within the intervals. The standard error of the last fraction is 0.10, the scatter of the
    # others over sets of skies is at most 0.08 and 0.025: limits at about 4 sigma.
    square, inside, amplitude = [], [], []
    for seed in range(20):
        true = 3 ** np.random.default_rng(seed).uniform(-1, 1)
        truth, observation = sky(seed, true)
        spectrum = InferredSpectrum(bands=1, burn_in=10, thin=1, prior="jeffreys")
        estimate = Wiener(spectrum, n_samples=60, tolerance=1e-4).solve(observation)
        square.append(np.mean(((truth - estimate.mean) / estimate.std) ** 2))
        low, high = np.quantile(estimate.samples, [0.16, 0.84], axis=0, method="weibull")
        inside.append(np.mean((low < truth) & (truth < high)))
        drawn = estimate.diagnostics["spectrum_posterior"]["amplitudes"]
        low, high = np.quantile(drawn, [0.16, 0.84], method="weibull")
        amplitude.append(low < true < high)
    assert abs(np.mean(square) - 1) < 0.3
    assert abs(np.mean(inside) - 0.68) < 0.1
    assert abs(np.mean(amplitude) - 0.68) < 0.4


def test_bands_of_a_box():
    _, observation = sky(0, 1.0)
    posterior = GaussianPosterior(observation, PowerSpectrum.default(), (64, 64))
    longest, field = float(posterior.grid.longest), 2 * np.pi / (SIDE * PIXEL)
    default = InferredSpectrum().on(posterior)
    assert isinstance(default, Bands) and default.count.min() >= 8 and default.edges[1] >= field * 0.999
    assert int(default.count.sum()) == 64 * 64 - 1
    assert InferredSpectrum(bands=1).on(posterior).count.tolist() == [64 * 64 - 1]
    assert InferredSpectrum(bands=[300, 2000]).on(posterior).n == 1
    with pytest.raises(ValueError, match=r"bands: needs modes .* at ell = 1 to 2"):
        InferredSpectrum(bands=[1, 2, 3000]).on(posterior)
    assert longest < field


def test_spectra_that_the_data_do_not_constrain_give_a_warning():
    _, observation = sky(0, 1.0, noise=3.0)
    with pytest.warns(AstropyUserWarning, match="reaches the highest amplitude of the prior, 2"):
        Wiener(InferredSpectrum(limits=(0.5, 2), **QUICK), n_samples=100).solve(observation)
    with pytest.warns(AstropyUserWarning, match="use a larger n_samples"):
        Wiener(InferredSpectrum(**QUICK), n_samples=4).solve(sky(0, 1.0)[1])


@pytest.mark.filterwarnings("ignore:spectrum. the samples")  # are few
def test_sources_reduced_shear_and_noisy_maps(kappa):
    shear = datasets.demo().to_map(pixel_scale=3.2 * u.arcmin)
    method = Wiener(InferredSpectrum(**QUICK), n_samples=40)
    reduced = shear.reconstruct(method, reduced_shear=True, progress=False)
    record = reduced.diagnostics["reduced_shear"]
    assert record["pilot"] == "the Wiener filter with the reference spectrum" and record["sd_log_weight"] < 1
    given = ShearMap(shear.data, wcs=shear.wcs, noise_std=shear.noise_std, mask=shear.mask, n_z=([0.5], [1.0]))
    nearer = given.reconstruct(method, progress=False)
    assert nearer.diagnostics["sources"]["origin"] == "n(z) of the data"
    assert nearer.spectrum_posterior.theory.name != reduced.spectrum_posterior.theory.name
    assert nearer.meta["provenance"]["prior"]["sha256"] != reduced.meta["provenance"]["prior"]["sha256"]
    own = Wiener(InferredSpectrum(PowerSpectrum.from_n_z(0.5), **QUICK), n_samples=4)
    assert given.reconstruct(own, progress=False).diagnostics["sources"]["origin"] == "method"
    truth, rng = kappa.data * 3, np.random.default_rng(0)
    noisy = ConvergenceMap(
        truth + 0.05 * rng.normal(size=truth.shape), wcs=tan_wcs(truth.shape, scale=1.6), uncertainty=0.05 + 0 * truth
    )
    clean = noisy.reconstruct(method, progress=False)
    assert np.std(clean.data - truth) < 0.8 * np.std(noisy.data - truth)
    assert clean.spectrum_posterior.amplitudes.shape == (40, 3)


def test_autocorrelation_time_of_a_known_chain():
    # x' = r x + noise has (1 + r) / (1 - r) = 3 for r = 0.5; the estimate from 4 x 4000 steps is correct to about 4 %
    rng, chains = np.random.default_rng(0), np.zeros((4, 4000, 1))
    for i in range(1, 4000):
        chains[:, i] = 0.5 * chains[:, i - 1] + rng.normal(size=(4, 1))
    found = mixing([*chains])
    assert abs(found["autocorrelation_time"][0] / 3 - 1) < 0.2
    assert abs(found["effective_samples"][0] * found["autocorrelation_time"][0] - 16000) < 1
    assert found["r_hat"][0] < 1.01
    apart = mixing([*(chains + np.arange(4)[:, None, None] * 5)])
    assert apart["r_hat"][0] > 2 and apart["effective_samples"][0] < 100
    short = mixing([*chains[:, :3]])  # three steps of a chain may be the same: each chain is worth one sample at least
    assert np.isnan(short["r_hat"]).all() and short["effective_samples"] == [4.0] * chains.shape[2]


@each_case(
    ("options", "error", "message"),
    [
        ({"bands": 0}, ValueError, "bands"),
        ({"bands": 500}, ValueError, "bands: needs at most"),
        ({"bands": [3, 2]}, ValueError, "bands: needs a number of bands, or"),
        ({"bands": "many"}, ValueError, "bands"),
        ({"prior": "wide"}, ValueError, "prior: needs 'flat' or 'jeffreys'"),
        ({"limits": (0, 1)}, ValueError, "limits"),
        ({"limits": 3}, ValueError, "limits"),
        ({"n_chains": 0}, ValueError, "n_chains"),
        ({"burn_in": -1}, ValueError, "burn_in"),
        ({"thin": 0}, ValueError, "thin"),
        ({"bands": 2.5}, TypeError, "bands"),
        ({"reference": "default"}, TypeError, "spectrum"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        InferredSpectrum(**options)


def test_options_of_the_wiener_filter_that_do_not_apply():
    assert Wiener("infer") == Wiener(InferredSpectrum())
    with pytest.raises(ValueError, match="n_samples"):
        Wiener("infer", n_samples=0, uncertainty=False)
    with pytest.raises(TypeError, match="PowerSpectrum"):
        Wiener("guess")
