"""
Figure 2: the COSMOS field
==========================

The second figure of Remy et al. (2020), for both galaxy samples of Schrabback et al. (2010): direct inversion, the
posterior mean with the X-ray clusters of Finoguenov et al. (2007), one posterior sample, a map with the redshifts of
the clusters, and the centre of the field in independent samples. ``python figure_2_cosmos.py FOLDER`` downloads the
catalogues, or reads them from ``cosmos/`` in the folder ``MASSMAP_DATA``, and takes a quarter of an hour on two cores;
the maps are written to FOLDER. The script was not run when these pages were built; the figures and the table were made
with it beforehand.
"""

# sphinx_gallery_thumbnail_path = 'figures/figure_2.png'

import os
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from matplotlib.figure import Figure
from regions import CircleSkyRegion

from astro_massmap import AnnealedHMC, ConvergenceMap, KaiserSquires, ShearCatalog, Wiener, datasets, plotting

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)

# %%
# All 417,117 galaxies; the bright galaxies, which have individual redshifts; and the clusters in order of mass.

if "MASSMAP_DATA" in os.environ:
    data = Path(os.environ["MASSMAP_DATA"]) / "cosmos"
    galaxies = QTable.read(data / "cosmos_shear.fits.gz")
    columns = {"g1": "e1", "g2": "e2"}
    catalogs = {
        name: ShearCatalog.from_table(part, axes="west-north", columns=columns)
        for name, part in (("bright", galaxies[galaxies["bright"]]), ("all", galaxies))
    }
    clusters = QTable.read(data / "xray_clusters.ecsv")
else:
    catalogs = {name: datasets.cosmos(name) for name in ("bright", "all")}
    clusters = datasets.cosmos_clusters()
clusters.sort("m500", reverse=True)
clusters["label"] = [f"{z:.2f}" for z in clusters["redshift"]]  # in figures
centers = SkyCoord(clusters["ra"], clusters["dec"])
radius, threshold = 1.5 * u.arcmin, 0.015


def mapped(name, method):
    """Return the map of a galaxy sample, from its file if it exists."""
    file = folder / f"cosmos_{name}.fits"
    if not file.exists():
        catalogs[name.split("_")[0]].reconstruct(method).write(file)
    return ConvergenceMap.read(file)


# %%
# Both galaxy samples with each method, on the same colour scale. Each posterior sample is written to the checkpoint as
# soon as it is drawn, so an interrupted run can be continued.

direct, posterior = {}, {}
with plotting.style("page"):
    figure = Figure(figsize=(7, 4.3), layout="compressed")
    for row, name in enumerate(catalogs):
        direct[name] = mapped(f"{name}_direct", KaiserSquires(smoothing=radius))
        sampled = AnnealedHMC(n_samples=48, seed=1, checkpoint=str(folder / f"{name}_samples.fits"))
        posterior[name] = kappa = mapped(f"{name}_posterior", sampled)
        columns = {
            f"{name}: Kaiser-Squires, 1.5 arcmin": (direct[name], None),
            f"{name}: posterior mean": (kappa, clusters),
            f"{name}: a sample": (ConvergenceMap(kappa.samples[0], wcs=kappa.wcs, mask=kappa.mask), None),
        }
        for column, (title, (image, regions)) in enumerate(columns.items()):
            ax = figure.add_subplot(2, 3, 3 * row + column + 1, projection=kappa.wcs)
            options = {"vmin": -0.06, "vmax": 0.06, "colorbar": column == 2, "title": title}
            image.plot(ax, regions=regions, labels=False, beam=radius if column == 0 else None, **options)
            ra, dec = ax.coords
            ra.set_ticks(number=4)
            ra.set_ticklabel_visible(row == 1)
            dec.set_ticklabel_visible(column == 0)
            ra.set_axislabel("RA" if row else " ")
            dec.set_axislabel(" " if column else "Dec")
    figure.savefig(folder / "figure_2.png", dpi=160)

# %%
# .. image:: ../figures/figure_2.png
#     :alt: COSMOS from bright and from all galaxies: Kaiser-Squires, posterior mean with X-ray clusters, a sample
#
# The disks show the full width at half maximum of the smoothing.
#
# All galaxies: the posterior mean, contours at 2, 3 and 4 times its standard deviation, and the redshifts of the
# clusters.

with plotting.style("page"):
    ax = posterior["all"].plot(regions=clusters, contours=[2, 3, 4], scalebar=True)
    ax.figure.savefig(folder / "figure_2_map.png", dpi=130)

