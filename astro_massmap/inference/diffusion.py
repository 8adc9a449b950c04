"""
Reverse diffusion of the posterior: samples given the data, without chains.

A map ``z = x + a white`` and the data y are independent observations of x. Under a Gaussian prior with variance S, x
given both has

    precision  L_a = 1/S + P' N^-1 P + 1/a^2,        mean  m = L_a^-1 (P' N^-1 y + z / a^2).

In a step from a to b < a, a guess of x is drawn with the mean D given by a network and the covariance of the Gaussian
component, and the next map follows from a Brownian bridge between the two, as in `reverse_diffusion`:

    x0 = D(z, y) + L_a^-1/2 white,        z' = x0 + (z - x0) (b / a)^2 + b (1 - (b / a)^2)^1/2 white.

Without a contribution of a network D is m, and any number of steps gives an exact draw of the Gaussian posterior, the
last step to b = 0 included. Without the fluctuation of the guess its variance is too small, at any number of steps.

With a network, the mean D is taken to follow the noise of a step by its response L_b^-1 / b^2. Along an exact path D is
a martingale; half of its unexpected change is added to z', as in `reverse_diffusion`.
"""

import copy
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from .annealing import Plan, SplitPlan
from .schedule import Schedule

_TOLERANCE = 1e-3  # relative residual of a step
HIGHEST, _LOWEST = 60.0, 0.6  # first and last noise in units of the standard deviation of a pixel


def posterior_diffusion(posterior, modes, sigmas, streams, *, contribution=None, tolerance=_TOLERANCE):
    """
    Draw x given data and z = x + white noise, modes ``(n, ny, nx // 2 + 1)``.

    Parameters
    ----------
    posterior : `~astro_massmap.inference.GaussianPosterior`
        Posterior of the data under the Gaussian component of the prior.
    modes : `torch.Tensor`
        Modes of z, ``(n, ny, nx // 2 + 1)``.
    sigmas : sequence of float
        Decreasing noise levels in units of kappa, beginning with that of z; zero noise follows the last one.
    streams : `~astro_massmap.inference.Streams`
        Random numbers of the samples.
    contribution : callable, optional
        Function of the modes of ``P' N^-1 y + z / a^2`` and m and of the noise level a, that returns ``D - m``.
    tolerance : float
        Relative residual of the linear systems.

    Raises
    ------
    SolverError
        If a linear system cannot be solved to the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import GaussianPosterior, Observation, Streams, posterior_diffusion
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 4e-4)
    >>> posterior = GaussianPosterior(observation, PowerSpectrum.default(), (32, 32))
    >>> z = posterior.grid.to_modes(0.1 * Streams(1, [0]).normal(32, 32))
    >>> posterior_diffusion(posterior, z, [0.1, 0.05], Streams(0, [0])).shape
    torch.Size([1, 32, 17])
    """
    grid, variance = posterior.grid, posterior.prior_variance
    data = posterior.operator.adjoint(posterior.weight * posterior.shear)
    denoised, expected, share = modes, modes, 1.0
    for step, (a, b) in enumerate(itertools.pairwise([*sigmas, 0.0])):
        level = posterior.given(posterior.weight, variance * a**2 / (variance + a**2))
        total, corrected = data + modes / a**2, contribution is not None and step > 0
        sources = [total, level.fluctuation_source(streams)] + [data + expected / a**2] * corrected
        mean, fluctuation, *before = level.solve(torch.cat(sources), tolerance).split(len(modes))
        if contribution is not None:
            added = contribution(total, mean, a)
            mean = mean + added
        if corrected:
            unexpected = (1 - share) / 2 * (added + before[0] - denoised)
            # the response of the mean to it, for homogeneous noise
            modes, mean = modes + unexpected, mean + level.reference / a**2 * unexpected
        guess, share = mean + fluctuation, (b / a) ** 2
        if b:
            denoised, expected = mean, mean + share * (modes - mean)
            white = grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))
            modes = guess + share * (modes - guess) + b * (1 - share) ** 0.5 * white
    return guess


@dataclass(frozen=True)
class Level:
    """Level of a `DiffusionPlan`: its noise ``sigma`` in units of kappa."""

    sigma: float


