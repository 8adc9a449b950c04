"""
Massive clusters
================

The Bullet cluster and two of the Hubble Frontier Fields, from catalogues of about 2,500 galaxies each: the mean of the
samples, one sample, and the peaks. ``python figure_3_clusters.py FOLDER`` reads the catalogues from ``clusters/`` in
the folder ``MASSMAP_DATA`` and takes some minutes on two cores; the figure and the table are written to FOLDER. The
script was not run when these pages were built.

The prior is that of fields chosen for a cluster, and the shear of the clusters that are strong enough is treated as
reduced shear. The moments of the Frontier Fields are not corrected for the PSF, and cluster members are not removed:
their maps show positions, not masses. :doc:`figure_4_bullet` takes the redshifts of the galaxies into account.
"""

# sphinx_gallery_thumbnail_path = 'figures/clusters.png'

import os
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from regions import CircleSkyRegion

from astro_massmap import AnnealedHMC, ConvergenceMap, ScorePrior, ShearCatalog

folder, data = Path(sys.argv[1]), Path(os.environ["MASSMAP_DATA"]) / "clusters"
folder.mkdir(parents=True, exist_ok=True)

# %%
# The catalogues contain shapes of galaxies in the field of the Bullet cluster (Clowe et al. 2006), and weighted moments
# of galaxies in the Frontier Fields; the shear is half of the moments. The centres are the brightest galaxies of the
# two components of the Bullet cluster, and literature values for the other clusters.


def moments(file):
    """Return a catalogue of the rows flagged good; the shear is half of the moments."""
    table = Table.read(file)
    table = table[np.asarray(table["good"], dtype=bool)]
    table["ra"].unit = table["dec"].unit = u.deg
    table["g1"], table["g2"] = table["q1"] / 2, table["q2"] / 2
    return ShearCatalog.from_table(table, axes="west-north")


bullet = ShearCatalog.read(data / "bullet_shear.fits", axes="west-north", columns={"g1": "e1", "g2": "e2"})
clusters = {
    "1E 0657-56 (Bullet)": (bullet, SkyCoord(["6h58m35.3s -55d56m56.3s", "6h58m16.0s -55d56m35.1s"])),
    "Abell 370": (moments(data / "abell370.fits"), SkyCoord(["2h39m52.9s -1d34m36.5s"])),
    "MACS J0416.1-2403": (moments(data / "macs0416.fits"), SkyCoord(["4h16m08.9s -24d04m28.7s"])),
}

# %%
# One call per cluster.

rows = []
prior = ScorePrior.load("default", field="targeted")
figure = Figure(figsize=(9, 12.5), layout="constrained")
for row, (name, (catalog, centers)) in enumerate(clusters.items()):
    kappa = catalog.reconstruct(AnnealedHMC(prior, n_samples=32, seed=1))
    circles = [CircleSkyRegion(c, 0.4 * u.arcmin) for c in centers]
    images = {"posterior mean": kappa, "a sample": ConvergenceMap(kappa.samples[0], wcs=kappa.wcs, mask=kappa.mask)}
    for column, (title, image) in enumerate(images.items()):
        ax = figure.add_subplot(3, 2, 2 * row + column + 1, projection=kappa.wcs)
        colours = {"cmap": "inferno", "norm": AsinhNorm(0.1, vmin=-0.05, vmax=0.7), "colorbar": column == 1}
        image.plot(ax, regions=circles, title=f"{name}: {title}", **colours)
    peaks = kappa.peaks(0.05, radius=1 * u.arcmin)
    for center in centers:
        offsets = peaks["center"].separation(center)
        nearest = peaks[offsets.argmin()]
        rows.append(
            {
                "cluster": name,
                "offset (arcmin)": f"{offsets.min().arcmin:.2f}",
                "kappa of the peak": f"{nearest['kappa']:.2f}",
                "in samples": f"{nearest['probability']:.2f}",
                "drawn again": kappa.diagnostics["restarts"],
                "reduced shear": str(kappa.diagnostics["reduced_shear"]["applied"]),
                "power over prior": f"{kappa.diagnostics['power_over_prior']:.1f}",
                "seconds": f"{kappa.diagnostics['wall_time']:.0f}",
            }
        )
figure.savefig(folder / "clusters.png", dpi=80)

# %%
# .. image:: ../figures/clusters.png
#     :alt: Posterior mean and a sample of the Bullet cluster, Abell 370 and MACS J0416.1-2403; circles are the centres

# %%
# A warning for MACS J0416 states that the residuals of its samples have 1.6 times the power of the noise, with a B mode
# that agrees with it: these shapes are not described by lensing and this prior alone.
#
# The peak nearest to each centre lies within 0.4 arcmin of it, a pixel and a half at most. It is the highest peak of
# the map, except for the second component of the Bullet cluster:

table = Table(rows)
table.write(folder / "clusters.rst", format="ascii.rst", overwrite=True)
print("\n".join(table.pformat(max_lines=-1, max_width=-1)))

# %%
# .. include:: ../tables/clusters.rst
