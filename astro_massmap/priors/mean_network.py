"""
The posterior mean in one step: what a network adds to the Wiener filter of masked, noisy shear.

The network that makes the mean squared error least gives the mean of the posterior (DeepMass, Jeffrey et al. 2020);
one that does so for the squared error of that mean gives its variance (moment networks, Jeffrey & Wandelt 2020).
With W the exact Wiener filter of the data, N the noise variance of a pixel, infinite without data, and ``s_n^2`` its
median where there are data, the network f is told

    W / s_w,    q = 2 s_n^2 / (s_n^2 + N),    log s_n,

q being 0 where there are no data and 1 for noise as usual, and says

    mean = W + s_p f_1,    variance = s_p^2 exp(f_2).

``s_w`` and ``s_p`` are the standard deviations of W and of the posterior under the Gaussian prior, as if all pixels
had the noise s_n: all that the network sees and says is of order one. Without any training the mean is W.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

import torch

from ..theory.spectrum import PowerSpectrum
from .denoiser import HybridDenoiser
from .tiles import check_tile, in_tiles, tiles
from .unet import UNet
from .weights_file import read_network, read_settings, read_spectrum, read_weights, spectrum_tables, write_weights

_FORMAT = "astro_massmap posterior mean 1"
_LARGEST = 8.0  # f_2 beyond which it is no logarithm of a variance that anything has taught
_SLACK = 0.02  # relative, of the range of noise levels


class MomentDenoiser(HybridDenoiser):
    """
    A network around the Wiener filter of shear: the mean of the posterior, and its standard deviation.

    Parameters
    ----------
    network : `~astro_massmap.priors.UNet`
        From two channels to two.
    spectrum : callable
        C_ell of the Wiener filter.
    pixel_size : float
        Side of a pixel in radians.

    Examples
    --------
    A network that has learned nothing adds nothing to the mean, and leaves the standard deviation of theory:

    >>> import torch
    >>> from astro_massmap import PowerSpectrum
    >>> from astro_massmap.priors import MomentDenoiser, UNet
    >>> network = UNet((8, 8, 8), outputs=2).requires_grad_(False)
    >>> denoiser = MomentDenoiser(network, PowerSpectrum.default(), pixel_size=1.2e-4)
    >>> wiener, share, sigma = torch.zeros(2, 32, 32), torch.ones(2, 32, 32), torch.tensor([0.1, 0.2])
    >>> added, std = denoiser(wiener, share, sigma)
    >>> _, _, posterior = denoiser.spreads(sigma)
    >>> float(added.abs().max()), torch.allclose(std, posterior.expand_as(std))
    (0.0, True)
    """

    def forward(self, wiener, share, sigma):
        """
        What the network adds to the Wiener filter, and the standard deviation about the sum.

        Parameters
        ----------
        wiener, share : `torch.Tensor`
            Wiener filter and q, ``(n, ny, nx)``.
        sigma : `torch.Tensor`
            Noise levels ``(n,)``, s_n.

        Returns
        -------
        tuple of two `torch.Tensor`
            ``(n, ny, nx)`` each.
        """
        _, filtered, posterior = self.spreads(sigma)
        mean, log_variance = self.network(torch.stack([wiener / filtered, share], dim=1), sigma).float().unbind(dim=1)
        return posterior * mean, posterior * torch.exp(log_variance.clamp(-_LARGEST, _LARGEST) / 2)


def noise_level(noise_std):
    """
    s_n, what is called the noise level of some data: the median of its noise where there are data.

    Parameters
    ----------
    noise_std : `torch.Tensor`
        Standard deviation of the noise ``(ny, nx)``, infinite without data.

    Returns
    -------
    float
        Infinite if there are no data at all.
    """
    known = noise_std[torch.isfinite(noise_std)]
    return float(known.median()) if len(known) else float("inf")


def noise_share(noise_std, sigma):
    """q of the module: 0 without data, 1 where the noise is ``sigma``, 2 without noise."""
    return 2 * sigma**2 / (sigma**2 + noise_std**2)


@dataclass(frozen=True, eq=False)
class MeanNetwork:
    """
    A trained network for the mean of the posterior and its standard deviation.

    Parameters
    ----------
    denoiser : `~astro_massmap.priors.MomentDenoiser`
        The network, with the spectrum of its Wiener filter and its pixel size.
    spectrum : `~astro_massmap.PowerSpectrum`
        Of the maps that it was trained with, and of the Wiener filter.
    sigma_range : tuple of float
        Noise levels per pixel and component of the shear that it was trained at.
    margin : int
        Pixels around the field within which it is evaluated too: the field has no edge then.
    card : dict
        How it was made: redshift, resolution, training set, version.
    tile : int
        Side in pixels of the largest piece that the network is evaluated on at once, as of
        `~astro_massmap.ScorePrior`; not kept in a file.

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
            raise ValueError(f"margin: needs a number of pixels, not negative, got {self.margin!r}")
        check_tile(self.tile)

    def __repr__(self):
        parameters = sum(p.numel() for p in self.denoiser.parameters())
        maps, version = self.card.get("maps", "maps"), self.card.get("version", "unknown")
        return f"<MeanNetwork: {parameters} parameters, trained on {maps}, version {version}>"

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
        Mean and standard deviation of the posterior.

        Parameters
        ----------
        wiener : `torch.Tensor`
            Wiener filter of the data ``(ny, nx)``, with `spectrum` as its prior.
        noise_std : `torch.Tensor`
            Standard deviation of the noise ``(ny, nx)``, infinite without data.

        Returns
        -------
        tuple of two `torch.Tensor`
            ``(ny, nx)`` each, of the type of ``wiener``.

        Raises
        ------
        ValueError
            If there are no data, or the noise is not what the network was trained at.

        Examples
        --------
        Where there are no data there is more to be uncertain about:

        >>> import torch
        >>> from astro_massmap.priors import MeanNetwork
        >>> noise_std = torch.full((64, 64), 0.1)
        >>> noise_std[:, 32:] = torch.inf
        >>> mean, std = MeanNetwork.load().moments(torch.zeros(64, 64), noise_std)
        >>> bool(std[:, 32:].mean() > 1.2 * std[:, :32].mean())
        True
        """
        sigma, (low, high) = noise_level(noise_std), self.sigma_range
        if not low * (1 - _SLACK) <= sigma <= high * (1 + _SLACK):
            raise ValueError(
                f"noise_std: the network was trained at a noise of {low:g} to {high:g} per pixel, the median of the "
                f"data is {sigma:.3g}; use another method, or a network that was trained for it"
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
        Read a network.

        Parameters
        ----------
        file : str or path-like
            ``"default"`` is the one shipped with the package: sources at redshift 1, pixels of 0.4 arcmin. Else a
            file that `save` or ``massmap train --posterior-mean`` wrote.

        Returns
        -------
        MeanNetwork

        Raises
        ------
        OSError
            If the file is not there, is damaged, or holds something else.

        Examples
        --------
        >>> from astro_massmap.priors import MeanNetwork
        >>> MeanNetwork.load("default").sigma_range
        (0.05, 0.3)
        """
        if file != "default":
            return read_weights(file, _FORMAT, _build)
        with resources.as_file(resources.files(__package__) / "weights" / "posterior_mean.safetensors") as path:
            return _default(str(path))

    def save(self, file, *, overwrite=False):
        """
        Write the network to a safetensors file.

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
        >>> from astro_massmap.priors import MeanNetwork
        >>> network = MeanNetwork.load("default")
        >>> network.save("network.safetensors")
        >>> MeanNetwork.load("network.safetensors").card == network.card
        True
        """
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
        raise ValueError("a network for mean and variance has two channels at either end")
    spectrum, settings = read_spectrum("spectrum", header, tensors), read_settings(header)
    denoiser = MomentDenoiser(network, spectrum, settings.pop("pixel_size")).requires_grad_(False)
    return MeanNetwork(denoiser, spectrum, **settings)


def untrained(widths, spectrum, pixel_size):
    """A `MomentDenoiser` that leaves the Wiener filter as it is."""
    return MomentDenoiser(UNet(widths, outputs=2), spectrum, pixel_size)
