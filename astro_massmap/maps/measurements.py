"""Measurements on a map and its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.uncertainty import Distribution

from .._io.quantities import floats
from .._utils.progress import warn
from ..analysis.quantiles import over_samples, quantiles, warn_of_few
from ..analysis.spectrum_posterior import SpectrumPosterior
from ..analysis.statements import LOW_PEAKS, gaussian_prior
from .arguments import need_convergence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.coordinates import SkyCoord
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from numpy.typing import ArrayLike

    from .._utils.typing import Background, Floats, KeepColumns, MapParts, RegionsLike, Select
    from ..analysis.positions import PeakOffset
else:
    MapParts = object


class Questions(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that measure regions, peaks and power."""

    _has_warned = False  # of a Gaussian prior

    def quantile(self, q: float | Sequence[float] | Floats) -> Floats:
        """
        Compute quantiles of the samples, pixel by pixel, at rank q (n + 1) of n samples; ValueError without samples.

        Parameters
        ----------
        q : float or array-like
            Probabilities between 0 and 1. Below 1 / (n + 1) the quantile is the lowest sample and above n / (n + 1) the
            highest, with a warning unless q is 0 or 1.

        Returns
        -------
        ndarray
            Quantiles ``(ny, nx)``, or ``(len(q), ny, nx)``.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=8, progress=False)
        >>> kappa.quantile([0.16, 0.84]).shape
        (2, 128, 128)
        """
        probability = floats(q, "q")
        if not ((probability >= 0) & (probability <= 1)).all():
            raise ValueError(f"q: needs to be between 0 and 1, got {q}")
        samples = self._need_samples()
        tails = np.minimum(probability, 1 - probability).ravel()
        if (tails > 0).any():
            i = np.argmin(np.where(tails > 0, tails, 1))
            warn_of_few(len(samples), tails[i], f"q={probability.ravel()[i]:g}")
        return over_samples(lambda part: quantiles(part, probability), samples)

    @property
    def median(self) -> Floats:
        """Median of the samples ``(ny, nx)``; ValueError without samples."""
        return over_samples(lambda part: quantiles(part, 0.5), self._need_samples())

    @property
    def distribution(self) -> Distribution:
        """
        Samples as an `astropy.uncertainty.Distribution`; ValueError without samples.

        For few samples the coverage of its ``pdf_percentiles`` (those of numpy) is too low: use `quantile` instead.
        """
        return Distribution(np.moveaxis(self._need_samples(), 0, -1) * self.unit)

    def _need_samples(self) -> Floats:
        if self.samples is None:
            raise ValueError(
                "samples: the map has none; methods that draw samples are annealed_hmc, posterior_diffusion and "
                "wiener, with n_samples > 0"
            )
        return self.samples

    def _warn_if_gaussian(self) -> None:
        """Warn once if the map was made with a Gaussian prior, which biases peaks, means and masses."""
        if gaussian_prior(self.meta, self.diagnostics) and not self._has_warned:
            self._has_warned = True
            warn(f"the map was made with {LOW_PEAKS}; use the learned prior, the default of reconstruct", 4)

    @property
    def _std(self) -> Floats | None:
        return None if self.uncertainty is None else self.uncertainty.array

    @property
    def spectrum_posterior(self) -> SpectrumPosterior | None:
        """
        Posterior of the power spectrum, or None if the method did not infer it.

        It is a `~astro_massmap.analysis.spectrum_posterior.SpectrumPosterior`, for ``Wiener(spectrum="infer")``.
        """
        found = self.diagnostics.get("spectrum_posterior")
        return None if found is None else SpectrumPosterior.from_diagnostics(found)

    # ---- regions and peaks

    def region_statistics(
        self,
        regions: RegionsLike,
        *,
        background: Background | None = None,
        level: float = 0.68,
        keep_columns: KeepColumns = False,
        cosmology: FLRW | None = None,
        select: Select | None = None,
    ) -> QTable:
        """
        Measure the mean convergence in regions, with its credible interval over the samples.

        Parameters are those of `astro_massmap.analysis.detection.region_statistics`, without the maps, mask and WCS. A
        map in units of a surface density raises `~astropy.units.UnitsError`, here and in the other measurements. A
        Gaussian prior gives a warning, once for each map, because means of massive halos are then too low.

        Examples
        --------
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> samples = [a * truth.data for a in (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3)]
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> print("{region}: {kappa:.3f} +- {std:.3f}".format(**kappa.region_statistics(datasets.demo_clusters())[0]))
        A: 0.072 +- 0.016
        """
        from ..analysis.detection import region_statistics  # loads regions

        need_convergence(self)
        maps = self.data, self._need_samples(), self.wcs, self.mask
        self._warn_if_gaussian()
        chosen: dict[str, Any] = {"keep_columns": keep_columns, "cosmology": cosmology, "select": select}
        return region_statistics(*maps, regions, background=background, level=level, **chosen)

    def region_means(
        self,
        regions: RegionsLike,
        *,
        background: Background | None = None,
        cosmology: FLRW | None = None,
        select: Select | None = None,
    ) -> Floats:
        """
        Compute the mean convergence of regions in every sample, ``(n_samples, n_regions)``.

        Parameters are those of `astro_massmap.analysis.detection.region_values`, without the maps, mask and WCS.

        Examples
        --------
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=[0.9 * truth.data, 1.1 * truth.data])
        >>> kappa.region_means(datasets.demo_clusters()).shape
        (2, 5)
        """
        from ..analysis.detection import region_values  # loads regions

        need_convergence(self)
        maps = self.data, self._need_samples(), self.wcs, self.mask
        return region_values(*maps, regions, background=background, cosmology=cosmology, select=select)

    def detection_probability(
        self,
        regions: RegionsLike,
        threshold: ArrayLike,
        background: Background | None = None,
        *,
        level: float = 0.68,
        keep_columns: KeepColumns = False,
        cosmology: FLRW | None = None,
        select: Select | None = None,
    ) -> QTable:
        """
        Compute the fraction of samples in which the mean convergence of a region exceeds a threshold.

        Parameters are those of `astro_massmap.analysis.detection.detection_probability`, without the maps, mask and
        WCS. A Gaussian prior gives a warning, because the probabilities of massive halos are then too low.

        Examples
        --------
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> samples = [a * truth.data for a in (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3)]
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> print(kappa.detection_probability(datasets.demo_clusters(), threshold=0.05)["probability"].round(2))
        [1.   0.71 0.86 0.71 0.  ]
        """
        from ..analysis.detection import detection_probability  # loads regions

        need_convergence(self)
        samples = self._need_samples()
        self._warn_if_gaussian()
        maps = self.data, samples, self.wcs, self.mask
        chosen: dict[str, Any] = {"keep_columns": keep_columns, "cosmology": cosmology, "select": select}
        return detection_probability(*maps, regions, threshold, background, level=level, **chosen)

    def peaks(
        self,
        threshold: float,
        *,
        smoothing: u.Quantity | None = None,
        radius: u.Quantity = 1.5 * u.arcmin,
        level: float = 0.68,
    ) -> QTable:
        """
        Find peaks of the map with the errors of their positions, and the fraction of samples with each peak.

        Parameters are those of `astro_massmap.analysis.peaks.find_peaks`, without the maps, mask and WCS.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> print(datasets.demo_truth().peaks(0.1)["kappa"][:2].round(3))
        [0.154 0.14 ]
        """
        from ..analysis.peaks import find_peaks  # loads regions

        need_convergence(self)
        return find_peaks(
            self.data,
            self.samples,
            self._std,
            self.wcs,
            self.mask,
            threshold,
            smoothing=smoothing,
            radius=radius,
            level=level,
        )

    def peak_offset(
        self,
        center: SkyCoord,
        reference: SkyCoord,
        *,
        radius: u.Quantity = 1 * u.arcmin,
        smoothing: u.Quantity | None = None,
    ) -> PeakOffset:
        """
        Compute the posterior of the position of a peak relative to a galaxy, the X-ray gas or another reference.

        Parameters and errors are those of `astro_massmap.analysis.offsets.peak_offset`, without the maps, mask and WCS.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth, gas = datasets.demo_truth(), SkyCoord(34.43, -5.17, unit="deg")
        >>> noise = np.random.default_rng(1).normal(scale=0.02, size=(40, 128, 128))
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=truth.data + noise)
        >>> offset = kappa.peak_offset(SkyCoord(34.416, -5.171, unit="deg"), reference=gas, smoothing=0.4 * u.arcmin)
        >>> print(offset)
        <PeakOffset: -49.8 +- 3.7 arcsec East, 3.2 +- 3.3 arcsec North, 40 of 40 samples>
        """
        from ..analysis.offsets import peak_offset  # loads regions

        need_convergence(self)
        maps = self._need_samples(), self.wcs, self.mask
        return peak_offset(*maps, center, reference, radius=radius, smoothing=smoothing)

    def peak_counts(self, edges: ArrayLike, *, smoothing: u.Quantity | None = None, minima: bool = False) -> QTable:
        """
        Count peaks or minima by height, with the standard deviation over the samples, leaving out pixels without data.

        Parameters are those of `astro_massmap.analysis.peaks.peak_counts`, without the maps, mask and WCS.

        Examples
        --------
        The posterior mean is smoother than the sky, so that its samples have more high peaks:

        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=8, progress=False)
        >>> table = kappa.peak_counts([0, 0.02, 0.04, 0.2])
        >>> bool(table["mean_map"][-1] < table["count"][-1])
        True
        """
        from ..analysis.peaks import peak_counts  # loads regions

        need_convergence(self)
        samples = self._need_samples()
        return peak_counts(self.data, samples, self.wcs, self.mask, edges, smoothing=smoothing, minima=minima)

    # ---- the whole field

    def power_spectrum(
        self, edges: ArrayLike | None = None, *, measured_only: bool = False, level: float = 0.68
    ) -> QTable:
        """
        Measure the angular power spectrum of the map and of its samples, corrected for mode coupling, in bands of ell.

        Parameters
        ----------
        edges, level
            As for `astro_massmap.analysis.angular_power.spectrum_table`.
        measured_only : bool
            Leave out the pixels without data, whose values are inferred.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().power_spectrum([500, 1000, 2000, 4000])["low"].tolist()
        [500.0, 1000.0, 2000.0]
        """
        from ..analysis.angular_power import spectrum_table  # loads torch

        need_convergence(self)
        mask = self.mask if measured_only else np.zeros(self.shape, dtype=bool)
        size = self.pixel_scale.to_value(u.rad)
        return spectrum_table(self.data, self.samples, mask, size, edges, level=level)
