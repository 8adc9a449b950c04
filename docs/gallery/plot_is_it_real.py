"""
Is this cluster real?
=====================

A peak of a map may be a cluster, or the noise of some galaxies. The posterior knows: it holds many maps that the
data allow, and a cluster that is there is there in all of them. The share of samples that hold it is its
significance, whatever the shape of the noise and of the mask, and however many modes the posterior has
(Remy et al. 2020).
"""

# %%
# The embedded mock survey, its posterior under the learned prior, and a list of clusters as an X-ray survey would
# have it.

import astropy.units as u
from regions import CircleSkyRegion

from astro_massmap import datasets

kappa = datasets.demo().reconstruct(n_samples=24, progress=False)
clusters = datasets.demo_clusters()
kappa.plot_summary(regions=clusters)

# %%
# In an aperture a structure counts as detected in a sample when the mean convergence of the sample there exceeds a
# threshold. From 24 samples a probability is known to the interval of 68 % from ``lower`` to ``upper``.

table = kappa.detection_probability(clusters, threshold=0.025)
for name in ("kappa", "probability", "lower", "upper", "data_fraction"):
    table[name].info.format = ".3f"
table["region", "kappa", "probability", "lower", "upper", "data_fraction"]

# %%
# Numbers alone convince nobody. Here is the cluster whose case is the least clear, in twelve samples: it is there in
# some of them and absent in others. Such a posterior has two modes, a sky with the cluster and a sky without, which no
# mean and no standard deviation describe; the share of samples in the one is the probability of the cluster.

doubtful = abs(table["probability"] - 0.5).argmin()
kappa.plot_cutouts(table["center"][doubtful], 10 * u.arcmin, regions=clusters)

# %%
# The same, as a distribution: the mean convergence of the aperture in each of the samples.

aperture = CircleSkyRegion(table["center"][doubtful], clusters["radius"][doubtful])
kappa.plot_detection(aperture, 0.025, label=f"cluster {table['region'][doubtful]}")

# %%
# All of the samples look like maps of matter, and none like the smooth mean:

kappa.plot_samples(8, regions=clusters)

# %%
# What the mean convergence is, with its credible interval, and what of it stands above the surroundings:

kappa.region_statistics(clusters, background=[3, 6] * u.arcmin)

# %%
# All of it, with the settings and versions that made the map, as one HTML file that needs no other: to keep, or to
# send around. From the shell it is ``massmap report``, or the option ``--report`` of ``massmap reconstruct``.

import tempfile
from pathlib import Path

file = Path(tempfile.mkdtemp()) / "report.html"
kappa.report(file, regions=clusters, threshold=0.025)
print(f"{file.stat().st_size / 2**20:.1f} MiB")
