"""
Overlays: an X-ray image and the map
====================================

This page compares the positions of mass and X-ray emission: the map is drawn on an image in Galactic coordinates, and
the image on the map. The X-ray image is simulated from the positions and radii of the clusters of the mock survey, so
its agreement with the map is by construction.
"""

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter

from astro_massmap import datasets

kappa = datasets.demo().reconstruct("wiener", n_samples=16, progress=False)
clusters = datasets.demo_clusters()

# %%
# The simulated image: a beta model (Cavaliere & Fusco-Femiano 1976) for each cluster, two point sources that are not
# clusters, a flat background, and Poisson noise, in pixels of 15 arcsec in Galactic coordinates.

xray_wcs = WCS({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CDELT1": -0.25 / 60, "CDELT2": 0.25 / 60,
                "CRVAL1": 169.75, "CRVAL2": -59.83, "CRPIX1": 160.5, "CRPIX2": 160.5})  # fmt: skip
y, x = np.mgrid[:320, :320]
sky = xray_wcs.pixel_to_world(x, y)
rate = np.full(x.shape, 0.3)
for center, radius in zip(SkyCoord(clusters["ra"], clusters["dec"]), clusters["radius"], strict=True):
    rate += 4 * (radius / u.arcmin) ** 2 * (1 + (sky.separation(center) / (0.6 * radius)) ** 2) ** -1.5
for center in SkyCoord([34.55, 34.25], [-5.05, -4.9], unit="deg"):
    rate += 30 * np.exp(-0.5 * (sky.separation(center) / (10 * u.arcsec)) ** 2)
counts = np.random.default_rng(1).poisson(rate)

# %%
# Contours of the signal to noise of the map and the clusters on the image: ``image=False`` leaves out the map, its grey
# areas and its colour bar; ``contours=(kappa, [0.015, 0.025])`` draws those of the convergence. Axes that already
# contain an image keep their limits.

figure = plt.figure(figsize=(7, 6), layout="constrained")
ax = figure.add_subplot(projection=xray_wcs)
ax.imshow(gaussian_filter(counts.astype(float), 1.5), origin="lower", cmap="magma", vmax=6)
kappa.plot(ax, image=False, contours=[1, 1.5], contour_color="cyan", regions=clusters, region_color="white",
           labels="numbers", title="signal to noise of the map on simulated X-rays")  # fmt: skip

# %%
# Contours of the image on the map. The image is an HDU, a FITS file such as ``"xray.fits"``, or an object with ``data``
# and ``wcs``.

xray = fits.PrimaryHDU(gaussian_filter(counts.astype(float), 3), xray_wcs.to_header())
kappa.plot(contours=(xray, [0.8, 1.6, 3.2, 6.4]), title=r"contours of simulated X-rays on $\kappa$")

# %%
# The map on axes of the image: ``plot`` draws the map and the regions at their positions on the sky, for any frame,
# rotation and pixel size of the axes, and labels the axes with their own coordinates. The ``plot`` method of a shear
# map does the same for its sticks.

figure, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained", subplot_kw={"projection": xray_wcs})
axes[0].imshow(counts, origin="lower", cmap="gray_r", vmax=6)
kappa.plot(axes[0], alpha=0.6, regions=clusters, title=r"$\kappa$ over simulated X-rays")
axes[1].imshow(gaussian_filter(counts.astype(float), 1.5), origin="lower", cmap="gray_r", vmax=6)
datasets.demo().to_map(pixel_scale=0.8 * u.arcmin).plot(axes[1], color="tab:red", title="shear on simulated X-rays")
