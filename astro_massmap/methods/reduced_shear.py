"""
Reduced shear, for every method: an outer fixed point.

Galaxies measure the reduced shear ``y = gamma / (1 - kappa) + n`` (for sources of several efficiencies see
`Observation.reduction <astro_massmap.inference.Observation.reduction>`). For a fixed convergence k in the denominator,
``y (1 - k)`` is shear, with the noise ``n (1 - k)``: the problem that every method solves. A pilot, the method itself
or one that costs little, determines k in two iterations; the method then runs once. The error of k decreases by a
factor of about five in each iteration (Seitz & Schneider 1995, A&A 297, 287).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._utils.progress import warn, write_line
from ..inference import ConvergenceObservation, pick_device
from ..inference.observation import REDUCED
from ..priors import GaussianPrior, PosteriorNetwork, ScorePrior
from ._chains import draw_samples
from ._memory import check_memory
from ._workers import RunContext
from .annealed_hmc import AnnealedHMC, network_of
from .base import Estimate
from .function import method_name
from .inferred_spectrum import InferredSpectrum
from .kaiser_squires import smoothed_inversion
from .posterior_diffusion import PosteriorDiffusion
from .posterior_mean import PosteriorMean
from .sources import changed
from .sparse import Sparse
from .wiener import Wiener

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from ..inference import Observation
    from .base import Method

__all__ = ["solve", "strength"]

SMOOTHING, PEAK, SIGNIFICANCE = np.deg2rad(0.5 / 60), 0.05, 5.0  # of the map that decides for "auto"
_ITERATIONS, NETWORK = 2, "the network of PosteriorMean"
_FRACTION, _FEWEST = 8, 2  # chains of a method for each chain of its pilot, and the fewest of the pilot
_NOT_CONVERGED, _SCATTER = 0.1, 1.0  # change of the convergence, and scatter of log weights, before a warning


def check_setting(reduced_shear: Any) -> None:
    """Raise ValueError unless ``reduced_shear`` is ``"auto"``, True or False."""
    if not (isinstance(reduced_shear, bool) or (isinstance(reduced_shear, str) and reduced_shear == "auto")):
        raise ValueError(f"reduced_shear: needs 'auto', True or False, got {reduced_shear!r}")


def strength(observation: Observation, device: str = "cpu") -> float:
    """
    Return the lower limit of the highest peak of the convergence, from which ``"auto"`` decides.

    It is the maximum over the pixels with data of ``kappa - 5 sigma``, for the Kaiser-Squires map with a smoothing of
    0.5 arcmin and the standard deviation sigma of its noise, times the efficiency of the sources. A Wiener filter is
    not useful for this: it biases peaks towards zero, at the core of a cluster by a factor of 4.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.inference import Observation
    >>> from astro_massmap.methods.reduced_shear import PEAK, strength
    >>> shear = datasets.demo().to_map()
    >>> strength(Observation.from_arrays(shear.data, shear.noise_std, np.deg2rad(0.4 / 60))) < PEAK
    True
    """
    kappa, std = smoothed_inversion(observation, SMOOTHING, 1.5, pick_device(device))
    low = (kappa - SIGNIFICANCE * std).cpu().double()
    return float((low * _efficiency(observation))[observation.observed].max())


def solve(
    method: Method,
    observation: Observation,
    reduced_shear: bool | str,
    *,
    progress: bool = False,
    executor: Executor | None = None,
    **options: Any,
) -> Estimate:
    """
    Run a method on data that may be reduced shear.

    Parameters
    ----------
    method, observation, progress, executor, **options
        Method, data, and arguments of its ``solve``.
    reduced_shear : {'auto', True, False}
        Treat the data as reduced shear. ``"auto"`` does so if `strength` exceeds 0.05: this is the case for halos of
        5e14 solar masses at 30 galaxies per square arcminute, but not for fields such as the demonstration or COSMOS.

    Returns
    -------
    Estimate
        Result, with ``diagnostics["reduced_shear"]``: ``setting``, ``applied`` and ``strength`` (None unless
        ``"auto"``). If it was applied, also ``pilot``, ``iterations``, ``last_change`` (largest change of the
        convergence that a further iteration would make), ``largest_kappa``, ``clipped`` and ``left_out`` (numbers of
        pixels with a convergence above 0.8, to which it is limited, and above 1, whose data are not used), and
        ``sd_log_weight``, the standard deviation of the logarithm of the importance weights of the samples under the
        exact likelihood. None for data that are a convergence.

    Raises
    ------
    ValueError
        If ``reduced_shear`` is another value, or True for data that are a convergence.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If the convergence of pixels exceeds 0.8, the iterations did not converge, or the log weights scatter by more
        than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import KaiserSquires
    >>> from astro_massmap.inference import Observation
    >>> from astro_massmap.methods.reduced_shear import solve
    >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
    >>> solve(KaiserSquires(), observation, True).diagnostics["reduced_shear"]["last_change"]
    0.0
    """
    check_setting(reduced_shear)
    if executor is not None:
        options["executor"] = executor
    is_shear = not isinstance(observation, ConvergenceObservation)
    found = strength(observation, getattr(method, "device", "cpu")) if reduced_shear == "auto" and is_shear else None
    applied = reduced_shear is True if found is None else found > PEAK
    if not applied:
        estimate = method.solve(observation, progress=progress, **options)
        record: dict[str, Any] = {"setting": reduced_shear, "applied": False, "strength": found}
        estimate.diagnostics["reduced_shear"] = record if is_shear else None
        return estimate
    if not is_shear:
        observation.unreduced(observation.shear)  # raises the error of data that are a convergence
    pilot = _pilot_of(method, observation, executor, progress)
    if progress:
        write_line(f"reduced shear: two iterations with {pilot.name}")
    kappa, blank = _iterated(pilot.solve, observation)
    changed = observation.unreduced(kappa, blank)
    estimate = method.solve(changed, progress=progress, **options)
    again, seen = pilot.again(estimate, changed), observation.observed
    record = {
        "setting": reduced_shear,
        "applied": True,
        "strength": found,
        "pilot": pilot.name,
        "iterations": _ITERATIONS,
        "last_change": float((observation.reduction(again) - observation.reduction(kappa))[seen].abs().max()),
        "largest_kappa": float(kappa[seen].max()),
        "clipped": int((kappa * _efficiency(observation) > REDUCED[1])[seen].sum()),
        "left_out": int(blank[seen].sum()),
        "sd_log_weight": estimate.diagnostics.pop("sd_log_weight", None),
    }
    estimate.diagnostics["reduced_shear"] = record
    _warn(record)
    return estimate


def _iterated(pilot: Callable[[Observation], Estimate], observation: Observation) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the convergence after two iterations, and pixels within critical curves, whose data are left out."""
    first = pilot(observation)
    kappa = _mean(first)
    low = kappa if first.std is None else kappa - 3 * torch.from_numpy(np.asarray(first.std)).double()
    blank = low * _efficiency(observation) > 1
    for _ in range(_ITERATIONS - 1):
        kappa = _mean(pilot(observation.unreduced(kappa, blank)))
    return kappa, blank


