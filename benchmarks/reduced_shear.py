"""
Bias by reduced shear, with and without its treatment: ``python benchmarks/reduced_shear.py [--chains 2]``.

NFW halos at redshift 0.3, sources at redshift 1, in the middle of fields of 25.6 arcmin, with pixels of 0.2 arcmin
(Kaiser-Squires) or 0.4 arcmin (other methods). The data are the mean of the exact reduced shear over each pixel, and
noise. The map with the true convergence in the denominator, from the same noise and random numbers, is the reference.
Fields without a halo are draws from the default prior spectrum. ``--rst`` writes the tables of the documentation.
"""

import argparse
import time
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import torch
from astropy.cosmology import FlatLambdaCDM

from astro_massmap import AnnealedHMC, KaiserSquires, PosteriorMean, PowerSpectrum, Wiener
from astro_massmap.inference import FourierGrid, LensingOperator, Observation, one_thread
from astro_massmap.methods import reduced_shear, run
from astro_massmap.simulation import NFWHalo

from list_table import list_table

FIELD, FINE, SHAPE_NOISE = 25.6, 4, 0.27  # arcmin, points on a side of a pixel, noise of a component
APERTURES = 0.5, 1.0, 2.0  # arcmin
COSMOLOGY = FlatLambdaCDM(70, 0.3)


def halo_field(mass, pixel):
    """Return reduced shear ``(2, ny, nx)`` and convergence ``(ny, nx)``, means over pixels of ``pixel`` arcmin."""
    halo = NFWHalo(mass * u.Msun, 0.3, cosmology=COSMOLOGY)
    side = round(FIELD / pixel)
    y, x = (np.mgrid[: side * FINE, : side * FINE] - (side * FINE - 1) / 2) * pixel / FINE
    theta, angle = np.hypot(x, y) * u.arcmin, 2 * np.arctan2(y, x)
    kappa, gamma = halo.convergence(theta, 1.0), halo.shear(theta, 1.0)
    g = gamma / (1 - kappa)
    g = np.where(np.abs(g) > 1, 1 / g, g)  # within the critical curve
    fields = np.stack([-g * np.cos(angle), -g * np.sin(angle), kappa])
    fields = fields.reshape(3, side, FINE, side, FINE).mean(axis=(2, 4))
    return fields[:2], fields[2]


def random_field(pixel, seed):
    """Return reduced shear and convergence of a draw from the prior spectrum."""
    side = round(FIELD / pixel)
    grid = FourierGrid((side, side), np.deg2rad(pixel / 60), (2 * side, 2 * side), dtype=torch.float64)
    white = grid.to_modes(torch.from_numpy(np.random.default_rng(seed).normal(size=grid.box_shape)))
    modes = grid.mode_variance(PowerSpectrum.default()).sqrt() * white
    kappa = grid.to_field(modes).numpy()
    return LensingOperator(grid).forward(modes).numpy() / (1 - kappa), kappa


def observed(field, density, pixel, seed):
    """Return the data of a field, and the same with the true convergence in the denominator."""
    g, kappa = field
    noise_std = np.full(kappa.shape, SHAPE_NOISE / np.sqrt(density * pixel**2))
    noise = np.random.default_rng(1000 + seed).normal(size=g.shape)
    data = Observation.from_arrays(g + noise_std * noise, noise_std, np.deg2rad(pixel / 60))
    return data, data.unreduced(torch.from_numpy(kappa))


