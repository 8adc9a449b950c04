"""Chains of a map and its power spectrum: a run of `~astro_massmap.Wiener` with an inferred spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._utils.progress import progress_bar
from ..inference import (
    GaussianPosterior,
    Observation,
    SpectrumGibbs,
    model_fit,
    reduced_shear_log_weight,
    residual_power,
    side_by_side,
)
from ._spectrum_summary import mixing, summary, warn_of_spectrum
from .base import Estimate, in_batches, warn_of_fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .wiener import Wiener

_MEANS = 16  # spectra whose Wiener filters are averaged


def infer(
    method: Wiener, observation: Observation, posterior: GaussianPosterior, workers: int, progress: bool
) -> Estimate:
    """Return the `Estimate` of a method with an `InferredSpectrum`; ``posterior`` is that of its reference."""
    chosen: Any = method.spectrum
    bands = chosen.on(posterior)
    gibbs = SpectrumGibbs(posterior, bands, limits=chosen.limits, k=chosen.POWERS[chosen.prior])
    chains = _Chains(method, observation, gibbs)
    chains.run(workers, progress)
    found = summary(bands, posterior, chosen.theory, chains.in_order()) | mixing([np.log(a) for a in chains.amplitudes])
    found |= {name: getattr(chosen, name) for name in ("prior", "n_chains", "burn_in", "thin")} | {
        "limits": [*chosen.limits]
    }
    warn_of_spectrum(found)
    median = gibbs.given(np.array(found["amplitude"]))
    fit = model_fit(median, observation, *torch.cat(chains.chi2, dim=1)[:2].tolist())
    warn_of_fit(fit)
    mean = chains.mean()
    return Estimate(
        mean.cpu().numpy(),
        chains.std(mean).cpu().numpy(),
        samples=chains.samples.numpy(),
        diagnostics={
            "device": str(posterior.grid.device),
            "box": list(posterior.grid.box_shape),
            "iterations": gibbs.iterations,
            "residual": gibbs.residual,
            "spectrum": chosen.name,
            "spectrum_posterior": found,
            "fit": fit,
            **chains.scatter(),
        },
    )


class _Chains:
    """Chains of a Gibbs sampler, and their sums for mean and standard deviation of the map."""

    def __init__(self, method: Wiener, observation: Observation, gibbs: SpectrumGibbs) -> None:
        self._method, self._observation, self._gibbs = method, observation, gibbs
        spectrum: Any = method.spectrum
        self._spectrum, self._grid = spectrum, gibbs.posterior.grid
        self.n, self._n_chains = method.n_samples, min(spectrum.n_chains, method.n_samples)
        self.samples = torch.empty((self.n, *observation.shape), dtype=self._grid.dtype, device="cpu")
        self.amplitudes: list[np.ndarray] = []
        self.chi2: list[torch.Tensor] = []
        self._sums: list[torch.Tensor] = []  # of means and of their squares, given completed data
        self._variance = 0.0

    def run(self, workers: int, progress: bool) -> None:
        indices = range(self._n_chains)
        total = self.n * self._spectrum.thin + self._n_chains * self._spectrum.burn_in
        title = "Gibbs steps of map and spectrum"
        with progress_bar(total=total, desc=title, unit="step", disable=not progress) as bar:
            if self._grid.device.type != "cpu":
                in_batches(lambda i: self._keep(self._chains(i, bar)), indices, self._n_chains)
            else:
                for done in side_by_side(lambda i: self._chains([i], bar), indices, workers):
                    self._keep(done)

    def _chains(self, indices: Sequence[int], bar: Any) -> tuple[Any, ...]:
        """Run some chains side by side; the last ones may have one sample less."""
        spectrum, gibbs, grid = self._spectrum, self._gibbs, self._grid
        streams = self._observation.streams(self._method.seed, indices, device=grid.device)
        start = np.stack([streams.uniform().cpu().numpy() for _ in range(gibbs.bands.n)], axis=1)
        amplitudes = np.exp(2 * start - 1).clip(*spectrum.limits)  # within a factor e of the reference
        lengths = [len(range(i, self.n, self._n_chains)) for i in indices]
        kept: list[np.ndarray] = []
        sums = torch.zeros((2, *grid.field_shape), dtype=grid.sum_dtype, device=grid.device)
        chi2, variance = [], 0.0

        def advance(n: int) -> Any:
            nonlocal amplitudes
            for _ in range(n):
                state = gibbs.step(streams, amplitudes)
                amplitudes = state.amplitudes
                bar.update(len(indices))
            return state

        if spectrum.burn_in:
            advance(spectrum.burn_in)
        for k in range(max(lengths)):
            state = advance(spectrum.thin)
            alive = sum(length > k for length in lengths)
            kept.append(amplitudes)
            maps, mean = grid.to_field(state.modes[:alive]), grid.to_field(state.mean[:alive]).to(grid.sum_dtype)
            for i, image in zip(indices, maps, strict=False):
                self.samples[i + k * self._n_chains] = image.cpu()
            sums += torch.stack([mean.sum(dim=0), mean.square().sum(dim=0)])
            variance += float(state.variance[:alive].sum())
            chi2.append(self._fit(state.modes, streams.normal(2, dtype=grid.dtype))[:, :alive])
        stacked = np.stack(kept)
        return [stacked[:length, j] for j, length in enumerate(lengths)], torch.cat(chi2, dim=1), sums, variance

    def _fit(self, modes: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
        posterior = self._gibbs.posterior.without_uniform_shear(modes, white)
        rows = [*residual_power(posterior, modes)]
        if self._observation.frozen is not None:
            rows.append(reduced_shear_log_weight(posterior, self._observation, modes))
        return torch.stack(rows)

    def _keep(self, done: tuple[Any, ...]) -> None:
        amplitudes, chi2, sums, variance = done
        self.amplitudes.extend(amplitudes)
        self.chi2.append(chi2)
        self._sums.append(sums)
        self._variance += variance

    def in_order(self) -> np.ndarray:
        """Return the amplitudes in the order of the samples, ``(n_samples, bands)``."""
        turns = [(i % self._n_chains, i // self._n_chains) for i in range(self.n)]
        return np.stack([self.amplitudes[chain][step] for chain, step in turns])

    def mean(self) -> torch.Tensor:
        """Return the mean of the Wiener filters of some of the spectra, evenly spaced in the chains."""
        every = np.concatenate(self.amplitudes)
        chosen = every[np.unique(np.linspace(0, len(every) - 1, _MEANS).round().astype(int))]
        means = [self._grid.to_field(self._gibbs.given(a).mean_modes()) for a in chosen]
        return torch.stack(means).mean(dim=0)

    def std(self, mean: torch.Tensor) -> torch.Tensor:
        """Return the standard deviation by the law of total variance, given the completed data of each sample."""
        total, square = (sum(sums) / self.n for sums in zip(*self._sums, strict=True))
        mean = mean.to(self._grid.sum_dtype)
        variance = self._variance / self.n + (square - 2 * mean * total + mean.square()).clamp(min=0)
        return variance.sqrt().to(self._grid.dtype)

    def scatter(self) -> dict[str, float]:
        """Return the scatter of the log weights of the samples, if the data are reduced shear."""
        if self.n < 2 or self._observation.frozen is None:
            return {}
        return {"sd_log_weight": float(torch.cat(self.chi2, dim=1)[2].std())}
