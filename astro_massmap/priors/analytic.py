"""Priors that are not Gaussian, whose score is known exactly: problems with known answers for samplers."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ..theory.spectrum import PowerSpectrum
from .base import PriorOnGrid


@dataclass(frozen=True)
class MixturePrior:
    """
    A Gaussian random field around one of several mean maps: a cluster that is there, or is not.

    The density is ``sum_k w_k N(x; mu_k, S)``. Convolved with white noise it is the same with
    ``S + sigma^2``, so that its score is exact at every noise level.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`
        Of the fluctuations.
    means : ndarray
        Mean maps ``(k, rows, columns)``, in the first corner of the box.
    weights : sequence of float
        Their probabilities, adding up to 1.

    Examples
    --------
    Half way between two equally likely maps their pulls cancel; anywhere else one of them wins.

    >>> import numpy as np
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import FourierGrid
    >>> from astro_massmap.priors import MixturePrior
    >>> cluster = np.zeros((32, 32))
    >>> cluster[14:18, 14:18] = 0.2
    >>> mixture = MixturePrior(PowerSpectrum.default(), np.stack([0 * cluster, cluster]), (0.5, 0.5))
    >>> prior = mixture.on(FourierGrid((32, 32), 1.2e-4, dtype=torch.float64))
    >>> maps = torch.from_numpy(np.stack([0.5 * cluster, 0.6 * cluster]))
    >>> score = prior.score(maps, 0.1)
    >>> bool(score[0].abs().max() < 1e-9), bool(score[1, 14:18, 14:18].min() > 0)
    (True, True)
    """

    spectrum: PowerSpectrum
    means: np.ndarray
    weights: tuple
    pixel_size = None

    def on(self, grid):
        """
        This prior on the modes of a grid.

        Parameters
        ----------
        grid : `~astro_massmap.inference.FourierGrid`
            The box, and the field in whose place the means lie.

        Returns
        -------
        `~astro_massmap.priors.PriorOnGrid`

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import PowerSpectrum
        >>> from astro_massmap.inference import FourierGrid
        >>> from astro_massmap.priors import MixturePrior
        >>> means = np.stack([np.zeros((16, 16)), np.full((16, 16), 0.1)])
        >>> mixture = MixturePrior(PowerSpectrum.default(), means, (0.5, 0.5))
        >>> tuple(mixture.on(FourierGrid((16, 16), 1.2e-4, (32, 32))).means.shape)
        (2, 32, 17)
        """
        return _MixtureOnGrid(grid, self)


class _MixtureOnGrid(PriorOnGrid):
    gaussian = False

    def __init__(self, grid, prior):
        super().__init__(grid, prior.spectrum)
        self.means = grid.to_modes(grid.real(torch.from_numpy(np.array(prior.means, dtype=np.float64))))
        self.log_weights = torch.log(torch.tensor(prior.weights, dtype=torch.float64, device=grid.device))

    def component_log_odds(self, modes, sigma):
        """Log weights of the components given x, ``(n, k)``, with respect to the Gaussian half."""
        filtered = self.means / (self.variance + sigma**2)
        linear = torch.stack([self.grid.inner(modes, f) for f in filtered], dim=1)
        return self.log_weights + linear - 0.5 * self.grid.inner(self.means, filtered)

    def residual(self, modes, sigma):
        share = torch.softmax(self.component_log_odds(modes, sigma), dim=1).to(self.grid.dtype)
        return torch.einsum("nk,kyx->nyx", share.to(modes.dtype), self.means) / (self.variance + sigma**2)

    def log_ratio(self, modes, sigma):
        return torch.logsumexp(self.component_log_odds(modes, sigma), dim=1)


@dataclass(frozen=True)
class LognormalPrior:
    """
    A shifted lognormal field, ``x = shift (exp(g - v / 2) - 1)`` with a Gaussian field g of variance v.

    Its score and density are exact without noise (``sigma = 0``), and not known with it. The Gaussian
    half has the same power spectrum as x.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`
        Of the Gaussian field g.
    shift : float
        The least value of x is ``-shift``.

    Raises
    ------
    ValueError
        By the score and the density, at any other noise level.

    Examples
    --------
    The variance of a pixel is ``shift^2 (exp(v) - 1)``, and no pixel lies below ``-shift``:

    >>> import math
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import FourierGrid
    >>> from astro_massmap.priors import LognormalPrior
    >>> grid = FourierGrid((32, 32), 1.2e-4, dtype=torch.float64)
    >>> spectrum = PowerSpectrum([100, 10000], [1e-6, 1e-8])
    >>> prior = LognormalPrior(spectrum, shift=0.05).on(grid)
    >>> v = grid.pixel_variance(grid.mode_variance(spectrum))
    >>> math.isclose(grid.pixel_variance(prior.variance), 0.05**2 * math.expm1(v))
    True
    >>> prior.log_ratio(grid.to_modes(torch.full((1, 32, 32), -0.06, dtype=torch.float64)), sigma=0).tolist()
    [-inf]
    """

    spectrum: PowerSpectrum
    shift: float
    pixel_size = None

    def on(self, grid):
        """
        This prior on the modes of a grid.

        Parameters
        ----------
        grid : `~astro_massmap.inference.FourierGrid`
            The box and the field within it.

        Returns
        -------
        `~astro_massmap.priors.PriorOnGrid`

        Examples
        --------
        >>> from astro_massmap import PowerSpectrum
        >>> from astro_massmap.inference import FourierGrid
        >>> from astro_massmap.priors import LognormalPrior
        >>> on_grid = LognormalPrior(PowerSpectrum.default(), shift=0.05).on(FourierGrid((16, 16), 1.2e-4))
        >>> on_grid.gaussian
        False
        """
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
        """The Gaussian field behind x, 1 + x / shift, and which maps lie in the support at all."""
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
