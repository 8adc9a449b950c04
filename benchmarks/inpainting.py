"""
Inpainted Kaiser-Squires maps against those with zero shear in gaps: ``python benchmarks/inpainting.py OUT``.

Lognormal maps with the spectrum of the package, in a periodic box of twice the side of the field, lens the pixels of
the field. Noise of the stated standard deviation is added; 0.15 is that of 25 galaxies per square arcminute with
ellipticities of 0.3 per component. Both maps and the truth are smoothed by a Gaussian of 1 or 2 arcmin. The footprint
has round holes, or is that of COSMOS (``massivenus/mask.npy`` in ``MASSMAP_DATA``). ``OUT/inpainting.rst`` contains the
root mean square error of the inpainted map over that of the other one, the mean of the mocks with its standard error,
and the correlations of both maps with the truth: for pixels with data that are more than 1.2 arcmin from a hole, for
those next to a hole, and in holes. CPU times of both methods are printed.

``--edges`` prints instead the amplitude of both maps, for square fields of 0.5 to 2 degrees without noise and holes, in
a box of four times their side: the slope of a straight line fitted to the map against the truth, pixel by pixel.
"""

import argparse
import os
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from scipy.ndimage import binary_dilation, gaussian_filter

from astro_massmap import KaiserSquires, PowerSpectrum
from astro_massmap.inference import FourierGrid, LensingOperator, Observation
from astro_massmap.simulation import lognormal_maps

from list_table import list_table

ARCMIN = np.radians(1 / 60)
PIXEL, SIDE = 0.4 * ARCMIN, 128
NOISES, SCALES, ITERATIONS, EDGE = (0.0, 0.05, 0.15), (1, 2), 100, 3


def holes(rng, side=SIDE, fraction=0.2):
    """Return pixels with data of a field with round holes."""
    y, x = np.mgrid[:side, :side]
    seen = np.ones((side, side), dtype=bool)
    while seen.mean() > 1 - fraction:
        cx, cy = rng.uniform(0, side, 2)
        seen &= np.hypot(x - cx, y - cy) > rng.uniform(1.5, 7)
    return seen


def cosmos():
    """Return pixels with data of the footprint of COSMOS, the middle of its mask."""
    mask = np.load(Path(os.environ["MASSMAP_DATA"]) / "massivenus" / "mask.npy").astype(bool)
    rows, columns = (slice((n - SIDE) // 2, (n + SIDE) // 2) for n in mask.shape)
    return mask[rows, columns]


def mock(seed, seen, noise, pixel=PIXEL, box=2):
    """Return the true convergence of the field and an observation of its shear."""
    side = len(seen)
    shape = box * side, box * side
    kappa = lognormal_maps(PowerSpectrum.default(), 1, shape, pixel, seed=seed, dtype=torch.float64)[0]
    grid = FourierGrid(kappa.shape, pixel, dtype=torch.float64)
    shear = LensingOperator(grid).forward(grid.to_modes(kappa))[:, :side, :side].numpy()
    shear = shear + noise * np.random.default_rng([seed, 1]).normal(size=shear.shape)
    std = np.where(seen, noise or 1e-3, np.inf)
    return kappa.numpy(), Observation.from_arrays(shear, std, pixel)


def measure(seed, seen, noise, scale):
    """Return errors and correlations ``(2 methods, 3 regions)``, and the times of the methods."""
    kappa, observation = mock(seed, seen, noise)
    truth = gaussian_filter(kappa, scale * ARCMIN / PIXEL, mode="wrap")[:SIDE, :SIDE]
    edge = binary_dilation(~seen, iterations=EDGE) & seen
    errors, correlations, times = [], [], []
    for iterations in (0, ITERATIONS):
        start = time.process_time()
        kappa = KaiserSquires(scale * u.arcmin, inpaint=iterations).solve(observation).mean
        times.append(time.process_time() - start)
        parts = seen & ~edge, edge, ~seen
        errors.append([np.sqrt(np.mean((kappa - truth)[part] ** 2)) for part in parts])
        correlations.append([np.corrcoef(kappa[part], truth[part])[0, 1] for part in parts])
    return np.array(errors), np.array(correlations), times


def print_amplitudes(n, margin=10):
    """Print slopes over the whole field, and at least ``margin`` arcmin from its edges."""
    for degrees, pixel in ((0.5, 0.4), (1, 0.4), (2, 0.8)):
        side, edge, slopes = int(degrees * 60 / pixel), int(margin / pixel), []
        for seed in range(n):
            kappa, observation = mock(seed, np.ones((side, side), dtype=bool), 0.0, pixel * ARCMIN, box=4)
            truth = gaussian_filter(kappa, 1 / pixel, mode="wrap")[:side, :side]
            for iterations in (0, ITERATIONS):
                found = KaiserSquires(1 * u.arcmin, inpaint=iterations).solve(observation).mean
                for part in (np.s_[:, :], np.s_[edge:-edge, edge:-edge]):
                    slopes.append(np.polyfit(truth[part].ravel(), found[part].ravel(), 1)[0])
        slopes = np.reshape(slopes, (n, 2, 2))
        for iterations, mean, error in zip(
            (0, ITERATIONS), slopes.mean(0), slopes.std(0, ddof=1) / n**0.5, strict=True
        ):
            cells = [f"{m:.3f} +- {e:.3f}" for m, e in zip(mean, error, strict=True)]
            print(f"{degrees} degrees, inpaint={iterations}: {cells[0]}, {margin} arcmin inside {cells[1]}", flush=True)


def rows(n, footprints):
    for name, footprint in footprints.items():
        for noise in NOISES:
            for scale in SCALES:
                found = [measure(i, footprint(np.random.default_rng(i)), noise, scale) for i in range(n)]
                errors, correlations = (np.array([f[k] for f in found]) for k in (0, 1))
                ratio = errors[:, 1] / errors[:, 0]
                cells = [
                    f"{m:.2f} +- {s:.2f}" for m, s in zip(ratio.mean(0), ratio.std(0, ddof=1) / np.sqrt(n), strict=True)
                ]
                cells += [f"{a:.3f}, {b:.3f}" for a, b in correlations.mean(axis=0).T]
                yield [f"{name}, noise {noise:g}, {scale} arcmin", *cells]
                print(name, noise, scale, cells, np.mean([f[2] for f in found], axis=0), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mocks", type=int, default=8)
    parser.add_argument("--edges", action="store_true", help="amplitudes of fields of 0.5 to 2 degrees")
    arguments = parser.parse_args()
    if arguments.edges:
        print_amplitudes(arguments.mocks)
        return
    footprints = {"holes": holes}
    if "MASSMAP_DATA" in os.environ:
        footprints["COSMOS"] = lambda rng: cosmos()
    regions = "data", "edges of holes", "holes"
    head = ["field", *(f"error, {r}" for r in regions), *(f"correlation, {r}" for r in regions)]
    table = list_table([head, *rows(arguments.mocks, footprints)])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "inpainting.rst").write_text(table)
    print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