def _mean(estimate: Estimate | np.ndarray) -> torch.Tensor:
    mean = estimate.mean(axis=0) if isinstance(estimate, np.ndarray) else estimate.mean
    return torch.from_numpy(np.array(mean, dtype=np.float64))


def _efficiency(observation: Observation) -> torch.Tensor | float:
    return 1.0 if observation.efficiency is None else observation.efficiency[0]


def _warn(record: dict[str, Any]) -> None:
    if record["clipped"]:
        left = f", and the data of {record['left_out']} above 1 are not used" if record["left_out"] else ""
        warn(
            f"reduced_shear: the convergence of {record['clipped']} pixels exceeds {REDUCED[1]}, close to critical "
            f"curves, where it is limited to this value{left}; the convergence there is uncertain",
            stacklevel=5,
        )
    if record["last_change"] > _NOT_CONVERGED:
        warn(
            f"reduced_shear: a further iteration would change the convergence by up to {record['last_change']:.2f}; "
            "use larger pixels, or more smoothing",
            stacklevel=5,
        )
    if record["sd_log_weight"] is not None and record["sd_log_weight"] > _SCATTER:
        warn(
            f"reduced_shear: the log weights of the samples under the exact likelihood scatter by "
            f"{record['sd_log_weight']:.1f}: the posterior is approximate at the cores of the clusters",
            stacklevel=5,
        )


