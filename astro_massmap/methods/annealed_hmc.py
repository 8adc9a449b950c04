"""Posterior samples by annealed Hamiltonian Monte Carlo, under any prior with a score."""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from .._utils.checks import check_integer, is_object_with
from .._utils.content import content_sha256, text_of
from .._utils.progress import write_line
from ..inference import (
    Observation,
    Plan,
    Schedule,
    SplitPlan,
    Streams,
    TemperedPlan,
    available_cores,
    pick_device,
    posterior_shape,
    side_by_side,
)
from ..priors import Prior, ScoreFunction, ScorePrior
from ._chain_diagnostics import run_diagnostics, self_check
from ._chains import draw_samples
from ._memory import MemoryEstimate, check_memory, needed_memory, workers_that_fit
from ._workers import RunContext
from .base import Estimate, check_dtype, check_padding, mean_and_std

_STD_DRAWS, _COARSE = 16, 1e-2  # draws for the standard deviation of a single sample, and their tolerance


@dataclass(frozen=True)
class AnnealedHMC:
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
        Noise levels, and the number of steps at each.
    seed : int
        Seed. Sample i depends on the data, the seed and i alone; samples of different data are independent.
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
    n_samples: int = 64
    schedule: Schedule | Literal["annealed", "fast", "tempered"] = "annealed"
    seed: int = 0
    information: float = 0.985
    padding: float = 2.0
    tolerance: float = 1e-5
    max_iterations: int = 500
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"
    batch_size: int | None = None
    n_jobs: int | None = None
    checkpoint: str | os.PathLike[str] | None = None
    n_check: int = 4

    def __post_init__(self) -> None:
        if self.prior is not None and not is_object_with(self.prior, "on"):
            advice = "; for a function of (maps, sigma) use ScoreFunction(f, spectrum)" if callable(self.prior) else ""
            raise TypeError(f"prior: needs an object such as GaussianPrior(), got {text_of(self.prior)}{advice}")
        if not isinstance(self.schedule, Schedule) and self.schedule not in list(self.SCHEDULES):
            raise ValueError(
                f"schedule: needs a Schedule or one of {', '.join(map(repr, self.SCHEDULES))}, got {self.schedule!r}"
            )
        check_integer(self.n_samples, "n_samples", 1)
        check_integer(self.seed, "seed", 0)
        check_integer(self.max_iterations, "max_iterations", 1)
        check_integer(self.n_check, "n_check", 0)
        for name in ("batch_size", "n_jobs"):
            if getattr(self, name) is not None:
                check_integer(getattr(self, name), name, 1)
        if self.checkpoint is not None:
            from ._sample_files import check_name  # loads astropy

            check_name(self.checkpoint)
        for name, low in (("tolerance", 0), ("information", 0.1)):
            value: float = getattr(self, name)
            if not (isinstance(value, Real) and low < value <= 1):
                raise ValueError(f"{name}: needs to be between {low} and 1, got {value!r}")
        check_padding(self.padding)
        check_dtype(self.dtype)
        pick_device(self.device)

    @property
    def _prior(self) -> Prior:
        return ScorePrior.load("default") if self.prior is None else self.prior

    @property
    def _schedule(self) -> Schedule:
        return self.schedule if isinstance(self.schedule, Schedule) else self.SCHEDULES[self.schedule]()

    def memory(self, shape: tuple[int, int]) -> MemoryEstimate:
        """
        Estimate the memory that a run on a field of ``shape`` (rows and columns) needs.

        The result has ``bytes``, ``box`` and ``tiles``; as text it is one line. With an executor it is that of each
        worker. On a GPU it is that of a single chain, and batches are as large as its memory allows.

        Examples
        --------
        >>> from astro_massmap import AnnealedHMC
        >>> print(AnnealedHMC(n_jobs=1).memory((1024, 1024)))
        1024 x 1024 pixels in a box of 2048 x 2048, the network in 9 tiles of 428 x 428: about 1.2 GiB of memory
        """
        return self._memory_estimate(shape, self._workers(shape))

    def _memory_estimate(self, shape: tuple[int, int], workers: int) -> MemoryEstimate:
        on_cpu = pick_device(self.device).type == "cpu"
        return needed_memory(
            shape,
            self.padding,
            prior=self._prior,
            dtype=self.dtype,
            batch=(self.batch_size or 1) * workers if on_cpu else 1,
            levels=len(self._schedule.levels),
            samples=self.n_samples if self.checkpoint is None else 0,
        )

    def _workers(self, shape: tuple[int, int]) -> int:
        """Return the number of batches at a time: on a CPU ``n_jobs``, or as many as cores and memory allow."""
        if pick_device(self.device).type != "cpu":
            return 1
        pieces = -(-self.n_samples // (self.batch_size or 1))
        if self.n_jobs is not None:
            return min(self.n_jobs, pieces)
        most = min(available_cores(), pieces)
        return workers_that_fit(lambda workers: self._memory_estimate(shape, workers), most)

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
        check_pixel_size(self._prior, observation)
        schedule = self._schedule
        data = observation.with_noise_floor(self.information, self.seed) if schedule.splitting else observation
        plan = (SplitPlan if schedule.splitting else TemperedPlan)(
            data,
            self._prior,
            schedule,
            posterior_shape(observation.shape, self.padding),
            dtype=check_dtype(self.dtype),
            device=pick_device(self.device),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        if schedule.splitting and plan.prior.gaussian:
            # a draw at the last level is exact
            plan.targets = plan.targets[-1:]
            plan.schedule = dataclasses.replace(schedule, levels=(1.0,), trajectories=(0,))
        return plan

    def solve(
        self,
        observation: Observation,
        *,
        progress: bool = False,
        executor: Executor | None = None,
        cards: Sequence[tuple[str, Any]] = (),
    ) -> Estimate:
        """
        Map one observation, and return an `~astro_massmap.methods.Estimate`.

        Parameters
        ----------
        observation, progress
            As for `Method.solve <astro_massmap.methods.Method.solve>`.
        executor : `concurrent.futures.Executor`, optional
            Executor that runs the chains, such as a `concurrent.futures.ProcessPoolExecutor` with the start method
            "spawn" or that of a Dask client; by default they run in threads of this process.
        cards : sequence of (str, value)
            Cards of the header of the checkpoint, such as those of the WCS.

        Raises
        ------
        ValueError
            If the memory does not suffice, the prior has another pixel scale, more than half of the chains diverge
            or do not mix in six attempts, or the checkpoint holds samples of other data or settings. As
            `~astro_massmap.inference.SolverError`, if the Wiener filter cannot be solved to the tolerance.
        OSError
            If the checkpoint cannot be read or written.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If some chains fail, prior and noise do not explain the data, the Gaussian self-check deviates, the memory
            of a device does not suffice for a batch, samples of the checkpoint are damaged, or all workers are lost.
        """
        n_jobs = self._workers(observation.shape) if executor is None else 1
        estimate = self._memory_estimate(observation.shape, n_jobs)
        text = check_memory(estimate, pick_device(self.device))
        if progress:
            write_line(text)
        plan = self.prepare(observation)
        checkpoint = None
        if self.checkpoint is not None:
            from ._checkpoint import Checkpoint, fingerprint  # loads astropy

            shape, mark = (self.n_samples, *observation.shape), fingerprint(plan.observation, self._decisive(plan))
            checkpoint = Checkpoint(self.checkpoint, shape, mark, cards)
        workers = None if executor is None else (executor, RunContext(self, observation))
        samples, records = draw_samples(self, plan, checkpoint, workers, n_jobs, progress)
        mean, std = mean_and_std(samples)
        diagnostics = {"prior": text_of(self._prior), "memory": estimate.bytes}
        diagnostics |= run_diagnostics(plan, observation, records)
        if plan.schedule.splitting and self.n_check:
            diagnostics["gaussian_check"] = self_check(plan, self.seed, self.n_check, n_jobs)
        return Estimate(
            mean,
            std if len(samples) > 1 else _gaussian_std(plan, self.seed, n_jobs),
            samples=samples,
            diagnostics=diagnostics,
        )

    def _decisive(self, plan: Plan) -> dict[str, Any]:
        """Return the settings on which the samples depend, as text; of the prior, its residual at a fixed map."""
        undecisive = ("checkpoint", "n_check", "n_jobs", "n_samples", "prior")
        settings = {f.name: repr(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name not in undecisive}
        settings["start"] = repr("gaussian")  # a former option, in the fingerprint of checkpoints of 0.1.dev
        if plan.observation.frozen is not None:
            settings["reduced_shear"] = repr(True)
        if isinstance(self.prior, ScoreFunction):
            settings["function"] = repr(content_sha256(self.prior))
        level = plan.targets[-1].sigma
        white = plan.grid.to_modes(
            Streams(0, [0]).normal(*plan.grid.box_shape, dtype=plan.grid.dtype).to(plan.grid.device)
        )
        modes = plan.prior.variance.sqrt() * white
        evaluated = [modes, torch.zeros_like(modes) if plan.prior.gaussian else plan.prior.residual(modes, level)]
        power = torch.cat([m.abs().square().mean(dim=(-2, -1)) for m in evaluated])
        return settings | {"prior": [f"{p:.3e}" for p in power.tolist()]}


def check_pixel_size(
    prior: object,
    observation: Observation,
    name: str = "prior",
    instead: str = "another prior, such as GaussianPrior()",
) -> None:
    """Raise ValueError if the prior, the argument ``name``, has another pixel size than the map."""
    known = getattr(prior, "pixel_size", None)
    if known is not None and abs(observation.pixel_size / known - 1) > 0.01:
        arcmin = [np.rad2deg(x) * 60 for x in (known, observation.pixel_size)]
        raise ValueError(
            f"{name}: needs pixels of {arcmin[0]:.4g} arcmin, the map has {arcmin[1]:.4g}; bin the galaxies "
            f"with pixel_scale={arcmin[0]:.4g} * u.arcmin, or take {instead}"
        )


def _gaussian_std(plan: Plan, seed: int, n_jobs: int) -> np.ndarray:
    """Return the Gaussian standard deviation from coarse draws, correct to a few per cent, for a single sample."""
    posterior = plan.posterior()

    def square_shift(i: int) -> torch.Tensor:
        return posterior.draw(plan.streams(seed, [i]), _COARSE)[1][0].square()

    square = sum(side_by_side(square_shift, range(_STD_DRAWS), n_jobs))
    return posterior.variance(square / _STD_DRAWS).sqrt().cpu().numpy()
