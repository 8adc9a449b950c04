"""
Is the posterior calibrated?
============================

A posterior is calibrated if, over many mock surveys, the truth lies in its intervals as often as stated. This page
tests 48 Gaussian skies with noise and holes, under the Gaussian prior from which they were drawn: this posterior is
exact, so all tests have to pass.
"""

import astropy.units as u
import numpy as np
import torch
from astropy.wcs import WCS

from astro_massmap import PowerSpectrum, ShearMap, Wiener, plotting as figures
from astro_massmap.inference import FourierGrid, LensingOperator
from astro_massmap.validation import diagnostics

spectrum, side, noise, size = PowerSpectrum.default(), 64, 0.1, (0.8 * u.arcmin).to_value(u.rad)
wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2, "CRPIX1": 32.5, "CRPIX2": 32.5,
           "CDELT1": -0.8 / 60, "CDELT2": 0.8 / 60})  # fmt: skip
grid = FourierGrid((side, side), size, (2 * side, 2 * side), dtype=torch.float64)
hole = np.hypot(*(np.mgrid[:side, :side] - 30)) < 9


def mock(seed):
    """A Gaussian sky and its noisy shear."""
    rng = np.random.default_rng(seed)
    modes = grid.mode_variance(spectrum).sqrt() * grid.to_modes(torch.from_numpy(rng.normal(size=grid.box_shape)))
    shear = LensingOperator(grid).forward(modes).numpy() + noise * rng.normal(size=(2, side, side))
    return grid.to_field(modes).numpy(), ShearMap(shear, wcs=wcs, noise_std=noise, mask=hole)


truths, surveys = zip(*(mock(seed) for seed in range(48)), strict=True)
posteriors = [survey.reconstruct(Wiener(spectrum, n_samples=24), progress=False) for survey in surveys]
diagnostics.coverage(posteriors, truths, levels=(0.52, 0.68, 0.92))

# %%
# Intervals contain the truth as often as expected. The rank of the truth among the samples has a uniform distribution,
# as has the rank of its distance from random points (TARP; Lemos et al. 2023), which is also sensitive to correlations
# between pixels.

levels = np.linspace(0.04, 0.92, 12)
figure = figures.plot_calibration(
    diagnostics.coverage(posteriors, truths, levels),
    diagnostics.rank_histogram(posteriors, truths, bins=5),
    diagnostics.tarp(posteriors, truths, levels=levels),
)

# %%
# Reliability of detections: of the apertures with a given predicted probability, the same fraction should contain a
# structure. A probability estimated from 24 samples has an error; the expected fractions account for it.

from regions import CirclePixelRegion, PixCoord

apertures = [CirclePixelRegion(PixCoord(x, y), 2.5) for x in range(4, 62, 6) for y in range(4, 62, 6)]
predicted = np.array([(p.region_means(apertures) > 0.01).mean(axis=0) for p in posteriors])
true = np.array([
    [region.to_mask(mode="exact").multiply(t).sum() / region.area > 0.01 for region in apertures] for t in truths
])  # fmt: skip
table = diagnostics.reliability(predicted, true, bins=5, n_samples=24)
figures.plot_reliability(table)
