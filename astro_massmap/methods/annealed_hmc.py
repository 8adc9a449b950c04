"""Posterior samples by annealed Hamiltonian Monte Carlo, under any prior with a score."""

import dataclasses
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from .._utils.checks import is_object_with
from .._utils.content import content_sha256, text_of
from ..inference import (
    DiffusedStartPlan,
    DiffusionPlan,
    Observation,
    Plan,
    Schedule,
    SolverError,
    SplitPlan,
    TemperedPlan,
    pick_device,
    posterior_shape,
)
from ..priors import PosteriorNetwork, Prior, ScoreFunction, ScorePrior
from .base import check_dtype
from .sampled import SampledMethod, fixed_map, mean_power

_STEPS = 12  # of the diffusion from which chains start


@dataclass(frozen=True)
class AnnealedHMC(SampledMethod):
    """
    Independent samples of the posterior under any prior that has a score.

    Each sample is the end of its own chain: the chain starts at an exact draw of the posterior under the Gaussian
    component of the prior, moves by Hamiltonian Monte Carlo through the noise levels of the schedule, and ends with the
    reverse diffusion of the prior to zero noise (noise splitting, see :doc:`/samplers`).

    Parameters
    ----------
    prior : ScorePrior, GaussianPrior, ScoreFunction or alike, optional
        Prior, an object with ``on(grid)``; by default the learned prior of the package, ``ScorePrior.load("default")``.
    n_samples : int
        Number of samples, each from its own chain.
    schedule : `~astro_massmap.Schedule` or {'annealed', 'fast', 'tempered'}
        Noise levels, and the number of steps at each. 'tempered' ends at zero noise, where a ScorePrior has no score.
        With ``start="diffusion"`` chains have the last level alone, and the names stand for ``Schedule.short()``.
    seed : int
        Seed. Sample i depends on the data, the seed and i alone; samples of different data are independent.
    start : {'gaussian', 'diffusion'}
        Start of the chains: an exact draw of the Gaussian posterior at the first level, or 12 steps of the diffusion
        of `~astro_massmap.PosteriorDiffusion` at the last level. The prior needs to be a ScorePrior.
    information : float
        Fraction of the information of the data, the sum of 1 / N, that is kept when noise is added to the pixels with
        the lowest noise, which would otherwise limit the noise level of the map.
    padding, tolerance, max_iterations, dtype, device
        As for `~astro_massmap.Wiener`.
    batch_size : int, optional
        Number of chains computed together, and in a task of an executor; by default 1 on a CPU, where that is fastest,
        and 32 elsewhere. It is halved when the memory of a device does not suffice.
    n_jobs : int, optional
        Number of batches at a time on a CPU, with one thread of torch each; by default the number of cores, or as many
        as the memory allows. The samples do not depend on it.
    checkpoint : str or path-like, optional
        FITS file to which samples are written as they are finished, and from which an interrupted run, or one with
        more samples, continues. The samples of the result are a memory map of this file, and may be larger than the
        memory. An index file of the finished samples has ``.ledger`` added to its name.
    n_check : int
        Number of chains of the Gaussian self-check, see `~astro_massmap.inference.gaussian_check`; 0 for none.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import AnnealedHMC, GaussianPrior, datasets
    >>> method = AnnealedHMC(GaussianPrior(), n_samples=2, schedule="fast")
    >>> kappa = datasets.demo().reconstruct(method, pixel_scale=1.6 * u.arcmin, progress=False)
    >>> kappa.samples.shape, kappa.diagnostics["score_evaluations"]
    ((2, 32, 32), 0)
    """

    SCHEDULES: ClassVar = {"annealed": Schedule.annealed, "fast": Schedule.fast, "tempered": Schedule.tempered}

    prior: Prior | None = None
    _: KW_ONLY
    schedule: Schedule | Literal["annealed", "fast", "tempered"] = "annealed"
    start: Literal["gaussian", "diffusion"] = "gaussian"
    information: float = 0.985

    def __post_init__(self) -> None:
        if self.prior is not None and not is_object_with(self.prior, "on"):
            advice = "; for a function of (maps, sigma) use ScoreFunction(f, spectrum)" if callable(self.prior) else ""
            raise TypeError(f"prior: needs an object such as GaussianPrior(), got {text_of(self.prior)}{advice}")
        if not isinstance(self.schedule, Schedule) and self.schedule not in list(self.SCHEDULES):
            raise ValueError(
                f"schedule: needs a Schedule or one of {', '.join(map(repr, self.SCHEDULES))}, got {self.schedule!r}"
            )
        if self.start not in ("gaussian", "diffusion"):
            raise ValueError(f"start: needs 'gaussian' or 'diffusion', got {self.start!r}")
        if self.start == "diffusion" and not isinstance(self.prior, ScorePrior | None):
            raise TypeError(f"start: 'diffusion' needs a ScorePrior, got {text_of(self.prior)}")
        if self.start == "diffusion" and (self.schedule == "tempered" or not self._schedule.splitting):
            raise ValueError("start: 'diffusion' needs a schedule with noise splitting, such as 'annealed'")
        if not (isinstance(self.information, Real) and 0.1 < self.information <= 1):
            raise ValueError(f"information: needs to be between 0.1 and 1, got {self.information!r}")
        super().__post_init__()

    @property
    def _prior(self) -> Prior:
        return ScorePrior.load("default") if self.prior is None else self.prior

    @property
    def _part(self) -> Prior:
        return self._prior

    @property
    def _largest_part(self) -> Any:
        return network_of(self._prior) if self.start == "diffusion" else self._prior

    @property
    def _levels(self) -> int:
        return len(self._schedule.levels)

    @property
    def _schedule(self) -> Schedule:
        if self.start == "diffusion" and not isinstance(self.schedule, Schedule):
            return Schedule.short()
        return self.schedule if isinstance(self.schedule, Schedule) else self.SCHEDULES[self.schedule]()

    def prepare(self, observation: Observation) -> Plan:
        """
        Return the `~astro_massmap.inference.Plan` of a run on this observation, which is common to all chains.

        With a Gaussian prior it has only the last level, where a draw is exact.

        Raises
        ------
        ValueError
            If the prior has another pixel scale; `~astro_massmap.inference.SolverError`, a ValueError, if a linear
            system cannot be solved to the tolerance.
        """
        _check_pixel_size(self._prior, observation)
        schedule = self._schedule
        data = observation.with_noise_floor(self.information, self.seed) if schedule.splitting else observation
        box = posterior_shape(observation.shape, self.padding)
        options = {
            "dtype": check_dtype(self.dtype),
            "device": pick_device(self.device),
            "tolerance": self.tolerance,
            "max_iterations": self.max_iterations,
        }
        if self.start == "diffusion":
            try:
                diffusion = DiffusionPlan(data, network_of(self._prior), _STEPS, box, **options)
            except SolverError:
                raise
            except ValueError as error:  # data unlike those of the training
                raise ValueError(f"start: 'diffusion' is not possible ({error}); use start='gaussian'") from error
            schedule = dataclasses.replace(schedule, levels=(1.0,), trajectories=schedule.trajectories[-1:])
            return DiffusedStartPlan(diffusion, data, self._prior, schedule, box, **options)
        plan = (SplitPlan if schedule.splitting else TemperedPlan)(data, self._prior, schedule, box, **options)
        if schedule.splitting and plan.prior.gaussian:
            # a draw at the last level is exact
            plan.targets = plan.targets[-1:]
            plan.schedule = dataclasses.replace(schedule, levels=(1.0,), trajectories=(0,))
        return plan

    def _checked(self, plan: Plan) -> bool:
        return plan.schedule.splitting and self.n_check > 0

    def _decisive(self, plan: Plan) -> dict[str, Any]:
        settings = super()._decisive(plan)
        if self.start == "diffusion":
            settings["schedule"] = f"{_STEPS} steps, {self._schedule!r}"
        elif plan.schedule.splitting and len(plan.targets) > 1:
            settings["between levels"] = "reverse step"  # which samples of version 0.1 do not have
        if isinstance(self.prior, ScoreFunction):
            settings["function"] = repr(content_sha256(self.prior))
        return settings

    def _effect(self, plan: Plan) -> list[float]:
        modes, level = fixed_map(plan), plan.targets[-1].sigma
        return mean_power(modes, torch.zeros_like(modes) if plan.prior.gaussian else plan.prior.residual(modes, level))


def network_of(prior: Any) -> PosteriorNetwork:
    """Return the shipped network of the posterior for the spectrum of a prior and its kind of fields."""
    kind = "random" if prior.factor is None else "targeted"
    return dataclasses.replace(PosteriorNetwork.load("default"), kind=kind, spectrum=prior.theory)


def _check_pixel_size(prior: object, observation: Observation) -> None:
    """Raise ValueError if the prior has another pixel size than the map."""
    known = getattr(prior, "pixel_size", None)
    if known is not None and abs(observation.pixel_size / known - 1) > 0.01:
        arcmin = [np.rad2deg(x) * 60 for x in (known, observation.pixel_size)]
        raise ValueError(
            f"prior: needs pixels of {arcmin[0]:.4g} arcmin, the map has {arcmin[1]:.4g}; bin the galaxies with "
            f"pixel_scale={arcmin[0]:.4g} * u.arcmin, or take another prior, such as GaussianPrior()"
        )
