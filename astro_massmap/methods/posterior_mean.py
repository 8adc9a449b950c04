"""Posterior mean in one step: the Wiener filter, corrected by a network."""

from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from .._utils.checks import check_integer, is_object_with
from ..inference import (
    FourierGrid,
    GaussianPosterior,
    Observation,
    model_fit,
    pick_device,
    posterior_shape,
    residual_power,
)
from ..priors import MeanNetwork
from .annealed_hmc import check_pixel_size
from .base import Estimate, check_dtype, check_padding, check_tolerance, warn_of_fit

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
    network : `~astro_massmap.priors.MeanNetwork`, optional
        Network; by default that of the package, ``MeanNetwork.load("default")``.
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

    network: MeanNetwork | None = None
    _: KW_ONLY
    padding: float = 2.0
    tolerance: float = 1e-5
    max_iterations: int = 500
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.network is not None and not is_object_with(self.network, "moments"):
            raise TypeError(f"network: needs a MeanNetwork, such as MeanNetwork.load('default'), got {self.network!r}")
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
            If the pixels or the noise of the data are not those that the network was trained for;
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
        network = MeanNetwork.load("default") if self.network is None else self.network
        check_pixel_size(network, observation, "network", "another method, such as Wiener()")
        posterior = GaussianPosterior(
            observation,
            network.spectrum,
            posterior_shape(observation.shape, self.padding),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            dtype=check_dtype(self.dtype),
            device=pick_device(self.device),
        )
        grid = posterior.grid
        margins = [
            min(network.margin, (box - field) // 2) for box, field in zip(grid.box_shape, grid.field_shape, strict=True)
        ]
        modes = posterior.mean_modes()
        wiener = _with_margins(torch.fft.irfft2(modes, s=grid.box_shape, norm="ortho"), grid, margins)
        (y, x), (ny, nx) = margins, grid.field_shape
        noise_std = F.pad(grid.real(observation.noise_std), (x, x, y, y), value=torch.inf)
        mean, std = (image[y : y + ny, x : x + nx].cpu().numpy() for image in network.moments(wiener, noise_std))
        diagnostics = {
            "device": str(grid.device),
            "box": list(grid.box_shape),
            "iterations": posterior.iterations,
            "residual": posterior.residual,
            "network": repr(network),
            "spectrum": network.spectrum.name,
        }
        return posterior, modes, Estimate(mean, std, diagnostics=diagnostics)


def _with_margins(box: torch.Tensor, grid: FourierGrid, margins: list[int]) -> torch.Tensor:
    """Return the field, the first corner of the periodic box, with some pixels around it."""
    ends = (field + 2 * margin for field, margin in zip(grid.field_shape, margins, strict=True))
    return torch.roll(box, margins, (0, 1))[tuple(slice(end) for end in ends)]
