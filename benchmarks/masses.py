"""
Bias of masses of halos by method and mass: ``python benchmarks/masses.py [--methods wiener annealed_hmc]``.

An NFW halo at redshift 0.3 in front of a Gaussian convergence field, seen by 30 galaxies per square arcminute at
redshift 1, on 64 x 64 pixels of 0.4 arcmin. The mass is that within 2 arcmin after subtracting the mean of the ring of
4 to 7 arcmin; the truth is the same combination of the analytic masses of the halo. Every mock is kept in
``OUT/masses_mocks.ecsv`` as soon as it is mapped, so that a stopped run continues; ``OUT/masses.rst`` is the table of
all mocks in that file. On one core the Wiener filter takes 2 s a mock, AnnealedHMC 30 s. Fitted masses are measured by
``cluster_masses.py``.
"""

import argparse
from itertools import product
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table, vstack
from astropy.wcs import WCS
from regions import CircleSkyRegion

from astro_massmap import PowerSpectrum, ShearCatalog
from astro_massmap._utils.files import atomic_path
from astro_massmap.analysis.mass import projected_mass
from astro_massmap.simulation import NFWHalo

from list_table import list_table

SIDE, PIXEL = 64, (0.4 * u.arcmin).to_value(u.rad)
DENSITY, SHAPE_NOISE, Z_LENS, Z_SOURCE = 30, 0.26, 0.3, 1.0  # galaxies per square arcminute
RADIUS, INNER, OUTER = 2, 4, 7  # arcmin
N_SAMPLES = 16
COSMOLOGY = FlatLambdaCDM(70, 0.3)
CENTER = SkyCoord(150.0, 2.0, unit="deg")
NAMES = {"wiener": "Wiener", "annealed_hmc": "AnnealedHMC, learned prior"}
GRID = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": (SIDE + 1) / 2,
            "CRPIX2": (SIDE + 1) / 2, "CDELT1": -0.4 / 60, "CDELT2": 0.4 / 60})  # fmt: skip
GRID.array_shape = (SIDE, SIDE)


def gaussian_shear(rng):
    """Return the complex shear of a Gaussian field, from a periodic box of twice the side."""
    k = 2 * np.pi * np.fft.fftfreq(2 * SIDE, PIXEL)
    l1, l2 = np.meshgrid(k, k)
    ell = np.hypot(l1, l2)
    ell[0, 0] = 1
    power = PowerSpectrum.default()(ell) / PIXEL**2
    power[0, 0] = 0
    modes = np.fft.fft2(rng.normal(size=ell.shape)) * np.sqrt(power)
    return np.fft.ifft2(modes * ((l1 + 1j * l2) / ell) ** 2)[:SIDE, :SIDE]


def survey(halo, seed):
    """Return galaxies behind a halo, with shear instead of reduced shear."""
    rng = np.random.default_rng(seed)
    shear = gaussian_shear(rng)
    x, y = rng.uniform(-0.5, SIDE - 0.5, (2, int(DENSITY * 0.4**2 * SIDE**2)))
    sky = GRID.pixel_to_world(x, y)
    e = shear[np.rint(y).astype(int).clip(0, SIDE - 1), np.rint(x).astype(int).clip(0, SIDE - 1)]
    e = e + SHAPE_NOISE * (rng.normal(size=x.size) + 1j * rng.normal(size=x.size))
    e += halo.shear(sky.separation(CENTER), Z_SOURCE) * np.exp(2j * sky.position_angle(CENTER).rad)
    return ShearCatalog(sky, e.real, e.imag, axes="west-north", shape_noise=SHAPE_NOISE)


def true_mass(halo):
    """Return the mass within the aperture after subtracting the mean of the ring, in Msun."""
    inside, low, high = (halo.projected_mass(r * u.arcmin).to_value(u.Msun) for r in (RADIUS, INNER, OUTER))
    return inside - (high - low) * RADIUS**2 / (OUTER**2 - INNER**2)


def mock(method, mass, seed):
    """Return a row: method, mass of the halo, seed, true mass, and measured mass with its interval."""
    halo = NFWHalo(mass * u.Msun, Z_LENS, cosmology=COSMOLOGY)
    options = {"n_samples": N_SAMPLES, "seed": seed, "reduced_shear": False, "progress": False}
    kappa = survey(halo, seed).reconstruct(method, wcs=GRID, **options)
    maps, circle = (kappa.data, kappa.samples, kappa.wcs, kappa.mask), CircleSkyRegion(CENTER, RADIUS * u.arcmin)
    ring = [INNER, OUTER] * u.arcmin
    found = projected_mass(*maps, circle, Z_LENS, Z_SOURCE, cosmology=COSMOLOGY, background=ring)[0]
    return {"method": method, "m200": mass, "seed": seed, "true": true_mass(halo), **measured(found)}


def measured(found):
    return {name: found[name].to_value(u.Msun) for name in ("mass", "std", "lower", "upper")}


HEADER = (
    "mocks", "mean mass / true mass", "rms error / stated standard deviation", "truth in the 68 % interval"
)  # fmt: skip


def statistics(rows):
    """Return the columns `HEADER` of mocks of one kind."""
    true, n = rows["true"][0], len(rows)
    ratio, z = rows["mass"] / true, (rows["mass"] - true) / rows["std"]
    covered = np.mean((rows["lower"] <= true) & (true <= rows["upper"]))
    error = f" ± {np.std(ratio, ddof=1) / n**0.5:.2f}" if n > 1 else ""
    return n, f"{np.mean(ratio):.2f}{error}", f"{np.mean(z**2) ** 0.5:.1f}", f"{covered:.0%}"


def in_text(mass):
    return f"{mass:.0e}".replace("e+", "e")


def summary(mocks):
    """Yield the rows of the table: a header, and one for each method and mass."""
    yield "method", "M200 [Msun]", "true mass in the aperture [1e14 Msun]", *HEADER
    for method in NAMES:
        for mass in np.unique(mocks["m200"]):
            rows = mocks[(mocks["method"] == method) & (mocks["m200"] == mass)]
            if len(rows):
                yield NAMES[method], in_text(mass), f"{rows['true'][0] / 1e14:.2f}", *statistics(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--masses", nargs="+", type=float, default=[1e14, 5e14, 1e15], help="M200c in solar masses")
    parser.add_argument("--mocks", type=int, default=30, help="mocks of each kind (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "tables")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "masses_mocks.ecsv"
    mocks = Table.read(kept) if kept.exists() else Table()
    done = {(row["method"], row["m200"], row["seed"]) for row in mocks}
    for seed, method, mass in product(range(arguments.mocks), arguments.methods, arguments.masses):
        if (method, mass, seed) not in done:
            mocks = vstack([mocks, Table([mock(method, mass, seed)])])
            with atomic_path(kept, overwrite=True) as temporary:
                mocks.write(temporary, format="ascii.ecsv")
    rows = list(summary(mocks))
    (arguments.out / "masses.rst").write_text(list_table(rows))
    print("\n".join(" | ".join(map(str, row)) for row in rows))


if __name__ == "__main__":
    main()
