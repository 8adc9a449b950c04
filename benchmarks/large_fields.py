"""
Large fields: ``python benchmarks/large_fields.py [CASE ...] [--threads 2] [--out docs/tables/large_fields.ecsv]``.

A case is ``SIDE:PRIOR`` or ``SIDE:PRIOR:EVALUATIONS``: the side of the field in pixels, ``gaussian`` or ``network``
(the default prior), and how often a chain asks the network: 32 is one level of five steps and eleven steps back, and
without a number the schedule is the default one. Each runs once, in a process of its own, so that the largest memory
that the process ever had is that of the case. A Gaussian case is `~astro_massmap.Wiener` with one sample: the mean, one
constrained realisation, and the sixteen coarse ones that tell the standard deviation. A case of the network is one
chain of `~astro_massmap.AnnealedHMC`, with all that it prepares, but without the standard deviation.

The sky is lognormal and periodic, with the power of the default prior before its exponential; 60 % of it has data, with
a noise of 0.15 in a pixel of 0.4 arcmin.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from astropy.table import QTable

from astro_massmap import Schedule, ScorePrior, Wiener
from astro_massmap.inference import FourierGrid, LensingOperator, Observation, SplitPlan, Streams, padded_shape
from astro_massmap.inference import run_chains
from astro_massmap.methods._memory import check_memory, needed_memory

PIXEL = np.radians(0.4 / 60)
PADDING, NOISE, OBSERVED, SHIFT = 2.0, 0.15, 0.6, 0.05
CASES = ("1024:network", "4096:gaussian", "4096:network:32")


def observed(spectrum, side):
    """Shear of a lognormal sky, and noise, where the longer waves of a white map are high enough."""
    grid, generator = FourierGrid((side, side), PIXEL), torch.Generator().manual_seed(side)

    def white(*shape):
        return torch.randn(shape, generator=generator)

    gaussian = grid.to_field(grid.to_modes(white(side, side)), times=grid.mode_variance(spectrum).sqrt())
    kappa = SHIFT * torch.expm1(gaussian / SHIFT - 0.5 * (gaussian.std() / SHIFT) ** 2)
    shear = LensingOperator(grid).forward(grid.to_modes(kappa)) + NOISE * white(2, side, side)
    blobs = grid.to_field(
        grid.to_modes(white(side, side)), times=grid.of_ell(lambda ell: torch.exp(-((3 * PIXEL * ell) ** 2)))
    )
    seen = blobs > float(np.quantile(blobs.numpy(), 1 - OBSERVED))
    return Observation.from_arrays(torch.where(seen, shear, 0), torch.where(seen, NOISE, torch.inf), PIXEL)


def schedule_of(evaluations):
    """The default schedule, or that of one level with a number of evaluations."""
    if evaluations is None:
        return Schedule.annealed()
    steps = (evaluations - 2) // 6
    return Schedule(trajectories=(steps,), reverse_steps=evaluations - 1 - 4 * steps)


def wiener(observation):
    """One sample, with mean and standard deviation."""
    estimate = Wiener(n_samples=1, padding=PADDING).solve(observation)
    assert all(np.isfinite(m).all() for m in (estimate.mean, estimate.std, estimate.samples))
    return {"evaluations": 0, "iterations": estimate.diagnostics["iterations"]}


def chain(observation, schedule):
    """One chain of the default prior."""
    box = padded_shape(observation.shape, PADDING)
    plan = SplitPlan(observation, ScorePrior.load("default"), schedule, box)
    started = time.perf_counter()

    def on_step(level, state):
        seconds = time.perf_counter() - started
        print(
            f"  {seconds:7.0f} s, level {level}: energy error {float(state.energy_error):.3g}",
            file=sys.stderr,
            flush=True,
        )

    run = run_chains(plan, Streams(0, [0]), on_step=on_step)
    assert torch.isfinite(plan.grid.to_field(run.modes)).all()
    return {
        "evaluations": run.evaluations,
        "acceptance": float(run.acceptance[0, -1]),
        "chain": time.perf_counter() - started,
    }


def measured(case, threads):
    """What a case cost, in this process."""
    torch.set_num_threads(threads)
    side, prior, *evaluations = case.split(":")
    shape, network = (int(side),) * 2, prior == "network"
    schedule = schedule_of(int(evaluations[0]) if evaluations else None)
    spectrum = ScorePrior.load("default").trained_spectrum
    observation = observed(spectrum, shape[0])
    foretold = 0.0
    start = time.perf_counter()
    told = chain(observation, schedule) if network else wiener(observation)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"side": shape[0], "prior": prior, "seconds": seconds, "peak": peak / 2**30} | told


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
