"""
Masses of halos from the same mock catalogues by maps and by CLMM: ``python benchmarks/cluster_masses.py OUT``.

The catalogues are those of CLMM (``pip install clmm``): an NFW halo at redshift 0.3 and galaxies with the redshift
distribution of Chang et al. (2013), of which those in front of the halo are left out, with the exact reduced shear of
each. The shear of a Gaussian convergence field with the spectrum of sources at redshift 1 is added. M200c is fitted to
maps with the convergence of sources at redshift 1 (``for_lens``, reduced shear, annuli from 0.8 to 4 arcmin minus the
ring of 4 to 7), with and without the scatter of structure along the line of sight, and by CLMM to the tangential shear
of single galaxies between 0.8 and 7 arcmin, with weights and errors from the shape noise alone. Both know the mean
relation of mass and concentration.

``OUT/cluster_masses.rst`` is the table. Every fit is kept in ``OUT/cluster_masses.ecsv``, so that a stopped run
continues. ``--noise-free`` prints the mass within 2 arcmin minus the ring, over the true one, of catalogues without
noise and without the Gaussian field.
"""

import argparse
import warnings
from itertools import product
from pathlib import Path

import astropy.units as u
import clmm
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack
from astropy.utils.exceptions import AstropyUserWarning
from clmm.support.mock_data import generate_galaxy_catalog
from regions import CircleSkyRegion
from scipy.optimize import curve_fit

from astro_massmap import AnnealedHMC, ScorePrior, ShearCatalog, Wiener
from astro_massmap._utils.files import atomic_path
from astro_massmap.simulation import NFWHalo

from list_table import list_table
from masses import (
    CENTER,
    COSMOLOGY,
    GRID,
    HEADER,
    INNER,
    OUTER,
    RADIUS,
    gaussian_shear,
    in_text,
    measured,
    statistics,
    true_mass,
)

SHAPE_NOISE, Z_LENS, Z_SOURCE, LOWEST, N_SAMPLES = 0.26, 0.3, 1.0, 0.1, 16
CLMM_COSMOLOGY = clmm.Cosmology(H0=70.0, Omega_dm0=0.25, Omega_b0=0.05, Omega_k0=0.0)
NAMES = {
    "clmm": "CLMM, single galaxies",
    "wiener": "Wiener",
    "random": "AnnealedHMC, learned prior",
    "targeted": "AnnealedHMC, learned prior of targeted fields",
    "targeted_fine": "AnnealedHMC, learned prior of targeted fields, pixels of 0.2 arcmin",
}
FINE = GRID.deepcopy()
FINE.wcs.crpix, FINE.wcs.cdelt = GRID.wcs.crpix * 2 - 0.5, GRID.wcs.cdelt / 2
FINE.array_shape = tuple(2 * side for side in GRID.array_shape)


def halo_of(mass):
    return NFWHalo(mass * u.Msun, Z_LENS, cosmology=COSMOLOGY)


def catalogue(mass, seed, density, shape_noise=SHAPE_NOISE):
    """Return a table of CLMM with the positions, ellipticities and redshifts of galaxies; no noise if it is None."""
    np.random.seed(seed)  # noqa: NPY002  the generator of CLMM
    arcmin = COSMOLOGY.kpc_proper_per_arcmin(Z_LENS).to_value(u.Mpc / u.arcmin)
    sky = {"cluster_ra": CENTER.ra.deg, "cluster_dec": CENTER.dec.deg, "field_size": 25.6 * arcmin}
    halo = {"cluster_z": Z_LENS, "cluster_c": halo_of(mass).concentration, "massdef": "critical"}
    options = {"zsrc_min": LOWEST, "ngal_density": density, "shapenoise": shape_noise}
    options |= {"zsrc": "chang13", "coordinate_system": "euclidean"}
    galaxies = generate_galaxy_catalog(mass, **halo, cosmo=CLMM_COSMOLOGY, **sky, **options)
    if shape_noise is not None:
        shear = gaussian_shear(np.random.default_rng(seed))
        x, y = (np.rint(p).astype(int).clip(0, len(shear) - 1) for p in GRID.world_to_pixel(positions(galaxies)))
        e, g = galaxies["e1"] + 1j * galaxies["e2"], shear[y, x]
        e = (e + g) / (1 + g.conj() * e)
        galaxies["e1"], galaxies["e2"] = e.real, e.imag
    return galaxies


def positions(galaxies):
    return SkyCoord(galaxies["ra"], galaxies["dec"], unit="deg")


def shear_catalog(galaxies, shape_noise=SHAPE_NOISE):
    """Return the galaxies behind the halo, scaled to the reference source."""
    columns = {"axes": "west-north", "shape_noise": shape_noise, "redshift": np.array(galaxies["z"])}
    catalog = ShearCatalog(positions(galaxies), np.array(galaxies["e1"]), np.array(galaxies["e2"]), **columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)  # of the galaxies in front of the halo
        return catalog.for_lens(Z_LENS, Z_SOURCE, COSMOLOGY)


def method_of(name, seed):
    if name == "wiener":
        return Wiener(n_samples=N_SAMPLES, seed=seed)
    prior = ScorePrior.load("default", field="targeted") if name.startswith("targeted") else None
    return AnnealedHMC(prior, n_samples=N_SAMPLES, seed=seed)


