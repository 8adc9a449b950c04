"""A prior of many surveys: conditions, corrections and files, on Gaussian maps of two spectra."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.inference import FourierGrid
from astro_massmap.priors import CorrectionTable, UNet
from astro_massmap.training import MapBank, SurveyNoiser, TrainingPlan, train_survey_prior
from astro_massmap.training.survey_prior import correction_table, survey_ratios

from helpers import small_priors
from helpers.small_priors import PIXEL, THEORY

SIZES = (PIXEL, 2 * PIXEL)
TRUTH = 0.7  # power of the maps over that of their spectrum
PLAN = TrainingPlan(steps=2, size=32, margin=8, maps_per_step=2, sigma=(0.3, 10.0), validation_maps=2, bfloat16=False)


class Sky:
    """Gaussian maps of surveys, with a fraction of the power of their spectrum."""

    shape = (64, 64)

    def __init__(self, truth=TRUTH):
        self.truth = truth

    def survey(self, choices, amplitude=None, pixel_size=None):
        amplitude = choices.uniform(0.5, 2) if amplitude is None else amplitude
        spectrum = PowerSpectrum(THEORY.ell, amplitude * THEORY.cl, name="survey")
        return SimpleNamespace(
            spectrum=spectrum, pixel_size=choices.choice(SIZES) if pixel_size is None else pixel_size
        )

    def draw(self, survey, choices):
        grid = FourierGrid(self.shape, survey.pixel_size)
        white = torch.from_numpy(choices.normal(size=self.shape)).float()
        amplitude = (self.truth * grid.mode_variance(survey.spectrum)).sqrt()
        return torch.fft.irfft2(amplitude * torch.fft.rfft2(white), s=self.shape)


def fields(sky):
    choices = np.random.default_rng(0)
    return [[sky.survey(choices, a, size) for a in (0.5, 2.0)] for size in SIZES]


@pytest.fixture(scope="module")
def trained():
    sky = Sky()
    reference = sky.survey(np.random.default_rng(0), 1.0, PIXEL)
    bank = MapBank(torch.stack([sky.draw(reference, np.random.default_rng(i)) for i in range(4)]), PIXEL)
    prior, history = train_survey_prior(
        sky, bank, reference, fields(sky), PLAN, widths=(4, 4, 4), embedding=8, n_correction=2, progress=False
    )
    return prior, history


def test_a_piece_has_the_noise_and_the_field_of_its_survey():
    sky = Sky(1.0)
    batch = SurveyNoiser(sky, size=32, margin=16).batch(6, 1.0, 1.0001, np.random.default_rng(0), torch.Generator())
    assert batch.x.shape == batch.z.shape == batch.wiener.shape == (12, 32, 32)
    signal = batch.field.variance.sqrt().float()
    assert torch.allclose(batch.sigma, signal, rtol=1e-3)
    assert torch.allclose((batch.z - batch.x).std(dim=(1, 2)), batch.sigma, rtol=0.1)
    assert len(set(batch.field.pixel_size.tolist())) == 2
    # pieces of one map belong to one survey
    assert torch.equal(signal[0::2], signal[1::2]) and len(set(signal.tolist())) == 6
    observed, wiener, _ = batch.field.spreads(batch.sigma)
    assert abs(float((batch.wiener / wiener).std()) - 1) < 0.1 and abs(float((batch.z / observed).std()) - 1) < 0.1


def test_workers_draw_the_same_batches():
    sky = Sky()
    reference = sky.survey(np.random.default_rng(0), 1.0, PIXEL)
    bank = MapBank(torch.zeros(2, 64, 64), PIXEL)
    runs = [
        train_survey_prior(
            sky, bank, reference, fields(sky)[:1], PLAN, widths=(4, 4, 4), n_correction=1, workers=n, progress=False
        )[0]
        for n in (0, 1)
    ]
    once, again = (torch.cat([p.flatten() for p in run.denoiser.parameters()]) for run in runs)
    assert torch.equal(once, again)


def test_the_correction_of_every_field_is_that_of_the_truth():
    # a silent network: the best b makes the filter that of the true power, and c is the error that is left
    surveys, off = fields(Sky()), []
    cut = {"size": 32, "margin": 8, "pieces": 1, "device": "cpu"}
    table = correction_table(UNet((4, 4, 4)), Sky(), surveys, 48, cut, ratios=(1.8,), progress=False)
    assert table.network.shape == (2, 2, 1, 80)
    for row, column in np.ndindex(2, 2):
        survey, signal = surveys[row][column], table.signal[row, column]
        grid = FourierGrid((192, 192), survey.pixel_size, dtype=torch.float64)
        assert math.isclose(signal**2, grid.pixel_variance(grid.mode_variance(survey.spectrum)), rel_tol=1e-6)
        ell, sigma = np.array([2500.0, 3500.0, 5000.0]), 1.8 * signal
        s, n = survey.spectrum(ell) / survey.pixel_size**2, sigma**2
        expected = TRUTH * (s + n) / (TRUTH * s + n)
        assert expected.max() < 0.95
        _, theory, variance = table.of_field(survey.pixel_size, signal).at(sigma, torch.from_numpy(ell))
        off.append([1 + theory.numpy() - expected, variance.numpy() - expected])
    assert np.abs(np.mean(off, axis=(0, 2))).max() < 0.04


def test_the_table_between_fields():
    one = np.ones((2, 2, 1, 1))
    rows = one * np.array([[1.0, 2.0], [3.0, 4.0]])[:, :, None, None]
    table = CorrectionTable(
        np.array([1e-4, 4e-4]), np.array([[0.01, 0.04], [0.005, 0.02]]), np.ones(1), np.ones(1), rows, rows, one
    )
    assert table.limits(1e-4) == pytest.approx((0.01, 0.04)) and table.limits(2e-4)[0] == pytest.approx(0.01 / 2**0.5)
    for size, signal, expected in ((1e-4, 0.01, 1.0), (1e-4, 0.02, 1.5), (4e-4, 0.02, 4.0), (2e-4, 0.02 / 2**0.5, 2.5)):
        assert float(table.of_field(size, signal).network[0, 0]) == pytest.approx(expected)
    assert float(table.of_field(1e-4, 1.0).network[0, 0]) == 2.0 and table.of_field(1e-4, 1.0).sigma == [1.0]
    assert float(table.of_field(1e-3, 1e-3).network[0, 0]) == 3.0


def test_the_prior_of_a_map_follows_its_pixels_and_spectrum(trained):
    prior, history = trained
    assert prior.pixel_size is None and len(history) == 1 and history[0]["step"] == 2
    assert prior.pixel_scale.to_value("rad") == pytest.approx(SIZES)
    spectrum = PowerSpectrum(THEORY.ell, 1.5 * THEORY.cl, name="deeper")
    other = dataclasses.replace(prior, card={}).scaled(spectrum)
    assert other.theory is spectrum and other.table is prior.table
    one = other.of_pixels(1.5 * PIXEL)
    assert one.pixel_size == 1.5 * PIXEL and one.theory is spectrum and one.table is None
    assert one.max_sigma == pytest.approx(PLAN.sigma[1] * one.denoiser.signal)
    assert one.of_pixels(1.0) is one
    on_grid = other.on(FourierGrid((24, 24), 1.5 * PIXEL))
    assert on_grid.prior.theory is spectrum and on_grid.max_sigma == one.max_sigma
    assert torch.equal(on_grid.variance, FourierGrid((24, 24), 1.5 * PIXEL).mode_variance(spectrum))


@pytest.mark.parametrize("factor", [0.9, 2.2])
def test_other_pixels_are_an_error(trained, factor):
    with pytest.raises(ValueError, match=r"prior: needs pixels of 0\.\d+ to 0\.\d+ arcmin, the map has"):
        trained[0].on(FourierGrid((24, 24), factor * PIXEL))


@pytest.mark.parametrize("factor", [0.2, 4.0])
def test_a_signal_outside_of_the_training_is_doubted(trained, factor):
    spectrum = PowerSpectrum(THEORY.ell, factor * THEORY.cl)
    with pytest.warns(AstropyUserWarning, match="spectrum: the standard deviation of a pixel is"):
        trained[0].scaled(spectrum).of_pixels(PIXEL)


def test_a_prior_of_many_fields_round_trips(trained):
    prior = dataclasses.replace(trained[0], card={"maps": "Gaussian"})
    prior.save("p.safetensors")
    back = ScorePrior.load("p.safetensors")
    for name in vars(prior.table):
        assert np.array_equal(getattr(back.table, name), getattr(prior.table, name))
    z = small_priors.gaussian_maps(THEORY, 1, (24, 24))
    grid = FourierGrid((24, 24), 1.3 * PIXEL)
    once, again = (p.on(grid).residual(grid.to_modes(z), 0.1) for p in (prior, back))
    assert torch.equal(once, again)


def test_errors_are_in_units_of_those_of_the_filter(trained):
    found = survey_ratios(trained[0].denoiser.network, Sky(), fields(Sky())[0][0], 2, ratios=(1.0, 3.0), margin=8)
    assert list(found) == [1.0, 3.0] and all(abs(ratio - 1) < 0.02 for ratio in found.values())


def test_the_training_starts_from_the_weights_of_a_network():
    sky, start = Sky(), UNet((4, 4, 4), embedding=8)
    with torch.no_grad():
        start.leave.gain += 0.3
    plan = dataclasses.replace(PLAN, steps=1, learning_rate=1e-9)
    reference = sky.survey(np.random.default_rng(0), 1.0, PIXEL)
    bank = MapBank(torch.zeros(2, 64, 64), PIXEL)
    small = {"widths": (4, 4, 4), "embedding": 8, "n_correction": 1, "progress": False}
    prior, _ = train_survey_prior(sky, bank, reference, fields(sky)[:1], plan, start=start, **small)
    pairs = zip(prior.denoiser.network.parameters(), start.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_the_factor_multiplies_any_spectrum_and_is_kept_in_files(trained):
    factor = PowerSpectrum([10, 1e5], [1.0, 4.0], name="targeted")
    prior = dataclasses.replace(trained[0], card={"resolution": [5200, 2.2]}, factor=factor)
    prior.save("targeted.safetensors")
    back = ScorePrior.load("targeted.safetensors").scaled(THEORY)
    expected = THEORY.resolved(5200, 2.2)(3000.0) * factor(3000.0)
    assert back.theory(3000.0) == pytest.approx(expected) and back.theory.name.endswith("targeted")
    grid = FourierGrid((24, 24), PIXEL)
    assert torch.equal(back.on(grid).variance, grid.mode_variance(back.theory))
