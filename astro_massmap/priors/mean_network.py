"""
Posterior-mean network: a network that adds a correction to the Wiener filter of masked, noisy shear.

The network with the least mean squared error is the mean of the posterior (DeepMass, Jeffrey et al. 2020); a second
output, fitted to its squared error, is the variance (moment networks, Jeffrey & Wandelt 2020). With W the
over the pixels with data, the inputs of the network f are

    W / s_w,    q = 2 s_n^2 / (s_n^2 + N),    log s_n,

where q is 0 without data and 1 for the median noise. Its two outputs give

    mean = W + s_p f_1,    variance = s_p^2 exp(f_2).

``s_w`` and ``s_p`` are the standard deviations of W and of the posterior under the Gaussian prior, if all pixels had
the noise s_n; inputs and outputs are then of order one. Before training the mean is W.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

import torch

from .._utils.html import card
from ..theory.spectrum import PowerSpectrum
from .denoiser import HybridDenoiser, waves
from .tiles import check_tile, in_tiles, tiles
from .unet import UNet
from .weights_file import read_network, read_settings, read_spectrum, read_weights, spectrum_tables, write_weights

_FORMAT = "astro_massmap posterior mean 1"
_LARGEST = 8.0  # limit of |f_2|, the log variance in units of s_p^2
_MIDDLE, _DECADES = 0.03, 1.5  # centre and half width of the noise levels that the conditions resolve
_SLACK = 0.02  # relative tolerance at the ends of the range of noise levels


class MomentDenoiser(HybridDenoiser):
    """
    Denoiser of a posterior-mean network: mean and standard deviation of the posterior, given the Wiener filter.

    The parameters are those of `~astro_massmap.priors.HybridDenoiser`; the network has two outputs.

    Examples
    --------
    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import MomentDenoiser, UNet
    >>> denoiser = MomentDenoiser(UNet((8, 8, 8), outputs=2, conditions=9), PowerSpectrum.default(), pixel_size=1.2e-4)
    >>> added, std = denoiser(torch.zeros(2, 32, 32), torch.ones(2, 32, 32), torch.tensor([0.1, 0.2]))
    >>> float(added.detach().abs().max()), std.shape
    (0.0, torch.Size([2, 32, 32]))
    """

    def forward(self, wiener, share, sigma):
        """
        Return the correction to the Wiener filter and the standard deviation of the posterior, ``(n, ny, nx)`` each.

        The inputs are Wiener filter and q, ``(n, ny, nx)``, and noise levels s_n, ``(n,)``.
        """
        _, filtered, posterior = self.spreads(sigma)
        conditions = waves(torch.log10(sigma / _MIDDLE) / _DECADES, 4)
        inputs = torch.stack([wiener / filtered, share], dim=1)
        mean, log_variance = self.network(inputs, conditions).float().unbind(dim=1)
        return posterior * mean, posterior * torch.exp(log_variance.clamp(-_LARGEST, _LARGEST) / 2)


def noise_level(noise_std):
    """Return s_n: the median of ``noise_std`` ``(ny, nx)`` where it is finite, or infinity without data."""
    known = noise_std[torch.isfinite(noise_std)]
    return float(known.median()) if len(known) else float("inf")


def noise_share(noise_std, sigma):
    """Return q: 0 without data, 1 where the noise is ``sigma``, 2 without noise."""
    return 2 * sigma**2 / (sigma**2 + noise_std**2)


@dataclass(frozen=True, eq=False)
class MeanNetwork:
    """
    A trained posterior-mean network.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.MomentDenoiser`
        Trained denoiser, with the spectrum of its Wiener filter and its pixel size.
    spectrum : `~astro_massmap.PowerSpectrum`
        Power spectrum of the training maps and of the Wiener filter.
    sigma_range : tuple of float
        Range of noise levels of the training, per pixel and component of the shear.
    margin : int
        Width in pixels of the margin around the field in which the network is evaluated too.
    card : dict
        Metadata of the training: redshift, resolution, training set, version.
    tile : int
        Side of the largest tile in pixels, see `~astro_massmap.ScorePrior`; not written to files.

    Examples
    --------
    >>> from astro_massmap.priors import MeanNetwork
    >>> network = MeanNetwork.load("default")
    >>> print(f"{network.pixel_scale:.2f}, sources at z = {network.card['source_redshift']}")
    0.40 arcmin, sources at z = 1.0
    """

    denoiser: MomentDenoiser
    spectrum: PowerSpectrum
    sigma_range: tuple
    margin: int = 32
    card: dict = field(default_factory=dict)
    tile: int = 512

    def __post_init__(self):
        if not (isinstance(self.margin, int) and self.margin >= 0):
            raise ValueError(f"margin: needs a non-negative integer (pixels), got {self.margin!r}")
        check_tile(self.tile)

    def __repr__(self):
        parameters = sum(p.numel() for p in self.denoiser.parameters())
        maps, version = self.card.get("maps", "maps"), self.card.get("version", "unknown")
        return f"<MeanNetwork: {parameters} parameters, trained on {maps}, version {version}>"

    def _repr_html_(self):
        rows = {"trained on": self.card.get("maps"), "version": self.card.get("version")}
        rows |= {"parameters": sum(p.numel() for p in self.denoiser.parameters()), "spectrum": self.spectrum.name}
        return card(type(self).__name__, rows, self.spectrum._thumbnail)

    @property
    def pixel_size(self):
        """Side of a pixel in radians."""
        return self.denoiser.pixel_size

    @property
    def pixel_scale(self):
        """Side of a pixel, a `~astropy.units.Quantity` in arcmin."""
        import astropy.units as u

        return (self.pixel_size * u.rad).to(u.arcmin)

    @torch.no_grad()
    def moments(self, wiener, noise_std):
        """
        Return mean and standard deviation of the posterior, ``(ny, nx)`` each, with the dtype of ``wiener``.

        Parameters
        ----------
        wiener : `torch.Tensor`
            Wiener filter of the data ``(ny, nx)``, under a Gaussian prior with ``spectrum``.
        noise_std : `torch.Tensor`
            Standard deviation of the noise per pixel ``(ny, nx)``, infinite without data.

        Raises
        ------
        ValueError
            If there are no data, or their noise is outside the range of the training.
        """
        sigma, (low, high) = noise_level(noise_std), self.sigma_range
        if not low * (1 - _SLACK) <= sigma <= high * (1 + _SLACK):
            raise ValueError(
                f"noise_std: the network was trained at a noise of {low:g} to {high:g} per pixel, the median of the "
                f"data is {sigma:.3g}; use another method, or a network trained for this noise"
            )
        denoiser = self.denoiser.to(wiener.device).eval()
        share = noise_share(noise_std, sigma)
        level = torch.full((1,), sigma, dtype=torch.float32, device=wiener.device)
        added, std = in_tiles(
            lambda tile, parts: torch.cat(denoiser(*parts, level)),
            (wiener[None].float(), share[None].float()),
            tiles(wiener.shape, self.tile, denoiser),
        )
        return wiener + added.to(wiener.dtype), std.to(wiener.dtype)

    @classmethod
    def load(cls, file="default"):
        """
        Read a network from a file; parameters and errors as for `~astro_massmap.ScorePrior.load`.

        ``"default"`` is the network shipped with the package; others are written by `save` or
        ``massmap train --posterior-mean``.
        """
        if file != "default":
            return read_weights(file, _FORMAT, _build)
        with resources.as_file(resources.files(__package__) / "weights" / "posterior_mean.safetensors") as path:
            return _default(str(path))

    def save(self, file, *, overwrite=False):
        """Write the network to a safetensors file; parameters and errors as for `~astro_massmap.ScorePrior.save`."""
        header = {
            "format": _FORMAT,
            "network": self.denoiser.network.settings,
            "pixel_size": self.pixel_size,
            "sigma_range": list(self.sigma_range),
            "margin": self.margin,
            "spectrum": self.spectrum.name,
            "card": self.card,
        }
        tables = spectrum_tables("spectrum", self.spectrum)
        write_weights(file, header, self.denoiser.network, tables, overwrite=overwrite)


@lru_cache(maxsize=1)
def _default(path):
    return read_weights(path, _FORMAT, _build)


def _build(header, tensors):
    network = read_network(header, tensors)
    if network.settings["inputs"] != 2 or network.settings["outputs"] != 2:
        raise ValueError("a posterior-mean network has two inputs and two outputs")
    spectrum, settings = read_spectrum("spectrum", header, tensors), read_settings(header)
    denoiser = MomentDenoiser(network, spectrum, settings.pop("pixel_size")).requires_grad_(False)
    return MeanNetwork(denoiser, spectrum, **settings)


def untrained(widths, spectrum, pixel_size):
    """Return a `MomentDenoiser` whose correction is zero."""
    return MomentDenoiser(UNet(widths, outputs=2, conditions=9), spectrum, pixel_size)
