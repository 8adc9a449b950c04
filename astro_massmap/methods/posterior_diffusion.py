"""Posterior samples without chains: the reverse diffusion of the posterior by a trained network."""

import dataclasses
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from .._utils.checks import check_integer, is_object_with
from .._utils.content import text_of
from .._utils.progress import warn
from ..analysis.statements import PEAK
from ..inference import DiffusionPlan, Observation, Plan, pick_device, posterior_shape
from ..priors import PosteriorNetwork, ScorePrior
from .annealed_hmc import AnnealedHMC
from .base import Estimate, check_dtype
from .sampled import SampledMethod, fixed_map, mean_power


@dataclass(frozen=True)
class PosteriorDiffusion(SampledMethod):
    """
    Independent samples of the posterior in some 25 evaluations of a network.

    The network has learned the mean of the convergence given data and a noisy map, at every noise level of the map. A
    sample begins with an exact draw of the Gaussian posterior plus strong noise, and the noise is removed in steps. It
    takes about half of the time of the chains of `~astro_massmap.AnnealedHMC`, whose likelihood is exact: here the
    network has learned it together with the prior. For structures beyond those of its training, as a cluster in a
    random field, samples may be wrong, see :doc:`/samplers`.

    Parameters
    ----------
    network : `~astro_massmap.priors.PosteriorNetwork`, optional
        Network; by default that of the package, ``PosteriorNetwork.load("default")``.
    steps : int
        Number of steps, each with one evaluation of the network.
    fallback : {'annealed_hmc', None}
        Method that replaces the samples, with a warning, if the data contain a structure that they lack: a peak of
        their residuals above 5.5 standard deviations, see `~astro_massmap.inference.residual_peak`. With None there is
        the warning alone.
    n_samples, seed, padding, tolerance, max_iterations, dtype, device
        As for `~astro_massmap.AnnealedHMC`; the relative residual in a step is at most 1e-3.
    batch_size, n_jobs, checkpoint, n_check
        As for `~astro_massmap.AnnealedHMC`. The checkpoint of the fallback has ``_chains`` added to the name of the
        file.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Examples
    --------
    >>> from astro_massmap import PosteriorDiffusion, datasets
    >>> kappa = datasets.demo().reconstruct(PosteriorDiffusion(n_samples=2, steps=4, n_check=0), progress=False)
    >>> kappa.samples.shape, kappa.diagnostics["score_evaluations"]
    ((2, 128, 128), 4)
    """

    FAILURE: ClassVar = "network", "sample", "the network is inaccurate for these data"

    network: PosteriorNetwork | None = None
    _: KW_ONLY
    steps: int = 25
    fallback: Literal["annealed_hmc"] | None = "annealed_hmc"

    def __post_init__(self) -> None:
        check_network(self.network)
        check_integer(self.steps, "steps", 1)
        if self.fallback not in (None, "annealed_hmc"):
            raise ValueError(f"fallback: needs 'annealed_hmc' or None, got {self.fallback!r}")
        super().__post_init__()

    @property
    def _part(self) -> PosteriorNetwork:
        return PosteriorNetwork.load("default") if self.network is None else self.network

    def prepare(self, observation: Observation) -> Plan:
        """
        Return the `~astro_massmap.inference.Plan` of a run on this observation, which is common to all samples.

        Raises
        ------
        ValueError
            If the pixels, the noise or the spectrum are not those that the network was trained for;
            `~astro_massmap.inference.SolverError`, a ValueError, if a linear system cannot be solved to the tolerance.
        """
        return DiffusionPlan(
            observation,
            self._part,
            self.steps,
            posterior_shape(observation.shape, self.padding),
            dtype=check_dtype(self.dtype),
            device=pick_device(self.device),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )

    def solve(self, observation: Observation, **options: Any) -> Estimate:
        """
        Map one observation; parameters and errors as for
        `SampledMethod.solve <astro_massmap.methods.SampledMethod.solve>`.

        ``diagnostics["fallback"]`` is the name of the method that replaced the samples, or None.
        """
        estimate = super().solve(observation, **options)
        estimate.diagnostics["fallback"] = None
        if self.fallback is None or (estimate.diagnostics["fit"]["residual_peak"] or 0) <= PEAK:
            return estimate
        warn("fallback: the network was not trained for such structures; the samples are drawn again by annealed_hmc")
        try:
            estimate = self._chains.solve(observation, **options)
        except ValueError as error:  # the samples of the diffusion are kept
            warn(f"fallback: annealed_hmc failed: {error}; the map is that of the network, and may be wrong")
            return estimate
        estimate.diagnostics["fallback"] = "annealed_hmc"
        return estimate

    @property
    def _chains(self) -> AnnealedHMC:
        """The chains with the prior of the same spectrum and kind of fields."""
        prior = dataclasses.replace(ScorePrior.load("default", field=self._part.kind), spectrum=self._part.theory)
        common = {f.name: getattr(self, f.name) for f in dataclasses.fields(SampledMethod)}
        if self.checkpoint is not None:
            path = Path(self.checkpoint)
            common["checkpoint"] = path.with_name(path.stem + "_chains" + path.suffix)
        return AnnealedHMC(prior, **common)

    def _effect(self, plan: Plan) -> list[float]:
        modes = fixed_map(plan)
        return mean_power(modes, plan.prior.contribution(modes, modes, plan.targets[-1].sigma))


def check_network(network: object) -> None:
    """Raise TypeError unless ``network`` is None or an object such as `~astro_massmap.priors.PosteriorNetwork`."""
    if network is not None and not is_object_with(network, "on"):
        raise TypeError(
            f"network: needs a PosteriorNetwork, such as PosteriorNetwork.load('default'), got {text_of(network)}"
        )