# %%
# .. image:: ../figures/figure_2_map.png
#     :alt: Posterior mean of COSMOS with contours and the redshifts of X-ray clusters

# %%
# The centre of the field in independent samples, with the clusters. Structures in all samples are constrained by the
# data; structures in some samples are consistent with the data.

kappa = posterior["all"]
middle = kappa.wcs.pixel_to_world((kappa.shape[1] - 1) / 2, (kappa.shape[0] - 1) / 2)
with plotting.style("page"):
    figure = kappa.plot_cutouts(middle, 24 * u.arcmin, n=8, regions=clusters)
    figure.savefig(folder / "figure_2_centre.png", dpi=130)

# %%
# .. image:: ../figures/figure_2_centre.png
#     :alt: The middle 24 arcmin of the field in eight samples

# %%
# Detection probability of each cluster: a sample contains it if the mean convergence within 1.5 arcmin of the X-ray
# position exceeds 0.015. The table lists both galaxy samples under the learned prior, the signal to noise of the
# Kaiser-Squires map of all galaxies, and the exact Gaussian posterior for all galaxies.

gaussian = mapped("all_gaussian", Wiener(n_samples=64))
apertures = [CircleSkyRegion(c, radius) for c in centers]
y, x = (
    np.rint(p).astype(int).clip(0, side - 1)
    for p, side in zip(
        direct["all"].wcs.world_to_pixel(centers)[::-1], direct["all"].shape, strict=True
    )
)  # fmt: skip
table = QTable({"redshift": clusters["redshift"], "m500": clusters["m500"].to(1e13 * u.Msun).value})
table["S/N KS"] = (direct["all"].data / direct["all"].uncertainty.array)[y, x]
for name, image in {"Gaussian": gaussian, **posterior}.items():
    found = image.detection_probability(apertures, threshold)
    if name != "Gaussian":
        table[f"kappa {name}"] = found["kappa"]
    table[f"p {name}"] = found["probability"]
    data_fraction = found["data_fraction"]
table = table[data_fraction > 0.5]
for name in table.colnames:
    table[name].info.format = ".3f" if name.startswith("kappa") else ".1f" if name in ("m500", "S/N KS") else ".2f"
table.write(folder / "cosmos_clusters.rst", format="ascii.rst", overwrite=True)
print("\n".join(table.pformat(max_lines=-1, max_width=-1)))

# %%
# The clusters that have data (of all galaxies) in more than half of their aperture; ``m500`` is in 1e13 solar masses.
#
# .. include:: ../tables/cosmos_clusters.rst

# %%
# For comparison, the mean of the same probability over apertures at random positions in the footprint.

rng = np.random.default_rng(0)
positions = kappa.wcs.pixel_to_world(*(rng.uniform(0, side - 1, 800) for side in kappa.shape[::-1]))
for name, image in {"Gaussian": gaussian, **posterior}.items():
    random = image.detection_probability([CircleSkyRegion(c, radius) for c in positions], threshold)
    random = random[random["data_fraction"] > 0.9]
    print(f"{name}: at {len(random)} random positions the probability is {np.mean(random['probability']):.3f}")

# %%
# At some 600 random positions, the mean probability was 0.148 under the Gaussian posterior, and 0.113 and 0.123 under
# the learned prior with the bright and with all galaxies. A probability of a few tenths is therefore weak evidence.
#
# The figures show, for the cluster with the probability closest to 0.5 among the five with the highest X-ray masses,
# twelve samples of its surroundings, and the mean convergence within its aperture in all samples.

doubtful = np.abs(np.array(table["p all"][:5]) - 0.5).argmin()
inside = np.flatnonzero(data_fraction > 0.5)[doubtful]
with plotting.style("page"):
    figure = kappa.plot_cutouts(centers[inside], 10 * u.arcmin, regions=clusters)
    figure.savefig(folder / "cosmos_cutouts.png", dpi=130)
with plotting.style("column"):
    figure = kappa.plot_detection(apertures[inside], threshold, label=f"z = {table['redshift'][doubtful]:.2f}")
    figure.savefig(folder / "cosmos_detection.png", dpi=160)

# %%
# .. image:: ../figures/cosmos_cutouts.png
#     :alt: Twelve samples of the surroundings of that cluster, some of which contain it
#
# .. image:: ../figures/cosmos_detection.png
#     :alt: Histogram of the mean convergence within its aperture
