"""Chains that diverge or do not mix: which ones are flagged, and the result of the run."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import AnnealedHMC, GaussianPrior, Schedule
from astro_massmap.inference import Observation, ScoreError, SplitPlan, diverged, run_chains
from astro_massmap.methods import _chains
from astro_massmap.simulation import NFWHalo

from helpers import problems
from helpers.chains import FAST, GENTLE, observation

# ---- chains that are flagged


def cluster(mass, side=12, density=100, seed=0):
    """Noisy shear of an NFW halo in the middle of a field, without other structure."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:side, :side] - (side - 1) / 2) * 0.4
    shear = NFWHalo(mass * u.Msun, 0.3, cosmology=FlatLambdaCDM(70, 0.3)).shear(np.hypot(x, y) * u.arcmin, 1.0)
    angle, noise = 2 * np.arctan2(y, x), 0.27 / np.sqrt(density * 0.16)
    data = -shear * np.stack([np.cos(angle), np.sin(angle)]) + noise * rng.normal(size=(2, side, side))
    return Observation.from_arrays(data, np.full((side, side), noise), problems.PIXEL)


@pytest.mark.filterwarnings("ignore:the power of the data", "ignore:prior. the samples have")
@pytest.mark.parametrize("mass", [5e14, 2e15])
@pytest.mark.slow
def test_a_massive_cluster_is_mapped_at_the_first_attempt(mass):
    estimate = AnnealedHMC(n_samples=4, n_check=0).solve(cluster(mass))
    assert estimate.diagnostics["restarts"] == estimate.diagnostics["failed"] == 0
    assert estimate.mean[5:7, 5:7].mean() > 0.1


def test_more_power_than_the_prior_gives_a_warning():
    with pytest.warns(AstropyUserWarning) as caught:
        estimate = AnnealedHMC(GaussianPrior(), n_samples=4, n_check=0).solve(cluster(2e15))
    messages = [str(w.message) for w in caught]
    assert any("unlike those that the prior was made for" in m for m in messages)
    assert estimate.diagnostics["fit"]["power_p_value"] < 1e-6


@pytest.fixture(scope="module")
def plan():
    return SplitPlan(observation(), GaussianPrior(), Schedule.fast(), (64, 64))


def test_a_large_mean_that_shear_does_not_measure_is_flagged(plan):
    modes = run_chains(plan, plan.streams(0, range(2))).modes
    assert not diverged(plan, modes).any()
    modes[1, 0, 0] += 300 * plan.prior.variance[0, 0].sqrt()
    assert diverged(plan, modes).tolist() == [False, True]
    full = Observation.from_arrays(plan.observation.shear.numpy(), np.full((24, 24), 0.12), problems.PIXEL)
    periodic = SplitPlan(full, GaussianPrior(), Schedule.fast(), (24, 24))  # no pixel without data
    modes = run_chains(periodic, periodic.streams(0, range(2))).modes
    modes[1, 0, 0] += 30 * periodic.prior.variance[0, 0].sqrt()
    assert diverged(periodic, modes).tolist() == [False, True]


def test_a_map_worse_than_a_zero_map_is_flagged(plan):
    modes = run_chains(plan, plan.streams(0, range(3))).modes
    modes[1] += 6 * (modes[1] - modes[0])
    modes[2] *= float("nan")
    assert diverged(plan, modes).tolist() == [False, True, True]


def test_a_hole_in_the_middle_of_a_cluster_is_not_flagged():
    # ten pixels without data, where kappa is many standard deviations of the prior
    data = cluster(2e15)
    noise_std = data.noise_std.numpy().copy()
    noise_std[5:7, 3:8] = np.inf
    holed = Observation.from_arrays(data.shear.numpy(), noise_std, problems.PIXEL)
    periodic = SplitPlan(holed, GaussianPrior(), Schedule.fast(), (12, 12))
    y, x = (np.mgrid[:12, :12] - 5.5) * 0.4
    halo = NFWHalo(2e15 * u.Msun, 0.3, cosmology=FlatLambdaCDM(70, 0.3))
    truth = torch.from_numpy(halo.convergence(np.hypot(x, y) * u.arcmin, 1.0)).float()
    modes = periodic.grid.to_modes(truth - truth.mean())[None]
    assert not diverged(periodic, modes).any()