# ---- pilots


@dataclass(frozen=True)
class _Pilot:
    """Function that determines the convergence; it computes the mean of ``method`` itself if ``own`` is True."""

    name: str
    solve: Callable[[Observation], Estimate]
    own: bool = False
    chains: int = 0

    def again(self, estimate: Estimate, observation: Observation) -> torch.Tensor:
        """Return the convergence of a further iteration; ``estimate`` is that of the method on ``observation``."""
        if self.chains and estimate.samples is not None:  # the same random numbers as in the pilot
            return _mean(estimate.samples[: self.chains])
        return _mean(estimate if self.own else self.solve(observation))


def _pilot_of(method: Method, observation: Observation, executor: Executor | None, progress: bool) -> _Pilot:
    """
    Return the pilot of a method.

    It is the map alone for `Wiener` (of the reference spectrum if it infers one), `Sparse` and `PosteriorMean`, and
    that of its network for `PosteriorDiffusion`; for `AnnealedHMC` the Wiener filter if its prior is Gaussian, the
    network of `PosteriorMean` where it is valid, else an eighth of the chains; for others the method itself.
    """
    if isinstance(method, Wiener) and isinstance(method.spectrum, InferredSpectrum):
        filtered = changed(method, n_samples=0, uncertainty=False, spectrum=method.spectrum.reference)
        return _Pilot("the Wiener filter with the reference spectrum", filtered.solve)
    if isinstance(method, Wiener):
        return _Pilot("the Wiener filter", changed(method, n_samples=0, uncertainty=False).solve, own=True)
    if isinstance(method, Sparse):
        return _Pilot("the sparse map", changed(method, n_noise=0).solve, own=True)
    if isinstance(method, PosteriorMean):
        return _Pilot(NETWORK, method.moments, own=True)
    if not isinstance(method, AnnealedHMC | PosteriorDiffusion):
        return _Pilot(method_name(method), method.solve, own=True)
    names = "padding", "tolerance", "max_iterations", "dtype", "device"
    common = {name: getattr(method, name) for name in names}
    if isinstance(method, PosteriorDiffusion):
        return _Pilot(NETWORK, changed(PosteriorMean(method.network), **common).moments)
    prior = method._prior
    if isinstance(prior, GaussianPrior):
        wiener = changed(Wiener(n_samples=0, uncertainty=False), spectrum=prior.spectrum, **common)
        return _Pilot("the Wiener filter", wiener.solve)
    network = _network_for(prior, observation)
    if network is not None:
        return _Pilot(NETWORK, changed(PosteriorMean(network), **common).moments)
    n = min(max(method.n_samples // _FRACTION, _FEWEST), method.n_samples)
    return _Pilot(f"{n} chains", _chains(method, n, executor, progress), chains=n)


def _network_for(prior: Any, observation: Observation) -> PosteriorNetwork | None:
    """Return the shipped network for the spectrum of a prior, or None if it is not valid for the data."""
    if not isinstance(prior, ScorePrior) or prior.table is None:
        return None
    network = network_of(prior)
    noise = float(observation.noise_std[observation.observed].median())
    return None if network.fault(observation.pixel_size, noise) else network


def _chains(
    method: AnnealedHMC, n: int, executor: Executor | None, progress: bool
) -> Callable[[Observation], Estimate]:
    """Return the function that computes the mean of ``n`` chains, without checks and checkpoint."""
    few = changed(method, n_samples=n, n_check=0, checkpoint=None)

    def solve(observation: Observation) -> Estimate:
        n_jobs = few._workers(observation.shape) if executor is None else 1
        check_memory(few._memory_estimate(observation.shape, n_jobs), pick_device(few.device))
        workers = None if executor is None else (executor, RunContext(few, observation))
        samples, _ = draw_samples(few, few.prepare(observation), None, workers, n_jobs, progress)
        return Estimate(samples.mean(axis=0), None)

    return solve
