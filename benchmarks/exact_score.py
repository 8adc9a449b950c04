"""
Samplers with the exact score: the error of their steps alone, without a network and without simulations.

The prior is a field of independent lognormal pixels, for which the mean of a pixel given noise is an integral over one
variable. Its standard deviation and skewness are those of simulated maps after smoothing with a Gaussian: for sources
at redshift 1 by 1 arcmin, and for a bin like those of DES by 2.25 arcmin. The noise of the data is 0.13 in pixels of
0.4 and 1.5 arcmin, after the same smoothing; the prior alone begins at a noise of 0.5. ``python
benchmarks/exact_score.py OUT`` writes ``exact_score.rst``: variance, skewness, and fraction of pixels above some
thresholds of drawn fields, over those of true ones. With ``--chains N`` it writes ``exact_chains.rst`` instead, from N
samples of each data set: mean, variance and third moment of chains and of the diffusion of the posterior, against the
exact posterior of each pixel, for noisy maps with 40 % of the pixels without data.
"""

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np
import torch

from astro_massmap import Schedule
from astro_massmap.inference import (
    ConvergenceObservation,
    DiffusedStartPlan,
    DiffusionPlan,
    FourierGrid,
    Plan,
    SplitPlan,
    Streams,
    reverse_diffusion,
    run_chains,
)
from astro_massmap.inference.diffusion import Level
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
# noise of the data of the chains, side of a field, last noise of a diffusion in units of the standard deviation
DATA_NOISE, FIELD, END = 0.15, 32, 0.05
NAMES = ("variance", "skewness", *(f"pixels above {threshold:g}" for threshold in THRESHOLDS))


class Lognormal(PriorOnGrid):
    """Independent lognormal pixels, with their exact score."""

    gaussian = False
    max_step = 0.3  # as for the network of the package

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
            normal = np.linspace(-7, 7, 3001)
            truth, weight = self._kappa(normal), np.exp(-(normal**2) / 2)
            common = np.linspace(truth[0] - 6 * sigma, 12 * self.std + 6 * sigma, 1000)
            rare = np.linspace(common[-1], max(self._kappa(6), common[-1]) + 6 * sigma, 400)[1:]
            noisy = np.concatenate([common, rare])
            joint = np.exp(-(((noisy[:, None] - truth) / sigma) ** 2) / 2) * weight
            density = joint.sum(axis=1).clip(min=1e-300)
            mean, square = joint @ truth / density, joint @ truth**2 / density
            left = ((square - mean**2) * density)[:1000].sum() / density[:1000].sum()
            self.known[sigma] = noisy, mean, left
        return self.known[sigma]

    def denoised(self, field, sigma):
        """Return the mean of pixels given their noisy values."""
        return torch.from_numpy(np.interp(field.numpy(), *self._given(sigma)[:2]))

    def conditional_variance(self, sigma):
        return torch.full_like(self.variance, self._given(sigma)[2])

    def residual(self, modes, sigma):
        exact = self.denoised(self.grid.to_field(modes), sigma)
        return self.grid.to_modes(exact) / sigma**2 - modes * self.variance / (self.variance + sigma**2) / sigma**2

    def log_ratio(self, modes, sigma):
        return None  # as for the network: chains integrate the score

    def on(self, grid, weight=None):
        """Return this object, whose grid it needs to be, for data with inverse noise variances ``weight``."""
        self.weight = self.weight if weight is None else weight
        return self

    def contribution(self, b, mean, sigma):
        """Return the modes of D - m, as `astro_massmap.priors.PosteriorNetwork` does."""
        precision = self.weight.double() + sigma**-2
        exact = self.grid.to_field(b) / precision  # the noisy value of all that is known about a pixel
        for value in precision.unique():
            where = precision == value
            exact[..., where] = self.denoised(exact[..., where], float(value**-0.5))
        return self.fraction * (self.grid.to_modes(exact) - mean)

    weight = None
    fraction = 1.0  # of the exact contribution to the diffusion; less for a wrong denoiser

    def _joint(self, data, sigma):
        """Return values of a pixel and their weights given its data; no data: infinite noise."""
        normal = np.linspace(-8, 8, 1601)
        truth = self._kappa(normal)
        return truth, np.exp(-(((data[:, None] - truth) / sigma) ** 2) / 2 - normal**2 / 2)

    def moments(self, data, sigma):
        """Return mean, variance and third central moment of pixels given their data."""
        truth, joint = self._joint(data, sigma)
        first, second, third = (joint @ truth**k / joint.sum(axis=1) for k in (1, 2, 3))
        return np.array([first, second - first**2, third - 3 * first * second + 2 * first**3])

    def exact_draws(self, observation, n):
        """Draw fields ``(n, ny, nx)`` given their data."""
        truth, joint = self._joint(observation.shear[0].numpy().ravel(), observation.noise_std.numpy().reshape(-1, 1))
        below = joint.cumsum(axis=1) / joint.sum(axis=1, keepdims=True)
        uniform = np.random.default_rng(3).uniform(size=(len(below), n))
        drawn = np.stack([np.interp(u, b, truth) for u, b in zip(uniform, below, strict=True)], axis=1)
        return torch.from_numpy(drawn.reshape(n, *observation.shape))


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


class Heated(SplitPlan):
    """Plan whose chains keep all their noise from one level to the next."""

    lower = Plan.lower


