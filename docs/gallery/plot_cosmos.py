"""
COSMOS with X-ray clusters
==========================

417,117 galaxies of the COSMOS survey with the Hubble Space Telescope (Schrabback et al. 2010), and the X-ray clusters
in the field (Finoguenov et al. 2007).

Both tables are public; `~astro_massmap.datasets.cosmos` and `~astro_massmap.datasets.cosmos_clusters` download them.
The figures and tables of this page are shown if the data were available (in the folder ``MASSMAP_DATA``) when it was
built; the text quotes their main results. The page :doc:`figure_2_cosmos` shows the posterior under the learned prior,
which takes longer to compute.
"""

# sphinx_gallery_thumbnail_path = 'figures/figure_2_centre.png'

# %%
# The axes are correct: E power exceeds B power by 12.4 sigma, and the skewness of the E mode is positive at 4.4 sigma.

import os
from pathlib import Path

import astropy.units as u
from astropy.table import QTable

from astro_massmap import KaiserSquires, ShearCatalog, datasets

if "MASSMAP_DATA" in os.environ:
    data = Path(os.environ["MASSMAP_DATA"]) / "cosmos"
    catalog = ShearCatalog.read(data / "cosmos_shear.fits.gz", axes="west-north", columns={"g1": "e1", "g2": "e2"})
    clusters = QTable.read(data / "xray_clusters.ecsv")
else:
    catalog, clusters = datasets.cosmos(), datasets.cosmos_clusters()
clusters["label"] = [f"{z:.2f}" for z in clusters["redshift"]]  # in figures, and in tables of results
print(catalog.check_axes())

# %%
# Direct inversion of the shear, smoothed, with contours at a signal to noise of 4 and 6. The highest peak of the E mode
# lies half an arcminute from the cluster at redshift 0.73, at a signal to noise of 7.7. Lensing produces no B mode to
# first order: the B-mode map shows noise, and its highest peak has a signal to noise of 3.9.

direct = catalog.reconstruct(KaiserSquires(smoothing=1.5 * u.arcmin))
direct.plot(regions=clusters, contours=[4, 6], beam=1.5 * u.arcmin, scalebar=True, title="E mode")

# %%

direct.b_mode.plot(regions=clusters, contours=[4, 6], title="B mode")

# %%
# The exact posterior of a Gaussian sky: mean, standard deviation and samples. The clusters at redshift 0.73, 0.12, 0.22
# and 0.90 lie in strong peaks. Areas without data are grey; next to them the standard deviation is large.

kappa = catalog.reconstruct("wiener", n_samples=32, progress=False)
kappa.plot_summary(regions=clusters)

# %%
# Mean convergence at the X-ray clusters: the ten with the highest signal to noise, and their redshifts. Those at
# 0.12 and 0.73 exceed five standard deviations. A Gaussian prior biases high peaks towards zero (:doc:`../limits`), so
# detection probabilities and masses need the learned prior (:doc:`figure_2_cosmos`).

table = kappa.region_statistics(clusters, keep_columns=["id", "m500"])
table = table[table["data_fraction"] > 0.5]
table.sort("signal_to_noise", reverse=True)
table["region", "id", "m500", "kappa", "std", "signal_to_noise", "data_fraction"][:10]