def map_fit(name, galaxies, seed):
    """Return fitted mass, standard deviation and interval of a map."""
    options = {"wcs": FINE if name == "targeted_fine" else GRID, "reduced_shear": True, "progress": False}
    kappa = shear_catalog(galaxies).reconstruct(method_of(name, seed), **options)
    ring = [INNER, OUTER] * u.arcmin
    alone = kappa.nfw_mass(CENTER, background=ring, structure=False)[0]
    return measured(kappa.nfw_mass(CENTER, background=ring)[0]) | {"shapes": alone["std"].to_value(u.Msun)}


def clmm_fit(galaxies):
    """Return fitted mass, standard deviation and interval of a fit of CLMM to the tangential shear of each galaxy."""
    sky = positions(galaxies)
    theta = sky.separation(CENTER)
    used = (theta > 0.8 * u.arcmin) & (theta < OUTER * u.arcmin) & (galaxies["z"] > Z_LENS + 0.01)
    e = (galaxies["e1"] + 1j * galaxies["e2"])[used]
    # position angles are from North to East, and axes to West and North
    tangential = -np.real(e * np.exp(-2j * (sky[used].position_angle(CENTER).rad + np.pi / 2)))
    radius = (theta[used] * COSMOLOGY.kpc_proper_per_arcmin(Z_LENS)).to_value(u.Mpc)

    def model(radius, log_mass):
        mass = np.exp(log_mass)
        arguments = (radius, mass, halo_of(mass).concentration, Z_LENS, np.array(galaxies["z"])[used], CLMM_COSMOLOGY)
        return clmm.compute_reduced_tangential_shear(*arguments, delta_mdef=200, massdef="critical")

    best, error = curve_fit(model, radius, tangential, np.log(1e15), sigma=np.full(len(radius), SHAPE_NOISE),
                            absolute_sigma=True)  # fmt: skip
    mass, relative = float(np.exp(best[0])), float(error[0, 0] ** 0.5)
    std, bounds = mass * relative, mass * np.exp([-relative, relative])
    return {"mass": mass, "std": std, "lower": bounds[0], "upper": bounds[1], "shapes": std}


def fit(name, mass, density, seed):
    galaxies = catalogue(mass, seed, density)
    found = clmm_fit(galaxies) if name == "clmm" else map_fit(name, galaxies, seed)
    return {"method": name, "m200": mass, "density": density, "seed": seed, "true": mass, **found}


def noise_free(mass, density, seeds=range(4)):
    """Return the mean mass within the aperture minus the ring, over the true one, of catalogues without noise."""
    ratios = []
    for seed in seeds:
        catalog = shear_catalog(catalogue(mass, seed, density, shape_noise=None), shape_noise=0.02)
        method = Wiener(n_samples=2, dtype="float64", max_iterations=3000)
        kappa = catalog.reconstruct(method, wcs=GRID, reduced_shear=True, progress=False)
        circle, ring = CircleSkyRegion(CENTER, RADIUS * u.arcmin), [INNER, OUTER] * u.arcmin
        found = kappa.projected_mass(circle, background=ring)["mass"][0].to_value(u.Msun)
        ratios.append(found / true_mass(halo_of(mass)))
    return np.mean(ratios), np.std(ratios, ddof=1) / len(ratios) ** 0.5


def summary(fits):
    yield "method", "galaxies per square arcminute", "M200 [Msun]", *HEADER, "rms error / that of the shapes alone"
    for method in NAMES:
        for density, mass in product(np.unique(fits["density"]), np.unique(fits["m200"])):
            rows = fits[(fits["method"] == method) & (fits["density"] == density) & (fits["m200"] == mass)]
            if len(rows):
                alone = np.mean(((rows["mass"] - mass) / rows["shapes"]) ** 2) ** 0.5
                yield NAMES[method], int(density), in_text(mass), *statistics(rows), f"{alone:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--masses", nargs="+", type=float, default=[5e14, 1e15, 2e15], help="M200c in solar masses")
    parser.add_argument("--densities", nargs="+", type=float, default=[30], help="of the galaxies at all redshifts")
    parser.add_argument("--mocks", type=int, default=30, help="mocks of each kind (default: %(default)s)")
    parser.add_argument("--noise-free", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.noise_free:
        for mass in arguments.masses:
            print(in_text(mass), "{:.3f} +- {:.3f}".format(*noise_free(mass, 100)))
        return
    kept = arguments.out / "cluster_masses.ecsv"
    fits = Table.read(kept) if kept.exists() else Table()
    done = {tuple(row[key] for key in ("method", "m200", "density", "seed")) for row in fits}
    cases = product(range(arguments.mocks), arguments.densities, arguments.masses, arguments.methods)
    for seed, density, mass, name in cases:
        if (name, mass, density, seed) not in done:
            fits = vstack([fits, Table([fit(name, mass, density, seed)])])
            with atomic_path(kept, overwrite=True) as temporary:
                fits.write(temporary, format="ascii.ecsv")
    rows = list(summary(fits))
    (arguments.out / "cluster_masses.rst").write_text(list_table(rows))
    print("\n".join(" | ".join(map(str, row)) for row in rows))


if __name__ == "__main__":
    main()
