"""
Measure the coverage of credible intervals from 16, 32 and 64 samples: ``python benchmarks/intervals.py``.

Truths are drawn from a Gaussian prior and observed with noise and a hole; the samples are those of the exact posterior
(`Wiener`). Truth and samples then have the same distribution, and only the intervals are tested: those of
``ConvergenceMap.quantile`` for pixels and ``region_statistics`` for discs, and those of the default quantiles of numpy.
"""

import argparse
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from regions import CirclePixelRegion, PixCoord

from astro_massmap import ConvergenceMap, PowerSpectrum, ShearMap, Wiener
from astro_massmap.inference import FourierGrid, LensingOperator

from list_table import list_table

SIDE, SCALE, NOISE = 48, 0.8 * u.arcmin, 0.1
NUMBERS, LEVELS = (16, 32, 64), (0.68, 0.95)
STEP, RADIUS = 9, 2.5  # distance and radius of the discs in pixels
OUTPUT = Path(__file__).parents[1] / "docs/tables/intervals.rst"
GRID = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2, "CRPIX1": SIDE / 2 + 0.5,
            "CRPIX2": SIDE / 2 + 0.5, "CDELT1": -SCALE.to_value("deg"), "CDELT2": SCALE.to_value("deg")})  # fmt: skip
POSITIONS = np.arange(STEP / 2, SIDE, STEP)
DISCS = [CirclePixelRegion(PixCoord(x, y), RADIUS) for x in POSITIONS for y in POSITIONS]


def mock(seed, spectrum):
    """Return a sky from the prior, and its noisy shear with a hole."""
    rng = np.random.default_rng([seed, 48])
    grid = FourierGrid((SIDE, SIDE), SCALE.to_value("rad"), (2 * SIDE, 2 * SIDE), dtype=torch.float64)
    modes = grid.mode_variance(spectrum).sqrt() * grid.to_modes(torch.from_numpy(rng.normal(size=grid.box_shape)))
    shear = LensingOperator(grid).forward(modes).numpy() + NOISE * rng.normal(size=(2, SIDE, SIDE))
    hole = np.hypot(*(np.mgrid[:SIDE, :SIDE] - SIDE // 2)) < SIDE // 8
    return grid.to_field(modes).numpy(), ShearMap(shear, wcs=GRID, noise_std=NOISE, mask=hole)


def within(truth, ends):
    low, high = ends
    return np.mean((low <= truth) & (truth <= high))


def covered(truth, kappa, n, level):
    """Return fractions of truths within intervals, for pixels and discs, each by numpy and by the package."""
    few, ends = ConvergenceMap(kappa.data, wcs=GRID, samples=kappa.samples[:n]), [(1 - level) / 2, (1 + level) / 2]
    of_discs = ConvergenceMap(truth, wcs=GRID, samples=truth[None]).region_means(DISCS)[0]
    table = few.region_statistics(DISCS, level=level)
    return [
        within(truth, np.quantile(few.samples, ends, axis=0)),
        within(truth, few.quantile(ends)),
        within(of_discs, np.quantile(few.region_means(DISCS), ends, axis=0)),
        within(of_discs, (table["lower"], table["upper"])),
    ]


def measure(n_skies):
    """Return the fractions of `covered`, ``(n_skies, numbers, levels, 4)``."""
    spectrum, fractions = PowerSpectrum.default(), []
    for seed in range(n_skies):
        truth, shear = mock(seed, spectrum)
        kappa = shear.reconstruct(Wiener(spectrum, n_samples=max(NUMBERS), seed=seed), progress=False)
        fractions.append([[covered(truth, kappa, n, level) for level in LEVELS] for n in NUMBERS])
    return np.array(fractions)


def rows(fractions):
    yield "interval", "samples", "expected", "pixels, numpy", "pixels", "discs, numpy", "discs"
    mean, error = fractions.mean(axis=0), fractions.std(axis=0, ddof=1) / np.sqrt(len(fractions))
    for j, level in enumerate(LEVELS):
        for i, n in enumerate(NUMBERS):
            cells = (f"{100 * m:.1f} +- {100 * e:.1f} %" for m, e in zip(mean[i, j], error[i, j], strict=True))
            yield f"{level:.0%}", n, f"{100 * min(level, (n - 1) / (n + 1)):.1f} %", *cells


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skies", type=int, default=200)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(level|q)=.*: needs at least", AstropyUserWarning)  # measured here
        table = list_table(rows(measure(arguments.skies)))
    arguments.output.write_text(table)
    print(table)


if __name__ == "__main__":
    main()
