"""
Time and memory of gridding, the Wiener mean and constrained realisations.

``python benchmarks/ground_floor.py [CATALOG]`` prints a table; the gridding is timed on CATALOG, a file with the
columns of the public COSMOS catalogue (ra, dec, e1, e2, weight). ``--rst FILE`` writes the table for the documentation.
"""

import argparse
import platform
import resource
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.wcs import WCS

from astro_massmap import ShearCatalog, ShearMap, Wiener

SIDE = 360


def field():
    """Noise on a field of 360 x 360 pixels: Poisson counts of 4.8 galaxies per pixel, a hole and a missing edge."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(4.8, (SIDE, SIDE))
    counts[100:130, 80:140] = counts[:30] = 0
    noise_std = np.where(counts > 0, 0.27 / np.sqrt(np.maximum(counts, 1)), np.inf)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [150, 2], [SIDE / 2] * 2
    wcs.wcs.cdelt = np.array([-1, 1]) * (0.4 * u.arcmin).to_value(u.deg)
    data = rng.normal(size=(2, SIDE, SIDE)) * np.where(np.isinf(noise_std), 0, noise_std)
    return ShearMap(data, wcs=wcs, noise_std=noise_std)


def timed(function, repeat=3):
    """Shortest wall time of some calls, and the last result."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def rows(catalog_file):
    """Yield (task, measured, target)."""
    if catalog_file:
        catalog = ShearCatalog.read(catalog_file, axes="west-north", columns={"g1": "e1", "g2": "e2"})
        seconds, _ = timed(catalog.to_map)
        yield f"gridding {len(catalog)} galaxies", f"{seconds:.2f} s", "1 s"
    shear = field()
    seconds, kappa = timed(lambda: shear.reconstruct(Wiener(n_samples=0), progress=False))
    iterations = kappa.diagnostics["iterations"]
    yield f"Wiener mean and standard deviation, {SIDE} x {SIDE} ({iterations} iterations)", f"{seconds:.2f} s", "3 s"
    seconds, _ = timed(lambda: shear.reconstruct(Wiener(n_samples=64), progress=False), repeat=1)
    yield f"64 constrained realisations, {SIDE} x {SIDE}", f"{seconds:.1f} s", "60 s"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if platform.system() == "Linux" else 2**30)
    yield "peak memory of the process", f"{peak:.2f} GiB", "2 GiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalog", nargs="?", type=Path)
    parser.add_argument("--rst", type=Path)
    arguments = parser.parse_args()
    table = [("task", "measured", "target"), *rows(arguments.catalog)]
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    rule = " ".join("=" * w for w in widths)
    lines = [" ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
    text = "\n".join([rule, lines[0], rule, *lines[1:], rule]) + "\n"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n{text}")
    if arguments.rst:
        arguments.rst.write_text(text)


if __name__ == "__main__":
    main()
