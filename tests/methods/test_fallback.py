"""Samples by diffusion: the fallback where they lack a structure, and chains that start from them."""

import dataclasses

import numpy as np
import pytest
import torch
from astropy.utils.exceptions import AstropyUserWarning

from astro_massmap import AnnealedHMC, GaussianPrior, PosteriorDiffusion, PowerSpectrum, Schedule, ScorePrior
from astro_massmap.inference import FourierGrid, LensingOperator, Observation
from astro_massmap.priors import PriorOnGrid

PIXEL = np.radians(0.4 / 60)


class ZeroNetwork:
    """A network that adds nothing to the Gaussian mean."""

    kind, theory = "random", PowerSpectrum.default()

    def on(self, grid, weight):
        on_grid = PriorOnGrid(grid, self.theory)
        on_grid.gaussian, on_grid.contribution = False, lambda total, mean, sigma: torch.zeros_like(mean)
        return on_grid


def observation(height, side=32, noise=0.1):
    """A compact cluster in the middle of an empty field."""
    y, x = np.mgrid[:side, :side] - side // 2
    grid = FourierGrid((side, side), PIXEL, dtype=torch.float64)
    kappa = grid.to_modes(torch.from_numpy(height * np.exp(-np.hypot(x, y) / 2)))
    shear = LensingOperator(grid).forward(kappa).numpy()
    shear += noise * np.random.default_rng(0).normal(size=shear.shape)
    return Observation.from_arrays(shear, np.full((side, side), noise), PIXEL)


FEW = {"n_samples": 4, "steps": 4, "n_check": 0, "n_jobs": 1}


def test_samples_that_lack_nothing_are_kept():
    estimate = PosteriorDiffusion(ZeroNetwork(), **FEW).solve(observation(0.0))
    assert estimate.diagnostics["fallback"] is None
    assert estimate.diagnostics["fit"]["residual_peak"] < 5
    assert estimate.diagnostics["score_evaluations"] == 4
    assert len(estimate.diagnostics["levels"]) == 4


def test_a_missing_structure_gives_a_warning():
    with pytest.warns(AstropyUserWarning) as caught:
        estimate = PosteriorDiffusion(ZeroNetwork(), fallback=None, **FEW).solve(observation(2.0))
    assert any("the data contain a structure that the map lacks" in str(w.message) for w in caught)
    assert estimate.diagnostics["fit"]["residual_peak"] > 5.5
    assert estimate.diagnostics["fallback"] is None


def test_a_missing_structure_is_left_to_the_chains(monkeypatch, tmp_path):
    drawn = []

    def solve(self, observation, **options):
        drawn.append(self)
        return PosteriorDiffusion(ZeroNetwork(), **FEW).solve(observation0)

    observation0 = observation(0.0)
    method = PosteriorDiffusion(ZeroNetwork(), checkpoint=tmp_path / "samples.fits", seed=3, **FEW)
    monkeypatch.setattr(AnnealedHMC, "solve", solve)
    with pytest.warns(AstropyUserWarning) as caught:
        estimate = method.solve(observation(2.0))
    assert any("drawn again by annealed_hmc" in str(w.message) for w in caught)
    assert estimate.diagnostics["fallback"] == "annealed_hmc"
    (chains,) = drawn
    assert (chains.n_samples, chains.seed, chains.checkpoint) == (4, 3, tmp_path / "samples_chains.fits")
    assert chains.prior.theory is ZeroNetwork.theory


def test_chains_that_fail_leave_the_samples_of_the_diffusion(monkeypatch):
    def solve(self, observation, **options):
        raise ValueError("prior: all chains failed")

    monkeypatch.setattr(AnnealedHMC, "solve", solve)
    with pytest.warns(AstropyUserWarning) as caught:
        estimate = PosteriorDiffusion(ZeroNetwork(), **FEW).solve(observation(2.0))
    assert any("annealed_hmc failed: prior: all chains failed" in str(w.message) for w in caught)
    assert estimate.samples.shape == (4, 32, 32)


@pytest.mark.parametrize(("option", "value"), [("steps", 0), ("fallback", "wiener")])
def test_options_out_of_range(option, value):
    with pytest.raises(ValueError, match=f"^{option}: needs"):
        PosteriorDiffusion(**{option: value})


def test_a_prior_is_no_network():
    with pytest.raises(TypeError, match=r"^network: needs a PosteriorNetwork"):
        PosteriorDiffusion(PowerSpectrum.default())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"start": "wiener"}, ValueError),
        ({"start": "diffusion", "prior": GaussianPrior()}, TypeError),
        ({"start": "diffusion", "schedule": "tempered"}, ValueError),
    ],
)
def test_starts_that_chains_do_not_have(options, error):
    with pytest.raises(error, match=r"^start: "):
        AnnealedHMC(**options)


def test_chains_that_start_from_the_diffusion_have_one_level():
    schedule = Schedule((2, 1), (3, 1), reverse_steps=2)
    method = AnnealedHMC(ScorePrior.load(), start="diffusion", schedule=schedule, n_samples=1, n_check=0)
    plan = method.prepare(observation(0.0))
    assert len(plan.targets) == 1
    assert plan.final_evaluations == 12 + 2


def test_chains_that_start_from_the_diffusion_need_35_evaluations():
    plan = AnnealedHMC(start="diffusion").prepare(observation(0.0))
    (steps,), trajectory = plan.schedule.trajectories, plan.schedule.trajectory
    assert plan.final_evaluations + 1 + steps * trajectory.leapfrogs == 35


def test_samples_of_chains_that_start_from_the_diffusion_are_continued(tmp_path):
    def solve(n_samples, **options):
        method = AnnealedHMC(start="diffusion", n_check=0, checkpoint=tmp_path / "samples.fits", **options)
        return dataclasses.replace(method, n_samples=n_samples).solve(observation(0.0))

    first = np.array(solve(1).samples)
    both = solve(2, schedule=Schedule.short())
    assert np.array_equal(both.samples[:1], first)
    assert both.diagnostics["score_evaluations"] == 35 * (1 + both.diagnostics["restarts"])
    with pytest.raises(ValueError, match="other settings"):
        solve(2, schedule=Schedule(trajectories=1))


def test_samples_that_diverge_are_an_error_of_the_network():
    class Wrong(ZeroNetwork):
        def on(self, grid, weight):
            on_grid = super().on(grid, weight)
            on_grid.contribution = lambda total, mean, sigma: 100 * torch.ones_like(mean)
            return on_grid

    with pytest.raises(ValueError, match=r"^network: \d of \d samples failed 6 times each \(sample \d: diverged\)"):
        PosteriorDiffusion(Wrong(), **FEW).solve(observation(0.0))
