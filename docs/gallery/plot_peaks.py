"""
Peaks, and the clusters behind them
===================================

A catalogue of peaks says where to point a telescope. Each comes with the share of samples that hold a peak at the
same place; and the number of peaks by height, which cosmologists use, comes with its spread over the posterior.
"""

import astropy.units as u
import numpy as np

from astro_massmap import datasets, plotting as figures
from astro_massmap.analysis.peaks import match_clusters, peak_counts

kappa = datasets.demo().reconstruct("wiener", n_samples=64, progress=False)
peaks = kappa.peaks(0.015, smoothing=1 * u.arcmin)
peaks

# %%
# Which of them are clusters that are known from elsewhere, and which of the clusters were found?

clusters = datasets.demo_clusters()
print(match_clusters(peaks, clusters, wcs=kappa.wcs, mask=kappa.mask))

# %%
# Peaks of the mean are too few: the mean of a posterior is smoother than the sky. Its samples are as rough as the prior
# says the sky is, which here is Gaussian: it has too many low peaks and none of the high ones, which the truth of this
# mock survey (crosses) has.

edges = np.arange(0.01, 0.1, 0.01)
counts = kappa.peak_counts(edges, smoothing=1 * u.arcmin)
truth = datasets.demo_truth()
known = peak_counts(truth.data, truth.data[None], truth.wcs, kappa.mask, edges, smoothing=1 * u.arcmin)
figure = figures.plot_peak_counts(counts)
figure.axes[0].plot(0.5 * (known["low"] + known["high"]), known["count"], "kx", ms=9, label="truth")
figure.axes[0].legend(frameon=False)

# %%
# Minima, the voids between the clusters, are counted alike:

kappa.peak_counts(np.arange(-0.04, 0.01, 0.01), smoothing=1 * u.arcmin, minima=True)
