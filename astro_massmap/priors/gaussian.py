"""The Gaussian prior: a Gaussian random field with a given power spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._utils.checks import check_spectrum
from ..theory.spectrum import PowerSpectrum
from .base import PriorOnGrid

if TYPE_CHECKING:
    from ..inference import FourierGrid


@dataclass(frozen=True)
class GaussianPrior:
    """
    A Gaussian random field with a power spectrum.

    Parameters
    ----------
    spectrum : `~astro_massmap.PowerSpectrum`, optional
        Power spectrum of the convergence; by default that of sources at redshift 1.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import GaussianPrior
    >>> from astro_massmap.inference import FourierGrid
    >>> prior = GaussianPrior().on(FourierGrid((32, 32), 1.2e-4))
    >>> prior.score(torch.zeros(1, 32, 32), sigma=0.1).abs().max().item()
    0.0
    """

    spectrum: PowerSpectrum | None = None
    pixel_size = None

    def __post_init__(self) -> None:
        if self.spectrum is not None:
            check_spectrum(self.spectrum)

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """
        Evaluate the prior on the modes of a grid; see `~astro_massmap.priors.Prior`.

        Examples
        --------
        >>> from astro_massmap import GaussianPrior, PowerSpectrum
        >>> from astro_massmap.inference import FourierGrid
        >>> on_grid = GaussianPrior(PowerSpectrum([100, 10000], [1e-8, 1e-12])).on(FourierGrid((32, 32), 1e-4))
        >>> on_grid.gaussian, tuple(on_grid.variance.shape)
        (True, (32, 17))
        """
        return PriorOnGrid(grid, PowerSpectrum.default() if self.spectrum is None else self.spectrum)
