"""
COSMOS with X-ray clusters
==========================

The field in which weak lensing first showed the cosmic web: 417,117 galaxies seen by the Hubble Space Telescope
(Schrabback et al. 2010), and the clusters that shine in X-rays there (Finoguenov et al. 2007).

Both tables are public; `~astro_massmap.datasets.cosmos` and `~astro_massmap.datasets.cosmos_clusters` fetch them. This
page was run if they were at hand (in the folder that ``MASSMAP_DATA`` names) when it was built: then its figures and
tables are here. The text says what they show either way. The posterior under the learned prior, which takes longer, is
:doc:`figure_2_cosmos`.
"""

# sphinx_gallery_thumbnail_path = 'figures/figure_2_centre.png'

# %%
# Are the axes right? E power exceeds B power by 12.4 sigma, the skewness of the E mode is positive by 14.6: yes.

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
# The classic: the shear inverted, and smoothed. The highest peak of the E mode lies half an arcminute from the cluster
# at redshift 0.73, at a signal to noise of 7.7. Lensing makes no B mode: what is seen there is noise, and its highest
# peak has 3.9.

direct = catalog.reconstruct(KaiserSquires(smoothing=1.5 * u.arcmin))
direct.plot(regions=clusters, title="E mode")

# %%

direct.b_mode.plot(regions=clusters, title="B mode")

# %%
# The exact posterior of a Gaussian sky: mean, standard deviation and samples. Strong peaks hold the clusters at
# redshift 0.73, 0.12, 0.22 and 0.90. In the holes around stars the map is quiet, and its standard deviation large.

kappa = catalog.reconstruct("wiener", n_samples=32, progress=False)
kappa.plot_summary(regions=clusters)

# %%
# Mean convergence at the X-ray clusters: the ten with the highest signal to noise, and their redshifts. Those at
# 0.12 and 0.73 exceed five standard deviations. A Gaussian prior pulls high peaks towards zero (:doc:`../limits`), so
# that probabilities of detection and masses need the learned prior (:doc:`figure_2_cosmos`).

table = kappa.region_statistics(clusters, keep_columns=["id", "m500"])
table = table[table["data_fraction"] > 0.5]
table.sort("signal_to_noise", reverse=True)
table["region", "id", "m500", "kappa", "std", "signal_to_noise", "data_fraction"][:10]
