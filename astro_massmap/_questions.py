"""What one asks of a map and of its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.uncertainty import Distribution

from ._fit_statements import LOW_PEAKS, gaussian_prior
from ._input import floats
from ._progress import warn
from ._quantiles import over_samples, quantiles, warn_of_few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from numpy.typing import ArrayLike

    from ._typing import Background, Floats, KeepColumns, MapParts, RegionsLike
else:
    MapParts = object


class Questions(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that ask, and change nothing."""

    def quantile(self, q: float | Sequence[float] | Floats) -> Floats:
        """
        Quantiles of the samples, pixel by pixel, at rank q (n + 1) of n samples.

        Parameters
        ----------
        q : float or array-like
            Probabilities between 0 and 1. Those beyond the lowest and the highest sample, 1 / (n + 1) and n / (n + 1),
            return these samples, with a warning; 0 and 1 without.

        Returns
        -------
        ndarray
            ``(ny, nx)``, or ``(len(q), ny, nx)``.

        Raises
        ------
        TypeError, ValueError
            If the map has no samples, or q is no number between 0 and 1.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=8, progress=False)
        >>> low, high = kappa.quantile([0.16, 0.84])
        >>> low.shape, bool((low <= kappa.median).all() and (kappa.median <= high).all())
        ((32, 32), True)
        """
        asked = floats(q, "q")
        if not ((asked >= 0) & (asked <= 1)).all():
            raise ValueError(f"q: needs to be between 0 and 1, got {q}")
        samples = self._need_samples()
        tails = np.minimum(asked, 1 - asked).ravel()
        if (tails > 0).any():
            i = np.argmin(np.where(tails > 0, tails, 1))
            warn_of_few(len(samples), tails[i], f"q={asked.ravel()[i]:g}")
        return over_samples(lambda part: quantiles(part, asked), samples)

    @property
    def median(self) -> Floats:
        """Median of the samples ``(ny, nx)``; ValueError without samples."""
        return over_samples(lambda part: quantiles(part, 0.5), self._need_samples())

    @property
    def distribution(self) -> Distribution:
        """
        The samples as an `astropy.uncertainty.Distribution`; ValueError without samples.

        Its ``pdf_percentiles`` are those of numpy, with too little coverage for few samples: use `quantile` instead.
        """
        return Distribution(np.moveaxis(self._need_samples(), 0, -1) * self.unit)

    def _need_samples(self) -> Floats:
        if self.samples is None:
            raise ValueError(
                "samples: the map has none; methods that draw samples are annealed_hmc and wiener, with n_samples > 0"
            )
        return self.samples

    def _need_convergence(self) -> None:
        if self.unit != u.dimensionless_unscaled:
            raise u.UnitsError(f"needs a map of the convergence, this one is in {self.unit}")

    def _warn_if_gaussian(self) -> None:
        """Warn where peaks are measured on a map that was made with a Gaussian prior."""
        if gaussian_prior(self.meta, self.diagnostics):
            warn(f"the map was made with {LOW_PEAKS}; use the learned prior, the default of reconstruct", 4)

    @property
    def _std(self) -> Floats | None:
        return None if self.uncertainty is None else self.uncertainty.array

    # ---- places

    def region_statistics(
        self,
        regions: RegionsLike,
        *,
        background: Background | None = None,
        level: float = 0.68,
        keep_columns: KeepColumns = False,
        cosmology: FLRW | None = None,
    ) -> QTable:
        """
        Mean convergence in regions, with its credible interval over the samples.

        Parameters
        ----------
        regions : regions
            A region of the sky or of pixels, a list of them, a table of positions and radii, or a file.
        background : regions or `~astropy.units.Quantity`, optional
            Whose mean is subtracted: one region for all, one for each, or the two radii of a ring around each.
        level : float
            Of the interval.
        keep_columns, cosmology
            Columns of a table of clusters to keep, and the cosmology for its radii in kpc or Mpc; see
            `~astro_massmap.detection.region_statistics`.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``region``, ``center``, ``kappa``, ``std``, ``lower``, ``upper``, ``signal_to_noise`` and
            ``data_fraction``, the share of the region that holds data.

        Raises
        ------
        TypeError, ValueError, OSError
            If an argument is not as described, a file cannot be read, or the map has fewer than two samples.
        `~astropy.units.UnitsError`
            Of a map in units of a surface density.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=16, progress=False)
        >>> table = kappa.region_statistics(datasets.demo_clusters())
        >>> bool((table["lower"] < table["kappa"]).all())
        True
        """
        from .detection import region_statistics

        self._need_convergence()
        maps = self.data, self._need_samples(), self.wcs, self.mask
        options: dict[str, Any] = {"level": level, "keep_columns": keep_columns, "cosmology": cosmology}
        return region_statistics(*maps, regions, background=background, **options)

    def region_means(self, regions: RegionsLike, *, background: Background | None = None) -> Floats:
        """
        Mean convergence of regions in every sample.

        Parameters
        ----------
        regions, background
            As for `region_statistics`.

        Returns
        -------
        ndarray
            ``(n_samples, n_regions)``, NaN for regions outside of the field. Errors are those of `region_statistics`.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth, clusters = datasets.demo_truth(), datasets.demo_clusters()
        >>> samples = truth.data + np.random.default_rng(0).normal(scale=0.05, size=(32, *truth.shape))
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> means = kappa.region_means(clusters)
        >>> table = kappa.detection_probability(clusters, threshold=0.07)
        >>> means.shape, bool(((means > 0.07).mean(axis=0) == table["probability"]).all())
        ((32, 5), True)
        """
        from .detection import region_values

        self._need_convergence()
        return region_values(self.data, self._need_samples(), self.wcs, self.mask, regions, background=background)

    def detection_probability(
        self,
        regions: RegionsLike,
        threshold: ArrayLike,
        background: Background | None = None,
        *,
        level: float = 0.68,
        keep_columns: KeepColumns = False,
        cosmology: FLRW | None = None,
    ) -> QTable:
        """
        Probability that there is a structure: the fraction of samples whose mean over a region exceeds a threshold.

        Parameters
        ----------
        regions, background, keep_columns, cosmology
            As for `region_statistics`.
        threshold : float or array-like
            Of the mean convergence, for all regions or for each.
        level : float
            Level of the interval of the probability.

        Returns
        -------
        `~astropy.table.QTable`
            Columns ``region``, ``center``, ``kappa`` (of the posterior mean), ``probability``, its Wilson interval
            ``lower`` to ``upper`` and the number ``n_samples`` of samples, taken as independent, ``data_fraction``,
            and ``measured``, False where less than 5 % of the region holds data (the prior dominates).

        Raises
        ------
        TypeError, ValueError, OSError, `~astropy.units.UnitsError`
            As for `region_statistics`, or if the threshold is not finite.

        Warns
        -----
        `~astropy.utils.exceptions.AstropyUserWarning`
            If the map was made with a Gaussian prior, which biases probabilities of massive halos low.

        Examples
        --------
        >>> import numpy as np
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth = datasets.demo_truth()
        >>> samples = truth.data + np.random.default_rng(0).normal(scale=0.05, size=(32, *truth.shape))
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)
        >>> table = kappa.detection_probability(datasets.demo_clusters(), threshold=0.015)
        >>> bool(((table["lower"] <= table["probability"]) & (table["probability"] <= table["upper"])).all())
        True
        """
        from .detection import detection_probability

        self._need_convergence()
        samples = self._need_samples()
        self._warn_if_gaussian()
        maps = self.data, samples, self.wcs, self.mask
        options: dict[str, Any] = {"level": level, "keep_columns": keep_columns, "cosmology": cosmology}
        return detection_probability(*maps, regions, threshold, background, **options)

    def peaks(
        self,
        threshold: float,
        *,
        smoothing: u.Quantity | None = None,
        radius: u.Quantity = 1.5 * u.arcmin,
        level: float = 0.68,
    ) -> QTable:
        """
        Peaks of the map, and the fraction of samples that hold them too.

        Parameters
        ----------
        threshold : float
            Least convergence of a peak, of the map and of the samples.
        smoothing : `~astropy.units.Quantity`, optional
            Standard deviation of a Gaussian that map and samples are smoothed with first.
        radius : `~astropy.units.Quantity`
            Within which a peak of a sample is the same.
        level : float
            Level of the interval of the probability.

        Returns
        -------
        `~astropy.table.QTable`
            Highest first: ``center``, ``kappa``, ``signal_to_noise``, ``probability`` with its Wilson interval
            ``lower`` to ``upper`` (NaN without samples) from ``n_samples`` samples, and ``measured``, False where there
            is no data.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If an argument is not as described, or the map is in units of a surface density.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=16, progress=False)
        >>> peaks = kappa.peaks(0.02, smoothing=1 * u.arcmin)
        >>> bool(peaks["kappa"][0] > peaks["kappa"][-1] > 0.02)
        True
        """
        from .peaks import find_peaks

        self._need_convergence()
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

    def peak_counts(self, edges: ArrayLike, *, smoothing: u.Quantity | None = None, minima: bool = False) -> QTable:
        """
        Number of peaks (or minima) by height, with its spread over the samples; those without data do not count.

        Parameters
        ----------
        edges : array-like
            Of the bins of convergence, increasing.
        smoothing : `~astropy.units.Quantity`, optional
            As for `peaks`.
        minima : bool
            Count local minima instead.

        Returns
        -------
        `~astropy.table.QTable`
            ``low``, ``high``, ``mean_map`` (peaks of the map itself), ``count`` (their mean over the samples),
            ``std``, ``lower`` and ``upper`` (68 %).

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            As for `peaks`, or if the map has no samples.

        Examples
        --------
        The mean of the posterior is smoother than the sky: in its samples more peaks are high.

        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=8, progress=False)
        >>> table = kappa.peak_counts([0, 0.02, 0.04, 0.2])
        >>> bool(table["mean_map"][-1] < table["count"][-1])
        True
        """
        from .peaks import peak_counts

        self._need_convergence()
        samples = self._need_samples()
        return peak_counts(self.data, samples, self.wcs, self.mask, edges, smoothing=smoothing, minima=minima)

    # ---- the whole field

    def power_spectrum(
        self, edges: ArrayLike | None = None, *, measured_only: bool = False, level: float = 0.68
    ) -> QTable:
        """
        Angular power spectrum of the map and of its samples, in bands of ell.

        The edges of the field, and those of the mask, mix the bands; that is undone (Hivon et al. 2002).

        Parameters
        ----------
        edges : array-like, optional
            Of the bands of ell, increasing.
        measured_only : bool
            Leave out the pixels without data, which samples fill with what is likely.
        level : float
            Of the interval over the samples.

        Returns
        -------
        `~astropy.table.QTable`
            ``low``, ``high``, ``ell``, ``cl`` (of the map; a posterior mean has less power than the sky), and of
            the samples ``cl_samples`` (mean), ``std``, ``lower`` and ``upper``.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If an argument is not as described, the field is too small, what is seen of it does not tell the bands
            apart, or the map is in units of a surface density.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=8, progress=False)
        >>> table = kappa.power_spectrum([500, 1000, 2000, 4000])
        >>> bool((table["cl"] < table["cl_samples"]).all())
        True
        """
        from .angular_power import spectrum_table

        self._need_convergence()
        mask = self.mask if measured_only else np.zeros(self.shape, dtype=bool)
        size = self.pixel_scale.to_value(u.rad)
        return spectrum_table(self.data, self.samples, mask, size, edges, level=level)
