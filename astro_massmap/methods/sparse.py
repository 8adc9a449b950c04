"""Sparsity in wavelets, with or without a Gaussian component (GLIMPSE, MCALens)."""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Real
from typing import Literal

import numpy as np
import torch

from .._utils.checks import check_integer, check_spectrum
from .._utils.progress import progress_bar, warn
from ..inference import (
    GaussianPosterior,
    Observation,
    SparseModel,
    available_cores,
    pick_device,
    posterior_shape,
    side_by_side,
)
from ..inference.sparse import SparseFit
from ..theory.spectrum import PowerSpectrum
from ._memory import MemoryEstimate, check_memory, needed_memory, workers_that_fit
from .base import Estimate, check_dtype, check_padding, check_tolerance, in_batches

_MOCKS, _BATCH_ON_GPU = 8, 16  # number of mock data sets for the thresholds; realisations at a time on a GPU
_MOCK_ATTEMPT, _NOISE_ATTEMPT = 2**32 - 3, 2**32 - 4  # attempt numbers of their streams, which no chain has
_FIELDS = 18  # arrays of coefficients in memory for each map that is solved, as measured for one and two at a time
_SOLVED = 1e-4  # relative residual of the Wiener filter


@dataclass(frozen=True)
class Sparse:
    """
    Most probable map that is sparse in wavelets, by default on top of a Gaussian random field.

    The convergence is a Gaussian field plus a few positive B-splines of several scales: the Wiener filter for the
    large-scale structure, and peaks where their signal-to-noise ratio exceeds a threshold, determined together as in
    MCALens (Starck et al. 2021). With ``gaussian=False`` the map is sparse alone, as in GLIMPSE (Leonard et al. 2014;
    Lanusse et al. 2016). Masks and the noise map are exact. Nothing is adjusted by hand: the thresholds come from the
    noise of the data.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`, optional
        Power spectrum of the Gaussian component; by default that of sources at redshift 1.
    gaussian : bool
        Gaussian component; False for the sparse component alone, which is more biased to zero and less accurate on
        mock surveys.
    n_sigma : float
        Threshold of each coefficient in standard deviations: of the noise and, with a Gaussian component, of what it
        does not explain.
    positive : bool, optional
        Positive coefficients only, for halos; by default with a Gaussian component, which describes the voids.
    n_scales : int, optional
        Number of B-splines of each pixel, with standard deviations of about 1, 2.2, 4.6, 9.2 and 18 pixels, and so on;
        by default 5 with a Gaussian component, which describes larger scales, and 7 without; fewer in small fields,
        for B-splines of at most twice the smaller side.
    n_noise : int
        Number of noise realisations for the standard deviation of the map; 0 for the map alone.
    seed : int
        Seed of the realisations.
    tolerance, max_iterations : float, int
        Duality gap, divided by the objective, at which the map counts as solved, and the largest number of iterations.
    padding, dtype, device, n_jobs
        As for `~astro_massmap.Wiener`.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        If ``max_iterations`` do not suffice.

    Notes
    -----
    The map is a point estimate, the maximum of a posterior. The standard deviation is the scatter of the map under
    noise: of maps of ``n_noise`` data sets with the map as the truth and other noise, in each pixel with a relative
    error of 18 % for 16 of them. It is **not** that of a posterior: it does not contain the bias of the map, nor
    structure that the data do not show, and is therefore smaller than the error. In gaps, and where a sparse map is
    zero, it is close to 0. For credible intervals use `~astro_massmap.Wiener` or `~astro_massmap.AnnealedHMC`.

    `~astro_massmap.inference.SparseModel` has the formulas.

    References
    ----------
    Leonard, A., Lanusse, F., & Starck, J.-L. 2014, MNRAS, 440, 1281; Lanusse, F., et al. 2016, A&A, 591, A2;
    Starck, J.-L., et al. 2021, A&A, 649, A99.

    Examples
    --------
    >>> from astro_massmap import Sparse, datasets
    >>> kappa = datasets.demo().reconstruct(Sparse(n_noise=0), progress=False)
    >>> 0 < kappa.diagnostics["coefficients"] < 100  # different from zero, of 80,000
    True
    """

    spectrum: PowerSpectrum | None = None
    _: KW_ONLY
    gaussian: bool = True
    n_sigma: float = 3.0
    positive: bool | None = None
    n_scales: int | None = None
    n_noise: int = 16
    seed: int = 0
    padding: float = 2.0
    tolerance: float = 0.01
    max_iterations: int = 500
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "auto"
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.gaussian, bool):
            raise TypeError(f"gaussian: needs to be True or False, got {self.gaussian!r}")
        if not isinstance(self.positive, bool | None):
            raise TypeError(f"positive: needs to be True, False or None, got {self.positive!r}")
        if self.spectrum is not None:
            check_spectrum(self.spectrum)
            if not self.gaussian:
                raise ValueError("spectrum: not used with gaussian=False, the sparse component alone")
        if not (isinstance(self.n_sigma, Real) and 0 < self.n_sigma < 100):
            raise ValueError(f"n_sigma: needs a number of standard deviations between 0 and 100, got {self.n_sigma!r}")
        if self.n_scales is not None:
            check_integer(self.n_scales, "n_scales", 1)
        for name, least in (("n_noise", 0), ("seed", 0), ("max_iterations", 1)):
            check_integer(getattr(self, name), name, least)
        if self.n_noise == 1:
            raise ValueError("n_noise: needs at least 2 realisations for a standard deviation, or 0, got 1")
        if self.n_jobs is not None:
            check_integer(self.n_jobs, "n_jobs", 1)
        check_tolerance(self.tolerance)
        check_padding(self.padding)
        check_dtype(self.dtype)
        pick_device(self.device)

    def solve(self, observation: Observation, *, progress: bool = False) -> Estimate:
        """Map one observation, see `Method.solve <astro_massmap.methods.Method.solve>`."""
        device, workers = pick_device(self.device), self._workers(observation.shape)
        check_memory(self._memory_estimate(observation.shape, workers), device)
        model = self._model(observation)
        posterior = model.posterior
        fit = self._fit(model, posterior.shear[None])
        fit = fit._replace(modes=model.wiener(posterior.shear[None], fit.coefficients))
        kappa, gap = model.total_map(fit)[0], float(fit.gap[-1])
        if gap > self.tolerance:
            warn(
                f"max_iterations: the duality gap is {gap:.2g} of the objective after {fit.iterations} iterations, the "
                f"tolerance is {self.tolerance:.2g}; raise one of them"
            )
        std = self._std(observation, model, fit, workers, progress) if self.n_noise else None
        return Estimate(
            kappa.cpu().numpy(),
            std,
            diagnostics={
                "device": str(device),
                "box": list(posterior.grid.box_shape),
                "iterations": fit.iterations,
                "objective": [float(value) for value in fit.objective],
                "duality_gap": gap,
                "coefficients": int((fit.coefficients != 0).sum()),
                "coefficients_by_scale": (fit.coefficients != 0).sum(dim=(0, 2, 3)).tolist(),
                "threshold_factor": model.noise_ratio.tolist(),
                "sparse_fraction": _fraction(model.sparse_map(fit)[0], kappa),
                "noise_realisations": self.n_noise,
            }
            | ({"spectrum": getattr(self._spectrum, "name", repr(self._spectrum))} if self.gaussian else {}),
        )

    def _scales(self, shape: tuple[int, int]) -> int:
        if self.n_scales is not None:
            return self.n_scales
        # the B-spline of scale j has 2^(j + 2) - 3 pixels on a side
        return max(min(5 if self.gaussian else 7, int(math.log2(2 * min(shape) + 3)) - 2), 1)

    @property
    def _spectrum(self) -> PowerSpectrum:
        return PowerSpectrum.default() if self.spectrum is None else self.spectrum

    def _model(self, observation: Observation) -> SparseModel:
        device = pick_device(self.device)
        posterior = GaussianPosterior(
            observation,
            self._spectrum,
            posterior_shape(observation.shape, self.padding),
            tolerance=_SOLVED,
            dtype=check_dtype(self.dtype),
            device=device,
        )
        at_once = 1 if device.type == "cpu" else _MOCKS
        batches = [range(i, i + at_once) for i in range(0, _MOCKS, at_once)]
        return SparseModel(
            posterior,
            self._scales(observation.shape),
            self.n_sigma,
            gaussian=self.gaussian,
            positive=self.gaussian if self.positive is None else self.positive,
            mocks=[observation.streams(0, batch, attempt=_MOCK_ATTEMPT, device=device) for batch in batches],
        )

    def _fit(self, model: SparseModel, shear: torch.Tensor) -> SparseFit:
        return model.fit(shear, tolerance=self.tolerance, max_iterations=self.max_iterations)

    def _std(
        self, observation: Observation, model: SparseModel, fit: SparseFit, workers: int, progress: bool
    ) -> np.ndarray:
        """Return the scatter of the maps of data with the same map and other noise."""
        posterior, device = model.posterior, model.posterior.grid.device
        clean = posterior.operator.forward(posterior.grid.to_modes(model.total_map(fit)))
        maps: list[torch.Tensor] = []

        def mapped(indices: Sequence[int]) -> torch.Tensor:
            streams = observation.streams(self.seed, indices, attempt=_NOISE_ATTEMPT, device=device)
            return model.total_map(self._fit(model, clean + model.noise(streams)))

        with progress_bar(total=self.n_noise, desc="noise realisations", unit="map", disable=not progress) as bar:
            if device.type != "cpu":
                in_batches(lambda i: maps.append(mapped(i)), range(self.n_noise), _BATCH_ON_GPU, on_done=bar.update)
            else:
                for drawn in side_by_side(mapped, [[i] for i in range(self.n_noise)], workers):
                    maps.append(drawn)
                    bar.update()
        return torch.cat(maps).std(dim=0).cpu().numpy()

    def _memory_estimate(self, shape: tuple[int, int], workers: int) -> MemoryEstimate:
        needed = needed_memory(shape, self.padding, dtype=self.dtype, batch=workers)
        coefficients = self._scales(shape) * shape[0] * shape[1] * check_dtype(self.dtype).itemsize
        return replace(needed, bytes=needed.bytes + workers * _FIELDS * coefficients)

    def _workers(self, shape: tuple[int, int]) -> int:
        """Return the number of realisations at a time: on a CPU ``n_jobs``, or as many as cores and memory allow."""
        if pick_device(self.device).type != "cpu":
            return min(max(self.n_noise, 1), _BATCH_ON_GPU)
        most = max(self.n_noise, 1)
        if self.n_jobs is not None:
            return min(self.n_jobs, most)
        return workers_that_fit(lambda workers: self._memory_estimate(shape, workers), min(available_cores(), most))


def _fraction(part: torch.Tensor, total: torch.Tensor) -> float:
    """Return the standard deviation of a part of the map, divided by that of the map."""
    return float(part.std() / total.std().clamp(min=torch.finfo(total.dtype).tiny))
