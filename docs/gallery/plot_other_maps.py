"""
Published maps
==============

Published maps can be the input: a noisy convergence map with its uncertainty and mask, a HEALPix map of the full sky,
or a map on another grid.
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
for ax, image, title in zip(axes, (noisy, kappa, truth), ("published", "inferred", "truth"), strict=True):
    image.plot(ax, vmin=-0.06, vmax=0.06, title=title, colorbar=image is truth)

# %%
# Power spectrum of the map and of its samples, corrected for the mask:

table = kappa.power_spectrum()
figures.plot_spectrum(table, theory=PowerSpectrum.default())

# %%
# On another grid: each sample is reprojected, and the standard deviation is that of the reprojected samples.

galactic = WCS({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CDELT1": -0.5 / 60, "CDELT2": 0.5 / 60,
                "CRVAL1": 169.4, "CRVAL2": -59.8, "CRPIX1": 60.5, "CRPIX2": 60.5})  # fmt: skip
reprojected = kappa.reproject_to(galactic, (120, 120))
reprojected.plot(title="in Galactic coordinates", vmin=-0.06, vmax=0.06)

# %%
# A map from HEALPix: here a smooth pattern on the sphere.

from astropy_healpix import HEALPix

sphere = HEALPix(512, order="ring")
lon, lat = sphere.healpix_to_lonlat(np.arange(sphere.npix))
pattern = 0.02 * np.cos(600 * lon.rad) * np.cos(600 * lat.rad)
cut = ConvergenceMap.from_healpix(pattern, wcs=truth.wcs, shape=truth.shape)
cut.plot(title="from HEALPix")
