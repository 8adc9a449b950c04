"""Posterior of the power spectrum that was inferred together with a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._io.quantities import checked_level
from .._io.result_tables import ResultTable, printed
from ..theory.spectrum import PowerSpectrum
from .quantiles import interval, quantiles
from .sacc_data import bands_to_sacc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astropy.table import QTable

    from .._utils.typing import Floats

__all__ = ["SpectrumPosterior"]

_LEVEL = 0.68


class SpectrumPosterior:
    """
    Posterior of the power spectrum in bands of ell, ``kappa.spectrum_posterior`` of a map with an inferred spectrum.

    Parameters
    ----------
    low, high, ell : ndarray
        Edges of the bands in ell, and mean ell of their modes, ``(bands,)``.
    reference : ndarray
        Mean of the reference spectrum over the modes of each band, ``(bands,)``.
    amplitudes : ndarray
        Samples of the amplitudes of the reference, one for each sample of the map, ``(n_samples, bands)``.
    theory : `~astro_massmap.PowerSpectrum`
        Reference spectrum.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import InferredSpectrum, Wiener, datasets
    >>> shear = datasets.demo().to_map(pixel_scale=3.2 * u.arcmin)
    >>> method = Wiener(InferredSpectrum(bands=2, burn_in=10, thin=1), n_samples=60)
    >>> kappa = shear.reconstruct(method, progress=False)  # doctest: +IGNORE_WARNINGS
    >>> kappa.spectrum_posterior.to_table().colnames
    ['low', 'high', 'ell', 'cl', 'lower', 'upper', 'amplitude', 'effective_samples']
    >>> kappa.spectrum_posterior.spectrum()
    <PowerSpectrum 'inferred, relative to default: z_s = 1': 258 points, ell 10 to 100000>
    """

    def __init__(
        self,
        low: Floats,
        high: Floats,
        ell: Floats,
        reference: Floats,
        amplitudes: Floats,
        theory: PowerSpectrum,
        effective_samples: Floats | None = None,
    ) -> None:
        self.low, self.high, self.ell, self.reference = (
            np.asarray(x, dtype=float) for x in (low, high, ell, reference)
        )
        self.amplitudes, self.theory = np.asarray(amplitudes, dtype=float), theory
        given = np.full(len(self.ell), np.nan) if effective_samples is None else effective_samples
        self.effective_samples = np.asarray(given, dtype=float)

    @classmethod
    def from_diagnostics(cls, found: Mapping[str, Any]) -> Self:
        """Return the posterior in ``kappa.diagnostics["spectrum_posterior"]``."""
        theory = PowerSpectrum(found["theory"]["ell"], found["theory"]["cl"], name=found["theory"]["name"])
        names = "low", "high", "ell", "reference", "amplitudes", "effective_samples"
        return cls(theory=theory, **{name: found[name] for name in names})

    def __repr__(self) -> str:
        n, bands = self.amplitudes.shape
        return f"<SpectrumPosterior: {bands} bands, ell {self.low[0]:.0f} to {self.high[-1]:.0f}, {n} samples>"

    @property
    def samples(self) -> Floats:
        """Samples of C_ell, the mean over the modes of each band, ``(n_samples, bands)``."""
        return self.amplitudes * self.reference

    def to_table(self, level: float = _LEVEL) -> QTable:
        """
        Return a table with a row for each band.

        Parameters
        ----------
        level : float
            Probability of the intervals between ``lower`` and ``upper``.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``low``, ``high`` and ``ell`` of the bands; ``cl``, ``lower`` and ``upper``, median and interval of
            C_ell; ``amplitude``, the median relative to the reference; ``effective_samples``.
        """
        level = checked_level(level)
        table = ResultTable({"low": self.low, "high": self.high, "ell": self.ell})
        table["cl"] = quantiles(self.samples, 0.5)
        table["lower"], table["upper"] = interval(self.samples, level)
        table["amplitude"], table["effective_samples"] = quantiles(self.amplitudes, 0.5), self.effective_samples
        table.meta |= {"level": level, "n_samples": len(self.amplitudes), "reference": self.theory.name}
        return printed(table)

    def spectrum(self, q: float = 0.5) -> PowerSpectrum:
        """
        Return the reference spectrum times a quantile of the amplitudes, for use as the spectrum of a prior.

        The logarithm of the amplitude is interpolated linearly in log(ell) between the bands, and constant beyond.

        Parameters
        ----------
        q : float
            Probability of the quantile, by default that of the median.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import PowerSpectrum
        >>> from astro_massmap.analysis.spectrum_posterior import SpectrumPosterior
        >>> theory, amplitudes = PowerSpectrum.default(), np.array([[0.8, 2.0], [0.9, 2.0], [1.0, 2.0]])
        >>> found = SpectrumPosterior([100, 1000], [1000, 9000], [500, 4000], theory([500, 4000]), amplitudes, theory)
        >>> print((found.spectrum()([100, 500, 4000]) / theory([100, 500, 4000])).round(2))
        [0.9 0.9 2. ]
        """
        log_amplitude = np.log(quantiles(self.amplitudes, q))
        ell = np.union1d(np.geomspace(self.theory.ell[0], self.theory.ell[-1], 256), self.ell)
        factor = np.exp(np.interp(np.log(ell), np.log(self.ell), log_amplitude))
        return PowerSpectrum(ell, self.theory(ell) * factor, name=f"inferred, relative to {self.theory.name}")

    def to_sacc(self, **options: Any) -> Any:
        """
        Return the mean and the covariance of C_ell in the bands as data of SACC.

        Parameters
        ----------
        **options
            ``n_z`` and ``tracer`` of `~astro_massmap.analysis.sacc_data.bands_to_sacc`.
        """
        return bands_to_sacc(self.low, self.high, self.samples, **options)
