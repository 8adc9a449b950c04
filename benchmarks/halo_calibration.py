"""
Masses of halos in posterior means of the prior of targeted fields: ``python benchmarks/halo_calibration.py``.

One evaluation of the denoiser is the posterior mean of a convergence map with white noise, and tests the prior without
the sampler, in a second a map. Fields around the halos are Gaussian and sources are at redshift 1.

The first lines are for round halos at redshift 0.3 with the mean concentration: M200c fitted to the posterior mean over
that fitted to the truth, with and without the factors a and b of the correction. Every map is used with noise and field
of both signs, so that their linear effects cancel. ``--population N`` draws halos from the training population, and
prints the relative excess of the mean convergence between 0.8 and 4 arcmin of the halo minus that of the ring of 4 to
7, which is zero for maps selected by their posterior mean if this is calibrated.
"""

import argparse
import dataclasses
from itertools import pairwise

import astropy.units as u
import numpy as np
import torch
from astropy.wcs import WCS

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.analysis.halo_mass import nfw_mass
from astro_massmap.inference import FourierGrid
from astro_massmap.priors.correction import taper
from astro_massmap.simulation import Cosmology, Survey, TargetedMaps, declared_spectrum
from astro_massmap.simulation.targeted_maps import ARCMIN, Halo

from masses import CENTER, COSMOLOGY, INNER, OUTER, SHAPE_NOISE, Z_LENS, Z_SOURCE

FIELD, H = 51.2, 0.7  # side of the maps in arcmin
SPECTRUM = declared_spectrum(PowerSpectrum.default())


class GaussianMaps:
    """Source of Gaussian fields for `TargetedMaps`."""

    def __init__(self, pixel):
        self.shape, self.cosmologies = (round(FIELD / pixel),) * 2, [Cosmology.default()]
        self.grid = FourierGrid(self.shape, pixel * ARCMIN)

    def survey(self, generator, *, pixel_size, **options):
        return Survey(0, np.ones(1), SPECTRUM, pixel_size)

    def draw(self, survey, generator):
        white = self.grid.to_modes(torch.from_numpy(generator.normal(size=(1, *self.shape))).float())
        return self.grid.to_field(white * self.grid.mode_variance(SPECTRUM).sqrt())[0]


class Population(TargetedMaps):
    """Maps with halos, which are kept in ``drawn``."""

    def _halos(self, *options):
        self.drawn = super()._halos(*options)
        return self.drawn


class Means:
    """Posterior means of maps with white noise."""

    def __init__(self, prior, pixel, density, factors=True):
        self.grid = FourierGrid((round(FIELD / pixel),) * 2, pixel * ARCMIN)
        prior = prior.of_pixels(pixel * ARCMIN)
        if not factors:
            one, known = np.ones_like(prior.correction.network), prior.correction
            known = dataclasses.replace(known, network=one * taper(known.ell, 500.0), theory=0 * one)
            prior = dataclasses.replace(prior, correction=known)
        self.prior, self.noise = prior.on(self.grid), SHAPE_NOISE / np.sqrt(density * pixel**2)

    def of(self, truth, seed, sign):
        white = sign * torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
        modes = self.grid.to_modes((torch.from_numpy(truth).float() + self.noise * white)[None])
        gain = self.prior.variance / (self.prior.variance + self.noise**2)
        return self.grid.to_field(gain * modes + self.noise**2 * self.prior.residual(modes, self.noise))[0].numpy()


def fitted(maps, pixel):
    """Return M200c of maps ``(n, ny, nx)`` with a halo in the middle."""
    side = maps.shape[-1]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [CENTER.ra.deg, CENTER.dec.deg]
    wcs.wcs.crpix, wcs.wcs.cdelt = [(side + 1) / 2] * 2, [-pixel / 60, pixel / 60]
    options = {"background": [INNER, OUTER] * u.arcmin, "cosmology": COSMOLOGY, "level": 0.5, "structure": False}
    mask = np.zeros(maps.shape[1:], dtype=bool)
    return nfw_mass(maps.mean(axis=0), maps, wcs, mask, CENTER, Z_LENS, Z_SOURCE, **options)["samples"][0].value


