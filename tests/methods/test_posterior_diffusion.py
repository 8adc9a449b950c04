"""Samples by the reverse diffusion of the posterior: results, errors, checkpoint and workers of the method."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from astro_massmap import ConvergenceMap, PosteriorDiffusion, Wiener, datasets
from astro_massmap.cli import main
from astro_massmap.methods import run
from astro_massmap.methods._checkpoint import Checkpoint

from helpers import small_priors
from helpers.cases import each_case
from helpers.chains import observation
from helpers.small_priors import PIXEL, THEORY

FEW = {"steps": 3, "n_check": 0}


def method(network=None, **options):
    return PosteriorDiffusion(small_priors.posterior() if network is None else network, **FEW | options)


# ---- results


@pytest.mark.slow
def test_without_an_output_of_the_network_it_is_the_gaussian_posterior():
    # 96 samples: errors of 1 / sqrt(96) of the mean, and of 7 % of the standard deviation per pixel
    data, network = observation(), small_priors.untrained_posterior()
    estimate = method(network, n_samples=96, batch_size=32).solve(data)
    wiener = Wiener(THEORY, n_samples=256).solve(data)
    z = (estimate.mean - wiener.mean) / wiener.std * np.sqrt(96)
    assert abs((z**2).mean() - 1) < 0.7  # pixels are correlated
    assert abs((estimate.std / wiener.std).mean() - 1) < 0.04


def test_the_output_of_the_network_changes_samples():
    data = observation()
    with_output, without = (
        method(network, n_samples=2).solve(data).samples
        for network in (small_priors.posterior(), small_priors.untrained_posterior())
    )
    assert np.std(with_output - without) > 0.03 * np.std(without)


def test_diagnostics():
    d = run(method(n_samples=3, steps=5, n_check=4), observation(), progress=False).diagnostics
    assert d["score_evaluations"] == 5 and d["restarts"] == d["failed"] == 0
    assert np.allclose(np.array(d["levels"])[[0, -1]] / small_priors.signal(), [60, 0.6], rtol=0.05)
    assert d["acceptance"] == [None] * 5
    assert d["gaussian_check"]["n"] == 4 and d["gaussian_check"]["worst"] < 5
    assert d["prior"] == repr(small_priors.posterior()) and d["method"] == "PosteriorDiffusion"
    assert {"settings", "versions", "wall_time", "device", "box", "fit"} <= set(d)
    json.dumps(d)  # plain numbers and strings


def test_sample_i_depends_on_the_seed_and_i():
    data = observation()
    few, many = (method(n_samples=n, seed=3).solve(data).samples for n in (2, 4))
    assert np.array_equal(few, many[:2])
    batch = method(n_samples=4, seed=3, batch_size=3).solve(data).samples
    assert np.allclose(batch, many, atol=1e-2 * many.std())
    assert not np.allclose(few, method(n_samples=2, seed=4).solve(data).samples, atol=1e-3)


def test_one_sample_has_a_standard_deviation():
    estimate = method(n_samples=1).solve(observation())
    assert estimate.samples.shape == (1, 24, 24)
    assert np.allclose(estimate.std / Wiener(THEORY, n_samples=64).solve(observation()).std, 1, atol=0.4)


# ---- checkpoint and workers


def test_an_executor_draws_the_same_samples():
    data, alone = observation(), method(n_samples=4).solve(observation())
    with ThreadPoolExecutor(2) as executor:
        shared = method(n_samples=4).solve(data, executor=executor)
    assert np.array_equal(shared.samples, alone.samples)


def test_an_interrupted_run_continues(monkeypatch):
    data, options = observation(), {"n_samples": 4, "n_jobs": 1}
    whole, add = method(**options).solve(data), Checkpoint.add

    def interrupted(self, indices, *drawn):
        if 2 in indices:
            raise KeyboardInterrupt
        add(self, indices, *drawn)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "add", interrupted)
        method(checkpoint="c.fits", **options).solve(data)
    assert len(Path("c.fits.ledger").read_text().splitlines()) == 3
    resumed = method(checkpoint="c.fits", **options).solve(data)
    assert np.array_equal(resumed.samples, whole.samples) and isinstance(resumed.samples, np.memmap)
    before = Path("c.fits").read_bytes()
    others = [
        method(checkpoint="c.fits", **options | {"steps": 4}),
        method(checkpoint="c.fits", seed=1, **options),
        method(small_priors.posterior(seed=1), checkpoint="c.fits", **options),
    ]
    for other in others:
        with pytest.raises(ValueError, match="checkpoint"):
            other.solve(data)
    assert Path("c.fits").read_bytes() == before


# ---- errors


@each_case(
    "options, error, message",
    [
        ({"network": "default"}, TypeError, "network: needs a PosteriorNetwork"),
        ({"steps": 0}, ValueError, "steps: needs to be at least 1"),
        ({"steps": 2.5}, TypeError, "steps: needs an integer"),
        ({"n_samples": 0}, ValueError, "n_samples"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"n_check": -1}, ValueError, "n_check"),
        ({"tolerance": 0}, ValueError, "tolerance"),
        ({"device": "abacus"}, ValueError, "device"),
    ],
)
def test_options_that_are_wrong(options, error, message):
    with pytest.raises(error, match=message):
        PosteriorDiffusion(**options)


def test_data_outside_of_the_training():
    narrow = small_priors.posterior(pixel=3 * PIXEL)
    with pytest.raises(
        ValueError, match=r"network: needs pixels of 0\.6 to 2\.4 arcmin, the map has 0\.4; use another"
    ):
        method(narrow).solve(observation())


# ---- from a shell


@pytest.mark.slow
def test_from_a_shell(capsys):
    datasets.demo()[::8].write("survey.fits")
    words = ["survey.fits", "--axes", "west-north", "--quiet", "--method", "posterior_diffusion", "--n-samples", "2"]
    words += ["--pixel-scale", "1.6 arcmin"]
    assert main(["reconstruct", *words, "-o", "one.fits", "--checkpoint", "c.fits"]) == 0
    kappa = ConvergenceMap.read("one.fits")
    assert kappa.samples.shape[0] == 2 and kappa.diagnostics["score_evaluations"] == 25
    own = small_priors.posterior(pixel=3 * PIXEL)
    own.save("m.safetensors")
    assert main(["reconstruct", *words, "-o", "two.fits", "--prior", "m.safetensors"]) == 0
    assert ConvergenceMap.read("two.fits").diagnostics["prior"] == repr(own)
    assert main(["reconstruct", *words, "-o", "three.fits", "--prior", "gaussian"]) == 1
    assert "--prior: posterior_diffusion needs the file of a trained network" in capsys.readouterr().err
    assert main(["reconstruct", *words, "-o", "three.fits", "--field", "targeted"]) == 1
    assert "needs pixels of 0.1 to 0.4 arcmin" in capsys.readouterr().err
