"""Parts common to the methods that draw samples one by one: options, memory, workers, checkpoint and diagnostics."""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from .._utils.checks import check_integer
from .._utils.content import text_of
from .._utils.progress import write_line
from ..inference import Observation, Plan, Streams, available_cores, pick_device, side_by_side
from ._chain_diagnostics import run_diagnostics, self_check
from ._chains import draw_samples
from ._memory import MemoryEstimate, check_memory, needed_memory, workers_that_fit
from ._workers import RunContext
from .base import Estimate, check_dtype, check_padding, check_tolerance, mean_and_std

_STD_DRAWS, _COARSE = 16, 1e-2  # draws for the standard deviation of a single sample, and their tolerance


@dataclass(frozen=True, kw_only=True)
class SampledMethod:
    """
    Base class of methods that draw samples, each from its own stream of random numbers.

    A subclass has ``prepare``, which returns the `~astro_massmap.inference.Plan` of a run, and ``_part`` and
    ``_levels``, the prior or network and the number of levels, on which the memory depends. The parameters are those of
    `~astro_massmap.AnnealedHMC`.

    Examples
    --------
    >>> from astro_massmap import AnnealedHMC, PosteriorDiffusion
    >>> from astro_massmap.methods import SampledMethod
    >>> issubclass(AnnealedHMC, SampledMethod), issubclass(PosteriorDiffusion, SampledMethod)
    (True, True)
    """

    # the part that causes failures, what fails, and the probable reason
    FAILURE: ClassVar = (
        "prior",
        "chain",
        "the score of the prior is inaccurate for these data, or the schedule has too few levels",
    )

    n_samples: int = 64
    seed: int = 0
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
        check_tolerance(self.tolerance)
        check_padding(self.padding)
        check_dtype(self.dtype)
        pick_device(self.device)

    @property
    def _part(self) -> Any:
        raise NotImplementedError

    @property
    def _largest_part(self) -> Any:
        """The prior or network that needs the most memory."""
        return self._part

    @property
    def _levels(self) -> int:
        return 1

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
            prior=self._largest_part,
            dtype=self.dtype,
            batch=(self.batch_size or 1) * workers if on_cpu else 1,
            levels=self._levels,
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
        """Return the `~astro_massmap.inference.Plan` of a run on this observation, which is common to all samples."""
        raise NotImplementedError

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
        diagnostics = {"prior": text_of(self._part), "memory": estimate.bytes}
        diagnostics |= run_diagnostics(plan, observation, records)
        if self._checked(plan):
            diagnostics["gaussian_check"] = self_check(plan, self.seed, self.n_check, n_jobs)
        return Estimate(
            mean,
            std if len(samples) > 1 else _gaussian_std(plan, self.seed, n_jobs),
            samples=samples,
            diagnostics=diagnostics,
        )

    def _decisive(self, plan: Plan) -> dict[str, Any]:
        """Return the settings on which the samples depend, as text; those of other objects by their results."""
        undecisive = ("checkpoint", "n_check", "n_jobs", "n_samples", "prior", "network", "fallback")
        settings = {f.name: repr(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name not in undecisive}
        if plan.observation.frozen is not None:
            settings["reduced_shear"] = repr(True)
        return settings | {"prior": [f"{p:.3e}" for p in self._effect(plan)]}

    def _effect(self, plan: Plan) -> list[float]:
        """Return the power of a fixed map and of what the prior or network makes of it."""
        raise NotImplementedError

    def _checked(self, plan: Plan) -> bool:
        """Return whether the Gaussian self-check is made."""
        return self.n_check > 0


def fixed_map(plan: Plan) -> torch.Tensor:
    """Return modes ``(1, ny, nx // 2 + 1)`` of a map with the power of the prior, the same in every run."""
    white = Streams(0, [0]).normal(*plan.grid.box_shape, dtype=plan.grid.dtype).to(plan.grid.device)
    return plan.prior.variance.sqrt() * plan.grid.to_modes(white)


def mean_power(*modes: torch.Tensor) -> list[float]:
    """Return the mean square of modes."""
    return torch.cat([m.abs().square().mean(dim=(-2, -1)) for m in modes]).tolist()


def _gaussian_std(plan: Plan, seed: int, n_jobs: int) -> np.ndarray:
    """Return the Gaussian standard deviation from coarse draws, correct to a few per cent, for a single sample."""
    posterior = plan.posterior()

    def square_shift(i: int) -> torch.Tensor:
        return posterior.draw(plan.streams(seed, [i]), _COARSE)[1][0].square()

    square = sum(side_by_side(square_shift, range(_STD_DRAWS), n_jobs))
    return posterior.variance(square / _STD_DRAWS).sqrt().cpu().numpy()
