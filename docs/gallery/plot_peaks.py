"""
Peaks and clusters
==================

This page makes a catalogue of peaks with the fraction of samples that have a peak at the same position and the errors
of this position, matches it with known clusters, and measures the number of peaks as a function of height with its
posterior standard deviation.
"""

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from astro_massmap import datasets, plotting as figures
from astro_massmap.analysis.peaks import match_clusters, peak_counts

kappa = datasets.demo().reconstruct("wiener", n_samples=64, progress=False)
peaks = kappa.peaks(0.015, smoothing=1 * u.arcmin)
peaks

# %%
# The posterior of the position of a peak relative to a reference, here the centre of a cluster: its mean with errors,
# the credible region, the p-value of no offset, and the probability that the peak is nearer to one position than to
# another, with the interval due to the number of samples. The figure has the regions of 68 and 95 %.

clusters = datasets.demo_clusters()
reference = SkyCoord(clusters["ra"][0], clusters["dec"][0])
offset = kappa.peak_offset(reference, reference, radius=2 * u.arcmin, smoothing=1 * u.arcmin)
nearer = offset.probability_nearer(reference, reference.directional_offset_by(90 * u.deg, 1.5 * u.arcmin))
print(offset)
print(f"{nearer:.2f} ({nearer.lower:.2f} to {nearer.upper:.2f}), p-value of no offset {offset.p_value():.2f}")

part = kappa.cutout(reference, 8 * u.arcmin)
ax = part.plot(regions=[offset.credible_region(level).contours for level in (0.68, 0.95)])

# %%
# Matches of peaks and known clusters:

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
