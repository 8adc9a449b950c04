"""Annealed chains: the loop over the levels of a schedule, from a start to a sample."""

import copy
import math
from dataclasses import dataclass

import torch

from .bands import Bands
from .gaussian import GaussianPosterior
from .grid import FourierGrid
from .hmc import split_step, start
from .reverse import reverse_diffusion, reverse_step
from .split import SplitPosterior
from .targets import SplitTarget, TemperedTarget, noisier


@dataclass
class Run:
    """
    Result of a batch of ``n`` chains.

    Attributes
    ----------
    modes : `torch.Tensor`
        Modes of the samples in the box, ``(n, ny, nx // 2 + 1)``.
    evaluations : int
        Number of evaluations of the residual of the score by each chain.
    acceptance, energy_error : `torch.Tensor`
        Fraction of accepted steps, and root mean square of the change of energy in a step, ``(n, levels)``; NaN at a
        level without steps.
    trace : `torch.Tensor`
        Power of the map in units of the prior after each step of the last level, in three bands of equal width in
        log(ell), ``(n, steps, 3)``.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap.inference import Run
    >>> run = Run(torch.zeros(2, 16, 9), 0, torch.ones(2, 1), torch.zeros(2, 1), torch.ones(2, 6, 3))
    >>> run.acceptance.tolist()
    [[1.0], [1.0]]
    """

    modes: torch.Tensor
    evaluations: int
    acceptance: torch.Tensor
    energy_error: torch.Tensor
    trace: torch.Tensor


class Plan:
    """
    Base class of plans: the target of each level, the start and the end of a chain.

    A subclass returns its targets in ``_targets``, and has the methods ``start`` and ``finish``; ``lower`` takes chains
    from a level to the next, by default as they are. A box smaller than the field raises ValueError.

    Parameters
    ----------
    observation, prior, schedule
        `~astro_massmap.inference.Observation`, `~astro_massmap.priors.Prior` and `~astro_massmap.Schedule`.
    box_shape : tuple of int
        Rows and columns of the periodic box.
    dtype, device, **options
        Options of `~astro_massmap.inference.GaussianPosterior`.

    Attributes
    ----------
    targets : list
        Target of Hamiltonian Monte Carlo at each level.
    final_evaluations : int
        Number of evaluations of the residual of the score in ``finish``.
    settles : bool
        True if chains always take the first step at a new level.
    arrives : bool
        True if the first level is new to the chains, as their starts are not those of its Gaussian posterior.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, Plan, SplitPosterior, SplitTarget, Streams, run_chains
    >>> class OneLevel(Plan):
    ...     def _targets(self):
    ...         return [SplitTarget(SplitPosterior(self.posterior(), 0.05), self.prior)]
    ...     def start(self, streams):
    ...         return self.targets[0].mean + self.targets[0].split.fluctuations(streams)
    ...     def finish(self, modes, streams):
    ...         return modes
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = OneLevel(observation, GaussianPrior(), Schedule.fast(), (32, 32))
    >>> plan.grid.to_field(run_chains(plan, Streams(0, range(2))).modes).shape
    torch.Size([2, 16, 16])
    """

    final_evaluations = 0
    settles = True
    arrives = False

    def __init__(self, observation, prior, schedule, box_shape, *, dtype=torch.float32, device="cpu", **options):
        self.observation, self.schedule = observation, schedule
        self.grid = FourierGrid(observation.shape, observation.pixel_size, box_shape, dtype=dtype, device=device)
        self.prior = prior.on(self.grid)
        options = {"box_shape": box_shape, "dtype": dtype, "device": device} | options
        self._posterior = GaussianPosterior(observation, self.prior.variance, **options)
        self._bands = {}
        self.targets = self._targets()

    def lower(self, state, a, b, streams):
        """Return the modes with which chains in some state at the noise level ``a`` begin at the next level ``b``."""
        return state.modes

    def posterior(self, extra_variance=0.0, prior_variance=None):
        """Return the Gaussian posterior with more noise in the data, and optionally another prior."""
        return self._posterior.given(noisier(self.observation, extra_variance).weight, prior_variance)

    def streams(self, seed, indices, attempt=0):
        """Return random numbers of some chains: those of the data, on the device of the plan."""
        return self.observation.streams(seed, indices, attempt=attempt, device=self.grid.device)

    def bands(self, n):
        """Return ``n`` `Bands` of the box, which are cached."""
        if n not in self._bands:
            self._bands[n] = Bands(self.grid, n)
        return self._bands[n]

    def band_power(self, modes, sigma, n_bands):
        """Return the power of modes in bands, divided by that of the prior with noise ``sigma``, ``(n, n_bands)``."""
        variance = self.prior.variance if sigma == 0 else self.prior.variance + sigma**2
        return self.bands(n_bands).mean_square(modes, variance)


