"""Choice of the prior spectrum from the redshift distribution of the data."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ..priors import GaussianPrior, PosteriorNetwork, ScorePrior
from ..theory.source_redshifts import read_n_z
from ..theory.spectrum import PowerSpectrum
from .annealed_hmc import AnnealedHMC
from .inferred_spectrum import InferredSpectrum
from .posterior_diffusion import PosteriorDiffusion
from .posterior_mean import PosteriorMean
from .sparse import Sparse
from .wiener import Wiener

if TYPE_CHECKING:
    from .base import Method


def for_sources(method: Method, n_z: Any) -> tuple[Method, dict[str, Any]]:
    """
    Return the method with the spectrum of n(z) if it has no prior or spectrum of its own, and the record of this.

    Parameters
    ----------
    method : method object
        A copy is made if its spectrum changes.
    n_z : pair of array-like or None
        Redshifts and densities of the sources of the data; None for the default spectrum.

    Returns
    -------
    method : method object
        Method for these sources.
    record : dict
        ``spectrum``, its name, and ``origin``: ``"n(z) of the data"``, ``"default"`` or ``"method"``; both None for a
        method without a spectrum; ``mean_redshift`` of n(z), or None.

    Examples
    --------
    >>> from astro_massmap import Wiener
    >>> from astro_massmap.methods.sources import for_sources
    >>> method, record = for_sources(Wiener(), ([0.5], [1.0]))
    >>> record["origin"], record["mean_redshift"], method.spectrum.name == record["spectrum"]
    ('n(z) of the data', 0.5, True)
    """
    record: dict[str, Any] = {"spectrum": None, "origin": None, "mean_redshift": None}
    if n_z is not None:
        record["mean_redshift"] = read_n_z(n_z, "n_z").mean
    name, own = _prior_of(method)
    if name is None:
        return method, record
    if own is not None:
        return method, record | {"spectrum": _name(own), "origin": "method"}
    spectrum = PowerSpectrum.default() if n_z is None else PowerSpectrum.from_n_z(*n_z)
    record |= {"spectrum": spectrum.name, "origin": "default" if n_z is None else "n(z) of the data"}
    return (method if n_z is None else _with(method, name, spectrum)), record


def pixel_size_of(method: Method) -> float | None:
    """Return the side in radians of the pixels of the prior or network of a method, None if any are accepted."""
    part = method.prior if isinstance(method, AnnealedHMC) else getattr(method, "network", None)
    return getattr(part, "pixel_size", None)


def statement(record: dict[str, Any]) -> str | None:
    """Return one line about the spectrum of a run, or None for a method without one."""
    z, name = record["mean_redshift"], record["spectrum"]
    mean = "" if z is None else f", sources at a mean redshift of {z:.3g}"
    if record["origin"] == "default":
        return f"prior spectrum: {name!r}, because the data have no n(z); give n_z or redshifts for other sources"
    if record["origin"] == "method":
        return f"prior spectrum: {name!r}, that of the method{mean}"
    return None if record["origin"] is None else f"prior spectrum: {name!r}, from n(z) of the data{mean}"


def _prior_of(method: Method) -> tuple[str | None, Any]:
    """Return the option for the prior or spectrum of a method, and its value; None for other methods."""
    if isinstance(method, Wiener):
        given = method.spectrum
        return "spectrum", None if isinstance(given, InferredSpectrum) and given.reference is None else given
    if isinstance(method, Sparse) and method.gaussian:
        return "spectrum", method.spectrum
    if isinstance(method, PosteriorMean | PosteriorDiffusion):
        network = method.network
        own = not isinstance(network, PosteriorNetwork | None) or getattr(network, "spectrum", None) is not None
        return "network", network if own else None
    if not isinstance(method, AnnealedHMC):
        return None, None
    prior: Any = method.prior
    of_any_sources = isinstance(prior, GaussianPrior) or (isinstance(prior, ScorePrior) and prior.table is not None)
    return "prior", None if of_any_sources and prior.spectrum is None else prior


def _with(method: Any, name: str, spectrum: PowerSpectrum) -> Any:
    """Return a copy of a method with this spectrum, without another warning about its options."""
    part: Any = spectrum
    if isinstance(getattr(method, name), InferredSpectrum):
        part = method.spectrum.with_reference(spectrum)
    elif name == "network":
        part = (PosteriorNetwork.load("default") if method.network is None else method.network).scaled(spectrum)
    elif name == "prior":
        prior = ScorePrior.load("default") if method.prior is None else method.prior
        part = prior.scaled(spectrum) if isinstance(prior, ScorePrior) else GaussianPrior(spectrum)
    return changed(method, **{name: part})


def changed(method: Any, **options: Any) -> Any:
    """Return a copy of a method with other options, without another warning about its options."""
    new = copy.copy(method)
    for name, value in options.items():
        object.__setattr__(new, name, value)
    return new


def _name(part: Any) -> str:
    """Return the name of a spectrum, or of that of a prior."""
    spectra = getattr(part, "spectrum", None), getattr(part, "trained_spectrum", None), part
    names = (getattr(spectrum, "name", None) for spectrum in spectra)
    return str(next((name for name in names if name is not None), repr(part)))
