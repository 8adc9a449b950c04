"""
From a truth to its posterior
=============================

A mock survey of a known sky is mapped, and the map is compared with the truth.
"""

# %%
# The truth is a simulated convergence map of 51 x 51 arcmin from the package. The mock survey has 30 galaxies per
# square arcminute, and gaps: two bright stars and a strip that was not observed.

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
# The noise of a single pixel is several times the convergence. The posterior combines the data of all pixels with the
# prior, here the learned prior of the package. Twelve samples take a minute.

kappa = shear.reconstruct(n_samples=12, progress=False)
wiener = shear.reconstruct("wiener", n_samples=12, progress=False)
kappa

# %%
# The posterior mean is smooth: it contains only structures that are common to all samples. A sample has the statistical
# properties of the truth, with clusters, filaments and small-scale structure, at positions that differ between samples.

figure, axes = plt.subplots(
    2, 2, figsize=(8.4, 8), subplot_kw={"projection": truth.wcs}, sharex=True, sharey=True, layout="constrained"
)
images = {
    "truth": truth.data,
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
# Root mean square error of the posterior mean, and the error expected from its standard deviation. The mean over the
# field is subtracted, because shear does not constrain it.

seen = ~kappa.mask


def error(estimate, where):
    """Return the root mean square of the difference from the truth."""
    difference = estimate - truth.data
    return np.sqrt(((difference - difference[seen].mean())[where] ** 2).mean())


for name, estimate in {"learned prior": kappa, "Wiener": wiener}.items():
    expected = np.sqrt((estimate.uncertainty.array[seen] ** 2).mean())
    print(
        f"{name:14} error with data {error(estimate.data, seen):.4f} (expected {expected:.4f}), "
        f"in gaps {error(estimate.data, ~seen):.4f}"
    )

# %%
# If the posterior is calibrated, the rank of the truth among the twelve samples is uniform: the truth is below all
# samples in one pixel out of thirteen, and above all samples in another.

ranks = (kappa.samples < truth.data).sum(axis=0)
plt.figure(figsize=(6, 3), layout="constrained")
plt.hist([ranks[seen], ranks[~seen]], bins=np.arange(14) - 0.5, density=True, label=["with data", "in gaps"])
plt.axhline(1 / 13, color="0.3", lw=1)
plt.xlabel("samples below the truth")
plt.ylabel("fraction of pixels")
plt.legend()

# %%
# Neighbouring pixels are correlated, so one field is a weak test; :doc:`plot_calibration` uses many. To measure whether
# a survey would detect a halo, inject it into the galaxies with `~astro_massmap.simulation.inject_halo`
# (:doc:`plot_masses`); for the peaks of a map, see :doc:`plot_peaks`.
