"""Samples of chains that are drawn one at a time."""

import torch

from astro_massmap import GaussianPrior, Schedule
from astro_massmap.inference import TemperedPlan, Trajectory, run_chains

from helpers import problems


def ensemble(plan, n, *, seed=1, start=None):
    """Draw ``n`` samples, one chain at a time; return their modes and the last run."""
    out = []
    for i in range(n):
        streams = plan.streams(seed, [i])
        modes = None if start is None else start(streams)
        run = run_chains(plan, streams, modes=modes)
        out.append(run)
    run.acceptance = torch.cat([r.acceptance for r in out])
    return torch.cat([r.modes for r in out]), run


def from_prior(plan):
    """Return a function that draws the first modes of chains from the prior."""

    def start(streams):
        return plan.prior.variance.sqrt() * plan.grid.to_modes(streams.normal(*plan.grid.box_shape))

    return start


def bare_split(observation, steps, leapfrogs=4):
    """Return a plan of the split kernel at zero noise, without annealing or noise splitting."""
    schedule = Schedule((0.0,), (steps,), Trajectory(leapfrogs=leapfrogs), splitting=False)
    return TemperedPlan(observation, GaussianPrior(problems.spectrum()), schedule, observation.shape)
