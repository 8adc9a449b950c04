"""
Reliability of detection probabilities: ``python benchmarks/reliability.py FOLDER [--rst FILE]``.

The folder is that of ``massmap validate``, of which all mocks with an estimate of every method are used. An event is a
mean convergence within a circle of 1.5 arcmin above a threshold, at every third pixel in each direction where more than
half of the circle has data. Its probability is the fraction of the samples that contain it. Errors are those of the
jackknife over mocks.
"""

import argparse
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from astro_massmap import ConvergenceMap
from astro_massmap.validation.diagnostics import reliability

from list_table import list_table

RADIUS, STEP, EDGES = 1.5, 3, [0, 0.05, 0.2, 0.4, 0.6, 0.8, 1]  # arcmin, pixels


def disc_means(maps, radius):
    """Return the means within circles around all pixels; beyond the edge the maps are zero."""
    side = np.arange(-int(radius), int(radius) + 1)
    disc = (np.hypot(*np.meshgrid(side, side)) <= radius).astype(float)
    return fftconvolve(maps, (disc / disc.sum())[None], mode="same", axes=(-2, -1))


def events(kappa, truth, threshold):
    """Return probabilities of the events of a mock, NaN where there are too few data, and those that are true."""
    radius = RADIUS / abs(kappa.wcs.wcs.cdelt[1]) / 60
    data, true, *samples = disc_means(np.stack([~kappa.mask, truth.data, *kappa.samples]).astype(float), radius)
    edge = int(np.ceil(radius))
    data[:edge] = data[-edge:] = data[:, :edge] = data[:, -edge:] = 0
    probability = np.where(data > 0.5, np.mean([sample > threshold for sample in samples], axis=0), np.nan)
    return probability[::STEP, ::STEP].ravel(), (true > threshold)[::STEP, ::STEP].ravel()


def rows_of(folder, methods, thresholds):
    """Yield the header and the rows of the table."""
    yield "method", "threshold", *(f"{low:g} to {high:g}" for low, high in pairwise(EDGES))
    numbers = [file.name[5:8] for file in sorted(folder.glob("mock_*_truth.fits"))]
    numbers = [n for n in numbers if all((folder / f"mock_{n}_{method}.fits").exists() for method in methods)]
    truths = [ConvergenceMap.read(folder / f"mock_{n}_truth.fits") for n in numbers]
    print(f"{len(numbers)} mocks")
    for method, threshold in product(methods, thresholds):
        maps = [ConvergenceMap.read(folder / f"mock_{n}_{method}.fits") for n in numbers]
        found = [events(kappa, truth, threshold) for kappa, truth in zip(maps, truths, strict=True)]
        table = reliability(*map(np.array, zip(*found, strict=True)), EDGES, n_samples=len(maps[0].samples))
        cells = {float(row["low"]): "{claimed:.2f}: {true:.2f} ± {error:.2f}".format(**row) for row in table}
        yield f"``{method}``", f"{threshold:g}", *(cells.get(low, "") for low in EDGES[:-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--methods", nargs="+", default=["gaussian", "posterior_diffusion", "annealed_hmc"])
    parser.add_argument("--thresholds", nargs="+", type=float, default=[0.015, 0.03], help="mean convergence")
    parser.add_argument("--rst", type=Path, metavar="FILE", help="table for the documentation")
    arguments = parser.parse_args()
    rows = list(rows_of(arguments.folder, arguments.methods, arguments.thresholds))
    print("\n".join(" | ".join(row) for row in rows))
    if arguments.rst is not None:
        arguments.rst.write_text(list_table(rows))


if __name__ == "__main__":
    main()
