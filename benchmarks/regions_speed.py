"""
CPU time of regions, transforms and reprojection, in one run: ``python benchmarks/regions_speed.py [--rst FOLDER]``.

One thread; each number is the minimum of some repetitions. The ratios depend little on the computer: an ellipse to a
circle, a map with a thousand star masks to one without, Kaiser-Squires to one transform of its box, and the
reprojection of 64 samples to that of 16.
"""

import argparse
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.coordinates import SkyCoord
from regions import CircleSkyRegion, EllipseSkyRegion, PolygonSkyRegion, RectangleSkyRegion

from astro_massmap import ConvergenceMap, KaiserSquires, ShearCatalog
from astro_massmap._sky.geometry import fitting_wcs
from astro_massmap.inference import Observation, padded_shape

from list_table import list_table

SIDE, PIXEL = 1.28, 0.4 * u.arcmin  # degrees of the COSMOS field


def cpu_time(function, repeat=3):
    """Shortest CPU time of a call in seconds."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def positions(rng, n):
    return SkyCoord(150 + SIDE * rng.uniform(size=n), 2 + SIDE * rng.uniform(size=n), unit="deg")


def shapes(centers, radii):
    """Return regions of four kinds around the same centres, by name of the kind."""
    angles = [0, 80, 200] * u.deg
    pairs = list(zip(centers, radii, strict=True))
    return {
        "circles": [CircleSkyRegion(c, r) for c, r in pairs],
        "ellipses": [EllipseSkyRegion(c, 2 * r, 1.3 * r, 30 * u.deg) for c, r in pairs],
        "rectangles": [RectangleSkyRegion(c, 2 * r, 1.3 * r, 30 * u.deg) for c, r in pairs],
        "triangles": [PolygonSkyRegion(c.directional_offset_by(angles, r)) for c, r in pairs],
    }


def regions(rng, n=500):
    """Yield milliseconds of `detection_probability` per region, and the ratio to a circle."""
    centers = positions(rng, n)
    wcs = fitting_wcs(centers, PIXEL)
    samples = rng.normal(size=(64, *wcs.array_shape))
    kappa = ConvergenceMap(samples[0], wcs=wcs, samples=samples)
    found = {}
    for name, listed in shapes(centers, [1.5 * u.arcmin] * n).items():
        found[name] = cpu_time(lambda listed=listed: kappa.detection_probability(listed, 0.1)) / n
        ratio = f"{found[name] / found['circles']:.2f} of a circle"
        yield f"detection_probability, each of {n} {name}", f"{found[name] * 1e3:.2f} ms", ratio


def star_masks(rng, n_galaxies=400_000, n_stars=1000):
    """Yield seconds of `to_map` with star masks, and the ratio to a map without."""
    shear = rng.normal(scale=0.25, size=(2, n_galaxies))
    catalog = ShearCatalog(positions(rng, n_galaxies), *shear, axes="west-north")
    plain = cpu_time(catalog.to_map)
    yield f"map of {n_galaxies:,} galaxies", f"{plain:.2f} s", ""
    for name, listed in shapes(positions(rng, n_stars), rng.exponential(0.5, n_stars) * u.arcmin).items():
        seconds = cpu_time(lambda listed=listed: catalog.to_map(mask=listed), 1)
        yield f"with {n_stars:,} masks, {name}", f"{seconds:.2f} s", f"{seconds / plain:.1f} of that without masks"


def kaiser_squires(rng, sides=(128, 256, 512, 1024)):
    """Yield the time of Kaiser-Squires, and the ratio to one real transform of its box."""
    for side in sides:
        shear, noise_std = rng.normal(size=(2, side, side)), np.full((side, side), 0.3)
        observation = Observation.from_arrays(shear, noise_std, PIXEL.to_value(u.rad))
        box = torch.from_numpy(rng.normal(size=padded_shape((side, side), 2)))
        method = KaiserSquires(device="cpu")
        one, whole = cpu_time(lambda box=box: torch.fft.rfft2(box), 9), cpu_time(lambda: method.solve(observation), 5)  # noqa: B023
        ratio = f"{whole / one:.0f} transforms of the box"
        yield f"Kaiser-Squires, {side} x {side}", f"{whole * 1e3:.1f} ms", ratio


def reprojection(rng, n=256):
    """Yield seconds of `reproject_to` for several numbers of samples."""
    old, new = (fitting_wcs(positions(rng, 100), scale, (n, n)) for scale in (PIXEL, 0.9 * PIXEL))
    few = None
    for n_samples in (16, 64):
        samples = rng.normal(size=(n_samples, n, n)).astype(np.float32)
        kappa = ConvergenceMap(samples[0], wcs=old, samples=samples)
        seconds = cpu_time(lambda kappa=kappa: kappa.reproject_to(new))
        few = few or seconds
        yield (
            f"reproject_to, {n_samples} samples of {n} x {n}",
            f"{seconds:.3f} s",
            f"{seconds / few:.2f} of 16 samples",
        )


def main():
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rst", type=Path, help="folder for the table of the documentation")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator, rows = np.random.default_rng(0), [("task", "CPU time", "ratio")]
    for part in (regions, star_masks, kaiser_squires, reprojection):
        for row in part(generator):
            rows.append(row)
            print("  |  ".join(row), flush=True)
    if arguments.rst:
        (arguments.rst / "regions_speed.rst").write_text(list_table(rows))


if __name__ == "__main__":
    main()
