"""
Maps of others
==============

Published maps are data too: a noisy map of the convergence with its uncertainty and mask, a map on the whole sky in
HEALPix, a map on another grid.
"""

import matplotlib.pyplot as plt
import numpy as np
from astropy.wcs import WCS

from astro_massmap import ConvergenceMap, PowerSpectrum, Wiener, datasets, plotting as figures

truth = datasets.demo_truth()
noise = 0.05 * np.random.default_rng(1).normal(size=truth.shape)
holes = datasets.demo().to_map(wcs=truth.wcs).mask
noisy = ConvergenceMap(truth.data + noise, wcs=truth.wcs, uncertainty=np.full(truth.shape, 0.05), mask=holes)
kappa = noisy.reconstruct(Wiener(n_samples=32), progress=False)

figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained", subplot_kw={"projection": kappa.wcs})
for ax, image, title in zip(axes, (noisy, kappa, truth), ("published", "inferred", "the truth"), strict=True):
    image.plot(ax, vmin=-0.06, vmax=0.06, title=title, colorbar=image is truth)

# %%
# The power spectrum of the map and of its samples, freed from what the edges of the field do to it:

table = kappa.power_spectrum()
figures.plot_spectrum(table, theory=PowerSpectrum.default())

# %%
# On another grid: the samples are moved one by one, and the standard deviation is theirs.

galactic = WCS({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CDELT1": -0.5 / 60, "CDELT2": 0.5 / 60,
                "CRVAL1": 169.4, "CRVAL2": -59.8, "CRPIX1": 60.5, "CRPIX2": 60.5})  # fmt: skip
moved = kappa.reproject_to(galactic, (120, 120))
moved.plot(title="in Galactic coordinates", vmin=-0.06, vmax=0.06)

# %%
# From the whole sky: here a smooth pattern on the sphere, in HEALPix.

from astropy_healpix import HEALPix

sphere = HEALPix(512, order="ring")
lon, lat = sphere.healpix_to_lonlat(np.arange(sphere.npix))
pattern = 0.02 * np.cos(600 * lon.rad) * np.cos(600 * lat.rad)
cut = ConvergenceMap.from_healpix(pattern, wcs=truth.wcs, shape=truth.shape)
cut.plot(title="from HEALPix")
