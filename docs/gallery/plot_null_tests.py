"""
Null tests and noise
====================

Lensing produces E modes and, to first order, no B modes. B modes in a survey are noise or systematic errors of the
shapes, unless the survey is deep enough to measure the B modes of higher order. The test compares the B mode with that
of galaxies with random rotations; use 99 rotations or more (the default is 128) to detect a B mode at p = 0.01.
"""

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np

from astro_massmap import KaiserSquires, datasets, plotting as figures
from astro_massmap.validation.null_tests import b_mode_test, jackknife, noise_maps

catalog = datasets.demo()
report = b_mode_test(catalog, 64)
print(report)
figures.plot_b_modes(report.table)

# %%
# Three estimates of the noise of a map: propagated from the shapes, from maps of randomly rotated galaxies, and from
# jackknife samples of the galaxies.

method = KaiserSquires(smoothing=1.5 * u.arcmin)
propagated = catalog.reconstruct(method)
rotated = noise_maps(catalog, 64, method=method)
partial = jackknife(catalog, 64, method=method)

figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained", subplot_kw={"projection": propagated.wcs})
for ax, (title, image) in zip(
    axes, {"propagated": propagated, "rotated galaxies": rotated, "jackknife": partial}.items(), strict=True
):
    std = np.where(propagated.mask, np.nan, image.uncertainty.array)
    shown = ax.imshow(std, origin="lower", vmin=0.005, vmax=0.015)
    ax.set(title=title, xlabel="RA", ylabel="Dec" if ax is axes[0] else " ")
figure.colorbar(shown, ax=axes, label="noise of kappa")
