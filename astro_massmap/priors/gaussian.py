"""The Gaussian prior: a Gaussian random field with a given power spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._utils.checks import check_spectrum
from .._utils.html import card
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

    def _repr_html_(self) -> str:
        spectrum = PowerSpectrum.default() if self.spectrum is None else self.spectrum
        return card(type(self).__name__, {"spectrum": spectrum.name}, spectrum._thumbnail)

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """Evaluate the prior on the modes of a grid; see `~astro_massmap.priors.Prior`."""
        return PriorOnGrid(grid, PowerSpectrum.default() if self.spectrum is None else self.spectrum)
