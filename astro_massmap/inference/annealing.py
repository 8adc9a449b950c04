"""Chains from a start to a sample: the loop over the levels of a schedule."""

from dataclasses import dataclass, field

import torch

from .gaussian import GaussianPosterior
from .grid import FourierGrid
from .hmc import split_step, start
from .reverse import reverse_diffusion
from .split import SplitPosterior
from .targets import SplitTarget, TemperedTarget, noisier

SHARE = 0.9  # of the noise of the best pixel moves into the map


@dataclass
class Run:
    """
    What became of a batch of chains.

    Attributes
    ----------
    modes : `torch.Tensor`
        The samples.
    evaluations : int
        Evaluations of the residual of the score by each chain.
    acceptance : list of float
        Share of accepted steps at each level.
    energy_error : list of float
        Standard deviation of the change of energy in a step, at each level.
    """

    modes: torch.Tensor
    evaluations: int = 0
    acceptance: list = field(default_factory=list)
    energy_error: list = field(default_factory=list)


class SplitPlan:
    """
    Annealing with noise splitting: what to sample at each level, where to begin, how to end.

    At a level the map z holds noise of deviation sigma, and the data have the noise ``N + sigma^2 - s^2``
    with s that of the last level: what is *not* in the map is the same at all levels, and at the last one
    the data are as they are.

    Parameters
    ----------
    observation : `~astro_massmap.inference.Observation`
        Shear and noise.
    prior : `~astro_massmap.priors.Prior`
        The prior.
    schedule : `~astro_massmap.inference.Schedule`
        The plan.
    box_shape : tuple of int
        Sides of the periodic box.
    dtype, device, **options
        Of `~astro_massmap.inference.GaussianPosterior`.
    """

    def __init__(self, observation, prior, schedule, box_shape, *, dtype=torch.float32, device="cpu", **options):
        self.schedule = schedule
        self.grid = FourierGrid(observation.shape, observation.pixel_size, box_shape, dtype=dtype, device=device)
        self.prior = prior.on(self.grid)
        self.share = SHARE * float(observation.noise_std.min())
        self.sigmas = [level * self.share for level in schedule.levels]
        self.targets = []
        for sigma in self.sigmas:
            data = noisier(observation, sigma**2 - self.share**2)
            posterior = GaussianPosterior(data, self.prior.variance, box_shape, dtype=dtype, device=device, **options)
            self.targets.append(SplitTarget(SplitPosterior(posterior, sigma), self.prior))
        self.reverse_levels = schedule.reverse_levels(self.share)

    def start(self, streams):
        """Exact draws of the Gaussian half at the first level."""
        target = self.targets[0]
        return target.mean + target.draw_velocity(streams)

    def finish(self, modes, streams):
        """The prior's reverse diffusion from the last level to zero."""
        return reverse_diffusion(self.prior, modes, self.reverse_levels, streams)

    @property
    def final_evaluations(self):
        """Evaluations of the residual in `finish`."""
        return 0 if self.prior.gaussian else len(self.reverse_levels)


class TemperedPlan:
    """
    The scheme of Remy et al. (2020): at a level, noise of its deviation is added to the data and to the prior.

    The parameters are those of `SplitPlan`.
    """

    final_evaluations = 0

    def __init__(
        self,
        observation,
        prior,
        schedule,
        box_shape,
        *,
        dtype=torch.float32,
        device="cpu",
        target=TemperedTarget,
        **options,
    ):
        self.schedule, self.sigmas = schedule, list(schedule.levels)
        self.grid = FourierGrid(observation.shape, observation.pixel_size, box_shape, dtype=dtype, device=device)
        self.prior = prior.on(self.grid)
        self.targets = []
        for sigma in self.sigmas:
            data, variance = noisier(observation, sigma**2), self.prior.variance + sigma**2
            posterior = GaussianPosterior(data, variance, box_shape, dtype=dtype, device=device, **options)
            self.targets.append(target(posterior, self.prior, sigma))

    def start(self, streams):
        """Exact draws of the Gaussian half at the first level."""
        target = self.targets[0]
        return target.posterior.mean_modes() + target.posterior.fluctuations(streams)

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
    """
    modes = plan.start(streams) if modes is None else modes
    run = Run(modes)
    for level, (target, steps) in enumerate(zip(plan.targets, plan.schedule.trajectories, strict=True)):
        if not steps:
            continue
        state = start(target, run.modes)
        accepted, errors = [], []
        for _ in range(steps):
            state = split_step(target, state, plan.schedule.trajectory, streams, plan.grid.inner)
            accepted.append(state.accepted)
            errors.append(state.energy_error)
            on_step(level, state)
        run.modes = state.modes
        run.evaluations += 0 if plan.prior.gaussian else state.evaluations
        run.acceptance.append(float(torch.stack(accepted).double().mean()))
        run.energy_error.append(float(torch.stack(errors).square().mean().sqrt()))
    run.modes = plan.finish(run.modes, streams)
    run.evaluations += plan.final_evaluations
    return run
