"""
The X-ray clusters of the COSMOS field under each method: ``python benchmarks/cosmos_clusters.py FOLDER [SAMPLES]``.

Real galaxies (Schrabback et al. 2010) and X-ray clusters (Finoguenov et al. 2007), from the folder that MASSMAP_DATA
names, or fetched. Writes the table and pictures to FOLDER.
"""

import os
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from matplotlib.figure import Figure
from regions import CircleSkyRegion

from astro_massmap import AnnealedHMC, ConvergenceMap, KaiserSquires, ShearCatalog, Wiener, datasets

RADIUS, THRESHOLD = 1.5 * u.arcmin, 0.015


def field():
    """The catalogue, and the clusters in order of mass."""
    if "MASSMAP_DATA" not in os.environ:
        catalog, clusters = datasets.cosmos(), datasets.cosmos_clusters()
    else:
        folder = Path(os.environ["MASSMAP_DATA"]) / "cosmos"
        columns = {"g1": "e1", "g2": "e2"}
        catalog = ShearCatalog.read(folder / "cosmos_shear.fits.gz", axes="west-north", columns=columns)
        clusters = QTable.read(folder / "xray_clusters.ecsv")
    clusters.sort("m500", reverse=True)
    return catalog, clusters


def apertures(centers):
    return [CircleSkyRegion(c, RADIUS) for c in centers]


def random_places(kappa, n, seed=0):
    """Positions anywhere in the grid, eight times as many as are wanted in the end."""
    rng = np.random.default_rng(seed)
    ny, nx = kappa.shape
    x, y = rng.uniform(0, nx - 1, 8 * n), rng.uniform(0, ny - 1, 8 * n)
    return kappa.wcs.pixel_to_world(x, y)


def mapped(folder, catalog, n_samples):
    """The maps, by method; those that are in the folder are read."""
    methods = {
        "gaussian": Wiener(n_samples=max(n_samples, 64)),
        "neural": AnnealedHMC(n_samples=n_samples, seed=1, checkpoint=str(folder / "neural.npy")),
    }
    for name, method in methods.items():
        file = folder / f"cosmos_{name}.fits"
        if not file.exists():
            catalog.reconstruct(method).write(file)
        yield name, ConvergenceMap.read(file)


def main(folder, n_samples=64):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    catalog, clusters = field()
    centers = SkyCoord(clusters["ra"], clusters["dec"])
    direct = catalog.reconstruct(KaiserSquires(smoothing=RADIUS))
    x, y = (np.rint(p).astype(int).clip(0, side - 1) for p, side in zip(
        direct.wcs.world_to_pixel(centers), direct.shape[::-1], strict=True))  # fmt: skip
    table = QTable({"redshift": clusters["redshift"], "m500": clusters["m500"].to(1e13 * u.Msun).value})
    table["S/N KS"] = (direct.data / direct.uncertainty.array)[y, x]
    for name, kappa in mapped(folder, catalog, n_samples):
        found = kappa.detection_probability(apertures(centers), THRESHOLD)
        spread = kappa.region_statistics(apertures(centers))
        table["data"] = found["data_fraction"]
        table[f"kappa {name}"], table[f"S/N {name}"] = found["kappa"], spread["signal_to_noise"]
        table[f"p {name}"] = found["probability"]
        random = kappa.detection_probability(apertures(random_places(kappa, 100)), THRESHOLD)
        random = random[random["data_fraction"] > 0.9]
        print(f"{name}: p at {len(random)} random places {np.mean(random['probability']):.3f}; {kappa}")
        picture(folder / f"cosmos_{name}.png", kappa, clusters)
    # of the five most massive with data, the one whose case is the least clear under the learned prior
    first = np.flatnonzero(table["data"] > 0.5)[:5]
    doubtful = first[np.abs(np.array(table["p neural"])[first] - 0.5).argmin()]
    figure = kappa.plot_cutouts(centers[doubtful], 10 * u.arcmin, regions=clusters)
    figure.savefig(folder / "cosmos_cutouts.png", dpi=80)
    label = f"z = {table['redshift'][doubtful]:.2f}"
    figure = kappa.plot_detection(apertures(centers)[doubtful], THRESHOLD, label=label)
    figure.savefig(folder / "cosmos_detection.png", dpi=80)
    table = table[table["data"] > 0.5]
    for name in table.colnames:
        table[name].info.format = ".2f" if name[0] in "prd" else ".1f"
        if name.startswith("kappa"):
            table[name].info.format = ".3f"
    table.write(folder / "cosmos_clusters.rst", format="ascii.rst", overwrite=True)
    print("\n".join(table.pformat(max_lines=-1, max_width=-1)))
    neural, gaussian = np.array(table["p neural"]), np.array(table["p gaussian"])
    print(f"{len(table)} clusters with data: p > 0.9 for {(gaussian > 0.9).sum()} (gaussian), {(neural > 0.9).sum()}")


def picture(file, kappa, clusters):
    figure = Figure(figsize=(8, 7), layout="constrained")
    kappa.plot(figure.add_subplot(projection=kappa.wcs), regions=clusters, vmin=-0.05, vmax=0.05)
    figure.savefig(file, dpi=90)


if __name__ == "__main__":
    main(sys.argv[1], *(int(n) for n in sys.argv[2:]))
