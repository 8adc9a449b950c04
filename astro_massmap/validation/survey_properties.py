"""
Test shear and convergence against properties of a survey, such as the width of the PSF, the depth or the sky level.

Lensing is independent of how a survey was observed. The slope of the shear, or of the convergence, with a property x is

    b = sum(w (x - <x>) (y - <y>)) / sum(w (x - <x>)^2),

and its covariance follows from n patches of the sky, HEALPix cells, each left out in turn (jackknife). The statistic
``b C^-1 b`` is compared with Hotelling's distribution for n patches (Hotelling 1931, Ann. Math. Stat. 2, 360).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import f as f_distribution

from .._io.quantities import floats
from .._io.result_tables import ResultTable, printed
from .._sky.healpix import at_positions, cells_of, centres_of, check_nside
from .._utils.checks import check_integer
from .._utils.progress import warn
from ..maps.catalog import ShearCatalog
from ..survey.maps import SkyMaps

if TYPE_CHECKING:
    from astropy.table import QTable
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import File

__all__ = ["PropertyTest", "property_test"]

_PATCHES, _FEWEST = 32, 8  # patches by default, and at least
_SMALLEST = 1024  # nside of patches
_MISSING = (-99, -999, -9999)  # in surveys, and 1e30 with either sign
_LEAST_P = 0.001  # smaller ones depend on the tail of the distribution of the slope, and are not printed


@dataclass(frozen=True)
class PropertyTest:
    """
    Result of `property_test`.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Quantiles of the property: its weighted mean, ``property``, and the weighted mean of each component, ``g1`` and
        ``g2`` (axes West and North of the frame of the catalogue) or ``kappa``, minus that of all, with jackknife
        errors such as ``g1_std``.
    slope, covariance : ndarray
        Slopes of the components, per standard deviation of the property, ``(k,)``, and their covariance ``(k, k)``.
    chi2, p_value : float
        ``slope C^-1 slope``, and the probability of a larger one without a dependence.
    n_patches : int
        Number of patches.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.survey_properties import property_test
    >>> catalog = datasets.demo()
    >>> property_test(catalog, catalog.coords.dec.deg, n_bins=3).table.colnames
    ['property', 'g1', 'g1_std', 'g2', 'g2_std']
    """

    table: QTable
    slope: NDArray[np.float64]
    covariance: NDArray[np.float64]
    chi2: float
    p_value: float
    n_patches: int

    def __str__(self) -> str:
        names = [name for name in self.table.colnames[1:] if not name.endswith("_std")]
        errors = np.sqrt(np.diag(self.covariance))
        slopes = [f"{n} {b:+.2g} +- {s:.1g}" for n, b, s in zip(names, self.slope, errors, strict=True)]
        return (
            f"slope per standard deviation of the property: {', '.join(slopes)}; chi2 = {self.chi2:.1f}, "
            f"p {self._p_text()} ({self.n_patches} patches)"
        )

    def _p_text(self) -> str:
        return f"< {_LEAST_P}" if self.p_value < _LEAST_P else f"= {self.p_value:.3f}"


def property_test(
    data: ShearCatalog | SkyMaps,
    values: ArrayLike | File,
    *,
    n_bins: int = 5,
    nside: int | None = None,
    **healpix: Any,
) -> PropertyTest:
    """
    Test whether the shear of galaxies, or the convergence of a survey, depends on a property of the survey.

    Parameters
    ----------
    data : ShearCatalog or SkyMaps
        Galaxies, or maps, whose HEALPix pixels have equal weights.
    values : array-like, str or path-like
        Property of each galaxy ``(n,)``, or a HEALPix map ``(npix,)`` or its file. An array of the length of the
        catalogue, or of the table of which galaxies were selected or dropped (see ``rows`` of the catalogue), is that
        of galaxies, unless an argument of a HEALPix map is given. Galaxies and pixels where it is NaN are left out,
        with a warning. Codes such as -99 count as values, also with a warning.
    n_bins : int
        Number of quantiles of the property in the table; fewer if many values are equal.
    nside : int, optional
        Resolution of the HEALPix cells that are the patches; by default the largest cells of which there are 32.
    **healpix
        ``nested``, ``frame`` and ``field`` of a HEALPix map, as for `~astro_massmap.ConvergenceMap.from_healpix`.

    Returns
    -------
    PropertyTest

    Raises
    ------
    TypeError, ValueError, OSError
        If an argument is not as described, the property is constant, or there are fewer than 8 patches.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_massmap import datasets
    >>> from astro_massmap.validation.survey_properties import property_test
    >>> catalog = datasets.demo()
    >>> found = property_test(catalog, np.random.default_rng(1).normal(size=len(catalog)))
    >>> print(f"{found.n_patches} patches, p = {found.p_value:.3f}")
    73 patches, p = 0.128
    """
    check_integer(n_bins, "n_bins", 1)
    nside = None if nside is None else check_nside(nside)
    if isinstance(data, ShearCatalog):
        coords, weight = data.coords.icrs, data.weight
        components = {"g1": data.west_north.real, "g2": data.west_north.imag}
    elif isinstance(data, SkyMaps):
        table = data.healpix()
        coords = centres_of(table["pixel"], table.meta["nside"])
        components, weight = {"kappa": np.asarray(table["mean"])}, np.ones(len(table))
    else:
        raise TypeError(f"data: needs a ShearCatalog or SkyMaps, got {type(data).__name__}")
    x = _property(values, coords, healpix, data)
    known = np.isfinite(x)
    if not known.all():
        warn(f"values: the property is unknown for {int((~known).sum())} of {len(x)}, which are left out")
    x, y, w = x[known], np.stack(list(components.values()))[:, known], weight[known]
    doubtful = int((np.isin(x, _MISSING) | (np.abs(x) > 1e30)).sum())
    if doubtful:
        warn(f"values: {doubtful} of {len(x)} look like a code for no value, such as -99; make them NaN if they are")
    if not len(x) or np.ptp(x) == 0:
        raise ValueError("values: needs a property that varies over the survey, it is constant")
    patch = _patches(coords[known], nside)
    edges = np.quantile(x, np.linspace(0, 1, n_bins + 1)[1:-1])
    bins, which = np.unique(np.searchsorted(edges, x), return_inverse=True)  # equal values are in one bin
    table = _table(x, y, w, patch, which, len(bins), list(components))
    x = (x - np.average(x, weights=w)) / np.sqrt(np.cov(x, aweights=w))
    slope, covariance = _jackknife(_slopes, [w, w * x, w * x**2, *(w * y), *(w * x * y)], patch)
    n, k = int(patch.max()) + 1, len(y)
    chi2 = float(slope @ np.linalg.solve(covariance, slope))
    p = float(f_distribution.sf(chi2 * (n - k) / (k * (n - 1)), k, n - k))
    return PropertyTest(table, slope, covariance, chi2, p, n)


def _property(values, coords, healpix, data):
    """Return the property at positions, ``(n,)``."""
    if not healpix and not hasattr(values, "__fspath__") and not isinstance(values, str):
        array = floats(values, "values")
        if array.shape == (len(coords),):
            return array
        catalog = isinstance(data, ShearCatalog)
        if catalog and array.shape == (data._n_rows,):
            return array[data.rows]
        if array.ndim != 1 or array.size not in 12 * 4 ** np.arange(20):
            raise ValueError(
                f"values: needs one value for each of {len(coords)} {'galaxies' if catalog else 'pixels'}"
                + (f", or of the {data._n_rows} rows of which they are" if catalog else "")
                + f", or a HEALPix map, got an array of shape {array.shape}"
            )
    return at_positions(values, coords, **healpix)


def _patches(coords, nside):
    """Return the number of the patch of each position, from 0."""
    sizes = [nside] if nside is not None else [2**k for k in range(_SMALLEST.bit_length())]
    for size in sizes:
        found, patch = np.unique(cells_of(coords, size), return_inverse=True)
        if len(found) >= _PATCHES:
            break
    if len(found) < _FEWEST:
        raise ValueError(f"nside: needs at least {_FEWEST} HEALPix cells with data as patches, got {len(found)}")
    return patch


def _slopes(sums):
    """Return the slopes ``(k, ...)`` from the sums of w, w x, w x^2, w y and w x y."""
    w, wx, wxx, *rest = sums
    k = len(rest) // 2
    wy, wxy = np.array(rest[:k]), np.array(rest[k:])
    return (wxy - wx * wy / w) / (wxx - wx**2 / w)


def _jackknife(statistic, columns, patch):
    """Return a statistic ``(k,)`` of sums over columns, and its jackknife covariance over the patches."""
    parts = np.stack([np.bincount(patch, column) for column in columns])
    total = parts.sum(axis=1)
    left_out = statistic(total[:, None] - parts)
    n = parts.shape[1]
    return statistic(total), np.atleast_2d(np.cov(left_out, bias=True)) * (n - 1)


def _table(x, y, w, patch, which, n_bins, names):
    """Return the means of the property and of the components, minus those of all, in bins of the property."""
    rows = {"property": np.array([np.average(x[which == i], weights=w[which == i]) for i in range(n_bins)])}
    for name, component in zip(names, y, strict=True):
        inside = np.eye(n_bins)[:, which] * w
        columns = [w, w * component, *inside, *(inside * component)]

        def means(sums):
            bins, weighted = np.array(sums[2 : 2 + n_bins]), np.array(sums[2 + n_bins :])
            return weighted / np.maximum(bins, 1e-300) - sums[1] / sums[0]

        rows[name], covariance = _jackknife(means, columns, patch)
        rows[f"{name}_std"] = np.sqrt(np.diag(covariance))
    return printed(ResultTable(rows), ".3g")
