"""Credible intervals of super-pixels, and tests of structures, from the samples of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._io.quantities import checked_level
from .._io.result_tables import ResultTable, printed
from .._sky.superpixels import block_mean, block_wcs, pixels_per_side
from ..analysis.quantiles import interval
from ..analysis.simultaneous import joint_interval
from .arguments import need_convergence
from .arithmetic import check_same_grid

if TYPE_CHECKING:
    import astropy.units as u
    from astropy.cosmology import FLRW
    from astropy.table import QTable
    from numpy.typing import ArrayLike

    from .._utils.typing import KeepColumns, MapParts, RegionsLike, Select
    from .convergence_map import ConvergenceMap
else:
    MapParts = object

_LEAST_DATA = 0.5  # of the area of a super-pixel, below which it is masked


@dataclass(frozen=True, eq=False, repr=False)
class CredibleIntervals:
    """
    Credible intervals of the super-pixels of a map, from `astro_massmap.ConvergenceMap.credible_intervals`.

    Attributes
    ----------
    mean, lower, upper, width : ConvergenceMap
        Posterior mean, ends of the intervals and ``upper - lower``. ``mean`` also has the samples of the super-pixels.
    level : float
        Probability of each interval, or of all of them together.
    joint : bool
        Whether the level is that of all intervals together.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets
    >>> kappa = datasets.demo().reconstruct("wiener", n_samples=39, progress=False)
    >>> found = kappa.credible_intervals(3.2 * u.arcmin, level=0.95)
    >>> found
    <CredibleIntervals: 16 x 16 super-pixels of 3.2 arcmin, each with probability 0.95, mean width 0.04...>
    >>> found.to_table().colnames
    ['center', 'kappa', 'lower', 'upper', 'width', 'data_fraction']
    """

    mean: ConvergenceMap
    lower: ConvergenceMap
    upper: ConvergenceMap
    level: float
    joint: bool
    _data_fraction: Any

    @property
    def width(self) -> ConvergenceMap:
        """Map of ``upper - lower``."""
        return _on_grid_of(self.mean, self.upper.data - self.lower.data)

    def to_table(self) -> QTable:
        """
        Return a table with a row for each super-pixel that is not masked.

        Columns are ``center``, ``kappa``, ``lower``, ``upper``, ``width`` and ``data_fraction``.
        """
        y, x = np.nonzero(~self.mean.mask)
        columns: dict[str, Any] = {"center": self.mean.wcs.pixel_to_world(x, y)}
        maps = {"kappa": self.mean, "lower": self.lower, "upper": self.upper, "width": self.width}
        columns |= {name: kappa.data[y, x] * kappa.unit for name, kappa in maps.items()}
        table = ResultTable(columns | {"data_fraction": self._data_fraction[y, x]})
        table.meta |= {"level": self.level, "joint": self.joint, "n_samples": len(self.mean._need_samples())}
        return printed(table)

    def __repr__(self) -> str:
        (ny, nx), seen = self.mean.shape, ~self.mean.mask
        width = self.width.data[seen].mean() if seen.any() else np.nan
        each = "together" if self.joint else "each"
        return (
            f"<CredibleIntervals: {ny} x {nx} super-pixels of {self.mean.pixel_scale:.3g}, {each} with probability "
            f"{self.level:g}, mean width {width:.2g}>"
        )


class Credible(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` on super-pixels and structures."""

    def block_average(self, size: u.Quantity) -> Self:
        """
        Average the map and its samples over super-pixels, square blocks of pixels.

        Parameters
        ----------
        size : `~astropy.units.Quantity`
            Side of a super-pixel, rounded to whole pixels; ``pixel_scale`` of the result is the exact one.

        Returns
        -------
        ConvergenceMap
            Map on a coarser grid. The uncertainty is the standard deviation of the averaged samples, and missing
            without samples. Super-pixels with data in less than half of their area, or without samples, are masked.
            Those at the edge may be incomplete: they are means over the pixels of the map.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If ``size`` is not an angle or below half a pixel, or the WCS has distortions.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().block_average(1.6 * u.arcmin)
        <ConvergenceMap: 32 x 32 pixels of 1.6 arcmin, 100% measured, no samples>
        """
        n = pixels_per_side(size, self.wcs, self.shape)
        samples = None if self.samples is None else block_mean(self.samples, n)
        mask = self._data_fraction(n) < _LEAST_DATA
        if samples is not None:
            mask |= ~np.isfinite(samples).all(axis=0)
        return type(self)(
            block_mean(self.data, n),
            wcs=block_wcs(self.wcs, n, self.shape),
            uncertainty=None if samples is None or len(samples) < 2 else samples.std(axis=0, ddof=1),
            mask=mask,
            samples=samples,
            meta=self.meta,
            diagnostics=self.diagnostics,
            b_mode=None if self.b_mode is None else self.b_mode.block_average(size),
            n_z=self.n_z,
            unit=self.unit,
        )

    def _data_fraction(self, n: int) -> Any:
        """Return the fraction of the area of blocks of n x n pixels that has data."""
        ny, nx = self.shape
        return block_mean(np.pad(~self.mask, ((0, -ny % n), (0, -nx % n))), n)

    def credible_intervals(self, size: u.Quantity, *, level: float = 0.95, joint: bool = False) -> CredibleIntervals:
        """
        Compute credible intervals of the mean convergence of super-pixels.

        The local credible intervals of Price et al. (2019) are limits of the mean of a super-pixel in one direction of
        the highest-density region of a whole map. With samples the interval is that of the posterior of the mean
        itself: the truth is in each one with the probability ``level``. With ``joint`` all of them together contain the
        truth with this probability: they are wider, by the same number of standard deviations everywhere.

        Parameters
        ----------
        size : `~astropy.units.Quantity`
            Side of a super-pixel, as for `block_average`.
        level : float
            Probability of each interval, at ranks of the n samples in steps of 1 / (n + 1), or of all together.
        joint : bool
            Whether the level is that of all intervals together, those of masked super-pixels included.

        Returns
        -------
        CredibleIntervals
            Maps of the mean, the lower and upper ends and the width. A warning states how many samples an interval of
            this level needs, 39 for 0.95, if there are fewer.

        Raises
        ------
        TypeError, ValueError, `~astropy.units.UnitsError`
            If an argument is not as described, the map has no samples, or too few for a joint level (19 for 0.95).

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> kappa = datasets.demo().reconstruct("wiener", n_samples=39, progress=False)
        >>> kappa.credible_intervals(3.2 * u.arcmin, joint=True)
        <CredibleIntervals: 16 x 16 super-pixels of 3.2 arcmin, together with probability 0.95, mean width 0.08...>
        """
        level, samples = checked_level(level), self._need_samples()
        if len(samples) < 2:
            raise ValueError("samples: an interval needs at least two, got 1")
        coarse: Any = self.block_average(size)
        ends = (joint_interval if joint else interval)(coarse.samples, level)
        lower, upper = (_on_grid_of(coarse, end) for end in ends)
        fraction = self._data_fraction(pixels_per_side(size, self.wcs, self.shape))
        return CredibleIntervals(coarse, lower, upper, level, bool(joint), fraction)

    def without(self, regions: RegionsLike, *, cosmology: FLRW | None = None, select: Select | None = None) -> Self:
        """
        Remove structures: replace the map in regions by an interpolation from the pixels around them.

        Parameters
        ----------
        regions, cosmology, select
            As for `region_statistics`, also for errors; ValueError if the regions cover the whole map.

        Returns
        -------
        ConvergenceMap
            Map without uncertainty, samples and B mode. Pixels that are at least half in a region are replaced, by
            `astro_massmap.analysis.structures.interpolate`.

        Examples
        --------
        >>> from astro_massmap import datasets
        >>> truth, clusters = datasets.demo_truth(), datasets.demo_clusters()[:1]
        >>> print(f"{truth.data.max():.2f} {truth.without(clusters).data.max():.2f}")
        0.15 0.14
        """
        from ..analysis.detection import region_weights  # loads regions
        from ..analysis.structures import interpolate  # loads regions

        weights = region_weights(regions, self.wcs, self.shape, cosmology=cosmology, select=select)
        inside = (weights.overlap.toarray() >= 0.5).any(axis=0).reshape(self.shape)
        data = interpolate(self.data, inside)
        return type(self)(data, wcs=self.wcs, mask=self.mask, meta=self.meta, n_z=self.n_z, unit=self.unit)

    def structure_test(
        self,
        regions: RegionsLike,
        size: u.Quantity,
        *,
        other: ConvergenceMap | ArrayLike | None = None,
        level: float = 0.68,
        keep_columns: KeepColumns = False,
        cosmology: FLRW | None = None,
        select: Select | None = None,
    ) -> QTable:
        """
        Test whether the posterior contains the map without the structure in a region, or another map.

        Parameters are those of `astro_massmap.analysis.structures.structure_test`, without the maps, mask and WCS;
        ``other`` may be a map on the same grid. A Gaussian prior gives a warning, as in `region_statistics`.

        Examples
        --------
        >>> import astropy.units as u
        >>> import numpy as np
        >>> from astro_massmap import ConvergenceMap, datasets
        >>> truth, clusters = datasets.demo_truth(), datasets.demo_clusters()
        >>> noise = np.random.default_rng(0).normal(scale=0.05, size=(99, *truth.shape))
        >>> kappa = ConvergenceMap(truth.data, wcs=truth.wcs, samples=truth.data + noise)
        >>> print(kappa.structure_test(clusters, 0.8 * u.arcmin, other=truth)["p_value"].round(2))
        [1. 1. 1. 1. 1.]
        """
        from ..analysis.structures import structure_test  # loads regions

        need_convergence(self)
        maps = self.data, self._need_samples(), self.wcs, self.mask
        if isinstance(other, Credible):
            check_same_grid(self, other)
        tested: Any = other.data if isinstance(other, Credible) else other
        self._warn_if_gaussian()
        chosen: dict[str, Any] = {"keep_columns": keep_columns, "cosmology": cosmology, "select": select}
        return structure_test(*maps, regions, size, other=tested, level=level, **chosen)


def _on_grid_of(kappa: Any, data: Any) -> Any:
    return type(kappa)(data, wcs=kappa.wcs, mask=kappa.mask, meta=kappa.meta, n_z=kappa.n_z, unit=kappa.unit)
