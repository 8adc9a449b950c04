"""Reliability of detection probabilities: exact posteriors of masked Gaussian skies."""

import astropy.units as u
import numpy as np
import pytest
import torch
from regions import CirclePixelRegion, PixCoord

from astro_massmap import PowerSpectrum, ShearMap, Wiener
from astro_massmap.inference import FourierGrid, LensingOperator
from astro_massmap.validation.diagnostics import coverage, reliability

from helpers.skies import tan_wcs

SIDE, NOISE, THRESHOLD = 64, 0.08, 0.01
GAUSSIAN = pytest.mark.filterwarnings("ignore:the map was made with a Gaussian prior")  # correct for these skies
pytestmark = [pytest.mark.slow, GAUSSIAN]
WCS = tan_wcs((SIDE, SIDE), scale=0.8)
SPECTRUM = PowerSpectrum.default()
APERTURES = [CirclePixelRegion(PixCoord(x, y), 2.5) for x in range(4, 62, 6) for y in range(4, 62, 6)]


def posterior(seed):
    """A Gaussian sky and the exact posterior given its shear."""
    rng = np.random.default_rng(seed)
    size = (0.8 * u.arcmin).to_value(u.rad)
    grid = FourierGrid((SIDE, SIDE), size, (2 * SIDE, 2 * SIDE), dtype=torch.float64)
    modes = grid.mode_variance(SPECTRUM).sqrt() * grid.to_modes(torch.from_numpy(rng.normal(size=grid.box_shape)))
    shear = LensingOperator(grid).forward(modes).numpy() + NOISE * rng.normal(size=(2, SIDE, SIDE))
    y, x = np.mgrid[:SIDE, :SIDE]
    holes = np.hypot(x - rng.uniform(10, 54), y - rng.uniform(10, 54)) < 10
    survey = ShearMap(shear, wcs=WCS, noise_std=NOISE, mask=holes)
    return grid.to_field(modes).numpy(), survey.reconstruct(Wiener(SPECTRUM, n_samples=64, seed=seed), progress=False)


@pytest.fixture(scope="module")
def mocks():
    return [posterior(seed) for seed in range(24)]


def test_predicted_probabilities_are_reliable(mocks):
    claimed, true = [], []
    for truth, kappa in mocks:
        claimed.append(kappa.detection_probability(APERTURES, THRESHOLD)["probability"])
        means = np.array([region.to_mask(mode="exact").multiply(truth).sum() for region in APERTURES])
        true.append(means / np.array([region.area for region in APERTURES]) > THRESHOLD)
    table = reliability(np.array(claimed), np.array(true), bins=[0, 0.2, 0.4, 0.6, 1])
    # per bin within 5 points and 2 standard errors. With 64 samples a probability has an error of up to 6
    # points, which moves a mean by less than 2 points from one bin of this width to the next
    assert (np.abs(table["true"] - table["claimed"]) < 0.05 + 2 * table["error"]).all()
    assert table["n"].min() > 50


def test_probabilities_of_another_threshold_are_not(mocks):
    claimed = np.array([k.detection_probability(APERTURES, THRESHOLD)["probability"] for _, k in mocks])
    true = np.array(
        [[region.to_mask(mode="exact").multiply(t).sum() / region.area > 2.5 * THRESHOLD for region in APERTURES]
         for t, _ in mocks]
    )  # fmt: skip
    table = reliability(claimed, true, bins=5)
    assert (np.abs(table["true"] - table["claimed"]) > 0.05 + 2 * table["error"]).any()


def test_the_pixels_are_covered(mocks):
    truths, posteriors = zip(*mocks, strict=True)
    table = coverage(posteriors, truths)
    # within 4 standard errors over 24 mocks: a false alarm in some 1 of 2000 seeds
    assert (np.abs(table["coverage"] - table["level"]) < 4 * table["error"] + 0.002).all()
