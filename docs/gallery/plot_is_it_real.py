"""
Is this cluster real?
=====================

A peak of a map can be a cluster or noise. The fraction of posterior samples that contain the cluster is its detection
probability. It accounts for the noise, the mask and all modes of the posterior (Remy et al. 2020).
"""

# %%
# The mock survey in the package, its posterior under the learned prior, and a list of clusters, such as that of an
# X-ray survey.

import astropy.units as u
from regions import CircleSkyRegion

from astro_massmap import datasets

kappa = datasets.demo().reconstruct(n_samples=24, progress=False)
clusters = datasets.demo_clusters()
kappa.plot_summary(regions=clusters)

# %%
# A sample contains a structure if the mean convergence in the aperture exceeds a threshold. The interval from ``lower``
# to ``upper`` is the 68 % uncertainty of this fraction, which is due to the number of samples.

table = kappa.detection_probability(clusters, threshold=0.025)
table["region", "kappa", "probability", "lower", "upper", "data_fraction"]

# %%
# The figure shows the cluster with the probability closest to 0.5 in twelve samples: some contain it and others do not.
# Such a posterior has two modes, a sky with the cluster and a sky without, which a mean and a standard deviation cannot
# describe; the fraction of samples in the first mode is the probability of the cluster.

doubtful = abs(table["probability"] - 0.5).argmin()
kappa.plot_cutouts(table["center"][doubtful], 10 * u.arcmin, regions=clusters)

# %%
# Histogram of the mean convergence within the aperture of this cluster, in all samples:

aperture = CircleSkyRegion(table["center"][doubtful], clusters["radius"][doubtful])
kappa.plot_detection(aperture, 0.025, label=f"cluster {table['region'][doubtful]}")

# %%
# The samples contain the small-scale structure of the matter field; the posterior mean does not:

kappa.plot_samples(8, regions=clusters)

# %%
# Mean convergence of each region with its credible interval, after subtracting the mean of the surrounding ring:

kappa.region_statistics(clusters, background=[3, 6] * u.arcmin)

# %%
# A report contains these results, with the settings and versions that made the map, in one self-contained HTML file. In
# the shell, use ``massmap report``, or the option ``--report`` of ``massmap reconstruct``.

import tempfile
from pathlib import Path

file = Path(tempfile.mkdtemp()) / "report.html"
kappa.report(file, regions=clusters, threshold=0.025)
print(f"{file.stat().st_size / 2**20:.1f} MiB")
