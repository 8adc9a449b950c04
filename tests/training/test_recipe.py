"""From maps to a prior in one call."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.priors import Correction
from astro_massmap.simulation import LensPlanes, LightCone
from astro_massmap.training import LEVELS, LightConeMaps, MapBank, TrainingPlan, train_prior

from helpers import small_priors
from helpers.small_priors import PIXEL, THEORY, WIDTHS

LOW = PowerSpectrum(THEORY.ell, 0.25 * THEORY.cl, name="low")
PLAN = TrainingPlan(
    steps=4, maps_per_step=2, size=32, margin=8, validate_every=2, validation_maps=2, bfloat16=False, learning_rate=1e-2
)


def bank(seed):
    return MapBank(small_priors.gaussian_maps(THEORY, 4, (64, 64), seed), PIXEL)


def train(plan=PLAN, training=None, **options):
    options = {"widths": WIDTHS, "n_correction": 2, "progress": False} | options
    return train_prior(training or bank(0), bank(1), LOW, plan, **options)


def weights(prior):
    return torch.cat([p.flatten() for p in prior.denoiser.parameters()])


def test_result_and_metadata():
    prior, history = train(card={"maps": "mine", "source_redshift": 1.0})
    assert prior.trained_spectrum is LOW and prior.sigma_range == PLAN.sigma and prior.pixel_size == PIXEL
    card = prior.card
    assert card["maps"] == "mine" and card["source_redshift"] == 1.0
    assert card["training_maps"] == card["validation_maps"] == card["steps"] == 4
    assert card["parameters"] == len(weights(prior))
    assert list(card["denoising_ratio"]) == [f"{level:.3f}" for level in LEVELS]
    assert [row["step"] for row in history] == [2, 4]
    back = json.loads(json.dumps(card))
    assert back == card and TrainingPlan(**back["plan"]) == PLAN
    prior.save("p.safetensors")
    assert ScorePrior.load("p.safetensors").card == card


@pytest.mark.slow
def test_a_prior_depends_on_the_seed_of_the_plan():
    first, again, other = (train(dataclasses.replace(PLAN, seed=seed), n_correction=1)[0] for seed in (3, 3, 4))
    assert torch.equal(weights(first), weights(again)) and not torch.equal(weights(first), weights(other))
    assert np.array_equal(first.correction.network, again.correction.network)


@pytest.mark.slow
def test_training_lowers_the_error_and_the_correction_raises_the_variance():
    # theory has a quarter of the power: the network can improve on it, and more variance is left than theory predicts
    prior, _ = train(dataclasses.replace(PLAN, steps=30, ema=0.9, warm_up=5, validate_every=30), n_correction=4)
    assert all(prior.card["denoising_ratio"][level] < 0.95 for level in ("0.010", "0.020", "0.030"))
    _, _, variance = prior.correction.at(0.1, torch.tensor([3000.0, 8000.0]))
    assert (variance > 1.2).all()


def test_without_correction():
    prior, _ = train(n_correction=0)
    none = Correction.none()
    assert np.array_equal(prior.correction.network, none.network) and len(prior.correction.sigma) == 1


@pytest.mark.slow
def test_without_theory_the_gaussian_component_is_white():
    prior, _ = train(theory=False, n_correction=1)
    ell = np.geomspace(10, 1e6, 50)
    s = prior.trained_spectrum(ell) / PIXEL**2
    assert prior.trained_spectrum.name == "white" and np.ptp(s) < 1e-9 * s[0]
    # that of a pixel of theory
    assert (
        prior.denoiser.signal**2 == pytest.approx(s[0]) == pytest.approx(train(n_correction=0)[0].denoiser.signal ** 2)
    )
    observed, wiener, posterior = (float(spread) for spread in prior.denoiser.spreads(torch.tensor([0.1])))
    assert observed**2 == pytest.approx(s[0] + 0.01) and posterior**2 == pytest.approx(s[0] * 0.01 / (s[0] + 0.01))
    assert wiener == pytest.approx(s[0] / observed)


def test_maps_drawn_during_the_training():
    overdensity = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    planes = LensPlanes(overdensity, 16.0, 0.3, np.array([8.0, 24.0]), np.array([0.99, 0.98]), {})
    maps = LightConeMaps(LightCone([planes], np.array([0.01, 0.02])), (64, 64), PIXEL)
    prior, _ = train(training=maps)
    assert prior.card["training_maps"] == "drawn on the fly"
    assert np.isfinite(prior.correction.network).all() and len(prior.correction.sigma) > 1


def test_progress_bars(capsys):
    train(progress=True)
    shown = capsys.readouterr().err
    assert "training" in shown and "correction: 100%" in shown and "2/2" in shown


@pytest.mark.slow
def test_a_finished_training_is_read_from_its_checkpoint(monkeypatch):
    first, history = train(checkpoint="c.safetensors")

    def no_step(self, batch):
        raise AssertionError

    monkeypatch.setattr("astro_massmap.training.Trainer._advance", no_step)
    again, same = train(checkpoint="c.safetensors")
    assert torch.equal(weights(first), weights(again)) and same == history
    with pytest.raises(ValueError, match="theory differ"):
        train(checkpoint="c.safetensors", theory=False)


def test_maps_that_are_too_small():
    with pytest.raises(ValueError, match="pieces of 96 pixels"):
        train(dataclasses.replace(PLAN, size=96))
