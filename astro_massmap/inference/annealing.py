"""Chains from a start to a sample: the loop over the levels of a schedule."""

import copy
from dataclasses import dataclass

import torch

from .bands import Bands
from .gaussian import GaussianPosterior
from .grid import FourierGrid
from .hmc import split_step, start
from .reverse import reverse_diffusion
from .split import SplitPosterior
from .targets import SplitTarget, TemperedTarget, noisier


@dataclass
class Run:
    """
    What became of a batch of ``n`` chains.

    Attributes
    ----------
    modes : `torch.Tensor`
        The samples, modes ``(n, ny, nx // 2 + 1)`` of the box.
    evaluations : int
        Evaluations of the residual of the score by each chain.
    acceptance : `torch.Tensor`
        Share of accepted steps, ``(n, levels)``; NaN at a level without steps.
    energy_error : `torch.Tensor`
        Root mean square of the change of energy in a step, ``(n, levels)``.
    trace : `torch.Tensor`
        Three summaries of the map after each step of the last level, ``(n, steps, 3)``: its squared norm
        in units of the prior on the longest, the middle and the shortest third of (log) scales.

    Examples
    --------
    With a Gaussian prior every step is accepted, and the score costs nothing:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, Streams, run_chains
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule(trajectories=3), (16, 16))
    >>> run = run_chains(plan, Streams(0, range(2)))
    >>> run.acceptance.tolist(), run.evaluations, tuple(run.trace.shape)
    ([[1.0], [1.0]], 0, (2, 3, 3))
    """

    modes: torch.Tensor
    evaluations: int
    acceptance: torch.Tensor
    energy_error: torch.Tensor
    trace: torch.Tensor


class Plan:
    """
    What to sample at each level, where to begin, how to end.

    A subclass tells its targets in ``_targets``, and has the methods ``start`` and ``finish``.

    Parameters
    ----------
    observation : `~astro_massmap.inference.Observation`
        Shear and noise.
    prior : `~astro_massmap.priors.Prior`
        The prior.
    schedule : `~astro_massmap.Schedule`
        The levels.
    box_shape : tuple of int
        Sides of the periodic box in pixels.
    dtype, device, **options
        Of `~astro_massmap.inference.GaussianPosterior`.

    Attributes
    ----------
    targets : list
        What Hamiltonian Monte Carlo samples at each level.
    final_evaluations : int
        Evaluations of the residual of the score in ``finish``.
    settles : bool
        Whether chains always take the first step at a new level.

    Raises
    ------
    ValueError
        If the box is smaller than the field.

    Examples
    --------
    A plan of a single level, at a noise of 0.05, from which one step leads back:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, Plan, SplitPosterior, SplitTarget, Streams
    >>> from astro_massmap.inference import reverse_diffusion, run_chains
    >>> class OneLevel(Plan):
    ...     def _targets(self):
    ...         return [SplitTarget(SplitPosterior(self.posterior(), 0.05), self.prior)]
    ...     def start(self, streams):
    ...         return self.targets[0].mean + self.targets[0].split.fluctuations(streams)
    ...     def finish(self, modes, streams):
    ...         return reverse_diffusion(self.prior, modes, [0.05], streams)
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = OneLevel(observation, GaussianPrior(), Schedule.fast(), (32, 32))
    >>> plan.grid.to_field(run_chains(plan, Streams(0, range(2))).modes).shape
    torch.Size([2, 16, 16])
    """

    final_evaluations = 0
    settles = True

    def __init__(self, observation, prior, schedule, box_shape, *, dtype=torch.float32, device="cpu", **options):
        self.observation, self.schedule = observation, schedule
        self.grid = FourierGrid(observation.shape, observation.pixel_size, box_shape, dtype=dtype, device=device)
        self.prior = prior.on(self.grid)
        options = {"box_shape": box_shape, "dtype": dtype, "device": device} | options
        self._posterior = GaussianPosterior(observation, self.prior.variance, **options)
        self._bands = {}
        self.targets = self._targets()

    def posterior(self, extra_variance=0.0, prior_variance=None):
        """The Gaussian posterior with more noise in the data, and perhaps another prior."""
        return self._posterior.given(noisier(self.observation, extra_variance).weight, prior_variance)

    def streams(self, seed, indices, attempt=0):
        """Random numbers of some chains: those of the data, on the device of the plan."""
        return self.observation.streams(seed, indices, attempt=attempt, device=self.grid.device)

    def bands(self, n):
        """The `Bands` of the box, made once for each number of them."""
        if n not in self._bands:
            self._bands[n] = Bands(self.grid, n)
        return self._bands[n]

    def band_power(self, modes, sigma, n_bands):
        """Mean square of the modes divided by the prior variance with noise ``sigma``, in bands: ``(n, n_bands)``."""
        variance = self.prior.variance if sigma == 0 else self.prior.variance + sigma**2
        return self.bands(n_bands).mean_square(modes, variance)


