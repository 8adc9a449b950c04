"""
Figure 1: a mock survey
=======================

The first figure of Remy et al. (2020): a simulated sky, the footprint of the COSMOS survey, the direct inversion of the
shear, and the posterior. ``python figure_1_mock_survey.py FOLDER`` needs ``MASSMAP_DATA``, the folder that contains
``massivenus/``, and takes a quarter of an hour on one core; the maps are written to FOLDER. The script was not run
when these pages were built; the figure and the table were made with it beforehand.
"""

# sphinx_gallery_thumbnail_path = 'figures/figure_1.png'

import os
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.wcs import WCS
from matplotlib.figure import Figure

from astro_massmap import AnnealedHMC, ConvergenceMap, KaiserSquires, ShearMap, Wiener

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)

# %%
# The sky is a field of MassiveNuS (Liu et al. 2018) that was not used in training: 320 x 320 pixels of 0.4 arcmin. It
# has no sky coordinates, so a WCS is assigned to it. The noise is 0.15 per pixel and component of the shear.

data = Path(os.environ["MASSMAP_DATA"]) / "massivenus"
truth, measured, seen = (np.load(data / f"{name}.npy") for name in ("kappa", "shear_bright", "mask"))
ny, nx = truth.shape
wcs = WCS(naxis=2)
wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
wcs.wcs.crval = 150.1, 2.2
wcs.wcs.crpix = (nx + 1) / 2, (ny + 1) / 2
wcs.wcs.cdelt = -0.4 / 60, 0.4 / 60
shear = ShearMap(
    np.moveaxis(measured, -1, 0), wcs=wcs, noise_std=np.where(seen, 0.15, np.inf), mask=np.logical_not(seen)
)

# %%
# Direct inversion, smoothed by 1 arcmin; the exact Wiener filter; the posterior under the learned prior. Each
# sample is written to the checkpoint as soon as it is drawn, so an interrupted run can be continued.

methods = {
    "Kaiser-Squires": KaiserSquires(smoothing=1 * u.arcmin),
    "Wiener": Wiener(n_samples=0),
    "posterior": AnnealedHMC(n_samples=32, seed=1, checkpoint=str(folder / "figure_1_samples.fits")),
}
maps = {}
for name, method in methods.items():
    file = folder / f"figure_1_{name.lower()}.fits"
    if not file.exists():
        shear.reconstruct(method).write(file)
    maps[name] = ConvergenceMap.read(file)

# %%
# The median of the posterior is smooth where the data constrain little. The samples are not: each is a possible sky,
# including the holes and the area beyond the edges.

posterior = maps["posterior"]
panels = [("truth", truth), ("footprint", seen), ("Kaiser-Squires, 1 arcmin", maps["Kaiser-Squires"].data)]
panels += [("posterior median", posterior.median)]
panels += [(f"posterior sample {i}", sample) for i, sample in enumerate(posterior.samples[:4], start=1)]
figure = Figure(figsize=(14, 7.4), layout="constrained")
axes = figure.subplots(2, 4)
for ax, (title, image) in zip(axes.flat, panels, strict=True):
    colours = {"cmap": "gray"} if image is seen else {"cmap": "inferno", "vmin": -0.03, "vmax": 0.1}
    shown = ax.imshow(image, origin="lower", interpolation="nearest", **colours)
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(image is seen)
figure.colorbar(shown, ax=axes, label=r"$\kappa$", shrink=0.7, extend="both", pad=0.01)
figure.savefig(folder / "figure_1.png", dpi=90)

# %%
# .. image:: ../figures/figure_1.png
#     :alt: The truth, the footprint, Kaiser-Squires, the posterior median and four samples of the mock survey

# %%
# Root mean square error of each estimate relative to the exact Wiener filter, with data and in gaps, and its
# correlation with the truth where there are data. (A single field gives no standard error, and the smoothing of
# Kaiser-Squires was not tuned.) The error of the posterior mean includes the scatter of 32 samples; the last row is
# corrected for it.

seen = np.asarray(seen, dtype=bool)
estimates = {
    "Kaiser-Squires": maps["Kaiser-Squires"].data,
    "Wiener": maps["Wiener"].data,
    "posterior median": posterior.median,
    "posterior mean": posterior.data,
    "one sample": posterior.samples[0],
}
lines = [f"{'':18} {'with data':>10} {'in gaps':>10} {'correlation':>12}"]
for name, image in estimates.items():
    errors = [
        np.sqrt(np.mean((image - truth)[where] ** 2) / np.mean((maps["Wiener"].data - truth)[where] ** 2))
        for where in (seen, ~seen)
    ]
    correlation = np.corrcoef(image[seen], truth[seen])[0, 1]
    lines.append(f"{name:18} {errors[0]:10.3f} {errors[1]:10.3f} {correlation:12.3f}")
square = (posterior.data - truth) ** 2 - posterior.samples.var(axis=0, ddof=1) / len(posterior.samples)
wiener = (maps["Wiener"].data - truth) ** 2
errors = [np.sqrt(square[where].mean() / wiener[where].mean()) for where in (seen, ~seen)]
lines.append(f"{'without scatter':18} {errors[0]:10.3f} {errors[1]:10.3f}")
(folder / "figure_1.txt").write_text("\n".join(lines) + "\n")
print("\n".join(lines))

# %%
# .. literalinclude:: ../tables/figure_1.txt
#     :language: none
