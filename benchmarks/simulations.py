"""
Accuracy of simulated maps: ``python benchmarks/simulations.py FOLDER [--out FOLDER] [--sections ...]``.

FOLDER is the output of ``massmap simulate``, with boxes and maps. Sections: matter (growth and power of the N-body
code; some minutes), power, moments, picture (with a MassiveNuS field if MASSMAP_DATA is set), speed.
"""

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from matplotlib.figure import Figure

from astro_massmap.simulation import Cosmology, MapSet, NBody, moments, peak_density, smoothed
from astro_massmap.simulation.light_cone import slab_distances
from astro_massmap.simulation.mesh import Mesh
from astro_massmap.theory.limber import matter_power

ARCMIN = np.radians(1 / 60)
THRESHOLDS = (0.02, 0.04, 0.06, 0.08)
FIDUCIAL = FlatLambdaCDM(H0=70, Om0=0.3, Ob0=0.05, Tcmb0=2.7255, m_nu=0)


def modes_of(positions, cells):
    """Fourier modes of the overdensity, with the cloud-in-cell window divided out."""
    mesh = Mesh(cells)
    modes = torch.fft.rfftn(mesh.overdensity(positions * cells)) / cells**3
    for window in mesh.window():
        modes /= window
    return modes, sum(k**2 for k in mesh.axes()).sqrt() * cells


def growth(seed=1, n=64, box=512.0):
    """Total amplitude of the modes with k < 0.06 h/Mpc at z = 1, divided by that of linear theory."""
    simulation, a = NBody(n, box), 0.5
    first, _ = simulation.displacements(seed)
    k = [axis * (n / box) for axis in Mesh(n).axes()]
    shaped = first.view(3, n, n, n)
    linear = -sum(1j * axis * torch.fft.rfftn(psi) for axis, psi in zip(k, shaped, strict=True)) / n**3
    ((_, positions),) = simulation.run(seed, [a])
    modes, _ = modes_of(positions, n)
    large = (sum(axis**2 for axis in k).sqrt() < 0.06).expand(modes.shape).clone()
    large[0, 0, 0] = False
    ratio = (modes[large].abs().square().sum() / linear[large].abs().square().sum()).sqrt()
    return float(ratio / simulation.cosmology.growth(a))


def matter(log):
    log(f"growth of k < 0.06 h/Mpc to z = 1 over linear theory: {growth():.4f}")
    power, _ = matter_power(FIDUCIAL, As=2.1e-9, n_s=0.97, z_max=1.0)
    at = np.array([0.8, 1.9, 3.5])
    for factor, cell in ((1, 0.5), (2, 0.25)):
        ratios = []
        for seed in (1, 2, 3):
            simulation = NBody(128, 64.0, mesh_factor=factor)
            distances = slab_distances(simulation.cosmology, 128.0, 1.0)
            outputs = [a for a in simulation.cosmology.scale_factor(distances)[::-1] if a < 1 / 1.45]
            *_, (a, positions) = simulation.run(seed, outputs)
            modes, k = modes_of(positions, 256)
            k = k / simulation.box_size
            row = []
            for wanted in at:
                near = (k / wanted).log().abs() < 0.12
                theory = power.P(1 / a - 1, k[near].numpy().ravel() * 0.7).ravel() * 0.7**3
                row.append(float(modes[near].abs().square().sum()) * simulation.box_size**3 / theory.sum())
            ratios.append(row)
        mean, error = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1) / 3**0.5
        text = "  ".join(f"k = {k}: {m:.2f} +- {e:.2f}" for k, m, e in zip(at, mean, error, strict=True))
        log(f"P / HMcode at z = {1 / a - 1:.2f}, force cells of {cell} Mpc/h: {text}")


def power(folder, log):
    report = Table.read(folder / "report.ecsv")
    log(f"fitted on boxes {report.meta['fitted on boxes']}, validated on {report.meta['judged on boxes']}")
    log("     ell  raw / HMcode  calibrated / declared")
    for row in report:
        if np.isfinite(row["calibrated"]):
            log(f"{row['ell']:8.0f}  {row['raw']:.3f}         {row['calibrated']:.3f} +- {row['error']:.3f}")


def describe(maps, pixel_size):
    """Moments of pixels, moments at 1 arcmin, and peak densities."""
    smooth = smoothed(maps, pixel_size, ARCMIN)
    return [*moments(maps), *moments(smooth), *peak_density(smooth, pixel_size, THRESHOLDS).mean(axis=0)]


def moments_table(folder, log):
    maps = MapSet.open(folder)
    boxes = np.array(maps.boxes)
    rows = np.array([describe(maps.stack(np.flatnonzero(boxes == box)), maps.pixel_size) for box in np.unique(boxes)])
    names = ["pixel sd", "skewness", "kurtosis", "1' sd", "skewness", "kurtosis", *(f"peaks > {t}" for t in THRESHOLDS)]
    field = massivenus()
    other = [math.nan] * len(names) if field is None else describe(field[None], 0.4 * ARCMIN)
    log(f"{len(maps)} maps of {len(rows)} boxes; error from the scatter of boxes; last column: one MassiveNuS field")
    for name, mean, error, one in zip(names, rows.mean(0), rows.std(0, ddof=1) / len(rows) ** 0.5, other, strict=True):
        log(f"{name:14} {mean:8.4f} +- {error:.4f}   {one:8.4f}")


def massivenus():
    folder = os.environ.get("MASSMAP_DATA")
    return None if folder is None else np.load(Path(folder) / "massivenus" / "kappa.npy").astype(float)


def picture(folder, out):
    maps, field = MapSet.open(folder), massivenus()
    shown = [(f"{maps.boxes[i]}", maps[i][:320, :320]) for i in np.linspace(0, len(maps) - 1, 5).astype(int)]
    shown.insert(2, ("MassiveNuS", field)) if field is not None else None
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    for i, (title, image) in enumerate(shown):
        axes = figure.add_subplot(2, 3, i + 1)
        axes.imshow(image, origin="lower", vmin=-0.03, vmax=0.1, cmap="inferno")
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(out / "simulations.png", dpi=80)


def speed(log, particles=192):
    simulation, times = NBody(particles, 128.0), [time.perf_counter()]
    outputs = simulation.cosmology.scale_factor(slab_distances(simulation.cosmology, 128.0, 1.0))[::-1]
    steps = NBody(particles, 128.0, longest_step=0.1).run(
        1, outputs[:1], on_step=lambda a: times.append(time.perf_counter())
    )
    list(steps)
    step = np.median(np.diff(times[1:]))
    total = step * (len(simulation.scale_factors(outputs)) - 1)
    threads = torch.get_num_threads()
    log(f"{particles}^3 particles: {step:.1f} s per step on {threads} threads, {total:.0f} s for a light cone")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sections", nargs="*", default=["matter", "power", "moments", "picture", "speed"])
    arguments = parser.parse_args()
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    lines = []

    def log(text):
        print(text, flush=True)
        lines.append(text)

    calls = {
        "matter": lambda: matter(log),
        "power": lambda: power(arguments.folder, log),
        "moments": lambda: moments_table(arguments.folder, log),
        "picture": lambda: arguments.out is None or picture(arguments.folder, arguments.out),
        "speed": lambda: speed(log),
    }
    print(f"cosmology: {Cosmology.default().name}")
    for section in arguments.sections:
        lines.clear()
        calls[section]()
        if arguments.out is not None and lines:
            (arguments.out / f"simulations_{section}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