class SplitPlan(Plan):
    """
    Plan of annealing with noise splitting; the parameters are those of `Plan`.

    At a level the map z contains noise of standard deviation sigma, and the data have the noise ``N + sigma^2 - s^2``,
    with s at the last level: the noise that is not in the map is the same at all levels, and the last level is exact.
    From one level to the next, a step of the reverse diffusion takes noise out of the map, which would otherwise remain
    as structure where there are no data.

    Examples
    --------
    The levels are those of the schedule times 0.9 of the lowest noise of a pixel:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.annealed(), (16, 16))
    >>> [round(target.sigma, 3) for target in plan.targets]
    [0.225, 0.18, 0.144, 0.117, 0.09]
    """

    def _targets(self):
        # levels above the highest noise level of the prior are left out
        self.share = min(self.schedule.share * float(self.observation.noise_std.min()), self.prior.max_sigma)
        self.schedule = self.schedule.within(self.prior.max_sigma / self.share, self.prior.max_step)
        signal = math.sqrt(self.prior.grid.pixel_variance(self.prior.variance))
        self.reverse_levels = self.schedule.reverse_levels(self.share, signal)
        self.final_evaluations = len(self.reverse_levels)
        sigmas = [level * self.share for level in self.schedule.levels]
        splits = [SplitPosterior(self.posterior(sigma**2 - self.share**2), sigma) for sigma in sigmas]
        return [SplitTarget(split, self.prior) for split in splits]

    def gaussian_half(self):
        """Return the plan for the Gaussian component of the prior alone."""
        half = copy.copy(self)
        half.prior = self.prior.gaussian_half()
        half.targets = [SplitTarget(target.split, half.prior) for target in self.targets]
        return half

    def start(self, streams):
        """Draw the first modes of the chains, at the first level."""
        target = self.targets[0]
        return target.mean + target.split.fluctuations(streams)

    def lower(self, state, a, b, streams):
        """Draw the first modes of the chains at the next level, by a step of the reverse diffusion of the prior."""
        residual = None if self.prior.gaussian else state.force
        return reverse_step(self.prior, state.modes, residual, a, b, streams)[1]

    def finish(self, modes, streams):
        """Reverse diffusion of the prior from the last level to zero."""
        return reverse_diffusion(self.prior, modes, self.reverse_levels, streams)


class TemperedPlan(Plan):
    """
    Plan of the scheme of Remy et al. (2020): the noise of a level is added to data and prior; parameters as for `Plan`.

    ValueError for a prior without a score at zero noise, if the last level is zero.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, TemperedPlan
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = TemperedPlan(observation, GaussianPrior(), Schedule((0.2, 0.1, 0.0), splitting=False), (16, 16))
    >>> [round(target.posterior.best_noise, 4) for target in plan.targets]
    [0.05, 0.02, 0.01]
    """

    target = TemperedTarget
    settles = False  # at low noise the step of a trained score may be wrong

    def _targets(self):
        if self.schedule.levels[-1] == 0 and not self.prior.noiseless:
            raise ValueError(
                "schedule: it ends at zero noise, as 'tempered' does, where a denoiser has no score; use 'annealed' or "
                "a prior with a score, such as a ScoreFunction that returns it"
            )
        return [
            self.target(self.posterior(sigma**2, self.prior.variance + sigma**2), self.prior, sigma)
            for sigma in self.schedule.levels
        ]

    def start(self, streams):
        """Draw the first modes of the chains, at the first level."""
        posterior = self.targets[0].posterior
        return posterior.mean_modes() + posterior.fluctuations(streams)

    def finish(self, modes, streams):
        """Return the modes: the last level has no noise."""
        return modes


def run_chains(plan, streams, *, modes=None, on_step=lambda level, state: None):
    """
    Run a batch of chains through all levels, and return the `Run`.

    Parameters
    ----------
    plan, streams
        Plan, such as a `SplitPlan`, and `~astro_massmap.inference.Streams` of the chains.
    modes : `torch.Tensor`, optional
        First modes of the chains, ``(n, ny, nx // 2 + 1)``; by default ``plan.start(streams)``.
    on_step : callable
        Function of the number of the level and the state, called after each step.

    Raises
    ------
    ScoreError
        If the score of the prior is not finite for a finite map.
    SolverError
        If a linear system cannot be solved to the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, Streams, run_chains
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule((2, 1), (1, 3)), (32, 32))
    >>> run_chains(plan, Streams(0, range(2))).acceptance.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    modes = plan.start(streams) if modes is None else modes
    n, evaluations = len(modes), 0
    acceptance = torch.full((n, len(plan.targets)), float("nan"), dtype=torch.float64, device="cpu")
    energy_error, trace, state, before = acceptance.clone(), [], None, None
    for level, (target, steps) in enumerate(zip(plan.targets, plan.schedule.trajectories, strict=True)):
        if not steps:
            continue
        if before is not None:
            modes = plan.lower(state, before.sigma, target.sigma, streams)
        state, modes, before = start(target, modes, streams), None, target
        accepted, errors, trace = [], [], []
        for step in range(steps):
            # the map from another level is improbable at this one, the more so the larger the field: Metropolis' rule
            # would reject every first step
            arrives = plan.settles and (level > 0 or plan.arrives) and step == 0
            state = split_step(target, state, plan.schedule.trajectory, streams, plan.grid.inner, always=arrives)
            accepted.append(state.accepted.double())
            errors.append(state.energy_error.square())
            trace.append(plan.band_power(state.modes, target.sigma, 3))
            on_step(level, state)
        modes = state.modes
        evaluations += state.evaluations
        acceptance[:, level] = torch.stack(accepted).mean(dim=0).cpu()
        energy_error[:, level] = torch.stack(errors).nanmean(dim=0).sqrt().cpu()
    modes = plan.finish(modes, streams)
    evaluations = 0 if plan.prior.gaussian else evaluations + plan.final_evaluations
    trace = torch.stack(trace, dim=1).cpu() if trace else torch.empty((n, 0, 3), dtype=torch.float64, device="cpu")
    return Run(modes, evaluations, acceptance, energy_error, trace)
