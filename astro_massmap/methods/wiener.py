"""The exact Gaussian posterior: the Wiener filter, its error, and constrained realisations."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Literal

import torch
from tqdm.auto import tqdm

from .._checks import check_integer, check_spectrum
from ..inference import GaussianPosterior, Observation, Streams, padded_shape, pick_device
from ..spectrum import PowerSpectrum
from ._memory import check_memory, needed_memory
from .base import Estimate, check_dtype, check_padding, check_tolerance, in_batches

# At least so many draws tell the standard deviation, to about 4 %; for nothing else they may be coarse.
_MIN_DRAWS = 16
_COARSE = 1e-2
_BATCH_ON_GPU = 16


@dataclass(frozen=True)
class Wiener:
    """
    The posterior of a Gaussian random field, exact for masks and for noise that varies.

    The mean is the Wiener filter of the shear; samples are constrained realisations (Hoffman & Ribak
    1991): equally likely maps with the power of the prior that agree with the data as well as their
    noise allows. Both solve linear systems by preconditioned conjugate gradients.

    The standard deviation is that of the posterior too. Most of it is known in closed form, the rest is
    estimated from the samples (from 16 draws if there are fewer): its error is about 4 % for 16 and
    2 % for 64 of them.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`, optional
        Prior power spectrum of the convergence; by default that of sources at redshift 1.
    n_samples : int
        How many samples to draw; with 0 there is only the mean and its standard deviation.
    seed : int
        Seed of the samples. Sample i is the same whatever ``n_samples`` is.
    padding : float
        Side of the periodic box, in sides of the field. Structure beyond the field is inferred too;
        below 1.5 it wraps around and large scales look too certain.
    tolerance : float
        Relative residual at which a system is solved.
    max_iterations : int
        Iterations after which it is an error not to have solved it.
    dtype : {'float32', 'float64'}
        Precision of the numbers.
    device : str
        ``"auto"`` (CUDA where there is one), or what torch calls a device.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range; `~astro_massmap.inference.ConvergenceError`, a ValueError, when a
        system cannot be solved to the tolerance.

    Notes
    -----
    Where the data are far more precise than the prior is wide (noise per pixel of 1e-3 say), single
    precision may not reach the tolerance: use ``dtype="float64"``.

    Examples
    --------
    >>> from astro_massmap import PowerSpectrum, Wiener, datasets
    >>> method = Wiener(PowerSpectrum.default(), n_samples=0)
    >>> kappa = datasets.demo().reconstruct(method, progress=False)
    >>> kappa.diagnostics["residual"] < 1e-5
    True
    """

    spectrum: PowerSpectrum | None = None
    _: KW_ONLY
    n_samples: int = 64
    seed: int = 0
    padding: float = 2.0
    tolerance: float = 1e-5
    max_iterations: int = 500
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.spectrum is not None:
            check_spectrum(self.spectrum)
        check_integer(self.n_samples, "n_samples", 0)
        check_integer(self.seed, "seed", 0)
        check_integer(self.max_iterations, "max_iterations", 1)
        check_tolerance(self.tolerance)
        check_padding(self.padding)
        check_dtype(self.dtype)
        pick_device(self.device)

    def solve(self, observation: Observation, *, progress: bool = False) -> Estimate:
        """
        Map one observation.

        Parameters
        ----------
        observation : `~astro_massmap.inference.Observation`
            Shear and noise.
        progress : bool
            Show a progress bar.

        Returns
        -------
        Estimate

        Raises
        ------
        ValueError
            If the memory does not suffice; `~astro_massmap.inference.ConvergenceError`, a ValueError, if a system
            cannot be solved to the tolerance.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import Wiener
        >>> from astro_massmap.inference import Observation
        >>> observation = Observation.from_arrays(np.zeros((2, 16, 16)), np.full((16, 16), 0.1), 1.2e-4)
        >>> estimate = Wiener(n_samples=2).solve(observation)
        >>> float(np.abs(estimate.mean).max()), estimate.samples.shape
        (0.0, (2, 16, 16))
        """
        device = pick_device(self.device)
        needs = needed_memory(observation.shape, self.padding, dtype=self.dtype, samples=self.n_samples)
        check_memory(needs, device)
        spectrum = PowerSpectrum.default() if self.spectrum is None else self.spectrum
        posterior = GaussianPosterior(
            observation,
            spectrum,
            padded_shape(observation.shape, self.padding),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            dtype=check_dtype(self.dtype),
            device=device,
        )
        mean = posterior.grid.to_field(posterior.mean_modes())
        square_shift = torch.zeros_like(mean)
        samples = torch.empty((self.n_samples, *observation.shape), dtype=mean.dtype, device="cpu")
        # On a CPU one map at a time is fastest: it stays in the cache.
        batch = 1 if device.type == "cpu" else _BATCH_ON_GPU
        n_draws = max(self.n_samples, _MIN_DRAWS)

        def draw(indices: Sequence[int], tolerance: float | None = None) -> None:
            modes, shifts = posterior.draw(Streams(self.seed, indices, device=device), tolerance)
            maps = (mean + posterior.grid.to_field(modes)).cpu()
            square_shift.add_(shifts.square().sum(dim=0))
            if indices[0] < self.n_samples:
                samples[indices[0] : indices[-1] + 1] = maps

        with tqdm(total=n_draws, desc="Wiener draws", unit="map", disable=not progress) as bar:
            in_batches(draw, range(self.n_samples), batch, on_done=bar.update)
            coarse = partial(draw, tolerance=max(_COARSE, self.tolerance))
            iterations, residual = posterior.iterations, posterior.residual
            in_batches(coarse, range(self.n_samples, n_draws), batch, on_done=bar.update)
        return Estimate(
            mean.cpu().numpy(),
            posterior.variance(square_shift / n_draws).sqrt().cpu().numpy(),
            samples=samples.numpy() if self.n_samples else None,
            diagnostics={
                "device": str(device),
                "box": list(posterior.grid.box_shape),
                "iterations": iterations,
                "residual": residual,
                "uncertainty_draws": n_draws,
                "spectrum": getattr(spectrum, "name", repr(spectrum)),
            },
        )


class ExpectedShear:
    """
    The shear that a Wiener filter with the default spectrum expects of the E mode, also where there are no data.

    Parameters
    ----------
    observation : `~astro_massmap.inference.Observation`
        Its noise is that of all the observations which follow.
    padding : float
        Side of the periodic box, in sides of the field.
    """

    def __init__(self, observation: Observation, padding: float) -> None:
        box = padded_shape(observation.shape, padding)
        # it is the same for all maps that are compared: it need not be right to the last digit
        self._posterior = GaussianPosterior(observation, PowerSpectrum.default(), box, tolerance=1e-3)

    def taken_from(self, observation: Observation) -> Observation:
        """What is left of an observation without it."""
        p = self._posterior
        modes = p.solve(p.operator.adjoint(p.weight * p.grid.real(observation.shear))[None])[0]
        return replace(observation, shear=observation.shear - p.operator.forward(modes).to(observation.shear.dtype))