class DiffusionPlan(Plan):
    """
    Plan of a reverse diffusion of the posterior, without steps of a chain.

    Parameters
    ----------
    observation : `~astro_massmap.inference.Observation`
        Data.
    network : object
        Object with ``on(grid, weight)`` such as `~astro_massmap.priors.PosteriorNetwork`, which returns an object with
        ``variance``, the variance of the modes, and ``contribution``, see `posterior_diffusion`.
    steps : int
        Number of steps.
    box_shape, dtype, device, **options
        As for `Plan`.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior
    >>> from astro_massmap.inference import DiffusionPlan, Observation, Streams, run_chains
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> class Gaussian:
    ...     def on(self, grid, weight):
    ...         return GaussianPrior().on(grid)
    >>> plan = DiffusionPlan(observation, Gaussian(), 4, (32, 32))
    >>> run_chains(plan, Streams(0, range(2))).modes.shape
    torch.Size([2, 32, 17])
    """

    settles = False

    def __init__(self, observation, network, steps, box_shape, **options):
        self.tolerance = min(options.get("tolerance", _TOLERANCE), _TOLERANCE)
        self.ratios = np.geomspace(HIGHEST, _LOWEST, steps)
        schedule = Schedule(levels=self.ratios / self.ratios[-1], trajectories=0)
        super().__init__(observation, _OfData(network, observation.weight), schedule, box_shape, **options)
        self.final_evaluations = steps

    def _targets(self):
        signal = math.sqrt(self.grid.pixel_variance(self.prior.variance))
        return [Level(ratio * signal) for ratio in self.ratios]

    def down_to(self, sigma):
        """Return the plan with the same number of levels down to ``sigma``, or as now if that is lower."""
        plan, (highest, *_, lowest) = copy.copy(self), [target.sigma for target in self.targets]
        plan.targets = [Level(level) for level in np.geomspace(highest, max(sigma, lowest), len(self.targets))]
        return plan

    def gaussian_half(self):
        """Return the plan without the network."""
        half = copy.copy(self)
        half.prior = self.prior.gaussian_half()
        return half

    def start(self, streams):
        """Draw the first maps: an exact draw of the Gaussian posterior, with the noise of the first level."""
        posterior, grid = self.posterior(), self.grid
        white = grid.to_modes(streams.normal(*grid.box_shape, dtype=grid.dtype))
        data = posterior.operator.adjoint(posterior.weight * posterior.shear)
        draw = posterior.solve(data + posterior.fluctuation_source(streams), self.tolerance)
        return draw + self.targets[0].sigma * white

    def finish(self, modes, streams):
        """Reverse diffusion of the posterior from the first level to zero."""
        contribution = None if self.prior.gaussian else self.prior.contribution
        sigmas = [target.sigma for target in self.targets]
        options = {"contribution": contribution, "tolerance": self.tolerance}
        return posterior_diffusion(self.posterior(), modes, sigmas, streams, **options)


class DiffusedStartPlan(SplitPlan):
    """
    Plan of chains at one level that start from samples of a `DiffusionPlan`.

    A sample x gets the noise of the level by an exact draw of z given x and the data, so that the start has the
    distribution of the level if x has that of the posterior. The diffusion ends at half of that noise, which hides the
    finest structure. Chains always take the first step, for data unlike those of the training of the network.

    Parameters
    ----------
    diffusion : DiffusionPlan
        Plan of the starts, for the same data and box, with at least two steps.
    observation, prior, schedule, box_shape, **options
        As for `Plan`; the schedule has one level.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import DiffusedStartPlan, DiffusionPlan, Observation, Streams, run_chains
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> class Gaussian:
    ...     def on(self, grid, weight):
    ...         return GaussianPrior().on(grid)
    >>> diffusion = DiffusionPlan(observation, Gaussian(), 4, (32, 32))
    >>> plan = DiffusedStartPlan(diffusion, observation, GaussianPrior(), Schedule.fast(), (32, 32))
    >>> run_chains(plan, Streams(0, range(2))).modes.shape
    torch.Size([2, 32, 17])
    """

    arrives = True

    def __init__(self, diffusion, observation, prior, schedule, box_shape, **options):
        super().__init__(observation, prior, schedule, box_shape, **options)
        self.diffusion = diffusion.down_to(self.share / 2)
        self.final_evaluations += diffusion.final_evaluations

    def gaussian_half(self):
        half = super().gaussian_half()
        half.diffusion = self.diffusion.gaussian_half()
        return half

    def start(self, streams):
        """Draw samples by diffusion, and z given them and the data."""
        sample = self.diffusion.finish(self.diffusion.start(streams), streams)
        split = self.targets[0].split
        return split.lift(sample, split.posterior.shear, streams)


@dataclass(frozen=True)
class _OfData:
    """Network for the noise of some data, with the interface of a prior."""

    network: object
    weight: torch.Tensor

    def on(self, grid):
        return self.network.on(grid, self.weight)
