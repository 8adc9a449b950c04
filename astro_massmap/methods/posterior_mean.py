"""Posterior mean in one step: the Wiener filter, corrected by a network."""

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch

from .._utils.checks import check_integer
from ..inference import GaussianPosterior, Observation, model_fit, pick_device, posterior_shape, residual_power
from ..priors import PosteriorNetwork
from .base import Estimate, check_dtype, check_padding, check_tolerance, warn_of_fit
from .posterior_diffusion import check_network

_COARSE = 1e-2  # relative residual of the draw of the Gaussian posterior that is compared with the data


@dataclass(frozen=True)
class PosteriorMean:
    """
    Mean and standard deviation of the posterior by a trained network, without samples.

    The exact Wiener filter of the data is corrected by a network that has learned from mock surveys the mean of
    the convergence given shear, noise and mask (DeepMass, Jeffrey et al. 2020), and the variance about it (moment
    networks, Jeffrey & Wandelt 2020). It takes about as long as the Wiener filter. Its moments are those of single
    pixels: for probabilities of larger regions, use the samples of `~astro_massmap.AnnealedHMC`.

    Parameters
    ----------
    network : `~astro_massmap.priors.PosteriorNetwork`, optional
        Network; by default that of the package, ``PosteriorNetwork.load("default")``.
    padding, tolerance, max_iterations, dtype, device
        As for `~astro_massmap.Wiener`.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Notes
    -----
    The network was trained on shear. Applied to a noisy map of the convergence it is better than the Wiener filter
    where there are data too, but not in the gaps (by 1 % worse on the one field that was tested).

    ``diagnostics["fit"]`` compares the data with noise and Gaussian component by one draw of the Gaussian posterior; it
    does not test the network.

    Examples
    --------
    >>> from astro_massmap import PosteriorMean, datasets
    >>> kappa = datasets.demo().reconstruct(PosteriorMean(), progress=False)
    >>> kappa.samples is None, bool((kappa.uncertainty.array > 0).all())
    (True, True)
    """

    network: PosteriorNetwork | None = None
    _: KW_ONLY
    padding: float = 2.0
    tolerance: float = 1e-5
    max_iterations: int = 500
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        check_network(self.network)
        check_integer(self.max_iterations, "max_iterations", 1)
        check_tolerance(self.tolerance)
        check_padding(self.padding)
        check_dtype(self.dtype)
        pick_device(self.device)

    def solve(self, observation: Observation, *, progress: bool = False) -> Estimate:
        """
        Map one observation, see `Method.solve <astro_massmap.methods.Method.solve>`; ``progress`` has no effect.

        Raises
        ------
        ValueError
            If pixels, noise or spectrum are not those that the network was trained for;
            `~astro_massmap.inference.SolverError`, a ValueError, if the Wiener filter does not reach the
            tolerance.
        """
        posterior, modes, estimate = self._solved(observation)
        draw = modes + posterior.fluctuations(observation.streams(0, [0], device=posterior.grid.device), _COARSE)
        fit = model_fit(posterior, observation, *residual_power(posterior, draw), gaussian=False)
        estimate.diagnostics["fit"] = fit
        warn_of_fit(fit)
        return estimate

    def moments(self, observation: Observation) -> Estimate:
        """Return the result of `solve` without ``diagnostics["fit"]`` and its warnings; the errors are the same."""
        return self._solved(observation)[-1]

    def _solved(self, observation: Observation) -> tuple[GaussianPosterior, torch.Tensor, Estimate]:
        network = PosteriorNetwork.load("default") if self.network is None else self.network
        posterior = GaussianPosterior(
            observation,
            network.theory,
            posterior_shape(observation.shape, self.padding),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            dtype=check_dtype(self.dtype),
            device=pick_device(self.device),
        )
        grid = posterior.grid
        on_grid, modes = network.on(grid, posterior.weight), posterior.mean_modes()
        total = posterior.operator.adjoint(posterior.weight * posterior.shear)
        added, std = on_grid.moments(total[None], modes[None])
        mean = grid.to_field(modes) + added
        diagnostics = {
            "device": str(grid.device),
            "box": list(grid.box_shape),
            "iterations": posterior.iterations,
            "residual": posterior.residual,
            "network": repr(network),
            "spectrum": network.theory.name,
        }
        return posterior, modes, Estimate(mean.cpu().numpy(), std.to(grid.dtype).cpu().numpy(), diagnostics=diagnostics)
