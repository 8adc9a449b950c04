"""The interface between priors and samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from ..inference import FourierGrid


class Prior(Protocol):
    """
    Interface of a prior: ``on(grid)`` and ``pixel_size``.

    Examples
    --------
    White noise with a variance of 0.03, with the score ``-x / 0.04`` at a noise level of 0.1:

    >>> import torch
    >>> from astro_massmap.inference import FourierGrid
    >>> from astro_massmap.priors import PriorOnGrid
    >>> class White:
    ...     pixel_size = None
    ...     def on(self, grid):
    ...         return PriorOnGrid(grid, torch.full((grid.box_shape[0], grid.box_shape[1] // 2 + 1), 0.03))
    >>> score = White().on(FourierGrid((16, 16), 1.2e-4)).score(torch.ones(1, 16, 16), sigma=0.1)
    >>> print(f"{score.min():.2f} {score.max():.2f}")
    -25.00 -25.00
    """

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel in radians, for a prior that is valid at one pixel scale only, or None."""

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """Return the `PriorOnGrid` for the modes of a `~astro_massmap.inference.FourierGrid`."""


class PriorOnGrid:
    """
    A prior on the modes of one grid; the base class is Gaussian.

    Other priors override `residual`, and `log_ratio` if their density is known.

    Parameters
    ----------
    grid : `~astro_massmap.inference.FourierGrid`
        Periodic box and the field within it.
    spectrum : callable or `torch.Tensor`
        Angular power spectrum C_ell of the Gaussian component, or the variance of its modes.

    Attributes
    ----------
    variance : `torch.Tensor`
        Variance S of the modes of the Gaussian component, ``(ny, nx // 2 + 1)``.
    gaussian : bool
        True if the residual is zero; samplers then skip its evaluation.
    max_sigma : float
        Highest noise level at which the prior is defined.
    noiseless : bool
        True if the score is known at zero noise, which a denoiser does not give.
    max_step : float
        Longest rotation between two kicks of the sampler, in radians, at which the residual is smooth enough.

    Examples
    --------
    The residual of the base class is zero:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import FourierGrid
    >>> from astro_massmap.priors import PriorOnGrid
    >>> prior = PriorOnGrid(FourierGrid((16, 16), 1.2e-4), PowerSpectrum.default())
    >>> float(prior.residual(torch.ones(1, 16, 9), sigma=0.1).abs().max()), prior.variance.shape
    (0.0, torch.Size([16, 9]))
    """

    gaussian = True

    def __init__(self, grid, spectrum):
        self.grid = grid
        self.variance = spectrum if isinstance(spectrum, torch.Tensor) else grid.mode_variance(spectrum)

    targeted = False  # whether the prior is one of fields that were chosen for a cluster
    max_sigma = float("inf")
    noiseless = True
    max_step = float("inf")

    def conditional_variance(self, sigma):
        """Return the mean variance of the modes of x given x plus white noise of level ``sigma``."""
        return self.variance * sigma**2 / (self.variance + sigma**2)

    def gaussian_half(self):
        """Return the Gaussian component of the prior."""
        return PriorOnGrid(self.grid, self.variance)

    def residual(self, modes, sigma):
        """
        Return the score at noise level ``sigma`` minus that of the Gaussian component.

        Parameters
        ----------
        modes : `torch.Tensor`
            Modes ``(n, ny, nx // 2 + 1)``, as those of the result: the gradient with respect to the pixels.
        sigma : float
            Noise level: standard deviation per pixel of the white noise that the prior is convolved with.
        """
        return torch.zeros_like(modes)

    def log_ratio(self, modes, sigma):
        """Return the log density minus that of the Gaussian component, up to a constant, ``(n,)``; None if unknown."""
        return torch.zeros(len(modes), dtype=torch.float64, device=modes.device)

    def score(self, x, sigma):
        """Return the gradient of the log prior with noise of level ``sigma``, at maps ``(n, ny, nx)`` of the box."""
        modes = self.grid.to_modes(x)
        score = self.residual(modes, sigma) - modes / (self.variance + sigma**2)
        return torch.fft.irfft2(score, s=self.grid.box_shape, norm="ortho")
