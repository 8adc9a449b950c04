"""Redshift distributions n(z) of catalogues and maps: pairs (z, n) of redshifts and densities, linear between them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from .._io.n_z_files import open_n_z
from .._io.quantities import numbers
from .._utils.progress import warn
from ..theory.source_redshifts import read_n_z

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import RedshiftsLike

    NZ = tuple[NDArray[np.float64], NDArray[np.float64]]

STEP = 0.005  # of the redshifts of a histogram
_FARTHEST = 9.9  # larger numbers, such as 9.99 or 99, are missing redshifts
_LARGEST_MEDIAN = 10  # columns with larger medians contain magnitudes
_NO_BIN = "; if 0 means no bin, leave out these galaxies by a condition, such as select='tomo > 0'"
_MOST_BINS = 100
_SHIFT = 0.02  # of the mean of 1 + z by a selection, before a warning


def as_n_z(source: RedshiftsLike | None) -> NZ | None:
    """Return anything that `read_n_z` reads as (z, n), a histogram if it contains redshifts of galaxies."""
    if source is None:
        return None
    sources = read_n_z(source, "n_z")
    if sources.table is not None:
        return tuple(np.array(column, dtype=float) for column in sources.table)  # type: ignore[return-value]
    return histogram(sources.z, sources.weight)


def histogram(redshift: ArrayLike, weight: ArrayLike) -> NZ | None:
    """
    Return the weighted n(z) of galaxies, normalised to 1; None, with a warning, if all redshifts are missing.

    Each galaxy is shared between the two nearest redshifts, so that the mean is exact. Equal redshifts are a plane, one
    redshift with the density 1. Galaxies without a redshift between 0 and 9.9 are left out, with a warning.
    """
    z, w = np.asarray(redshift, dtype=float), np.asarray(weight, dtype=float)
    known = (z >= 0) & (z <= _FARTHEST)  # False for NaN
    if not known.all():
        used = "they are left out of n(z), not out of the map" if (z[known] > 0).any() else "there is no n(z)"
        warn(f"redshift: {int((~known).sum())} of {z.size} galaxies have none between 0 and {_FARTHEST}; {used}", 4)
    z, w = z[known], w[known] / w.max(initial=0)
    if not (z[w > 0] > 0).any():
        return None
    if z.min() == z.max():
        return z[:1].copy(), np.ones(1)
    first = max(int(z.min() / STEP) - 1, 0)
    x = z / STEP - first
    low = x.astype(np.intp)
    size = int(low.max()) + 3
    n = np.bincount(low, w * (1 - (x - low)), size) + np.bincount(low + 1, w * (x - low), size)
    if first == 0:
        n[0] *= 2  # there are no galaxies below redshift 0
    return STEP * (first + np.arange(size, dtype=float)), np.asarray(n / (STEP * w.sum()), dtype=float)


def mean_redshift(n_z: NZ | None) -> float | None:
    """Return the mean redshift of n(z)."""
    return None if n_z is None else read_n_z(n_z, "n_z").mean


def total_n_z(parts: Sequence[NZ], weights: Sequence[float]) -> NZ | None:
    """Return the sum of several n(z) with weights."""
    read = [read_n_z(part, "n_z") for part in parts]
    return histogram(
        np.concatenate([sources.z for sources in read]),
        np.concatenate([sources.weight * w for sources, w in zip(read, weights, strict=True)]),
    )


def n_z_of_bins(source: Any, bins: Sequence[Hashable]) -> dict[Hashable, NZ | None]:
    """
    Return n(z) by bin from a mapping, a list in the order of the bins, or a table, file or SACC object.

    Columns, or tracers, belong to the bin of the number at the end of their names, such as ``bin1``; bins 0 to m - 1
    have those of 1 to m, with a warning. ValueError if there is not exactly one for each bin.
    """
    if isinstance(source, list) and len(source) == len(bins):
        source = dict(zip(bins, source, strict=True))
    if isinstance(source, Mapping) and not hasattr(source, "colnames"):
        missing = [key for key in bins if key not in source]
        if missing:
            what = f"n_z: needs one for each of the bins {list(bins)}, there is none for {missing}"
            raise ValueError(what + _NO_BIN * (missing == [0]))
        return {key: as_n_z(source[key]) for key in bins}
    found = source if hasattr(source, "colnames") or hasattr(source, "tracers") else _opened(source, bins)
    names = list(found.tracers if hasattr(found, "tracers") else found.colnames)
    numbers: dict[Hashable, Hashable] = {key: key for key in bins}
    m, there = len(bins), {key for key in range(_MOST_BINS) if _fitting(key, names)}
    if {*bins} == {*range(m)} and there == {*range(1, m + 1)}:
        warn(f"n_z: the bins 0 to {m - 1} of the catalogue have the distributions of the bins 1 to {m}")
        numbers = {key: key + 1 for key in range(m)}
    return {key: as_n_z(read_n_z(found, "n_z", column=_name_of(numbers[key], names))) for key in bins}


def _opened(file: Any, bins: Sequence[Hashable]) -> Any:
    try:
        return open_n_z(file, "n_z")[0]
    except TypeError:
        raise TypeError(
            f"n_z: needs a dictionary of the bins {list(bins)}, a table with a column for each, such as bin1, or its "
            f"file; got {type(file).__name__}"
        ) from None


def _fitting(key: Hashable, names: list[str]) -> list[str]:
    """Return the names that end with the number of a bin."""
    fitting = [name for name in names if name.rstrip("0123456789") != name and name.endswith(str(key))]
    fitting = [name for name in fitting if not name[: -len(str(key))][-1:].isdigit()]
    return [name for name in fitting if "source" in name.lower()] or fitting


def _name_of(key: Hashable, names: list[str]) -> str:
    fitting = _fitting(key, names)
    if len(fitting) != 1:
        raise ValueError(
            f"n_z: needs one column or tracer for bin {key}, such as bin{key}, got {fitting or 'none'} of {names}; "
            "give a dictionary {bin: (z, n), ...}" + _NO_BIN * (key == 0)
        )
    return fitting[0]


def warn_of_selection(before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    """Warn if a selection of galaxies changes their mean redshift, and thereby a given n(z)."""
    old, new = (float(z[(z >= 0) & (z <= _FARTHEST)].mean()) if len(z) else np.nan for z in (before, after))
    if abs(new - old) > _SHIFT * (1 + old):
        warn(
            f"n_z: the given n(z) is kept for a selection of galaxies with a mean redshift of {new:.3g} instead of "
            f"{old:.3g}; set n_z of the selection, or set it to None for the histogram of its redshifts",
            4,
        )


def is_redshift(column: Any) -> bool:
    """Return whether a column contains redshifts, with a warning if it does not."""
    try:
        with warnings.catch_warnings():  # the catalogue warns when it reads the column
            warnings.filterwarnings("ignore", message=".*not in a standard spelling")
            values, missing = numbers(column, "redshift")
        reason = "it contains no numbers" if missing.all() else ""
        if not reason and np.median(values[~missing]) > _LARGEST_MEDIAN:
            reason = f"more than half of its values are larger than {_LARGEST_MEDIAN}"
    except (TypeError, ValueError, u.UnitsError) as error:
        reason = str(error).removeprefix("redshift: ")
    if reason:
        warn(
            f"redshift: the column {column.info.name!r} is not used because it does not look like redshifts: {reason}. "
            "Give the name of another one, or None, by columns={'redshift': ...}",
            stacklevel=4,
        )
    return not reason
