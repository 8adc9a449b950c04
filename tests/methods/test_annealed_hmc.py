"""Results and errors of the method."""

import json
import sys

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import AnnealedHMC, GaussianPrior, Schedule, Wiener
from astro_massmap.methods import _chains, resolve, run

from helpers import problems
from helpers.chains import FAST, GENTLE, Prior, observation

# ---- results


@pytest.mark.slow
def test_with_a_gaussian_prior_the_posterior_is_that_of_wiener():
    # 200 samples: errors of 1 / sqrt(200) of the mean, and of 5 % of the standard deviation per pixel
    data = observation()
    estimate = run(AnnealedHMC(GaussianPrior(), n_samples=200, information=1.0, n_check=0), data, progress=False)
    wiener = Wiener(n_samples=256).solve(data)
    z = (estimate.mean - wiener.mean) / wiener.std * np.sqrt(200)
    assert abs((z**2).mean() - 1) < 0.7  # pixels are correlated: scatter 0.15 measured
    assert abs((estimate.std / wiener.std).mean() - 1) < 0.02
    assert estimate.diagnostics["score_evaluations"] == 0
    assert estimate.diagnostics["information_kept"] == 1


def test_diagnostics():
    estimate = run(AnnealedHMC(GENTLE, n_samples=8, schedule=Schedule((1.5, 1.0), 4)), observation(), progress=False)
    d = estimate.diagnostics
    assert len(d["levels"]) == len(d["acceptance"]) == len(d["energy_error"]) == 2
    assert all(0.5 < a <= 1 for a in d["acceptance"])
    assert d["score_evaluations"] == 2 * (4 * 4 + 1) + 30
    assert d["restarts"] == 0
    assert d["gaussian_check"]["n"] == 4 and d["gaussian_check"]["worst"] < 5
    assert 0.8 < d["nested_r_hat"] < 2.5 and d["ess"] > 1
    assert {"settings", "versions", "wall_time", "device", "box"} <= set(d)
    json.dumps(d)  # plain numbers and strings


def test_rank_diagnostics_need_chains_and_their_package(monkeypatch):
    from astro_massmap.methods._chain_diagnostics import rank_diagnostics

    traces = np.random.default_rng(0).normal(size=(16, 40, 3))
    good = rank_diagnostics(traces)
    assert abs(good["nested_r_hat"] - 1) < 0.05 and good["ess"] > 200
    drifting = rank_diagnostics(traces + np.arange(16)[:, None, None])
    assert drifting["nested_r_hat"] > 1.5 and drifting["ess"] < 60
    assert rank_diagnostics(traces[:4])["ess"] is None
    monkeypatch.setitem(sys.modules, "arviz_stats.base", None)
    assert rank_diagnostics(traces) == {"nested_r_hat": None, "ess": None}


def test_sample_i_depends_on_the_seed_and_i():
    data = observation()
    few, many = (AnnealedHMC(GENTLE, n_samples=n, seed=3, **FAST).solve(data).samples for n in (2, 4))
    assert np.array_equal(few, many[:2])
    batch = AnnealedHMC(GENTLE, n_samples=4, seed=3, batch_size=3, **FAST).solve(data).samples
    assert np.allclose(batch, many, atol=1e-3)
    assert not np.allclose(few, AnnealedHMC(GENTLE, n_samples=2, seed=4, **FAST).solve(data).samples, atol=1e-3)


def test_one_sample_has_a_standard_deviation():
    estimate = AnnealedHMC(GENTLE, n_samples=1, **FAST).solve(observation())
    assert estimate.samples.shape == (1, 24, 24)
    assert np.allclose(estimate.std / Wiener(n_samples=64).solve(observation()).std, 1, atol=0.3)


def test_a_noise_floor_is_applied_to_counts_of_galaxies():
    data = observation(64, counts=True)
    floored = data.with_noise_floor(0.985, seed=1)
    kept = floored.information_kept(data)
    assert 0.985 <= kept < 1
    best = float(data.noise_std.min()), float(floored.noise_std.min())
    assert best[1] > 1.15 * best[0]
    added = (floored.noise_std**2 - data.noise_std**2).sqrt()
    more = data.observed & (added > 0)
    z = ((floored.shear - data.shear) / added)[:, more]
    assert abs(float(z.square().mean()) - 1) < 5 * (2 / z.numel()) ** 0.5
    assert torch.equal(floored.shear[:, ~more], data.shear[:, ~more])
    assert data.with_noise_floor(1, seed=1) is data
    estimate = AnnealedHMC(GaussianPrior(), n_samples=2, n_check=0).solve(data)
    assert abs(estimate.diagnostics["information_kept"] - kept) < 1e-6


