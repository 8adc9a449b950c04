"""
Compare maps of interrupted runs with the map of an uninterrupted run.

``massmap reconstruct`` with a checkpoint is started, killed after a random time, and started again with the same
command until it is finished. Pixels and samples are compared bit by bit with those of an uninterrupted run, and after
each kill astropy opens the file of samples. Runs are repeated until ``--kills`` kills have been made::

    python benchmarks/interruptions.py --kills 100
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from astropy.io import fits
from astropy.table import Table

from astro_massmap import ConvergenceMap, datasets

TABLE = Path(__file__).parents[1] / "docs" / "tables" / "interruptions.ecsv"
LONGEST = 14.0  # seconds until a kill: from the start of the interpreter to several samples


def command(folder, catalog, checkpoint, n_samples):
    """Return the command and the name of its map."""
    output = folder / "kappa.fits"
    options = f"--axes west-north --schedule fast --n-samples {n_samples} --quiet --checkpoint {checkpoint}"
    return [
        sys.executable,
        "-m",
        "astro_massmap",
        "reconstruct",
        str(catalog),
        "-o",
        str(output),
        *options.split(),
    ], output


def run(words, kill_after=None, kill=signal.SIGKILL):
    """Run the command; return False if it was killed after ``kill_after`` seconds."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(kill)
        process.communicate()
        return False
    if process.returncode:
        raise RuntimeError(f"the command failed: {errors.decode()}")
    return True


def readable(file):
    """Open the file of samples with astropy; return False if it does not exist yet."""
    if not file.exists():
        return False
    with fits.open(file) as hdus:
        hdus.verify("exception")
        return bool(hdus[0].data.ndim == 3)


def differs(one, other):
    """Return whether two maps differ in any bit."""
    pairs = (one.data, other.data), (one.samples, other.samples), (one.uncertainty.array, other.uncertainty.array)
    return not all(np.array_equal(a, b) for a, b in pairs)


def interrupted_run(folder, catalog, n_samples, rng, kills_left):
    """Kill and restart a run until it is finished; return a row of the table, and the map."""
    checkpoint = folder / "samples.fits"
    words, output = command(folder, catalog, checkpoint, n_samples)
    kills, files = 0, 0
    while kills < kills_left:
        kill = signal.SIGTERM if rng.random() < 0.25 else signal.SIGKILL
        if run(words, rng.uniform(0, LONGEST), kill):
            break
        kills += 1
        files += readable(checkpoint)
        if output.exists():  # killed after the map was written
            break
    else:
        run(words)
    return {"kills": kills, "files_read": files}, ConvergenceMap.read(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--n-samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rng, rows, start = np.random.default_rng(arguments.seed), [], time.perf_counter()
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        catalog = folder / "catalog.fits"
        datasets.demo().write(catalog)
        (folder / "alone").mkdir()
        words, output = command(folder / "alone", catalog, folder / "alone" / "samples.fits", arguments.n_samples)
        run(words)
        alone = ConvergenceMap.read(output)
        while (killed := sum(row["kills"] for row in rows)) < arguments.kills:
            own = folder / f"run{len(rows)}"
            own.mkdir()
            row, kappa = interrupted_run(own, catalog, arguments.n_samples, rng, arguments.kills - killed)
            rows.append(row | {"identical": not differs(kappa, alone)})
            print(row, "identical" if rows[-1]["identical"] else "DIFFERENT", flush=True)
    table = Table(rows)
    table.meta |= {"n_samples": arguments.n_samples, "seed": arguments.seed, "longest": LONGEST}
    table.write(TABLE, overwrite=True)
    kills, identical = int(table["kills"].sum()), bool(table["identical"].all())
    print(f"{kills} kills in {time.perf_counter() - start:.0f} s, all identical: {identical}")


if __name__ == "__main__":
    main()
