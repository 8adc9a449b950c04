"""Power spectrum that is inferred together with a map (Alsing et al. 2016, 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np

from .._utils.checks import check_integer, check_spectrum
from ..inference import Bands, GaussianPosterior
from ..theory.spectrum import PowerSpectrum

_FEWEST, _MOST_BANDS = 8, 128  # modes of a band that is not merged with its neighbour, and bands


@dataclass(frozen=True)
class InferredSpectrum:
    """
    Power spectrum that is inferred together with the map, for `~astro_massmap.Wiener`.

    In each band of ell the spectrum is a reference spectrum times an amplitude, which has a prior and a posterior.
    Samples of the map and of the amplitudes are drawn together, see `~astro_massmap.inference.SpectrumGibbs`. A uniform
    shear of the field, which structure larger than the box causes, is marginalised.

    Parameters
    ----------
    reference : `~astro_massmap.PowerSpectrum`, optional
        Spectrum whose shape the bands have, and which modes outside of the bands keep; by default that of the sources
        of the data, or of sources at redshift 1.
    bands : int or sequence of float
        Number of bands, or their edges in ell, increasing. By default eight: one of modes larger than the field, one up
        to twice the lowest multipole of the field, ``2 pi`` over its longer side, and bands of equal width in log(ell)
        to the highest multipole of the pixels. With 1, all modes have the same amplitude.
    prior : {'flat', 'jeffreys'}
        Prior density of an amplitude: uniform, for which the posterior is the likelihood, or uniform in the logarithm.
        Where the noise dominates, the first favours high and the second low amplitudes.
    limits : tuple of float
        Lowest and highest amplitude.
    n_chains : int
        Number of chains, which take turns in the samples: sample i is from chain ``i % n_chains``.
    burn_in : int
        Number of steps of a chain before those of its first sample.
    thin : int
        Number of steps for each sample, of which the last is kept.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Examples
    --------
    The amplitude of the spectrum alone:

    >>> import astropy.units as u
    >>> from astro_massmap import InferredSpectrum, Wiener, datasets
    >>> shear = datasets.demo().to_map(pixel_scale=3.2 * u.arcmin)
    >>> method = Wiener(InferredSpectrum(bands=1, burn_in=10), n_samples=60)
    >>> shear.reconstruct(method, progress=False).spectrum_posterior.amplitudes.shape
    (60, 1)
    """

    POWERS: ClassVar = {"flat": 0.0, "jeffreys": 1.0}  # k of the prior density a^-k

    reference: PowerSpectrum | None = None
    _: KW_ONLY
    bands: int | Sequence[float] = 8
    prior: Literal["flat", "jeffreys"] = "flat"
    limits: tuple[float, float] = (0.01, 100.0)
    n_chains: int = 4
    burn_in: int = 40
    thin: int = 3

    def __post_init__(self) -> None:
        if self.reference is not None:
            check_spectrum(self.reference)
        if isinstance(self.bands, Sequence | np.ndarray):
            object.__setattr__(self, "bands", _edges_of(self.bands))
        else:
            check_integer(self.bands, "bands", 1)
        if self.n_bands > _MOST_BANDS:
            raise ValueError(f"bands: needs at most {_MOST_BANDS} bands, got {self.n_bands}")
        if self.prior not in list(self.POWERS):
            raise ValueError(f"prior: needs 'flat' or 'jeffreys', got {self.prior!r}")
        low, high = self.limits if isinstance(self.limits, Sequence) and len(self.limits) == 2 else (0, 0)
        if not (isinstance(low, Real) and isinstance(high, Real) and 0 < low < high < np.inf):
            raise ValueError(f"limits: needs two positive, increasing amplitudes, got {self.limits!r}")
        object.__setattr__(self, "limits", (float(low), float(high)))
        check_integer(self.n_chains, "n_chains", 1)
        check_integer(self.burn_in, "burn_in", 0)
        check_integer(self.thin, "thin", 1)

    @property
    def name(self) -> str:
        """Description of the spectrum."""
        return f"inferred, relative to {getattr(self.theory, 'name', 'a function')!r}"

    @property
    def n_bands(self) -> int:
        """Number of bands, of which boxes of few pixels have fewer."""
        return len(self.bands) - 1 if isinstance(self.bands, Sequence) else self.bands

    @property
    def theory(self) -> PowerSpectrum:
        """Reference spectrum, also if it is the default one."""
        return PowerSpectrum.default() if self.reference is None else self.reference

    def with_reference(self, reference: PowerSpectrum) -> InferredSpectrum:
        """Return a copy with another reference spectrum."""
        return replace(self, reference=reference)

    def on(self, posterior: GaussianPosterior) -> Bands:
        """
        Return the bands on the box of a posterior.

        Raises
        ------
        ValueError
            If a band with given edges contains no modes of the box.
        """
        grid, given = posterior.grid, isinstance(self.bands, Sequence)
        edges = list(self.bands) if isinstance(self.bands, Sequence) else _default_edges(grid, self.bands)
        bands = Bands(grid, edges=edges)
        if given:
            for low, high, count in zip(edges[:-1], edges[1:], bands.count.tolist(), strict=True):
                if not count:
                    raise ValueError(
                        f"bands: needs modes in each band, but the box, whose lowest ell is {float(grid.longest):.0f}, "
                        f"has none at ell = {low:g} to {high:g}; use wider bands"
                    )
            return bands
        while bands.n > 1 and float(bands.count.min()) < _FEWEST:  # boxes of few pixels
            few = int(bands.count.argmin())
            edges.pop(max(few, 1))
            bands = Bands(grid, edges=edges)
        return bands


def _edges_of(bands: Any) -> tuple[float, ...]:
    try:
        edges = np.array(bands, dtype=float)
    except (TypeError, ValueError):
        edges = np.empty(0)
    if edges.ndim != 1 or len(edges) < 2 or not (edges[0] >= 0 and (np.diff(edges) > 0).all()):
        raise ValueError(f"bands: needs a number of bands, or at least two increasing edges in ell, got {bands!r}")
    return tuple(edges.tolist())


def _default_edges(grid: Any, n: int) -> list[float]:
    """Return the edges of n bands: at the lowest ell of the field, at twice this, and of equal width in log(ell)."""
    nyquist = np.pi / grid.pixel_size
    field = min(2 * np.pi / (max(grid.field_shape) * grid.pixel_size), nyquist / 4)
    inner = [field, *np.geomspace(2 * field, nyquist, n - 1)[:-1]] if n > 2 else [field][: n - 1]
    return [0.0, *(float(edge) for edge in inner), np.inf]
