"""
Measure the samples per second of one worker and of several, each with one thread, in one run.

The workers of a pool of processes draw the chains of one field under the learned prior. They start and prepare the run
before the measurement; runs with one worker and with several alternate::

    python benchmarks/workers.py --workers 2
"""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table

from astro_massmap import AnnealedHMC, datasets

TABLE = Path(__file__).parents[1] / "docs" / "tables" / "workers.ecsv"


def pool(n):
    """Return a pool of workers with one thread each."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(n, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))


def seconds(shear, n_samples, executor, seed):
    """Return the time to draw the samples, and the number of restarts."""
    method = AnnealedHMC(n_samples=n_samples, schedule="fast", seed=seed, n_check=0)
    start = time.perf_counter()
    kappa = shear.reconstruct(method, progress=False, executor=executor)
    return time.perf_counter() - start, kappa.diagnostics["restarts"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--n-samples", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shear, rows = datasets.demo().to_map(), []
    with pool(1) as one, pool(arguments.workers) as several:
        for executor, n in ((one, 1), (several, arguments.workers)):
            seconds(shear, 2 * n, executor, seed=99)
        for turn in range(arguments.turns):
            for executor, n in ((one, 1), (several, arguments.workers)):
                taken, restarts = seconds(shear, arguments.n_samples, executor, seed=turn)
                rows.append({"turn": turn, "workers": n, "seconds": round(taken, 2), "restarts": restarts})
                print(rows[-1], flush=True)
    table = Table(rows)
    means = [np.mean(table["seconds"][table["workers"] == n]) for n in (1, arguments.workers)]
    table.meta |= {"n_samples": arguments.n_samples, "ratio": round(float(means[0] / means[1]), 3)}
    table.write(TABLE, overwrite=True)
    print(f"{arguments.workers} workers draw {means[0] / means[1]:.2f} times the samples per second of one")


if __name__ == "__main__":
    main()