class Exact(SplitPlan):
    """Plan whose chains start from exact draws."""

    def start(self, streams):
        split = self.targets[0].split
        drawn = self.grid.to_modes(self.prior.exact_draws(self.observation, len(streams.indices)))
        return split.lift(drawn, split.posterior.shear, streams)


def problem(prior, seed):
    """Return data of a field, 40 % of it without, and the exact mean, variance and third moment of each pixel."""
    rng, noise = np.random.default_rng([seed, 5]), DATA_NOISE * 0.4 / math.sqrt(4 * math.pi)
    data = prior.draw(1, seed)[0] + noise * rng.normal(size=(FIELD, FIELD))
    noise_std = np.where(rng.random(data.shape) > 0.4, noise, np.inf)
    seen, exact = np.isfinite(noise_std), np.empty((3, *data.shape))
    for where, sigma in ((seen, noise), (~seen, math.inf)):
        exact[:, where] = prior.moments(data[where], sigma)
    return ConvergenceObservation.from_arrays(np.where(seen, data, 0), noise_std, PIXEL), exact


def diffusion(prior, observation, steps, end=END):
    """Return the plan of a diffusion of the posterior, from the noise of the package in these pixels."""
    plan = DiffusionPlan(observation, prior, steps, observation.shape, dtype=torch.float64)
    plan.targets = [Level(prior.std * ratio) for ratio in np.geomspace(13.5, end, steps)]
    return plan


def annealed(prior, observation, kind=SplitPlan, **changes):
    schedule = dataclasses.replace(Schedule.annealed(), sigma_end=END, **changes)
    return kind(observation, prior, schedule, observation.shape, dtype=torch.float64)


def short(prior, observation, **changes):
    schedule = dataclasses.replace(Schedule.short(), sigma_end=END, **changes)
    start = diffusion(prior, observation, 12)
    return DiffusedStartPlan(start, observation, prior, schedule, observation.shape, dtype=torch.float64)


SAMPLERS = {  # name: fraction of the exact contribution to the diffusion, function of prior and observation
    "from exact draws, 5 steps at s": (1, lambda *given: annealed(*given, Exact, levels=(1.0,), trajectories=(5,))),
    "from exact draws, all levels": (1, lambda *given: annealed(*given, Exact)),
    "default chains": (1, annealed),
    "default chains, all noise kept between levels": (1, lambda *given: annealed(*given, Heated)),
    "diffusion, 25 steps": (1, lambda *given: diffusion(*given, 25)),
    "diffusion, 50 steps": (1, lambda *given: diffusion(*given, 50)),
    "short chains": (1, short),
    "short chains, 30 steps back": (1, lambda *given: short(*given, reverse_steps=30)),
    "short chains, 6 steps at s, 30 back": (1, lambda *given: short(*given, trajectories=(6,), reverse_steps=30)),
    "short chains, half of D - m": (0.5, short),
    "short chains, half of D - m, 6 steps at s, 30 back": (
        0.5,
        lambda *given: short(*given, trajectories=(6,), reverse_steps=30),
    ),
}


def against_exact(results):
    """
    Return the mean of pixels minus the exact one in standard deviations, variance and third moment over the exact ones.

    ``results`` are samples ``(n, pixels)`` and exact moments ``(3, pixels)``; standard errors are from the samples.
    """
    rows = []
    for samples, (mean, *exact) in results:
        d = samples - mean
        rows += [[*((d[i] ** k).mean() for k in (1, 2, 3)), *(m.mean() for m in exact)] for i in range(len(d))]
    rows = np.array(rows)
    total = np.vstack([(rows.sum(axis=0) - rows) / (len(rows) - 1), rows.mean(axis=0)])
    found = np.column_stack([total[:, 0] / total[:, 3] ** 0.5, total[:, 1] / total[:, 3], total[:, 2] / total[:, 4]])
    return found[-1], np.sqrt((len(rows) - 1) * found[:-1].var(axis=0))


def chain_rows(n, data_sets=6):
    grid = FourierGrid((FIELD, FIELD), PIXEL, dtype=torch.float64)
    for skewness in (1.7, 3.5):
        prior = Lognormal(grid, CASES["z = 1"][0], skewness)
        problems = [problem(prior, seed) for seed in range(data_sets)]
        for name, (prior.fraction, plan_of) in SAMPLERS.items():
            found = []
            for observation, exact in problems:
                plan, seen = plan_of(prior, observation), observation.observed.numpy()
                run = run_chains(plan, plan.streams(1, range(n)))
                samples = grid.to_field(run.modes).numpy()
                found.append([(samples[:, where], exact[:, where]) for where in (seen, ~seen)])
            cells = []
            for results in zip(*found, strict=True):
                cells += [f"{v:.3f} +- {e:.3f}" for v, e in zip(*against_exact(results), strict=True)]
            yield f"skewness {skewness}, {name}", run.evaluations, *cells


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--chains", type=int, metavar="N", help="samples of each data set, a large number such as 128")
    arguments = parser.parse_args()
    name, head, found = "exact_score", ["over true fields", *NAMES], rows(arguments.fields)
    if arguments.chains:
        moments = [f"{m}, {w}" for w in ("data", "gaps") for m in ("mean - exact", "variance", "third moment")]
        name, head, found = "exact_chains", ["over exact values", "evaluations", *moments], chain_rows(arguments.chains)
    table = list_table([head, *found])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.rst").write_text(table)
    print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
