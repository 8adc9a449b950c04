"""The interface between priors and samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from ..inference import FourierGrid


class Prior(Protocol):
    """
    Interface of a prior: ``on(grid)`` and ``pixel_size``.

    Attributes
    ----------
    pixel_size : float or None
        Side of a pixel in radians, for a prior that is valid at one pixel scale only.

    Examples
    --------
    White noise with a variance of 0.03. With a noise level of 0.1 the score of ``x = 1`` is -1 / 0.04:

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
        """Side of a pixel in radians, or None."""

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """
        Evaluate the prior on the modes of a grid.

        Parameters
        ----------
        grid : `~astro_massmap.inference.FourierGrid`
            Periodic box and the field within it.

        Returns
        -------
        `~astro_massmap.priors.PriorOnGrid`

        Examples
        --------
        >>> from astro_massmap import GaussianPrior
        >>> from astro_massmap.inference import FourierGrid
        >>> GaussianPrior().on(FourierGrid((16, 16), 1.2e-4)).gaussian
        True
        """


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
    max_step : float
        Longest rotation between two kicks of the sampler, in radians, at which the residual is smooth enough.

    Examples
    --------
    A Gaussian with a mean map. The score vanishes at the mean:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.inference import FourierGrid
    >>> from astro_massmap.priors import PriorOnGrid
    >>> class Around(PriorOnGrid):
    ...     gaussian = False
    ...     def residual(self, modes, sigma):
    ...         return self.mean / (self.variance + sigma**2) + 0 * modes
    ...     def log_ratio(self, modes, sigma):
    ...         return self.grid.inner(modes, self.residual(modes, sigma))
    >>> prior = Around(FourierGrid((16, 16), 1.2e-4, dtype=torch.float64), PowerSpectrum.default())
    >>> mean = torch.linspace(-0.1, 0.1, 256, dtype=torch.float64).reshape(1, 16, 16)
    >>> prior.mean = prior.grid.to_modes(mean)
    >>> bool(prior.score(mean, sigma=0.1).abs().max() < 1e-9)
    True
    """

    gaussian = True

    def __init__(self, grid, spectrum):
        self.grid = grid
        self.variance = spectrum if isinstance(spectrum, torch.Tensor) else grid.mode_variance(spectrum)

    max_sigma = float("inf")
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
            Modes ``(n, ny, nx // 2 + 1)``.
        sigma : float
            Noise level: standard deviation per pixel of the white noise that the prior is convolved with.

        Returns
        -------
        `torch.Tensor`
            Modes of the gradient of the log density with respect to the pixels, ``(n, ny, nx // 2 + 1)``.
        """
        return torch.zeros_like(modes)

    def log_ratio(self, modes, sigma):
        """
        Return the log density minus that of the Gaussian component, up to a constant.

        The parameters are those of `residual`; the result has the shape ``(n,)``. It is None if the density is unknown.
        """
        return torch.zeros(len(modes), dtype=torch.float64, device=modes.device)

    def score(self, x, sigma):
        """
        Return the gradient of the log prior, convolved with white noise of level ``sigma``, at maps ``(n, ny, nx)``.

        The maps are those of the whole box; the result has their shape.
        """
        modes = self.grid.to_modes(x)
        score = self.residual(modes, sigma) - modes / (self.variance + sigma**2)
        return torch.fft.irfft2(score, s=self.grid.box_shape, norm="ortho")
