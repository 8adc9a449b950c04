"""Properties of the shipped prior that must hold for any training."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

import astro_massmap
from astro_massmap import AnnealedHMC, GaussianPrior, PowerSpectrum, ScorePrior, ShearMap, datasets
from astro_massmap.inference import FourierGrid, GaussianPosterior, LensingOperator, Observation
from astro_massmap.simulation import declared_spectrum
from astro_massmap.training import MapBank, Noiser, denoising_ratios

from helpers.skies import tan_wcs

PIXEL = math.radians(0.4 / 60)


@pytest.fixture(scope="module")
def prior():
    return ScorePrior.load("default")


def test_size_and_metadata(prior):
    file = Path(astro_massmap.__file__).parent / "priors" / "weights" / "default.safetensors"
    assert file.stat().st_size < 8e6
    assert prior.pixel_size is None and np.allclose(prior.pixel_scale.to_value("arcmin"), [0.25, 2.0])
    assert prior.card["source_redshifts"] == [0.3, 2.5]
    assert 0.25e6 < prior.card["parameters"] < 4e6
    assert np.allclose(
        prior.theory(np.array([300.0, 3e3, 3e4])), declared_spectrum(PowerSpectrum.default())([300, 3e3, 3e4])
    )


def test_denoising_of_a_map_outside_the_training_set_is_better_than_theory(prior, massmap_data):
    # a field of MassiveNuS: its spectrum is that of the theory to the scatter of one field
    field = np.load(massmap_data / "massivenus" / "kappa.npy")
    noiser = Noiser(MapBank(field[None], PIXEL), prior.theory)
    ratios = denoising_ratios(prior.of_pixels(PIXEL).denoiser, noiser, 1)
    assert max(ratios.values()) < 1
    assert ratios["0.050"] < 0.92


@pytest.mark.slow
def test_the_mean_of_samples_is_one_evaluation_of_the_denoiser_without_a_mask(prior):
    # on the Kaiser-Squires map, whose noise is white; the scatter of the mean of 24 samples is subtracted
    side, noise = 64, 0.15
    truth = torch.as_tensor(datasets.demo_truth().data[32:96, 32:96].astype(float))
    grid = FourierGrid((side, side), PIXEL, (128, 128), dtype=torch.float64)
    shear = LensingOperator(grid).forward(grid.to_modes(truth)).numpy()
    shear = shear + noise * np.random.default_rng(2).normal(size=shear.shape)
    data = Observation.from_arrays(shear, np.full((side, side), noise), PIXEL)
    made = AnnealedHMC(prior, n_samples=24, n_check=0, schedule="fast", information=1.0).solve(data)
    posterior = GaussianPosterior(data, prior.theory, (128, 128))
    on_grid, inverted = prior.on(posterior.grid), posterior.operator.adjoint(posterior.shear)[None]
    wiener = on_grid.variance / (on_grid.variance + noise**2) * inverted
    once = posterior.grid.to_field(wiener + noise**2 * on_grid.residual(inverted, noise))[0].numpy()
    inner = np.s_[16:48, 16:48]
    difference = (made.mean - once)[inner]
    chance = made.samples.var(axis=0, ddof=1)[inner].mean() / 24
    # far from the edges: less than a third of the posterior standard deviation apart, beyond chance
    assert (difference**2).mean() - chance < 0.1 * 24 * chance


@pytest.mark.slow
def test_samples_are_skewed(prior):
    catalog = datasets.demo()
    kappa = catalog.reconstruct(n_samples=4, progress=False)
    gauss = catalog.reconstruct(AnnealedHMC(GaussianPrior(prior.theory), n_samples=4), progress=False)

    def skewness(maps):
        x = maps - maps.mean()
        return (x**3).mean() / (x**2).mean() ** 1.5

    assert skewness(kappa.samples) > 1.0
    assert skewness(gauss.samples) < 0.3
    assert kappa.samples.std() / gauss.samples.std() == pytest.approx(1, abs=0.2)
    assert kappa.diagnostics["score_evaluations"] <= 100
    assert kappa.diagnostics["restarts"] == 0
    assert kappa.diagnostics["acceptance"][-1] > 0.5
    assert "ScorePrior" in kappa.diagnostics["prior"]


def test_the_error_for_another_pixel_scale_names_the_remedy():
    shear = ShearMap(np.zeros((2, 16, 16)), wcs=tan_wcs((16, 16), scale=2.5), noise_std=0.1)
    with pytest.raises(ValueError, match=r"pixels of 0\.25 to 2 arcmin, the map has 2\.5;.*GaussianPrior"):
        shear.reconstruct(progress=False)


@pytest.mark.slow
def test_chains_do_not_depend_on_the_batch_size(prior):
    noise = np.full((32, 32), 0.15)
    data = Observation.from_arrays(0.15 * np.random.default_rng(1).normal(size=(2, 32, 32)), noise, PIXEL)
    alone, together = (
        AnnealedHMC(prior, n_samples=3, n_check=0, batch_size=size).solve(data).samples for size in (1, 3)
    )
    assert np.abs(alone - together).max() < 1e-2 * alone.std()


def test_the_prior_of_targeted_fields():
    file = Path(astro_massmap.__file__).parent / "priors" / "weights" / "targeted.safetensors"
    assert file.stat().st_size < 2e6
    targeted, prior = ScorePrior.load("default", field="targeted"), ScorePrior.load("default")
    assert targeted.card["field"] == "targeted" and np.allclose(targeted.pixel_scale.to_value("arcmin"), [0.1, 0.4])
    plane = PowerSpectrum.from_n_z(0.8)
    for own in (targeted, prior):
        assert ("targeted" in own.scaled(plane).theory.name) == (own is targeted)
    ratio = targeted.scaled(plane).theory([20.0, 3000.0]) / prior.scaled(plane).theory([20.0, 3000.0])
    assert ratio[0] == pytest.approx(1, abs=0.01) and 2 < ratio[1] < 10
    # at noise of 0.02 to 1, and the higher levels of the schedule
    for pixel in (0.1, 0.2, 0.4):
        low, high = targeted.of_pixels(math.radians(pixel / 60)).sigma_range
        assert low < 0.02 and high > 0.5


@pytest.mark.parametrize("file, field", [("default", "cluster"), ("own.safetensors", "targeted")])
def test_fields_of_the_shipped_prior_only(file, field):
    with pytest.raises(ValueError, match=r"^field: "):
        ScorePrior.load(file, field=field)


@pytest.mark.slow
def test_much_power_names_the_prior_of_targeted_fields():
    y, x = np.mgrid[:20, :20] - 9.5
    kappa = 0.8 * np.exp(-(x**2 + y**2) / 8)
    grid = FourierGrid((20, 20), PIXEL, dtype=torch.float64)
    shear = LensingOperator(grid).forward(grid.to_modes(torch.from_numpy(kappa))).numpy()
    shear += 0.05 * np.random.default_rng(0).normal(size=shear.shape)
    observation = Observation.from_arrays(shear, np.full((20, 20), 0.05), PIXEL)
    with pytest.warns(AstropyUserWarning) as caught:
        AnnealedHMC(n_samples=2, n_check=0).solve(observation)
    assert any('field="targeted"' in str(warning.message) for warning in caught)
