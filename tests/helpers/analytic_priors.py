"""Non-Gaussian priors with exactly known scores and densities."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from astro_massmap import PowerSpectrum
from astro_massmap.inference import GaussianPosterior
from astro_massmap.priors import PriorOnGrid


@dataclass(frozen=True)
class MixturePrior:
    """
    A Gaussian random field around one of several mean maps, for example with and without a cluster.

    The density is ``sum_k w_k N(x; mu_k, S)``; convolution with white noise replaces S by ``S + sigma^2``, so that the
    score is exact at every noise level.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the fluctuations.
    means : ndarray
        Mean maps ``(k, rows, columns)``, in the first corner of the box.
    weights : sequence of float
        Probabilities of the mean maps, with a sum of 1.
    """

    spectrum: PowerSpectrum
    means: np.ndarray
    weights: tuple
    pixel_size = None

    def on(self, grid):
        return _MixtureOnGrid(grid, self)


class _MixtureOnGrid(PriorOnGrid):
    gaussian = False

    def __init__(self, grid, prior):
        super().__init__(grid, prior.spectrum)
        self.means = grid.to_modes(grid.real(torch.from_numpy(np.array(prior.means, dtype=np.float64))))
        self.log_weights = torch.log(torch.tensor(prior.weights, dtype=torch.float64, device=grid.device))

    def component_log_odds(self, modes, sigma):
        """Log weights of the components given x relative to the Gaussian component, ``(n, k)``."""
        filtered = self.means / (self.variance + sigma**2)
        linear = torch.stack([self.grid.inner(modes, f) for f in filtered], dim=1)
        return self.log_weights + linear - 0.5 * self.grid.inner(self.means, filtered)

    def residual(self, modes, sigma):
        weights = torch.softmax(self.component_log_odds(modes, sigma), dim=1).to(self.grid.dtype)
        return torch.einsum("nk,kyx->nyx", weights.to(modes.dtype), self.means) / (self.variance + sigma**2)

    def log_ratio(self, modes, sigma):
        return torch.logsumexp(self.component_log_odds(modes, sigma), dim=1)


@dataclass(frozen=True)
class LognormalPrior:
    """
    A shifted lognormal field, ``x = shift (exp(g - v / 2) - 1)`` with a Gaussian field g of variance v.

    Score and density are known without noise only: both raise a ValueError unless ``sigma = 0``. The Gaussian
    component has the power spectrum of x.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the Gaussian field g.
    shift : float
        Minus the lowest possible value of x.
    """

    spectrum: PowerSpectrum
    shift: float
    pixel_size = None

    def on(self, grid):
        return _LognormalOnGrid(grid, self)


class _LognormalOnGrid(PriorOnGrid):
    gaussian = False

    def __init__(self, grid, prior):
        super().__init__(grid, prior.spectrum)
        self.shift, self.field_variance = prior.shift, self.variance
        self.v = grid.pixel_variance(self.field_variance)
        ny, nx = grid.box_shape
        scale = math.sqrt(ny * nx)
        covariance = torch.fft.irfft2(self.field_variance.to(torch.complex128), s=grid.box_shape, norm="ortho") / scale
        power = torch.fft.rfft2(self.shift**2 * torch.expm1(covariance), norm="ortho").real * scale
        self.variance = grid.real(power.clamp(min=float(power.max()) * 1e-9))

    def _map(self, modes):
        return torch.fft.irfft2(modes, s=self.grid.box_shape, norm="ortho")

    def of_gaussian(self, g):
        """x of a Gaussian field ``(n, ny, nx)``."""
        return self.shift * torch.expm1(g - self.v / 2)

    def _gaussian(self, modes):
        """The Gaussian field g of x, 1 + x / shift, and a mask of the maps inside the support."""
        stretched = 1 + self._map(modes) / self.shift
        inside = (stretched > 0).all(dim=-1).all(dim=-1)
        stretched = torch.where(inside[:, None, None], stretched, 1.0)
        return torch.log(stretched) + self.v / 2, stretched, inside

    def residual(self, modes, sigma):
        if sigma != 0:
            raise ValueError(f"sigma: the score of a lognormal field is known at 0 only, got {sigma}")
        g, stretched, _ = self._gaussian(modes)
        white = self._map(self.grid.to_modes(g) / self.field_variance)
        score = -(white + 1) / (self.shift * stretched)
        return self.grid.to_modes(score) + modes / self.variance

    def log_ratio(self, modes, sigma):
        if sigma != 0:
            raise ValueError(f"sigma: the density of a lognormal field is known at 0 only, got {sigma}")
        g, stretched, inside = self._gaussian(modes)
        gaussian_modes = self.grid.to_modes(g)
        log_density = -0.5 * self.grid.inner(gaussian_modes, gaussian_modes / self.field_variance)
        log_density = log_density - torch.log(stretched).sum(dim=(1, 2), dtype=torch.float64)
        log_ratio = log_density + 0.5 * self.grid.inner(modes, modes / self.variance)
        return torch.where(inside, log_ratio, -torch.inf)


class GaussianNetwork:
    """A network of the posterior that adds nothing."""

    def __init__(self, spectrum):
        self.spectrum = spectrum

    def on(self, grid, weight):
        return PriorOnGrid(grid, self.spectrum)


class MixtureNetwork:
    """Exact denoiser of the posterior under a prior with two means: Gaussian means with the weights of both."""

    def __init__(self, prior, observation):
        self.prior, self.observation = prior, observation

    def on(self, grid, weight):
        on_grid, levels = self.prior.on(grid), {}
        posterior = GaussianPosterior(self.observation, on_grid.variance, grid.box_shape, dtype=grid.dtype)
        mean, log_weights = on_grid.means[1], on_grid.log_weights

        def contribution(total, _, sigma):
            if sigma not in levels:
                variance = on_grid.variance
                level = posterior.given(posterior.weight, variance * sigma**2 / (variance + sigma**2))
                levels[sigma] = level.solve((mean / variance)[None], 1e-5)[0]  # L^-1 S^-1 mu
            added, filtered = levels[sigma], mean / on_grid.variance
            log_odds = grid.inner(total, added) + grid.inner(filtered, added) / 2 - grid.inner(filtered, mean) / 2
            weight = torch.sigmoid(log_odds + log_weights[1] - log_weights[0])
            return weight.to(grid.dtype)[:, None, None] * added

        on_grid.contribution = contribution
        return on_grid
