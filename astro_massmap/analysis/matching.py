"""One-to-one matching of peaks and clusters by position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.table import Table
from scipy.optimize import linear_sum_assignment

from .._io.columns import table_positions
from .._io.quantities import bools
from .._io.result_tables import ResultTable, printed, unique
from .._sky.cluster_tables import names_of
from .._sky.geometry import celestial_wcs, to_angle

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from .._utils.typing import Bools


@dataclass(frozen=True)
class Matches:
    """
    Matched pairs of peaks and clusters.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        Pairs: indices ``peak`` and ``cluster``, ``separation``, ``cluster_name`` (by default the number of the row),
        ``signal_to_noise`` if the table of peaks has it, and the positions ``cluster_center`` and ``center`` of the
        peak.
    n_peaks, n_clusters : int
        Numbers of all peaks and clusters.
    by_chance : float
        Fraction of the field within the radius of a peak: the completeness expected for clusters at random positions,
        or slightly more, since two clusters cannot share a peak. NaN where the field is unknown.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap.analysis.peaks import match_clusters
    >>> peaks, clusters = SkyCoord([10.0, 10.1], [0, 0], unit="deg"), SkyCoord([10.01], [0], unit="deg")
    >>> match_clusters(peaks, clusters, 1 * u.arcmin).unmatched_peaks
    array([1])
    """

    table: QTable
    n_peaks: int
    n_clusters: int
    by_chance: float = np.nan

    @property
    def completeness(self) -> float:
        """Fraction of the clusters that have a peak; NaN without clusters."""
        return len(self.table) / self.n_clusters if self.n_clusters else np.nan

    @property
    def purity(self) -> float:
        """Fraction of the peaks that have a cluster; NaN without peaks."""
        return len(self.table) / self.n_peaks if self.n_peaks else np.nan

    @property
    def unmatched_peaks(self) -> NDArray[np.intp]:
        """Indices of the peaks without a cluster."""
        return np.setdiff1d(np.arange(self.n_peaks), self.table["peak"])

    @property
    def unmatched_clusters(self) -> NDArray[np.intp]:
        """Indices of the clusters without a peak."""
        return np.setdiff1d(np.arange(self.n_clusters), self.table["cluster"])

    def __str__(self) -> str:
        chance = "" if np.isnan(self.by_chance) else f" ({self.by_chance:.2f} by chance)"
        return (
            f"{len(self.table)} pairs of {self.n_peaks} peaks and {self.n_clusters} clusters: "
            f"completeness {self.completeness:.2f}{chance}, purity {self.purity:.2f}"
        )


def match_clusters(
    peaks: Table | SkyCoord,
    clusters: Table | SkyCoord,
    radius: u.Quantity = 1.5 * u.arcmin,
    *,
    wcs: WCS | None = None,
    mask: Bools | None = None,
) -> Matches:
    """
    Match peaks and clusters one to one: the largest number of pairs, with the smallest total separation.

    Parameters
    ----------
    peaks, clusters : `~astropy.table.Table` or `~astropy.coordinates.SkyCoord`
        Positions, or tables of positions: ``center``, as in that of `find_peaks`, or for clusters ``ra`` and ``dec``.
        Clusters outside of the field count too: remove them first.
    radius : `~astropy.units.Quantity`
        Largest separation of a pair.
    wcs, mask : optional
        WCS of the map, for ``by_chance``, and pixels ``(ny, nx)`` that it leaves out.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.

    Examples
    --------
    >>> import astropy.units as u
    >>> from astropy.coordinates import SkyCoord
    >>> from astro_massmap.analysis.peaks import match_clusters
    >>> peaks = SkyCoord([10.0, 10.1, 10.2], [0, 0, 0], unit="deg")
    >>> print(match_clusters(peaks, SkyCoord([10.01, 10.5], [0, 0], unit="deg"), 1 * u.arcmin))
    1 pairs of 3 peaks and 2 clusters: completeness 0.50, purity 0.33
    """
    radius, of_peaks, of_clusters = to_angle(radius, "radius"), peaks, clusters
    peaks, clusters = _positions(peaks, "peaks"), _positions(clusters, "clusters")
    i, j, separation = assigned(*_pairs(peaks, clusters, radius), min(len(peaks), len(clusters)))
    table = ResultTable({"peak": i, "cluster": j, "separation": separation * u.arcmin})
    table["cluster_name"] = np.array(cluster_names(of_clusters), dtype=str)[j]
    if isinstance(of_peaks, Table) and "signal_to_noise" in of_peaks.colnames:
        table["signal_to_noise"] = of_peaks["signal_to_noise"][i]
    table["cluster_center"], table["center"] = clusters[j], peaks[i]
    table.meta["radius"] = radius
    return Matches(printed(table), len(peaks), len(clusters), _by_chance(peaks, radius, wcs, mask))


def cluster_names(clusters: Table | SkyCoord) -> list[str]:
    """Return unique names of clusters, as in the column ``region`` of other results; numbers of rows without a name."""
    names = names_of(clusters) if isinstance(clusters, Table) else [""] * clusters.size
    return unique([name or str(i) for i, name in enumerate(names)])


def _pairs(
    peaks: SkyCoord, clusters: SkyCoord, radius: u.Quantity
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return peak, cluster and separation (arcmin) of all pairs of finite positions within the radius."""
    i, j = _known(peaks), _known(clusters)
    if not (len(i) and len(j)):
        return i[:0], j[:0], np.zeros(0)
    a, b, separation, _ = search_around_sky(peaks[i], clusters[j], radius)
    return i[a], j[b], separation.to_value(u.arcmin)


def _known(positions):
    return np.flatnonzero(np.isfinite(positions.spherical.lon) & np.isfinite(positions.spherical.lat))


def assigned(i, j, separation, most):
    """Return the pairs that are kept, one to one and at most ``most``."""
    rows, row = np.unique(i, return_inverse=True)
    columns, column = np.unique(j, return_inverse=True)
    # a missing pair costs more than other pairs can save
    cost = np.full((len(rows), len(columns)), (most + 1) * (1 + separation.max(initial=0)))
    no_pair = cost.max(initial=0)
    cost[row, column] = separation
    row, column = linear_sum_assignment(cost)
    kept = cost[row, column] < no_pair
    return rows[row[kept]], columns[column[kept]], cost[row, column][kept]


def _by_chance(peaks, radius, wcs, mask):
    """Return the fraction of the pixels within the radius of a peak."""
    if wcs is None and mask is None:
        return np.nan
    if wcs is None or (mask is None and wcs.array_shape is None):
        raise ValueError("wcs, mask: need both to define the field, or a wcs with an array_shape")
    wcs, shape = celestial_wcs(wcs, None if mask is None else np.shape(mask))
    y, x = np.nonzero(~bools(mask, shape))
    field, peaks = wcs.pixel_to_world(x, y), peaks[_known(peaks)]
    field = field[_known(field)]
    if not (len(peaks) and len(field)):
        return 0.0 if len(field) else np.nan
    return float((field.match_to_catalog_sky(peaks)[1] <= radius).mean())


def _positions(where: Table | SkyCoord, name: str) -> SkyCoord:
    if isinstance(where, Table):
        where = where["center"] if "center" in where.colnames else table_positions(where, name)
    if not isinstance(where, SkyCoord):
        raise TypeError(f"{name}: needs a SkyCoord or a table of positions, got {type(where).__name__}")
    return where.reshape(-1)
