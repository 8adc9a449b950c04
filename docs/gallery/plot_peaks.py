"""
Peaks and clusters
==================

This page makes a catalogue of peaks with the fraction of samples that have a peak at the same position, matches it with
known clusters, and measures the number of peaks as a function of height with its posterior standard deviation.
"""

import astropy.units as u
import numpy as np

from astro_massmap import datasets, plotting as figures
from astro_massmap.analysis.peaks import match_clusters, peak_counts

kappa = datasets.demo().reconstruct("wiener", n_samples=64, progress=False)
peaks = kappa.peaks(0.015, smoothing=1 * u.arcmin)
peaks

# %%
# Matches of peaks and known clusters:

clusters = datasets.demo_clusters()
print(match_clusters(peaks, clusters, wcs=kappa.wcs, mask=kappa.mask))

# %%
# The posterior mean has too few peaks, because it is smoother than the sky. The number of peaks in the samples is
# affected by the prior, which is Gaussian here: the samples have too many low peaks, and none of the high peaks of the
# truth (crosses).

edges = np.arange(0.01, 0.1, 0.01)
counts = kappa.peak_counts(edges, smoothing=1 * u.arcmin)
truth = datasets.demo_truth()
known = peak_counts(truth.data, truth.data[None], truth.wcs, kappa.mask, edges, smoothing=1 * u.arcmin)
figure = figures.plot_peak_counts(counts)
figure.axes[0].plot(0.5 * (known["low"] + known["high"]), known["count"], "kx", ms=9, label="truth")
figure.axes[0].legend(frameon=False)

# %%
# Number of minima (voids) as a function of their height:

kappa.peak_counts(np.arange(-0.04, 0.01, 0.01), smoothing=1 * u.arcmin, minima=True)