def single_halos(prior, pixel, mass, density, n, factors):
    """Return the mean ratio of fitted masses and its standard error."""
    means, maps = Means(prior, pixel, density, factors), GaussianMaps(pixel)
    cosmology, size = maps.cosmologies[0], pixel * ARCMIN
    sources = cosmology.distance([Z_SOURCE]), np.ones(1)
    halo = Halo.average(mass * H, Z_LENS).convergence(maps.shape, size, cosmology, sources)
    ratios = []
    for seed in range(n):
        field = maps.draw(None, np.random.default_rng(seed)).numpy()
        truths = np.stack([halo + field, halo - field])
        found = np.stack([means.of(truth, seed, sign) for truth, sign in zip(truths, (1, -1), strict=True)])
        ratios.append(fitted(found, pixel).mean() / fitted(truths, pixel).mean())
    return np.mean(ratios), np.std(ratios, ddof=1) / n**0.5


def population(prior, pixel, density, n):
    """Return the excess over the truth of maps of the training population, true contrast and companions, ``(3, n)``."""
    means, maps, rows = Means(prior, pixel, density), Population(GaussianMaps(pixel), empty=0), []
    survey = maps.survey(np.random.default_rng(0), redshift=Z_SOURCE, pixel_size=pixel * ARCMIN)
    y, x = pixel * (np.mgrid[: maps.shape[0], : maps.shape[1]] - (maps.shape[0] - 1) / 2)
    for seed in range(n):
        truth = maps.draw(survey, np.random.default_rng(seed)).numpy()
        r = np.hypot(*(a - at / ARCMIN for a, at in zip((x, y), maps.drawn[0].center, strict=True)))
        near, ring = (r > 0.8) & (r < INNER), (r > INNER) & (r < OUTER)
        true, found = (m[near].mean() - m[ring].mean() for m in (truth, means.of(truth, seed, 1)))
        rows.append((found - true, true, len(maps.drawn) > 1))
    return np.transpose(rows)


def summary(excess, true, companion):
    """Yield name, number, relative excess and its standard error of selected maps."""
    limits = np.quantile(true + excess, [0, 0.25, 0.5, 0.75, 0.9, 1])
    kinds = {"all": true > -np.inf, "no companion": companion == 0, "companion": companion == 1}
    for low, high in pairwise(limits):
        kinds[f"posterior mean {low:.3f} to {high:.3f}"] = (true + excess >= low) & (true + excess <= high)
    for name, kind in kinds.items():
        n, ratio = kind.sum(), excess[kind].sum() / true[kind].sum()
        yield name, n, ratio, (excess - ratio * true)[kind].std() * n**0.5 / true[kind].sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prior", help="file of a prior of targeted fields (default: the shipped one)")
    parser.add_argument("--pixels", nargs="+", type=float, default=[0.2, 0.3, 0.4], help="sides in arcmin")
    parser.add_argument("--masses", nargs="+", type=float, default=[5e14, 1e15, 2e15], help="M200c in solar masses")
    parser.add_argument("--densities", nargs="+", type=float, default=[26, 66], help="galaxies per square arcminute")
    parser.add_argument("--mocks", type=int, default=4, help="pairs of maps of each halo")
    parser.add_argument("--population", type=int, default=0, help="maps of the training population")
    a = parser.parse_args()
    prior = ScorePrior.load(a.prior) if a.prior else ScorePrior.load("default", field="targeted")
    for pixel in a.pixels:
        for density in a.densities:
            for mass in a.masses:
                found = (single_halos(prior, pixel, mass, density, a.mocks, factors) for factors in (True, False))
                texts = ("{:.3f} ± {:.3f}".format(*pair) for pair in found)
                print(
                    f"{pixel} arcmin, {density:g} galaxies, {mass:.0e}:", ", without factors: ".join(texts), flush=True
                )
            if a.population:
                for name, n, ratio, error in summary(*population(prior, pixel, density, a.population)):
                    print(f"{pixel} arcmin, {density:g} galaxies, {name}: {n} maps, {ratio:+.3f} ± {error:.3f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
