"""The interface between priors and samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from ..inference import FourierGrid


class Prior(Protocol):
    """
    What a prior is asked for: itself on a grid.

    Attributes
    ----------
    pixel_size : float or None
        Side of a pixel in radians, for a prior that knows one resolution only.

    Examples
    --------
    White noise of variance 0.03, and more of it with the noise level 0.1: the score of ``x = 1`` is -1 / 0.04.

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
        >>> from astro_massmap import GaussianPrior
        >>> from astro_massmap.inference import FourierGrid
        >>> GaussianPrior().on(FourierGrid((16, 16), 1.2e-4)).gaussian
        True
        """


class PriorOnGrid:
    """
    A prior on the modes of one grid: its Gaussian half, here, and nothing else.

    Other priors are made by overriding `residual`, and `log_ratio` where there is a density.

    Parameters
    ----------
    grid : `~astro_massmap.inference.FourierGrid`
        The box.
    spectrum : callable or `torch.Tensor`
        C_ell of the Gaussian half, or the variance of its modes.

    Attributes
    ----------
    variance : `torch.Tensor`
        Variance of the modes, S.
    gaussian : bool
        Whether there is no residual, so that samplers may spare themselves the call.
    max_sigma : float
        Noise level above which the prior is not to be asked.
    max_step : float
        The longest rotation between two kicks, in radians, for which its residual is smooth enough.

    Examples
    --------
    A Gaussian about a map that is not zero. Its residual is what the mean adds to the score, which vanishes there:

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

    # noise levels above this the prior does not know
    max_sigma = float("inf")
    # the longest rotation between two kicks for which its residual is smooth enough
    max_step = float("inf")

    def conditional_variance(self, sigma):
        """Mean variance of the modes of x given x with noise ``sigma``: what a draw of x adds to its mean."""
        return self.variance * sigma**2 / (self.variance + sigma**2)

    def gaussian_half(self):
        """The Gaussian half alone."""
        return PriorOnGrid(self.grid, self.variance)

    def residual(self, modes, sigma):
        """
        The score at noise level ``sigma`` less that of the Gaussian half.

        Parameters
        ----------
        modes : `torch.Tensor`
            ``(n, ny, nx // 2 + 1)``.
        sigma : float
            Standard deviation of the white noise that the prior is convolved with.

        Returns
        -------
        `torch.Tensor`
            Modes of the gradient of the log density with respect to the pixels.
        """
        return torch.zeros_like(modes)

    def log_ratio(self, modes, sigma):
        """Log density less that of the Gaussian half, up to a constant: ``(n,)``, or None where it is unknown."""
        return torch.zeros(len(modes), dtype=torch.float64, device=modes.device)

    def score(self, x, sigma):
        """
        Gradient of the log prior, convolved with white noise ``sigma``, at some maps.

        Parameters
        ----------
        x : `torch.Tensor`
            Maps ``(n, ny, nx)`` of the whole box.
        sigma : float
            Noise level.

        Returns
        -------
        `torch.Tensor`
            ``(n, ny, nx)``.
        """
        modes = self.grid.to_modes(x)
        score = self.residual(modes, sigma) - modes / (self.variance + sigma**2)
        return torch.fft.irfft2(score, s=self.grid.box_shape, norm="ortho")