# ---- result of the run


def failing(monkeypatch, which):
    """Make the chains of some samples diverge whenever they are drawn."""
    right = _chains._attempt

    def attempt(plan, seed, indices, *rest):
        drawn = right(plan, seed, indices, *rest)
        return [(m, r | {"failure": "diverged"} if i in which else r) for i, (m, r) in zip(indices, drawn, strict=True)]

    monkeypatch.setattr(_chains, "_attempt", attempt)


@pytest.mark.parametrize("checkpoint", [None, "c.fits"])
@pytest.mark.slow
def test_chains_that_fail_are_left_out(monkeypatch, checkpoint):
    method = AnnealedHMC(GENTLE, n_samples=8, **FAST)
    everything = method.solve(observation())
    failing(monkeypatch, {1, 4, 5})
    method = AnnealedHMC(GENTLE, n_samples=8, checkpoint=checkpoint, **FAST)
    for _ in range(1 if checkpoint is None else 2):  # the second run reads the checkpoint
        with pytest.warns(AstropyUserWarning, match=r"3 of 8 chains failed 6 times each and are left out \(chain 1"):
            estimate = method.solve(observation())
        assert np.array_equal(estimate.samples, everything.samples[[0, 2, 3, 6, 7]])
        assert estimate.diagnostics["failed"] == 3 and estimate.diagnostics["restarts"] == 15
        assert np.allclose(estimate.mean, estimate.samples.mean(axis=0), atol=1e-6)
    if checkpoint is not None:
        assert np.array_equal(fits.getdata("c.fits.good.fits"), estimate.samples)


@pytest.mark.slow
def test_more_than_half_is_an_error_that_keeps_the_checkpoint(monkeypatch):
    good = AnnealedHMC(GENTLE, n_samples=6, checkpoint="c.fits", **FAST)
    failing(monkeypatch, {0, 1, 3, 5})
    with pytest.raises(ValueError, match=r"'posterior_mean' and 'wiener' need no chains; .* kept in 'c\.fits'"):
        good.solve(observation())
    with open("c.fits.ledger") as file:
        assert len(file.readlines()) > 3


def test_a_chain_that_does_not_mix_is_a_failure(monkeypatch):
    right = _chains.run_chains

    def run(plan, streams, **options):
        run = right(plan, streams, **options)
        run.acceptance[:, -1] = torch.tensor([0.05 if i == 1 else 0.2 for i in streams.indices], dtype=torch.float64)
        return run

    monkeypatch.setattr(_chains, "run_chains", run)
    with pytest.warns(AstropyUserWarning, match=r"\(chain 1: did not mix \(acceptance 0\.05 at the noise level 0\.108"):
        estimate = AnnealedHMC(GENTLE, n_samples=3, **FAST).solve(observation())
    assert len(estimate.samples) == 2


def test_a_score_that_fails_in_one_chain_leaves_the_others(monkeypatch):
    right = _chains.run_chains

    def run(plan, streams, **options):
        if 2 in streams.indices:
            raise ScoreError("prior: the score is not finite")
        return right(plan, streams, **options)

    everything = AnnealedHMC(GENTLE, n_samples=4, **FAST).solve(observation())
    monkeypatch.setattr(_chains, "run_chains", run)
    with pytest.warns(AstropyUserWarning, match=r"1 of 4 chains .* \(chain 2: prior: the score is not finite\)"):
        estimate = AnnealedHMC(GENTLE, n_samples=4, batch_size=4, **FAST).solve(observation())
    assert np.allclose(estimate.samples, everything.samples[[0, 1, 3]], atol=1e-3)
