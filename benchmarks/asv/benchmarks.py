"""
Timings for every commit: ``asv run --config benchmarks/asv.conf.json``, one thread.

Fields have realistic sizes, seeds are fixed, and no file is downloaded.
"""

import astropy.units as u
import numpy as np
import torch
from astropy.coordinates import SkyCoord

from astro_massmap import (
    AnnealedHMC,
    ConvergenceMap,
    KaiserSquires,
    PosteriorDiffusion,
    PosteriorMean,
    ScorePrior,
    ShearCatalog,
    Wiener,
    datasets,
)
from astro_massmap.inference import FourierGrid
from astro_massmap.validation.null_tests import b_mode_test


def survey(n, side):
    """Return n galaxies on a square of ``side`` degrees."""
    rng = np.random.default_rng(0)
    coords = SkyCoord(150 + side * rng.uniform(size=n), 2 + side * rng.uniform(size=n), unit="deg")
    return ShearCatalog(coords, *rng.normal(scale=0.25, size=(2, n)), axes="west-north")


class Import:
    def timeraw_package(self):
        return "import astro_massmap"

    def timeraw_catalog(self):
        return "from astro_massmap import ShearCatalog"

    def timeraw_sampler(self):
        return "from astro_massmap import AnnealedHMC"


class Catalogue:
    """Catalogue with the size of the COSMOS catalogue."""

    def setup(self):
        self.catalog = survey(417_117, 1.28)

    def time_binning(self):
        self.catalog.to_map()

    def time_check_axes(self):
        self.catalog.check_axes()

    def time_kaiser_squires(self):
        self.catalog.reconstruct("kaiser_squires", progress=False)


class Methods:
    """Methods on the field of the package, 128 x 128 pixels."""

    def setup(self):
        torch.set_num_threads(1)
        self.shear = datasets.demo().to_map()
        ScorePrior.load("default")

    def time_kaiser_squires(self):
        self.shear.reconstruct(KaiserSquires())

    def time_wiener_mean(self):
        self.shear.reconstruct(Wiener(n_samples=0), progress=False)

    def time_wiener_16_samples(self):
        self.shear.reconstruct(Wiener(n_samples=16), progress=False)

    def time_posterior_mean(self):
        self.shear.reconstruct(PosteriorMean(), progress=False)

    def time_posterior_diffusion_1_sample(self):
        self.shear.reconstruct(PosteriorDiffusion(n_samples=1, n_check=0), progress=False)

    def time_annealed_hmc_1_sample(self):
        self.shear.reconstruct(AnnealedHMC(n_samples=1, n_check=0), progress=False)

    time_annealed_hmc_1_sample.timeout = 300


class Network:
    """One evaluation of the residual, in a box of twice the side of the field."""

    params = (128, 320)
    param_names = ("side",)

    def setup(self, side):
        torch.set_num_threads(1)
        grid = FourierGrid((side, side), np.radians(0.4 / 60), (2 * side, 2 * side))
        self.prior = ScorePrior.load("default").on(grid)
        self.modes = grid.to_modes(0.1 * torch.randn(1, *grid.box_shape, generator=torch.Generator().manual_seed(0)))

    def time_residual(self, side):
        self.prior.residual(self.modes, 0.1)


class Questions:
    """Measurements of 256 samples of 256 x 256 pixels."""

    def setup(self):
        truth = datasets.demo_truth()
        wide = np.tile(truth.data, (2, 2))
        samples = (wide + np.random.default_rng(0).normal(scale=0.02, size=(256, *wide.shape))).astype(np.float32)
        self.kappa = ConvergenceMap(wide, wcs=truth.wcs, uncertainty=samples.std(axis=0), samples=samples)
        self.clusters = datasets.demo_clusters()
        self.kappa.write("kappa.fits", overwrite=True)

    def time_detection_probability(self):
        self.kappa.detection_probability(self.clusters, threshold=0.015)

    def time_peaks(self):
        self.kappa.peaks(0.05, smoothing=1 * u.arcmin)

    def time_power_spectrum(self):
        self.kappa.power_spectrum()

    def time_write(self):
        self.kappa.write("again.fits", overwrite=True)

    def time_read(self):
        ConvergenceMap.read("kappa.fits")


class NullTests:
    def setup(self):
        self.catalog = datasets.demo()

    def time_b_mode_test(self):
        b_mode_test(self.catalog, 16, pixel_scale=1.6 * u.arcmin)
