"""Network of the posterior: the mean of the convergence given shear, its errors, and samples, for any survey."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from .._utils.checks import check_spectrum
from .._utils.html import card
from ..theory.spectrum import PowerSpectrum
from .base import PriorOnGrid
from .correction import taper
from .denoiser import FieldStatistics
from .posterior_denoiser import (
    CONDITIONS_OF_POSTERIOR,
    INPUTS,
    OUTPUTS,
    NoisyPair,
    PosteriorDenoiser,
    smoothed,
    typical_noise,
)
from .region import Region
from .tiles import check_tile
from .weights_file import read_network, read_settings, read_spectrum, read_weights, spectrum_tables, write_weights

if TYPE_CHECKING:
    import os

    import astropy.units as u

    from ..inference import FourierGrid

FIELDS = ("random", "targeted")
_FORMAT = "astro_massmap posterior 1"
_CORNER = 500.0  # multipole below which the contribution of the network to samples fades
_SLACK = 1.25  # of the standard deviation of a pixel beyond that of the training


@dataclass(frozen=True, eq=False)
class PosteriorNetwork:
    """
    A trained network of the posterior, for any sources and a range of pixel sizes and noise.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.PosteriorDenoiser`
        Trained denoiser, with a spectrum and a pixel size.
    trained_spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the default sources.
    sigma_range : tuple of float
        Range of the noise of the data in the training, in units of the standard deviation of a pixel.
    pixel_sizes, signals : ndarray
        For each kind of field: smallest and largest side of a pixel in radians, ``(2, 2)``, infinite without training;
        and at both the lowest and the highest standard deviation of a pixel in the training, ``(2, 2, 2)``.
    factor : `~astro_massmap.PowerSpectrum`
        Power of fields chosen for a cluster over that of random fields, a function of ell.
    spectrum : `~astro_massmap.PowerSpectrum`, optional
        Power spectrum of the Gaussian component, if it differs from ``trained_spectrum``.
    kind : {'random', 'targeted'}
        Random fields, or fields chosen for a cluster.
    margin, card, bfloat16, tile
        As for `~astro_massmap.ScorePrior`.

    Examples
    --------
    >>> from astro_massmap.priors import PosteriorNetwork
    >>> network = PosteriorNetwork.load("default")
    >>> print(network.pixel_scale.round(2), network.theory.name)
    [0.25 2.  ] arcmin default: z_s = 1, resolved to ell 5200
    """

    denoiser: PosteriorDenoiser
    trained_spectrum: PowerSpectrum
    sigma_range: tuple[float, float]
    pixel_sizes: np.ndarray
    signals: np.ndarray
    factor: PowerSpectrum
    spectrum: PowerSpectrum | None = None
    kind: str = "random"
    margin: int = 32
    card: dict[str, Any] = field(default_factory=dict)
    bfloat16: bool = False
    tile: int = 512

    def __post_init__(self) -> None:
        if self.spectrum is not None:
            check_spectrum(self.spectrum)
        if self.kind not in FIELDS:
            raise ValueError(f"field: needs 'random' or 'targeted', got {self.kind!r}")
        if not np.isfinite(self.pixel_sizes[FIELDS.index(self.kind)]).all():
            raise ValueError(f"field: the network has not been trained on {self.kind} fields")
        if not (isinstance(self.margin, int) and self.margin >= 0):
            raise ValueError(f"margin: needs a non-negative integer (pixels), got {self.margin!r}")
        check_tile(self.tile)

    def __repr__(self) -> str:
        theory = "" if self.spectrum is None else f", theory {self.spectrum.name!r}"
        parameters = sum(p.numel() for p in self.denoiser.parameters())
        maps, version = self.card.get("maps", "maps"), self.card.get("version", "unknown")
        return (
            f"<PosteriorNetwork: {parameters} parameters, {self.kind} fields, trained on {maps}, version {version}"
            f"{theory}>"
        )

    def _repr_html_(self) -> str:
        rows = {"fields": self.kind, "trained on": self.card.get("maps"), "version": self.card.get("version")}
        rows |= {"parameters": sum(p.numel() for p in self.denoiser.parameters()), "spectrum": self.theory.name}
        return card(type(self).__name__, rows, self.theory._thumbnail)

    @classmethod
    def load(
        cls,
        file: str | os.PathLike[str] = "default",
        spectrum: PowerSpectrum | None = None,
        *,
        field: str | None = None,
    ) -> Self:
        """
        Read a network from a file; errors as for `~astro_massmap.ScorePrior.load`.

        Parameters
        ----------
        file : str or path-like
            File written by `save` or ``massmap train --posterior``; ``"default"`` is the network shipped with the
            package.
        spectrum : `~astro_massmap.PowerSpectrum`, optional
            Power spectrum of the matter for the sources of the map, see `scaled`; by default sources at redshift 1.
        field : {'random', 'targeted'}, optional
            Kind of the fields, ``"targeted"`` for those that were chosen because of a cluster; by default that of the
            file, which is ``"random"`` for the shipped network.
        """
        if file == "default":
            with resources.as_file(resources.files(__package__) / "weights" / "posterior.safetensors") as path:
                network = _default(str(path))
        else:
            network = read_weights(file, _FORMAT, _build)
        if field not in (None, network.kind):
            network = replace(network, kind=field, spectrum=None)
        return network if spectrum is None else network.scaled(spectrum)

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel in radians, or None if the network is valid at many pixel scales."""
        low, high = self.pixel_sizes[FIELDS.index(self.kind)]
        return float(low) if low == high else None

    @property
    def pixel_scale(self) -> u.Quantity:
        """Smallest and largest side of a pixel, a `~astropy.units.Quantity` in arcmin."""
        import astropy.units as u

        return (self.pixel_sizes[FIELDS.index(self.kind)] * u.rad).to(u.arcmin)

    @property
    def theory(self) -> PowerSpectrum:
        """Power spectrum of the Gaussian component, a `~astro_massmap.PowerSpectrum`."""
        return self._of_kind(self.trained_spectrum) if self.spectrum is None else self.spectrum

    def _of_kind(self, spectrum: PowerSpectrum) -> PowerSpectrum:
        return spectrum if self.kind == "random" else spectrum.times(self.factor)

    def scaled(self, spectrum: PowerSpectrum) -> Self:
        """
        Return the network for the power spectrum of other sources or another cosmology.

        Parameters
        ----------
        spectrum : `~astro_massmap.PowerSpectrum`
            Power spectrum of the matter, as for `~astro_massmap.ScorePrior.scaled`.

        Raises
        ------
        TypeError
            If ``spectrum`` is not a PowerSpectrum.
        """
        if not isinstance(spectrum, PowerSpectrum):
            raise TypeError(f"spectrum: needs a PowerSpectrum, got {type(spectrum).__name__}")
        resolution = self.card.get("resolution")
        spectrum = spectrum if resolution is None else spectrum.resolved(*resolution)
        return replace(self, spectrum=self._of_kind(spectrum))

    def fault(self, pixel_size: float, noise_std: float = math.nan) -> str | None:
        """Return why the network is not valid for pixels of this size and typical noise, or None."""
        i = FIELDS.index(self.kind)
        low, high = self.pixel_sizes[i]
        if not low / 1.01 <= pixel_size <= high * 1.01:
            limits, got = (np.degrees(x) * 60 for x in ((low, high), pixel_size))
            return f"needs pixels of {limits[0]:.3g} to {limits[1]:.3g} arcmin, the map has {got:.4g}"
        signal = math.sqrt(float(FieldStatistics(self.theory, pixel_size).variance))
        lowest, highest = self._signals(pixel_size)
        if not lowest / _SLACK <= signal <= highest * _SLACK:
            return (
                f"was trained for a standard deviation of kappa in pixels of {lowest:.2g} to {highest:.2g}, the "
                f"spectrum has {signal:.2g}"
            )
        low, high = (ratio * signal for ratio in self.sigma_range)
        if not math.isnan(noise_std) and not low / 1.02 <= noise_std <= high * 1.02:
            return (
                f"was trained at a noise of {low:.2g} to {high:.2g} per pixel, the median of the data is "
                f"{noise_std:.3g}"
            )
        return None

    def _signals(self, pixel_size):
        """Return the lowest and the highest standard deviation of a pixel at a pixel size."""
        i = FIELDS.index(self.kind)
        place = np.log(pixel_size), np.log(self.pixel_sizes[i])
        return tuple(float(np.exp(np.interp(*place, np.log(self.signals[i, :, k])))) for k in (0, 1))

    def on(self, grid: FourierGrid, weight: torch.Tensor) -> PosteriorOnGrid:
        """
        Evaluate the network on the modes of a grid, for data with inverse noise variances ``(ny, nx)``.

        Raises
        ------
        ValueError
            If the network is not valid for these pixels, this spectrum or this noise.
        """
        seen = weight[weight > 0]
        typical = float(seen.median() ** -0.5) if len(seen) else math.nan
        fault = self.fault(grid.pixel_size, typical)
        if fault:
            raise ValueError(f"network: {fault}; use another method, such as Wiener()")
        denoiser = PosteriorDenoiser(
            self.denoiser.network, self.theory, grid.pixel_size, self._signals(grid.pixel_size)
        )
        return PosteriorOnGrid(grid, self, denoiser.to(grid.device).eval(), weight)

    def save(self, file: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the network to a safetensors file; parameters and errors as for `~astro_massmap.ScorePrior.save`."""
        tables = spectrum_tables("spectrum", self.trained_spectrum) | spectrum_tables("factor", self.factor)
        tables |= {"pixel_sizes": self.pixel_sizes, "signals": self.signals}
        if self.spectrum is not None:
            tables |= spectrum_tables("theory", self.spectrum)
        header = {
            "format": _FORMAT,
            "network": self.denoiser.network.settings,
            "pixel_size": self.denoiser.pixel_size,
            "sigma_range": list(self.sigma_range),
            "margin": self.margin,
            "spectrum": self.trained_spectrum.name,
            "theory": self.theory.name,
            "factor": self.factor.name,
            "kind": self.kind,
            "card": self.card,
        }
        write_weights(file, header, self.denoiser.network, tables, overwrite=overwrite)


class PosteriorOnGrid(PriorOnGrid):
    """Network of the posterior on the modes of a box, for the noise of some data; see `PosteriorNetwork.on`."""

    gaussian = False

    def __init__(self, grid, network, denoiser, weight):
        super().__init__(grid, network.theory)
        self.network, self.denoiser, self.targeted = network, denoiser, network.kind == "targeted"
        self.region = Region(grid, network.margin, network.tile, denoiser)
        self.kind = torch.full((1,), float(FIELDS.index(network.kind)), dtype=torch.float32, device=grid.device)
        shape = tuple(len(cells) for cells in self.region.where)
        self.weight = torch.zeros((1, *shape), dtype=torch.float32, device=grid.device)
        self.weight[0][self.region.field] = weight.float().to(grid.device)
        self.smooth = smoothed(self.weight)
        self.taper = grid.of_ell(lambda ell: torch.from_numpy(taper(ell.numpy(), _CORNER)))

    def contribution(self, b, mean, sigma):
        """Return ``D - m``, modes ``(n, ny, nx // 2 + 1)``, from modes of b and m at the noise level ``sigma``."""
        added = self._evaluated(b, mean, sigma, lambda pair: self.denoiser(pair)[0])
        return self.region.modes(added) * self.taper

    def moments(self, b, mean):
        """Return ``D - m`` and the standard deviation of x given the data alone, ``(2, *field_shape)``; n is 1."""
        maps = self._evaluated(b, mean, math.inf, lambda pair: torch.cat(self.denoiser(pair)), window=False)
        return maps[:, *self.region.field]

    @torch.no_grad()
    def _evaluated(self, b, mean, sigma, function, window=True):
        signal = self.denoiser.field.variance.sqrt().float()
        sigma = torch.full((len(b),), sigma, dtype=torch.float32, device=self.grid.device)
        level = typical_noise(self.weight, self.smooth, sigma, signal)

        def contribution(parts, place):
            pair = NoisyPair(*parts, sigma, level, self.kind)
            return function(pair) * self.region.windowed(place) if window else function(pair)

        with torch.autocast(self.grid.device.type, torch.bfloat16, enabled=self.network.bfloat16):
            maps = (self.region.maps(b), self.region.maps(mean), self.weight, self.smooth)
            return self.region.evaluate(contribution, maps)


@lru_cache(maxsize=1)
def _default(path):
    return read_weights(path, _FORMAT, _build)


def _build(header, tensors):
    network = read_network(header, tensors)
    sizes = [network.settings[name] for name in ("inputs", "outputs", "conditions")]
    if sizes != [INPUTS, OUTPUTS, CONDITIONS_OF_POSTERIOR]:
        wanted = f"{INPUTS} inputs, {OUTPUTS} outputs and {CONDITIONS_OF_POSTERIOR} conditions"
        raise ValueError(f"the network of a posterior has {wanted}")
    spectrum, settings = read_spectrum("spectrum", header, tensors), read_settings(header)
    limits = {name: tensors[name].numpy() for name in ("pixel_sizes", "signals")}
    if [v.shape for v in limits.values()] != [(2, 2), (2, 2, 2)] or not all((v > 0).all() for v in limits.values()):
        raise ValueError("pixel_sizes, signals: need positive numbers of the shapes (2, 2) and (2, 2, 2)")
    denoiser = PosteriorDenoiser(network, spectrum, settings.pop("pixel_size")).requires_grad_(False)
    return PosteriorNetwork(
        denoiser,
        spectrum,
        factor=read_spectrum("factor", header, tensors),
        spectrum=read_spectrum("theory", header, tensors) if "theory.ell" in tensors else None,
        kind=header.get("kind", "random"),
        **limits,
        **settings,
    )
