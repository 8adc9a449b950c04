"""
Large fields: ``python benchmarks/large_fields.py [CASE ...] [--threads 2] [--padding 1.5]``.

A case is ``SIDE:PRIOR`` or ``SIDE:PRIOR:EVALUATIONS``: the side of the field in pixels, ``gaussian`` or ``network``
(the default prior), and the number of evaluations of the network: with a number the schedule has one level, one step
of four kicks at it, and the other evaluations in the reverse steps to zero; without a number it is the default
schedule. A case is one chain of `~astro_massmap.AnnealedHMC` with its preparation, without the standard deviation and
the self-check. It runs once, in its own process, whose peak memory is written beside the estimate made before the run.

The field is lognormal and periodic, with the power of the default prior before the exponential; 60 % of it has data,
with a noise of 0.15 in a pixel of 0.4 arcmin. A case replaces its row of the table.
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

from astro_massmap import GaussianPrior, Schedule, ScorePrior
from astro_massmap.inference import (
    FourierGrid,
    LensingOperator,
    Observation,
    SplitPlan,
    Streams,
    padded_shape,
    run_chains,
)
from astro_massmap.methods._memory import check_memory, needed_memory

PIXEL = np.radians(0.4 / 60)
NOISE, OBSERVED, SHIFT = 0.15, 0.6, 0.05
CASES = ("1024:network", "4096:gaussian", "4096:network:32")
TABLE = Path(__file__).resolve().parents[1] / "docs" / "tables" / "large_fields.ecsv"
UNITS = {"seconds": "s", "per_evaluation": "s", "peak": "GiB", "estimated": "GiB"}


def observed(spectrum, side):
    """Noisy shear of a lognormal field, observed where a smoothed white map exceeds a threshold."""
    grid, generator = FourierGrid((side, side), PIXEL), torch.Generator().manual_seed(side)

    def smooth(factors):
        return grid.to_field(grid.to_modes(torch.randn((side, side), generator=generator)), times=factors)

    gaussian = smooth(grid.mode_variance(spectrum).sqrt())
    kappa = SHIFT * torch.expm1(gaussian / SHIFT - 0.5 * (gaussian.std() / SHIFT) ** 2)
    shear = LensingOperator(grid).forward(grid.to_modes(kappa))
    shear += NOISE * torch.randn(shear.shape, generator=generator)
    blobs = smooth(grid.of_ell(lambda ell: torch.exp(-((3 * PIXEL * ell) ** 2))))
    seen = blobs > float(np.quantile(blobs.numpy(), 1 - OBSERVED))
    return Observation.from_arrays(torch.where(seen, shear, 0), torch.where(seen, NOISE, torch.inf), PIXEL)


def schedule_of(prior, evaluations=None):
    """Return the default schedule, or one level with ``evaluations``; for an exact draw, no steps."""
    if prior == "gaussian":
        return Schedule(trajectories=(0,))
    if evaluations is None:
        return Schedule.annealed()
    return Schedule(trajectories=(1,), reverse_steps=evaluations - 5)


def measured(case, threads, padding):
    """Run a case in this process, and return its row of the table."""
    torch.set_num_threads(threads)
    side, name, *evaluations = case.split(":")
    shape, network = (int(side),) * 2, ScorePrior.load("default")
    prior = network if name == "network" else GaussianPrior(network.trained_spectrum)
    schedule = schedule_of(name, *map(int, evaluations))
    needs = needed_memory(shape, padding, prior=prior, levels=len(schedule.levels))
    log(check_memory(needs))
    observation, start = observed(network.trained_spectrum, shape[0]), time.perf_counter()

    def on_step(level, state):
        log(f"{time.perf_counter() - start:6.0f} s, level {level}, energy error {float(state.energy_error):.2f}")

    plan = SplitPlan(observation, prior, schedule, padded_shape(shape, padding))
    run = run_chains(plan, Streams(0, [0]), on_step=on_step)
    sample = plan.grid.to_field(run.modes)
    seconds = time.perf_counter() - start
    if not torch.isfinite(sample).all():
        raise ValueError(f"the sample of {case} is not finite")
    return {
        "side": shape[0],
        "box": plan.grid.box_shape[0],
        "prior": name,
        "samples": 1,
        "evaluations": run.evaluations,
        "acceptance": float(run.acceptance[0, -1]),
        "seconds": round(seconds, 1),
        "per_evaluation": round(seconds / run.evaluations, 2) if run.evaluations else float("nan"),
        "peak": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "estimated": round(needs.bytes / 2**30, 2),
        "threads": threads,
    }


def log(text):
    print(text, file=sys.stderr, flush=True)


def write(row, file):
    """Write a row into the table; it replaces a row of the same side, prior and evaluations."""
    rows = [row]
    if file.exists():
        table = QTable.read(file)
        others = [{name: getattr(old[name], "value", old[name]) for name in table.colnames} for old in table]
        key = ("side", "prior", "evaluations")
        rows += [old for old in others if any(old[name] != row[name] for name in key)]
    rows.sort(key=lambda row: (row["side"], row["prior"], row["evaluations"]))
    table = QTable(rows=rows, units=UNITS)
    table.meta["about"] = "one chain by benchmarks/large_fields.py; peak: largest resident memory of the process"
    table.write(file, format="ascii.ecsv", overwrite=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--padding", type=float, default=1.5, help="side of the box divided by that of the field")
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--here", action="store_true", help="run one case in this process and print its row")
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measured(arguments.cases[0], arguments.threads, arguments.padding)))
        return
    for case in arguments.cases:
        log(case)
        command = [sys.executable, __file__, case, "--here", "--threads", str(arguments.threads)]
        command += ["--padding", str(arguments.padding)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(row, flush=True)
        write(row, arguments.out)


if __name__ == "__main__":
    main()