def test_schedules_by_name():
    data = observation(16)
    assert isinstance(resolve("annealed_hmc", {"n_samples": 3}), AnnealedHMC)
    for schedule in ("tempered", "fast"):
        estimate = AnnealedHMC(GaussianPrior(), n_samples=2, n_check=0, schedule=schedule).solve(data)
        assert np.isfinite(estimate.samples).all()


def test_the_progress_bar_shows_level_and_acceptance(capsys):
    AnnealedHMC(GENTLE, n_samples=1, **FAST).solve(observation(16), progress=True)
    shown = capsys.readouterr().err
    assert "acceptance=" in shown and "level=" in shown


# ---- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prior": "gaussian"}, TypeError, "prior"),
        ({"schedule": "slow"}, ValueError, "'annealed', 'fast', 'tempered'"),
        ({"schedule": 3}, ValueError, "schedule"),
        ({"n_samples": 0}, ValueError, "n_samples"),
        ({"information": 0}, ValueError, "information"),
        ({"information": 1.5}, ValueError, "information"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"device": "cuda:99"}, ValueError, "device"),
        ({"n_check": -1}, ValueError, "n_check"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        AnnealedHMC(**options)


def test_a_prior_of_another_pixel_scale_is_an_error():
    prior = Prior(lambda modes, sigma: modes)
    prior.pixel_size = 2 * problems.PIXEL
    with pytest.raises(ValueError, match=r"0\.8 arcmin, the map has 0\.4"):
        AnnealedHMC(prior, **FAST).solve(observation())


def test_a_non_finite_score_is_an_error():
    broken = Prior(lambda modes, sigma: modes * float("nan"))
    with pytest.raises(ValueError, match=r"not finite at the noise level 0\.108 in chain"):
        AnnealedHMC(broken, **FAST).solve(observation())


@pytest.mark.slow
def test_diverged_chains_are_never_returned_without_an_error():
    with pytest.raises(ValueError, match=r"8 of 8 chains failed 6 times each \(chain \d: diverged\)"):
        AnnealedHMC(Prior(lambda modes, sigma: 30 * modes / sigma**2), **FAST).solve(observation())


@pytest.mark.slow
def test_the_tempered_scheme_with_an_inaccurate_score_at_low_noise_is_an_error():
    # 3 % of the large scales below a noise of 0.03: noise splitting is not affected (benchmarks/samplers.py)
    with pytest.raises(ValueError, match="1 of 1 chains failed 6 times"):
        AnnealedHMC(problems.WrongScore(0.03), n_samples=1, schedule="tempered", n_check=0).solve(observation())
    estimate = AnnealedHMC(problems.WrongScore(0.03), n_samples=4, n_check=0).solve(observation())
    assert np.isfinite(estimate.samples).all()


def test_a_chain_that_diverged_once_is_drawn_again_and_counted(monkeypatch):
    calls = []

    def first_of_all(plan, modes):
        calls.append(len(modes))
        return torch.tensor([len(calls) == 1] * len(modes))

    monkeypatch.setattr(_chains, "diverged", first_of_all)
    estimate = AnnealedHMC(GENTLE, n_samples=2, n_jobs=1, **FAST).solve(observation())
    assert estimate.diagnostics["restarts"] == 1
    assert estimate.diagnostics["score_evaluations"] == 2 * (9 + 2)


def test_a_sampler_that_fails_its_check_warns(monkeypatch):
    from astro_massmap.inference import annealing

    right = annealing.reverse_diffusion
    monkeypatch.setattr(annealing, "reverse_diffusion", lambda *arguments: 1.1 * right(*arguments))
    with pytest.warns(AstropyUserWarning, match="self-check is off"):
        AnnealedHMC(GaussianPrior(), n_samples=2).solve(observation(48))
