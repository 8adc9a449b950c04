"""
Reverse diffusion with the exact score: the error of its steps alone, without a network and without simulations.

The prior is a field of independent lognormal pixels, for which the mean of a pixel given noise is an integral over one
variable. Its standard deviation and skewness are those of simulated maps after smoothing with a Gaussian: for sources
at redshift 1 by 1 arcmin, and for a bin like those of DES by 2.25 arcmin. The noise of the data is 0.13 in pixels of
0.4 and 1.5 arcmin, after the same smoothing; the prior alone begins at a noise of 0.5. ``python
benchmarks/exact_score.py OUT`` writes ``exact_score.rst``: variance, skewness, and fraction of pixels above some
thresholds of drawn fields, over those of true ones.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from astro_massmap.inference import FourierGrid, Streams, reverse_diffusion
from astro_massmap.priors import PriorOnGrid

from list_table import list_table

# standard deviation and skewness, pixels over smoothing scale, last noise level, and numbers of levels with and
# without data
CASES = {
    "z = 1": (0.012, 1.7, 0.4, 0.005, (10, 20, 30, 80), (40, 120)),
    "bin": (0.0091, 1.36, 1 / 1.5, 0.0065, (10, 30), ()),
}
NOISE, HIGHEST, THRESHOLDS = 0.13, 0.5, (0.02, 0.04, 0.06)
SIDE, PIXEL = 256, 3e-4  # with independent pixels, their size has no effect
NAMES = ("variance", "skewness", *(f"pixels above {threshold:g}" for threshold in THRESHOLDS))


class Lognormal(PriorOnGrid):
    """Independent lognormal pixels, with their exact score."""

    gaussian = False

    def __init__(self, grid, std, skewness):
        super().__init__(grid, lambda ell: np.full(np.shape(ell), std**2 * PIXEL**2))
        y = 2 * math.sinh(math.asinh(skewness / 2) / 3)  # y^3 + 3 y is the skewness
        self.std, self.shift, self.v, self.known = std, std / y, math.log1p(y**2), {}

    def draw(self, n, seed):
        """Draw fields ``(n, ny, nx)``."""
        normal = np.random.default_rng(seed).normal(size=(n, *self.grid.box_shape))
        return self._kappa(normal)

    def _kappa(self, normal):
        return self.shift * np.expm1(normal * math.sqrt(self.v) - self.v / 2)

    def _given(self, sigma):
        """Return noisy values of a pixel, the mean of the true value given each, and the mean of its variance."""
        if sigma not in self.known:
            normal = np.linspace(-7, 7, 401)
            truth, weight = self._kappa(normal), np.exp(-(normal**2) / 2)
            noisy = np.linspace(truth[0] - 6 * sigma, 12 * self.std + 6 * sigma, 1000)
            joint = np.exp(-(((noisy[:, None] - truth) / sigma) ** 2) / 2) * weight
            density = joint.sum(axis=1).clip(min=1e-300)
            mean, square = joint @ truth / density, joint @ truth**2 / density
            left = ((square - mean**2) * density).sum() / density.sum()
            self.known[sigma] = noisy, mean, left
        return self.known[sigma]

    def conditional_variance(self, sigma):
        return torch.full_like(self.variance, self._given(sigma)[2])

    def residual(self, modes, sigma):
        noisy, mean, _ = self._given(sigma)
        field = self.grid.to_field(modes)
        exact = torch.from_numpy(np.interp(field.numpy(), noisy, mean))
        return self.grid.to_modes(exact) / sigma**2 - modes * self.variance / (self.variance + sigma**2) / sigma**2


def statistics(maps):
    """Return the statistics of each map without that map (jackknife), and those of all maps, the last row."""
    numbers = np.array([[(m**2).mean(), (m**3).mean(), *((m > t).mean() for t in THRESHOLDS)] for m in maps])
    means = np.vstack([(numbers.sum(axis=0) - numbers) / (len(maps) - 1), numbers.mean(axis=0)])
    return np.column_stack([means[:, 0], means[:, 1] / means[:, 0] ** 1.5, means[:, 2:]])


def ratio(drawn, true):
    """Return the statistics of drawn maps over those of the true maps of the same numbers, with standard errors."""
    found = statistics(drawn) / statistics(true)
    error = np.sqrt((len(drawn) - 1) * found[:-1].var(axis=0))
    return [f"{value:.3f} +- {e:.3f}" for value, e in zip(found[-1], error, strict=True)]


def rows(n):
    grid = FourierGrid((SIDE, SIDE), PIXEL, dtype=torch.float64)
    for case, (std, skewness, pixel, last, posterior, free) in CASES.items():
        prior, smoothing = Lognormal(grid, std, skewness), pixel / math.sqrt(4 * math.pi)
        true = prior.draw(n, seed=1)
        for label, highest, numbers in (("with data", NOISE, posterior), ("prior alone", HIGHEST, free)):
            for levels in numbers:
                sigmas = list(smoothing * np.geomspace(highest, last, levels))
                streams = Streams(3, range(n))
                white = streams.normal(SIDE, SIDE, dtype=torch.float64)
                scale = math.hypot(std, sigmas[0])
                start = torch.from_numpy(true) + sigmas[0] * white if label == "with data" else scale * white
                modes = reverse_diffusion(prior, grid.to_modes(start), sigmas, streams)
                yield f"{case}, {label}, {levels} levels", *ratio(grid.to_field(modes).numpy(), true)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fields", type=int, default=4)
    arguments = parser.parse_args()
    table = list_table([["over true fields", *NAMES], *rows(arguments.fields)])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "exact_score.rst").write_text(table)
    print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
