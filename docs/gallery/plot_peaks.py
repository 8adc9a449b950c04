"""
Peaks, and the clusters behind them
===================================

A catalogue of peaks says where to point a telescope. Each comes with the share of samples that hold a peak at the
same place; and the number of peaks by height, which cosmologists use, comes with its spread over the posterior.
"""

import astropy.units as u
import numpy as np

from astro_massmap import datasets, figures
from astro_massmap.peaks import match_clusters

kappa = datasets.demo().reconstruct("wiener", n_samples=64, progress=False)
peaks = kappa.peaks(0.015, smoothing=1 * u.arcmin)
peaks

# %%
# Which of them are clusters that are known from elsewhere, and which of the clusters were found?

clusters = datasets.demo_clusters()
print(match_clusters(peaks, clusters))

# %%
# Peaks of the mean are too few: the mean of a posterior is smoother than the sky. The samples are as rough as the
# prior says the sky is, and the truth, which a mock survey knows, lies within their spread.

edges = np.arange(0.01, 0.1, 0.01)
counts = kappa.peak_counts(edges, smoothing=1 * u.arcmin)
figures.plot_peak_counts(counts)
