"""The Gaussian prior: all that two-point statistics know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..spectrum import PowerSpectrum
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
        By default that of sources at redshift 1.

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
        if self.spectrum is not None and not callable(self.spectrum):
            raise TypeError(f"spectrum: needs a PowerSpectrum, got {type(self.spectrum).__name__}")

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """This prior on the modes of a `~astro_massmap.inference.FourierGrid`."""
        return PriorOnGrid(grid, PowerSpectrum.default() if self.spectrum is None else self.spectrum)
