"""The score prior: a Gaussian component from theory, and a residual learned from simulations by a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._utils.checks import check_spectrum
from .._utils.html import card
from .._utils.progress import warn
from ..theory.spectrum import PowerSpectrum
from .base import PriorOnGrid
from .correction import Correction, CorrectionTable
from .denoiser import HybridDenoiser
from .score_on_grid import ScoreOnGrid
from .tiles import check_tile
from .weights_file import read_prior, write_prior

if TYPE_CHECKING:
    import os

    import astropy.units as u

    from ..inference import FourierGrid

_RANGE = (300.0, 5000.0)  # multipoles at which amplitude and shape of two spectra are compared
# Limits on amplitude and shape of a spectrum before a warning. At amplitudes of 0.5 to 1 and up to this difference in
# shape (sources at redshift 0.5 to 1) the prior was measured to be better than theory; above 1 it was not tested.
_SHAPE, _AMPLITUDE = 0.25, (0.5, 1.25)

_SHIPPED = {"random": "default.safetensors", "targeted": "targeted.safetensors"}


@dataclass(frozen=True, eq=False)
class ScorePrior:
    """
    A learned prior: the score of noisy maps at any noise level, from theory and a network.

    The shipped prior is valid for any sources and pixels of 0.25 to 2 arcmin: the spectrum and the pixels of the map
    define the field. A prior that ``massmap train`` makes from maps of one kind is valid for their pixels, and is
    scaled to other spectra.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.HybridDenoiser`
        Trained denoiser, with its spectrum and pixel size.
    trained_spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the training maps; with a ``table``, that of the default sources.
    sigma_range : tuple of float
        Range of noise levels of the training; with a ``table``, at the spectrum and pixels of ``denoiser``.
    spectrum : `~astro_massmap.PowerSpectrum`, optional
        Power spectrum of the Gaussian component, if it differs from ``trained_spectrum``.
    correction : `~astro_massmap.priors.Correction`, optional
        Factors that correct the power of the denoiser.
    table : `~astro_massmap.priors.CorrectionTable`, optional
        Factors of many fields, for a network that was trained on them.
    factor : `~astro_massmap.PowerSpectrum`, optional
        Power of the fields of the training over that of random fields, a function of ell; by default 1.
    margin : int
        Margin around the field in pixels, in which the network is evaluated too; beyond it the prior is Gaussian.
    card : dict
        Metadata of the training: redshift, cosmology, resolution, training set, version.
    bfloat16 : bool
        Mixed precision of the network, as in ``dataclasses.replace(prior, bfloat16=True)``; not written to files.
    tile : int
        Side in pixels of the largest tile on which the network is evaluated. Larger fields are evaluated in tiles that
        overlap by the receptive field of the network: the result is the same, with less memory. Not written to files.

    Examples
    --------
    >>> from astro_massmap import ScorePrior
    >>> prior = ScorePrior.load("default")
    >>> print(prior.pixel_scale.round(2), prior.theory.name)
    [0.25 2.  ] arcmin default: z_s = 1, resolved to ell 5200
    """

    denoiser: HybridDenoiser
    trained_spectrum: PowerSpectrum
    sigma_range: tuple[float, float]
    spectrum: PowerSpectrum | None = None
    correction: Correction = field(default_factory=Correction.none)
    margin: int = 32
    card: dict[str, Any] = field(default_factory=dict)
    table: CorrectionTable | None = None
    factor: PowerSpectrum | None = None
    bfloat16: bool = False
    tile: int = 512

    def __post_init__(self) -> None:
        if self.spectrum is not None:
            check_spectrum(self.spectrum)
        if not (isinstance(self.margin, int) and self.margin >= 0):
            raise ValueError(f"margin: needs a non-negative integer (pixels), got {self.margin!r}")
        check_tile(self.tile)

    def __repr__(self) -> str:
        theory = "" if self.spectrum is None else f", theory {self.spectrum.name!r}"
        parameters = sum(p.numel() for p in self.denoiser.parameters())
        maps, version = self.card.get("maps", "maps"), self.card.get("version", "unknown")
        return f"<ScorePrior: {parameters} parameters, trained on {maps}, version {version}{theory}>"

    def _repr_html_(self) -> str:
        rows = {"trained on": self.card.get("maps"), "version": self.card.get("version")}
        rows |= {"parameters": sum(p.numel() for p in self.denoiser.parameters()), "spectrum": self.theory.name}
        return card(type(self).__name__, rows, self.theory._thumbnail)

    @classmethod
    def load(
        cls, file: str | os.PathLike[str] = "default", spectrum: PowerSpectrum | None = None, *, field: str = "random"
    ) -> Self:
        """
        Read a prior from a file.

        Parameters
        ----------
        file : str or path-like
            File written by `save` or ``massmap train``; ``"default"`` is the prior shipped with the package.
        spectrum : `~astro_massmap.PowerSpectrum`, optional
            Power spectrum of the matter for the sources of the map, see `scaled`; by default sources at redshift 1.
        field : str
            Fields of the shipped prior: ``"random"``, or ``"targeted"`` for fields that were chosen because of a
            cluster, with pixels of 0.1 to 0.4 arcmin.

        Raises
        ------
        OSError
            If the file does not exist, is damaged, or contains something else.
        TypeError
            If ``spectrum`` is not a PowerSpectrum.
        ValueError
            If ``field`` is another text, or ``"targeted"`` with another file.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the spectrum differs too much from that of the training maps.

        Examples
        --------
        >>> from astro_massmap import ScorePrior
        >>> print(ScorePrior.load("default", field="targeted").pixel_scale.round(2))
        [0.1 0.4] arcmin
        """
        if field not in _SHIPPED:
            raise ValueError(f"field: needs 'random' or 'targeted', got {field!r}")
        if file == "default":
            with resources.as_file(resources.files(__package__) / "weights" / _SHIPPED[field]) as path:
                prior = _default(str(path))
        elif field == "random":
            prior = cls(**read_prior(file))
        else:
            raise ValueError(f"field: {field!r} is a choice of the shipped prior, file is {str(file)!r}")
        return prior if spectrum is None else prior.scaled(spectrum)

    def of_pixels(self, pixel_size: float) -> Self:
        """
        Return the prior for pixels of one size, and for its spectrum alone.

        Parameters
        ----------
        pixel_size : float
            Side of a pixel in radians.

        Raises
        ------
        ValueError
            If the pixels are smaller or larger than those of the training.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the standard deviation of a pixel is outside the range of the training.

        Examples
        --------
        >>> from astro_massmap import ScorePrior
        >>> prior = ScorePrior.load("default").of_pixels(3e-4)
        >>> print(f"{prior.pixel_scale:.2f}")
        1.03 arcmin
        """
        if self.table is None:
            return self
        low, high = self.table.pixel_size[[0, -1]]
        if not low / 1.01 <= pixel_size <= high * 1.01:
            limits, got = (np.degrees(x) * 60 for x in ((low, high), pixel_size))
            raise ValueError(
                f"prior: needs pixels of {limits[0]:.3g} to {limits[1]:.3g} arcmin, the map has {got:.4g}; choose "
                "another pixel_scale, or another prior, such as GaussianPrior()"
            )
        limits = self.table.limits(pixel_size)
        denoiser = HybridDenoiser(self.denoiser.network, self.theory, pixel_size, limits).eval()
        signal, slack = denoiser.signal, 1.25
        if not limits[0] / slack <= signal <= limits[1] * slack:
            warn(
                f"spectrum: the standard deviation of a pixel is {signal:.2g}, that of the training was "
                f"{limits[0]:.2g} to {limits[1]:.2g}; the contribution of the network may be wrong"
            )
        scale = signal / self.denoiser.signal
        return replace(
            self,
            denoiser=denoiser,
            trained_spectrum=self.theory,
            sigma_range=(self.sigma_range[0] * scale, self.sigma_range[1] * scale),
            spectrum=None,
            correction=self.table.of_field(pixel_size, signal),
            table=None,
        )

    def save(self, file: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """
        Write the prior to a safetensors file.

        Parameters
        ----------
        file : str or path-like
            Name of the file, which is written atomically.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OSError
            If the file exists and ``overwrite`` is False, or it cannot be written.
        """
        write_prior(file, self, overwrite=overwrite)

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel in radians, or None if the prior is valid at many pixel scales."""
        return self.denoiser.pixel_size if self.table is None else None

    @property
    def pixel_scale(self) -> u.Quantity:
        """Side of a pixel, or the smallest and the largest one, a `~astropy.units.Quantity` in arcmin."""
        import astropy.units as u

        size = self.denoiser.pixel_size if self.table is None else self.table.pixel_size[[0, -1]]
        return (size * u.rad).to(u.arcmin)

    @property
    def theory(self) -> PowerSpectrum:
        """Power spectrum of the Gaussian component, a `~astro_massmap.PowerSpectrum`."""
        return self.trained_spectrum if self.spectrum is None else self.spectrum

    @property
    def max_sigma(self) -> float:
        """Highest noise level at which the network may be evaluated."""
        return self.sigma_range[1] * self.amplitude

    @property
    def amplitude(self) -> float:
        """
        Amplitude alpha: ``alpha^2`` is the ratio of the variances of both spectra at 300 < ell < 5000.

        The network is evaluated on maps and noise divided by alpha, and its output is multiplied by alpha.
        """
        if self.spectrum is None:
            return 1.0
        ell = np.geomspace(*_RANGE, 200)
        new, old = (np.trapezoid(s(ell) * ell, ell) for s in (self.spectrum, self.trained_spectrum))
        return math.sqrt(new / old)

    def scaled(self, spectrum: PowerSpectrum) -> Self:
        """
        Return the prior for the power spectrum of other sources or another cosmology.

        The spectrum becomes that of the Gaussian component. A network that was trained on many fields is conditioned on
        it, another one is scaled by `amplitude`.

        Parameters
        ----------
        spectrum : `~astro_massmap.PowerSpectrum`
            Power spectrum of the matter, without smoothing: it is multiplied by the resolution of the training maps,
            and for fields chosen for a cluster by the power of such fields over that of random ones.

        Raises
        ------
        TypeError
            If ``spectrum`` is not a PowerSpectrum.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            For a prior without a ``table``, if the amplitude is outside 0.5 to 1.25, or the shape of the spectrum
            differs by more than 28 % from that of the training maps.

        Examples
        --------
        >>> from astro_massmap import PowerSpectrum, ScorePrior
        >>> default = PowerSpectrum.default()
        >>> round(ScorePrior.load().scaled(PowerSpectrum(default.ell, 0.81 * default.cl)).amplitude, 2)
        0.9
        """
        if not isinstance(spectrum, PowerSpectrum):
            raise TypeError(f"spectrum: needs a PowerSpectrum, got {type(spectrum).__name__}")
        resolution = self.card.get("resolution")
        spectrum = spectrum if resolution is None else spectrum.resolved(*resolution)
        spectrum = spectrum if self.factor is None else spectrum.times(self.factor)
        prior = replace(self, spectrum=spectrum)
        if self.table is not None:
            return prior
        ell, alpha = np.geomspace(*_RANGE, 50), prior.amplitude
        shape = np.abs(np.log(spectrum(ell) / self.trained_spectrum(ell) / alpha**2)).max()
        if shape > _SHAPE or not _AMPLITUDE[0] <= alpha <= _AMPLITUDE[1]:
            warn(
                f"spectrum: its amplitude is {alpha:.2f} times that of the training maps (limits: "
                f"{_AMPLITUDE[0]:g} to {_AMPLITUDE[1]:g}), its shape differs by up to {np.expm1(shape):.0%} "
                f"(limit: {np.expm1(_SHAPE):.0%}); the contribution of the network may be wrong. Train a prior for "
                "these sources"
            )
        return prior

    def on(self, grid: FourierGrid) -> PriorOnGrid:
        """Evaluate the prior on the modes of a grid; see `~astro_massmap.priors.Prior`. Errors as for ``of_pixels``."""
        return ScoreOnGrid(grid, self.of_pixels(grid.pixel_size))


@lru_cache(maxsize=2)
def _default(path):
    return ScorePrior(**read_prior(path))