class SplitPlan(Plan):
    """
    Annealing with noise splitting.

    At a level the map z holds noise of deviation sigma, and the data have the noise ``N + sigma^2 - s^2``
    with s that of the last level: what is *not* in the map is the same at all levels, and at the last one
    the data are as they are.

    Parameters
    ----------
    observation, prior, schedule, box_shape, dtype, device, **options
        As for `Plan`.

    Examples
    --------
    The levels are those of the schedule times 0.9 of the noise of the best pixel:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule.annealed(), (16, 16))
    >>> [round(target.sigma, 3) for target in plan.targets]
    [0.225, 0.18, 0.144, 0.117, 0.09]
    >>> print(f"{plan.reverse_levels[0]:.3f} to {plan.reverse_levels[-1]:.3f}")
    0.090 to 0.005
    """

    def _targets(self):
        # no more than data and prior allow: levels that the prior does not know are left out
        self.share = min(self.schedule.share * float(self.observation.noise_std.min()), self.prior.max_sigma)
        self.schedule = self.schedule.within(self.prior.max_sigma / self.share, self.prior.max_step)
        self.reverse_levels = self.schedule.reverse_levels(self.share)
        self.final_evaluations = len(self.reverse_levels)
        sigmas = [level * self.share for level in self.schedule.levels]
        splits = [SplitPosterior(self.posterior(sigma**2 - self.share**2), sigma) for sigma in sigmas]
        return [SplitTarget(split, self.prior) for split in splits]

    def gaussian_half(self):
        """The same plan for the Gaussian half of the prior alone."""
        half = copy.copy(self)
        half.prior = self.prior.gaussian_half()
        half.targets = [SplitTarget(target.split, half.prior) for target in self.targets]
        return half

    def start(self, streams):
        """Where the chains begin, at the first level."""
        target = self.targets[0]
        return target.mean + target.split.fluctuations(streams)

    def finish(self, modes, streams):
        """The prior's reverse diffusion from the last level to zero."""
        return reverse_diffusion(self.prior, modes, self.reverse_levels, streams)


class TemperedPlan(Plan):
    """
    The scheme of Remy et al. (2020): at a level, its noise is added to the data and to the prior.

    Parameters
    ----------
    observation, prior, schedule, box_shape, dtype, device, **options
        As for `Plan`.

    Examples
    --------
    The variance of the noise is 0.1^2 and what the level adds, which is nothing at the last one:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, TemperedPlan
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> schedule = Schedule((0.2, 0.1, 0.0), splitting=False)
    >>> plan = TemperedPlan(observation, GaussianPrior(), schedule, (16, 16))
    >>> [round(target.posterior.best_noise, 4) for target in plan.targets]
    [0.05, 0.02, 0.01]
    """

    target = TemperedTarget
    settles = False  # at small noise a trained score may lead anywhere

    def _targets(self):
        return [
            self.target(self.posterior(sigma**2, self.prior.variance + sigma**2), self.prior, sigma)
            for sigma in self.schedule.levels
        ]

    def start(self, streams):
        """Where the chains begin, at the first level."""
        posterior = self.targets[0].posterior
        return posterior.mean_modes() + posterior.fluctuations(streams)

    def finish(self, modes, streams):
        """Nothing is left to do."""
        return modes


def run_chains(plan, streams, *, modes=None, on_step=lambda level, state: None):
    """
    Lead a batch of chains through all levels.

    Parameters
    ----------
    plan : SplitPlan or TemperedPlan
        What to do.
    streams : `~astro_massmap.inference.Streams`
        Random numbers of the chains.
    modes : `torch.Tensor`, optional
        Where to begin, ``(n, ny, nx // 2 + 1)``; by default where the plan says.
    on_step : callable
        Told the number of the level and the state after each step.

    Returns
    -------
    Run

    Raises
    ------
    ScoreError
        If the score of the prior is not finite where a map is.
    ConvergenceError
        If a linear system cannot be solved to the tolerance.

    Examples
    --------
    Two chains, and the levels of their steps:

    >>> import numpy as np
    >>> from astro_massmap import GaussianPrior, Schedule
    >>> from astro_massmap.inference import Observation, SplitPlan, Streams, run_chains
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> plan = SplitPlan(observation, GaussianPrior(), Schedule((2, 1), (1, 3)), (32, 32))
    >>> levels = []
    >>> run = run_chains(plan, Streams(0, range(2)), on_step=lambda level, state: levels.append(level))
    >>> levels, tuple(plan.grid.to_field(run.modes).shape)
    ([0, 1, 1, 1], (2, 16, 16))
    """
    modes = plan.start(streams) if modes is None else modes
    n, evaluations = len(modes), 0
    acceptance = torch.full((n, len(plan.targets)), float("nan"), dtype=torch.float64, device="cpu")
    energy_error, trace = acceptance.clone(), []
    for level, (target, steps) in enumerate(zip(plan.targets, plan.schedule.trajectories, strict=True)):
        if not steps:
            continue
        state, modes = start(target, modes, streams), None
        accepted, errors, trace = [], [], []
        for step in range(steps):
            # a chain that comes from another level is far from all that this one allows, the farther the larger the
            # field: what Metropolis' rule says of its first step would keep it there
            arrives = plan.settles and level > 0 and step == 0
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
