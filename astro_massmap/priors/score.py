"""The score prior: a Gaussian half from theory, and a network that learned from simulations what that misses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._checks import check_spectrum
from .._progress import warn
from ..spectrum import PowerSpectrum
from .base import PriorOnGrid
from .correction import Correction
from .denoiser import HybridDenoiser
from .score_on_grid import ScoreOnGrid
from .tiles import check_tile
from .weights_file import read_prior, write_prior

if TYPE_CHECKING:
    import os

    import astropy.units as u

    from ..inference import FourierGrid

_RANGE = (300.0, 5000.0)  # multipoles at which amplitude and shape of two spectra are compared
# How far a spectrum may be from the trained one before a warning: measured to be better than theory alone at
# amplitudes of 0.5 to 1 and up to this shape (sources at redshift 0.5 to 1); above 1 it is a guess.
_SHAPE, _AMPLITUDE = 0.25, (0.5, 1.25)


@dataclass(frozen=True, eq=False)
class ScorePrior:
    """
    A learned prior: the score of noisy maps at any noise level, theory and network together.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.HybridDenoiser`
        The trained network, with the spectrum and pixel size that it was trained with.
    trained_spectrum : `~astro_massmap.PowerSpectrum`
        Of the maps that it was trained with.
    sigma_range : tuple of float
        Noise levels that it was trained at.
    spectrum : `~astro_massmap.PowerSpectrum`, optional
        Of the theory half, if it is another one.
    correction : `~astro_massmap.priors.Correction`, optional
        Factors that put its power right.
    margin : int
        Pixels around the field within which the network is evaluated; beyond the prior is Gaussian.
    card : dict
        How it was made: pixel scale, redshift, cosmology, resolution, training set, version.
    bfloat16 : bool
        Evaluate the network in mixed precision, as ``dataclasses.replace(prior, bfloat16=True)`` does. It is not kept
        in a file.
    tile : int
        Side in pixels of the largest piece that the network is evaluated on at once, all chains of a batch together.
        Larger fields are evaluated in tiles that overlap by as much as the network looks around: what comes out is
        the same, only memory is less. It is not kept in a file.

    Examples
    --------
    >>> from astro_massmap import ScorePrior
    >>> prior = ScorePrior.load("default")
    >>> print(f"{prior.pixel_scale:.2f}, sources at z = {prior.card['source_redshift']}")
    0.40 arcmin, sources at z = 1.0
    """

    denoiser: HybridDenoiser
    trained_spectrum: PowerSpectrum
    sigma_range: tuple[float, float]
    spectrum: PowerSpectrum | None = None
    correction: Correction = field(default_factory=Correction.none)
    margin: int = 32
    card: dict[str, Any] = field(default_factory=dict)
    bfloat16: bool = False
    tile: int = 512

    def __post_init__(self) -> None:
        if self.spectrum is not None:
            check_spectrum(self.spectrum)
        if not (isinstance(self.margin, int) and self.margin >= 0):
            raise ValueError(f"margin: needs a number of pixels, not negative, got {self.margin!r}")
        check_tile(self.tile)

    def __repr__(self) -> str:
        theory = "" if self.spectrum is None else f", theory {self.spectrum.name!r}"
        parameters = sum(p.numel() for p in self.denoiser.parameters())
        maps, version = self.card.get("maps", "maps"), self.card.get("version", "unknown")
        return f"<ScorePrior: {parameters} parameters, trained on {maps}, version {version}{theory}>"

    @classmethod
    def load(cls, file: str | os.PathLike[str] = "default", spectrum: PowerSpectrum | None = None) -> Self:
        """
        Read a prior.

        Parameters
        ----------
        file : str or path-like
            ``"default"`` is the one shipped with the package: sources at redshift 1, pixels of 0.4 arcmin. Else a
            file that `save` or ``massmap train`` wrote.
        spectrum : `~astro_massmap.PowerSpectrum`, optional
            Theory for other sources or another cosmology, of the matter itself: it is multiplied by the resolution
            of the training maps. The network is scaled to it, see `scaled`.

        Returns
        -------
        ScorePrior

        Raises
        ------
        OSError
            If the file is not there, is damaged, or holds something else.
        TypeError
            If ``spectrum`` is none.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the spectrum is far from the trained one.

        Examples
        --------
        >>> from astro_massmap import ScorePrior
        >>> ScorePrior.load("default").card["source_redshift"]
        1.0
        """
        if file == "default":
            with resources.as_file(resources.files(__package__) / "weights" / "default.safetensors") as path:
                prior = _default(str(path))
        else:
            prior = cls(**read_prior(file))
        return prior if spectrum is None else prior.scaled(spectrum)

    def save(self, file: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """
        Write the prior to a safetensors file.

        Parameters
        ----------
        file : str or path-like
            Written whole or not at all.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OSError
            If the file exists and ``overwrite`` is False, or it cannot be written.

        Examples
        --------
        >>> from astro_massmap import ScorePrior
        >>> prior = ScorePrior.load("default")
        >>> prior.save("prior.safetensors")
        >>> ScorePrior.load("prior.safetensors").sigma_range == prior.sigma_range
        True
        """
        write_prior(file, self, overwrite=overwrite)

    @property
    def pixel_size(self) -> float:
        """Side of a pixel in radians."""
        return self.denoiser.pixel_size

    @property
    def pixel_scale(self) -> u.Quantity:
        """Side of a pixel, a `~astropy.units.Quantity` in arcmin."""
        import astropy.units as u

        return (self.pixel_size * u.rad).to(u.arcmin)

    @property
    def theory(self) -> PowerSpectrum:
        """The `~astro_massmap.PowerSpectrum` of the Gaussian half."""
        return self.trained_spectrum if self.spectrum is None else self.spectrum

    @property
    def max_sigma(self) -> float:
        """The largest noise level at which the network may be asked."""
        return self.sigma_range[1] * self.amplitude

    @property
    def amplitude(self) -> float:
        """
        By how much maps are higher than those that the network has seen, alpha.

        ``alpha^2`` is the ratio of the variances of the two spectra at 300 < ell < 5000. The network is asked about
        maps, and noise, divided by alpha, and its answer is multiplied by alpha.
        """
        if self.spectrum is None:
            return 1.0
        ell = np.geomspace(*_RANGE, 200)
        new, old = (np.trapezoid(s(ell) * ell, ell) for s in (self.spectrum, self.trained_spectrum))
        return math.sqrt(new / old)

    def scaled(self, spectrum: PowerSpectrum) -> Self:
        """
        This prior with the theory of other sources: see `amplitude`.

        Parameters
        ----------
        spectrum : `~astro_massmap.PowerSpectrum`
            As for `load`.

        Returns
        -------
        ScorePrior

        Raises
        ------
        TypeError
            If ``spectrum`` is none.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the spectrum is far from the trained one.

        Examples
        --------
        >>> from astro_massmap import PowerSpectrum, ScorePrior
        >>> default = PowerSpectrum.default()
        >>> prior = ScorePrior.load().scaled(PowerSpectrum(default.ell, 0.81 * default.cl))
        >>> round(prior.amplitude, 2)
        0.9
        """
        if not isinstance(spectrum, PowerSpectrum):
            raise TypeError(f"spectrum: needs a PowerSpectrum, got {type(spectrum).__name__}")
        resolution = self.card.get("resolution")
        spectrum = spectrum if resolution is None else spectrum.resolved(*resolution)
        prior = replace(self, spectrum=spectrum)
        ell, alpha = np.geomspace(*_RANGE, 50), prior.amplitude
        shape = np.abs(np.log(spectrum(ell) / self.trained_spectrum(ell) / alpha**2)).max()
        if shape > _SHAPE or not _AMPLITUDE[0] <= alpha <= _AMPLITUDE[1]:
            warn(
                f"spectrum: its amplitude is {alpha:.2f} times the one the network was trained with (trusted: "
                f"{_AMPLITUDE[0]:g} to {_AMPLITUDE[1]:g}), its shape differs by up to {np.expm1(shape):.0%} "
                f"(trusted: {np.expm1(_SHAPE):.0%}); what the network adds to theory may be wrong. A prior trained for "
                "these sources would be right"
            )
        return prior

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """
        This prior on the modes of a grid.

        Parameters
        ----------
        grid : `~astro_massmap.inference.FourierGrid`
            The box, with the pixels of `pixel_size`, and the field within it.

        Returns
        -------
        `~astro_massmap.priors.PriorOnGrid`

        Examples
        --------
        >>> from astro_massmap import ScorePrior
        >>> from astro_massmap.inference import FourierGrid
        >>> prior = ScorePrior.load()
        >>> on_grid = prior.on(FourierGrid((32, 32), prior.pixel_size, (64, 64)))
        >>> on_grid.gaussian, on_grid.max_sigma
        (False, 0.5)
        """
        return ScoreOnGrid(grid, self)


@lru_cache(maxsize=1)
def _default(path):
    return ScorePrior(**read_prior(path))
