"""
From a truth to its posterior
=============================

A known sky is observed by a mock survey, mapped, and compared with what is really there: what a map of real galaxies
can never be.
"""

# %%
# The truth is a simulated map of the convergence, 51 arcmin on a side, which comes with the package. A survey of thirty
# galaxies per square arcminute sees it, but for two bright stars and a strip that was not observed.

import astropy.units as u
import matplotlib.pyplot as plt
import numpy as np
from regions import CircleSkyRegion

from astro_massmap import datasets
from astro_massmap.simulation import observe

truth = datasets.demo_truth()
middle = truth.wcs.pixel_to_world(64, 64)
stars = [
    CircleSkyRegion(middle.directional_offset_by(angle * u.deg, 12 * u.arcmin), 3 * u.arcmin) for angle in (40, 200)
]
mask = np.zeros(truth.shape, dtype=bool)
mask[:, 96:102] = True
catalog = observe(truth, density=30 / u.arcmin**2, mask=mask, shape_noise=0.27, seed=3)
shear = catalog.to_map(wcs=truth.wcs, mask=stars)
shear

# %%
# The noise of a single pixel is several times the convergence. A map is made of what the pixels say together, and of
# what is known of matter before: here by the network that is shipped with the package. Twelve samples take a minute.

kappa = shear.reconstruct(n_samples=12, progress=False)
wiener = shear.reconstruct("wiener", n_samples=12, progress=False)
kappa

# %%
# The mean is smooth, for it shows only what all samples agree on. A sample looks like the truth: it has its clusters,
# filaments and grain. Where they are is uncertain, and differs from sample to sample.

figure, axes = plt.subplots(
    2, 2, figsize=(8.4, 8), subplot_kw={"projection": truth.wcs}, sharex=True, sharey=True, layout="constrained"
)
images = {
    "the truth": truth.data,
    "posterior mean": kappa.data,
    "a sample": kappa.samples[0],
    "another sample": kappa.samples[1],
}
for ax, (title, image) in zip(axes.flat, images.items(), strict=True):
    shown = ax.imshow(image, origin="lower", vmin=-0.06, vmax=0.06, cmap="RdBu_r")
    ax.axvspan(95.5, 101.5, color="0.5", alpha=0.3, lw=0)
    for star in stars:
        star.to_pixel(truth.wcs).plot(ax=ax, color="0.3")
    ax.set(title=title, xlabel="RA", ylabel="Dec")
    ax.label_outer()
figure.colorbar(shown, ax=axes, shrink=0.6, label="convergence")

# %%
# How far the mean is from the truth, and how far it should be by its own standard deviation. Samples do not know the
# mean of the field, which shear does not measure: it is taken off.

seen = ~kappa.mask


def error(estimate, where):
    """Root mean square of the difference to the truth."""
    difference = estimate - truth.data
    return np.sqrt(((difference - difference[seen].mean())[where] ** 2).mean())


for name, estimate in {"learned prior": kappa, "Wiener": wiener}.items():
    expected = np.sqrt((estimate.uncertainty.array[seen] ** 2).mean())
    print(
        f"{name:14} error with data {error(estimate.data, seen):.4f} (expected {expected:.4f}), "
        f"in gaps {error(estimate.data, ~seen):.4f}"
    )

# %%
# If the posterior is right, the truth is as likely to stand at any place among its samples: below all of them in one
# pixel of thirteen, above all of them in another.

ranks = (kappa.samples < truth.data).sum(axis=0)
plt.figure(figsize=(6, 3), layout="constrained")
plt.hist([ranks[seen], ranks[~seen]], bins=np.arange(14) - 0.5, density=True, label=["with data", "in gaps"])
plt.axhline(1 / 13, color="0.3", lw=1)
plt.xlabel("samples below the truth")
plt.ylabel("share of pixels")
plt.legend()

# %%
# Neighbouring pixels are alike, so that one field does not tell more than this; :doc:`plot_calibration` does the same
# for many. A halo that is not in the simulation can be put into the galaxies of a survey, to ask whether it would have
# been found: `~astro_massmap.simulation.inject_halo`, and :doc:`plot_peaks` for the peaks of a map.
