"""
A run that is killed again and again, and whether it ends in the same map.

``massmap reconstruct`` with a checkpoint is started, killed after a random time, and started again with the same
command until it is done; its pixels and samples are compared bit by bit with those of a run that was left alone, and
after each kill the file of the samples is opened by a reader of its format. That is repeated until it was killed
``--kills`` times::

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

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import Table

from astro_massmap import ConvergenceMap, datasets

TABLE = Path(__file__).parents[1] / "docs" / "tables" / "interruptions.ecsv"
LONGEST = 14.0  # seconds until a kill: from the start of the interpreter to several samples


def command(folder, catalog, checkpoint, n_samples):
    """The command and where its map goes."""
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
    """Whether the command came to its end; it is killed if not."""
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
    """Open the file of samples as others would; whether there is one."""
    if not file.exists():
        return False
    if file.suffix == ".fits":
        with fits.open(file) as hdus:
            hdus.verify("exception")
            return bool(hdus[0].data.ndim == 3)
    if file.suffix == ".h5":
        with h5py.File(file) as opened:
            return opened["samples"][:].ndim == 3
    return np.load(file, mmap_mode="r").ndim == 3


def differs(one, other):
    """Whether two maps differ in a bit."""
    pairs = (one.data, other.data), (one.samples, other.samples), (one.uncertainty.array, other.uncertainty.array)
    return not all(np.array_equal(a, b) for a, b in pairs)


def interrupted_run(folder, catalog, suffix, n_samples, rng, kills_left):
    """Kill a run until it is done: a row of the table, and its map."""
    checkpoint = folder / f"samples{suffix}"
    words, output = command(folder, catalog, checkpoint, n_samples)
    kills, files = 0, 0
    while kills < kills_left:
        kill = signal.SIGTERM if rng.random() < 0.25 else signal.SIGKILL
        if run(words, rng.uniform(0, LONGEST), kill):
            break
        kills += 1
        files += readable(checkpoint)
        if output.exists():  # it was killed once all was done
            break
    else:
        run(words)
    return {"format": suffix, "kills": kills, "files_read": files}, ConvergenceMap.read(output)


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
        words, output = command(folder / "alone", catalog, folder / "alone" / "samples.npy", arguments.n_samples)
        run(words)
        alone = ConvergenceMap.read(output)
        while (killed := sum(row["kills"] for row in rows)) < arguments.kills:
            own = folder / f"run{len(rows)}"
            own.mkdir()
            suffix = (".fits", ".h5", ".npy")[len(rows) % 3]
            row, kappa = interrupted_run(own, catalog, suffix, arguments.n_samples, rng, arguments.kills - killed)
            rows.append(row | {"identical": not differs(kappa, alone)})
            print(row, "identical" if rows[-1]["identical"] else "DIFFERENT", flush=True)
    table = Table(rows)
    table.meta |= {"n_samples": arguments.n_samples, "seed": arguments.seed, "longest": LONGEST}
    table.write(TABLE, overwrite=True)
    kills, identical = int(table["kills"].sum()), bool(table["identical"].all())
    print(f"{kills} kills in {time.perf_counter() - start:.0f} s, all identical: {identical}")


if __name__ == "__main__":
    main()