def row(name, method, mass, density, pixel, mocks):
    """Return a row of the table of halos: excess within apertures over the reference, in per cent of the truth."""
    field, side = halo_field(mass, pixel), round(FIELD / pixel)
    r = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2)) * pixel
    true = np.array([field[1][r < a].mean() for a in APERTURES])
    excess, seconds, records = {False: [], True: []}, {False: 0.0, True: 0.0}, []
    for seed in range(mocks):
        data, reference = observed(field, density, pixel, seed)
        target = method.solve(reference).mean
        for setting in (False, True):
            start = time.process_time()
            estimate = run(method, data, progress=False, reduced_shear=setting)
            seconds[setting] += time.process_time() - start
            excess[setting].append([(estimate.mean - target)[r < a].mean() for a in APERTURES] / true)
        records.append(estimate.diagnostics["reduced_shear"])
    scatter = [record["sd_log_weight"] for record in records]
    found = [np.mean(excess[setting], axis=0) * 100 for setting in (False, True)]
    errors = [np.std(excess[setting], axis=0, ddof=1) * 100 / mocks**0.5 for setting in (False, True)]
    acts = reduced_shear.strength(data) > reduced_shear.PEAK
    cells = [
        "; ".join(f"{v:.1f} ± {e:.1f}" for v, e in zip(*pair, strict=True)) for pair in zip(found, errors, strict=True)
    ]
    return (
        name, f"{mass:.0e}".replace("e+", "e"), density, mocks, *cells,
        f"{max(record['last_change'] for record in records):.4f}",
        "" if scatter[0] is None else f"{max(scatter):.2f}",
        f"{seconds[True] / seconds[False] - 1:+.0%}", "yes" if acts else "no",
    )  # fmt: skip


HEADER = (
    "method", "halo [Msun]", "galaxies per arcmin2", "mocks", "untreated, within 0.5; 1; 2 arcmin [%]",
    "treated [%]", "last change", "sd of log weights", "cost", "auto acts",
)  # fmt: skip


def random_row(name, method, density, pixel, seed=7):
    """Return a row of the table of random fields: change by the treatment in standard deviations."""
    data, _ = observed(random_field(pixel, seed), density, pixel, seed)
    off, on = (run(method, data, progress=False, reduced_shear=setting) for setting in (False, True))
    change = (on.mean - off.mean) / off.std
    acts = reduced_shear.strength(data) > reduced_shear.PEAK
    return name, density, f"{np.abs(change).max():.3f}", f"{change.std():.4f}", "yes" if acts else "no"


RANDOM_HEADER = "method", "galaxies per arcmin2", "largest change [std]", "rms change [std]", "auto acts"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mocks", type=int, default=4, help="mocks of each halo (default: %(default)s)")
    parser.add_argument("--chains", type=int, default=0, help="mocks of each halo by chains (default: %(default)s)")
    parser.add_argument("--rst", type=Path, help="folder for the tables of the documentation")
    arguments = parser.parse_args()
    ks, fine = "Kaiser-Squires, 0.25 arcmin", KaiserSquires(0.25 * u.arcmin)
    cases = [(ks, fine, mass, 100, 0.2) for mass in (2e15, 1e15, 5e14)]
    cases += [(ks, fine, 5e14, 30, 0.2)]
    wiener, network = Wiener(n_samples=0, uncertainty=False), PosteriorMean()
    cases += [("Wiener", wiener, 1e15, 100, 0.4), ("PosteriorMean", network, 1e15, 100, 0.4)]
    cases = [(*case, arguments.mocks) for case in cases]
    if arguments.chains:
        hmc = AnnealedHMC(n_samples=6, n_check=0, information=1.0)
        cases += [("AnnealedHMC, 6 samples", hmc, mass, 100, 0.4, arguments.chains) for mass in (1e15, 5e14)]
    randoms = [("Kaiser-Squires, 1 arcmin", KaiserSquires(), 30, 0.4), ("Wiener", Wiener(n_samples=0), 30, 0.4)]
    randoms += [("Wiener", Wiener(n_samples=0), 100, 0.4), ("PosteriorMean", network, 30, 0.4)]
    tables = {"reduced_shear": [HEADER], "reduced_shear_random": [RANDOM_HEADER]}
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # strong halos are unlike the prior
        for name, function, all_cases in (("reduced_shear", row, cases), ("reduced_shear_random", random_row, randoms)):
            for case in all_cases:
                tables[name].append(function(*case))
                print(*tables[name][-1], sep=" | ", flush=True)
    if arguments.rst:
        for name, rows in tables.items():
            (arguments.rst / f"{name}.rst").write_text(list_table(rows))


if __name__ == "__main__":
    main()
