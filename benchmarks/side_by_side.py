"""
Compare parallel chains with threads that share a chain: ``python benchmarks/side_by_side.py [--rst FOLDER]``.

All rows are of one run: the same samples of a mock field under the learned prior, first on an idle computer, then, for
the default, with other processes that are busy all the time. (Threads that share a chain are not timed with busy
processes, because they may take very long.)
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from astro_massmap import AnnealedHMC
from astro_massmap.inference import Observation, available_cores, run_chains

from list_table import list_table

PIXEL = np.radians(0.4 / 60)
BUSY = "while True: pass"


def mock(side):
    """Return an observation of noise alone, which takes the same time."""
    rng = np.random.default_rng(0)
    return Observation.from_arrays(0.15 * rng.normal(size=(2, side, side)), np.full((side, side), 0.15), PIXEL)


def one_after_the_other(observation, n, threads):
    """Return the seconds of ``n`` chains, each with ``threads`` threads of torch."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    plan = AnnealedHMC().prepare(observation)
    for i in range(n):
        run_chains(plan, plan.streams(0, [i]))
    return time.perf_counter() - start


def side_by_side(observation, n):
    """Return the seconds of ``n`` chains with the default of the method."""
    start = time.perf_counter()
    AnnealedHMC(n_samples=n, n_check=0).solve(observation)
    return time.perf_counter() - start


def main():
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--rst", type=Path, help="folder for the table of the documentation")
    arguments = parser.parse_args()
    observation, n, cores = mock(arguments.side), arguments.samples, available_cores()
    side_by_side(observation, 1)  # warm-up
    schemes = {
        f"one after the other, {cores} threads": lambda: one_after_the_other(observation, n, cores),
        "one after the other, 1 thread": lambda: one_after_the_other(observation, n, 1),
        f"{cores} in parallel, 1 thread each (default)": lambda: side_by_side(observation, n),
    }
    idle = {name: scheme() for name, scheme in schemes.items()}
    print(idle, flush=True)
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores)]
    try:
        default = next(reversed(schemes))
        busy = {default: schemes[default]()}
    finally:
        for process in others:
            process.kill()
    first = next(iter(idle.values()))
    rows = [(f"{n} chains of {arguments.side} x {arguments.side}", "s, idle", "speed-up", f"s beside {cores}", "ratio")]
    for name, seconds in idle.items():
        beside = (f"{busy[name]:.1f}", f"{busy[name] / seconds:.1f}") if name in busy else ("", "")
        rows.append((name, f"{seconds:.1f}", f"{first / seconds:.2f}", *beside))
    text = list_table(rows)
    print(text)
    if arguments.rst:
        (arguments.rst / "side_by_side.rst").write_text(text)


if __name__ == "__main__":
    main()
