"""
Read redshifts of the sources in all forms (`read_n_z`) as redshifts with normalised weights.

The mean of a function over the sources is ``(weight * f(z)).sum()``. A tabulated n(z) is linear between its points and
zero outside. It is integrated by Gauss's rule with two nodes, exact for polynomials of degree 3, on steps of at most
0.005 or 1/400 of its range.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._io.n_z_files import BIN_NAME, DENSITY_NAMES, REDSHIFT_NAMES, open_n_z
from .._utils.progress import warn

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

WEIGHT_NAMES = ("weight", "w", "shape_weight", "lensfit_weight")
_EDGE = re.compile(r"z_?(low|lo|high|hi|min|max|left|right|edges?)(er|_edge)?")
_STEP, _FEWEST_STEPS = 0.005, 400
_MOST_NODES = 2000  # of sums over the sources at many distances
_NOISE = 0.01  # largest fraction of the sum of the densities that is negative
_FARTHEST = 10  # larger numbers are probably magnitudes
_BEYOND = 1100  # larger numbers of n(z) are no redshifts; its steps would fill the memory


@dataclass(frozen=True)
class Sources:
    """Redshift distribution of the sources."""

    z: NDArray[np.float64]  # (n,)
    weight: NDArray[np.float64]  # (n,), of sum one
    label: str  # description with the names of the columns
    table: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None  # None for a plane or a list of redshifts

    @property
    def mean(self) -> float:
        return float((self.weight * self.z).sum())

    @property
    def farthest(self) -> float:
        if self.table is not None:
            z, n = self.table
            return float(z[min(np.flatnonzero(n)[-1] + 1, len(z) - 1)])
        return float(self.z[self.weight > 0].max())

    def few(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return redshifts above zero and weights, in at most 2000 groups at their mean redshifts."""
        z, weight = self.z, self.weight
        if len(z) > _MOST_NODES:
            edges = np.linspace(z.min(), z.max(), _MOST_NODES + 1)
            group = np.clip(np.searchsorted(edges, z, side="right") - 1, 0, _MOST_NODES - 1)
            weight = np.bincount(group, weights=self.weight, minlength=_MOST_NODES).astype(float)
            first = np.bincount(group, weights=self.weight * self.z, minlength=_MOST_NODES)
            z = np.divide(first, weight, out=np.zeros(_MOST_NODES), where=weight > 0)
        used = (z > 0) & (weight > 0)
        return z[used], weight[used]


def read_n_z(source: Any, name: str = "n_z", *, weight: ArrayLike | None = None, column: str | None = None) -> Sources:
    """
    Read the redshift distribution of the sources; errors begin with ``name``.

    Parameters
    ----------
    source : float, array-like, pair of array-like, table, file, SACC object or ShearCatalog
        Redshift of a plane; redshifts of galaxies ``(n,)``; n(z) as increasing redshifts and densities (z, n); a
        ``sacc.Sacc`` object or file; a `~astro_massmap.ShearCatalog` with redshifts; or a table, or its file, with a
        column such as ``z``, ``Z_MID`` or ``redshift`` and one such as ``n``, ``nz`` or ``BIN1`` for n(z), or
        redshifts and weights of galaxies. Text files of n(z) may be two columns without names.
    weight : array-like, optional
        Weights of the galaxies, if ``source`` contains one redshift for each.
    column : str, optional
        Column of the density, or name of the SACC tracer, if there are several.
    """
    if isinstance(source, Sources):
        found = source
    elif isinstance(source, str | os.PathLike):
        found = _from_file(source, name, column)
    elif hasattr(source, "tracers"):
        found = _from_tracers(source, name, column)
    elif _is_table(source):
        found = _from_table(source, name, column)
    elif hasattr(source, "coords") and hasattr(source, "redshift"):
        found = _from_catalog(source, name)
    elif is_pair(source, tuple | list | np.ndarray):
        found = _tabulated(source[0], source[1], name)
    else:
        return _listed(_numbers(source, name), weight, name)
    if weight is not None:
        raise ValueError(f"weight: needs one redshift for each galaxy in {name}, got n(z); leave the weights out")
    return found


def is_pair(source: Any, kinds: Any = tuple) -> bool:
    """Return whether ``source`` is a pair of arrays in a tuple, or another of ``kinds``."""
    if not isinstance(source, kinds) or getattr(source, "ndim", 1) == 0:
        return False
    return len(source) == 2 and all(np.ndim(row) for row in source)


def is_listed(source: Any) -> bool:
    """Return whether ``source`` is a number or an array of redshifts of galaxies."""
    kinds = Sources | str | os.PathLike
    others = hasattr(source, "tracers") or hasattr(source, "coords") or _is_table(source)
    return not (isinstance(source, kinds) or is_pair(source) or others)


def _is_table(source):
    structured = getattr(getattr(source, "dtype", None), "names", None)
    return hasattr(source, "colnames") or isinstance(source, dict) or bool(structured)


def one_of(redshift: Any, n_z: Any, name: str = "redshift, n_z", **options: Any) -> Sources:
    """Return the sources given by one of two arguments: ``redshift`` of a plane, or ``n_z``."""
    if (redshift is None) == (n_z is None):
        raise ValueError(f"{name}: give exactly one of them, the redshift of a plane or a distribution such as (z, n)")
    if n_z is not None:
        return read_n_z(n_z, "n_z", **options)
    try:
        z = float(np.asarray(redshift)) if not isinstance(redshift, str) else np.nan
    except (TypeError, ValueError):
        z = np.nan
    if not 0 < z < np.inf:
        raise ValueError(f"redshift: needs a positive number, got {redshift!r}; give a distribution as n_z")
    return Sources(np.array([z]), np.ones(1), f"z_s = {z:g}")


def _numbers(values, name):
    """Return ``values`` as floats, NaN where masked; astropy is imported only for units."""
    unit = getattr(values, "unit", None)
    if unit is not None and str(unit) not in ("", "redshift"):
        from .._io.quantities import floats  # loads astropy

        return floats(values, name)
    try:
        return np.array(np.ma.filled(np.ma.asarray(getattr(values, "value", values)).astype(float), np.nan))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: needs numbers ({error})") from error


def _tabulated(z, n, name, label="n(z)"):
    """Return nodes and weights of a density that is linear between its points."""
    z, n = (_numbers(x, f"{name}, {what}") for x, what in ((z, "the redshifts"), (n, "the densities")))
    if z.ndim == n.ndim == 1 and len(z) == len(n) + 1:
        raise ValueError(
            f"{name}: needs one density for each redshift, got {len(n)} for {len(z)}; if the redshifts are edges of "
            "bins, give the centres, (z[1:] + z[:-1]) / 2"
        )
    if z.ndim != 1 or z.shape != n.shape or not z.size:
        raise ValueError(f"{name}: needs redshifts z and as many densities n, got the shapes {z.shape} and {n.shape}")
    if not (np.isfinite(z) & np.isfinite(n)).all():
        raise ValueError(
            f"{name}: needs finite redshifts and densities; {int((~np.isfinite(z + n)).sum())} are not finite"
        )
    if not (np.diff(z) > 0).all():
        raise ValueError(
            f"{name}: needs increasing redshifts z; that of index {int(np.argmax(np.diff(z) <= 0)) + 1} is not larger"
        )
    if z[0] < 0 or z[-1] > _BEYOND:
        raise ValueError(f"{name}: needs redshifts z from 0 to {_BEYOND}, got {z[0]:g} to {z[-1]:g}")
    n = _without_noise(n, name)
    if len(z) == 1:
        return _listed(z[0], None, name)
    parts = np.ceil(np.diff(z) / min(_STEP, (z[-1] - z[0]) / _FEWEST_STEPS)).astype(int)
    at = np.concatenate([np.arange(p) / p for p in parts])
    low = np.append(np.repeat(z[:-1], parts) + at * np.repeat(np.diff(z), parts), z[-1])
    step = np.diff(low)[:, None]
    nodes = (low[:-1, None] + step * (0.5 + np.array([-0.5, 0.5]) / np.sqrt(3))).ravel()
    weight = (np.interp(nodes, z, n).reshape(-1, 2) * step).ravel()
    _doubt(nodes[weight > 0], name)
    used = weight > 0
    return Sources(nodes[used], weight[used] / weight.sum(), label, (z, n))


def _without_noise(n, name):
    """Return densities with small negative values (as in estimates of DES Y3) set to 0, or raise ValueError."""
    negative = n < 0
    if not n.any():
        raise ValueError(f"{name}: needs densities n of which some are positive; all {n.size} are zero")
    if -n[negative].sum() > _NOISE * n[~negative].sum():
        raise ValueError(f"{name}: needs densities n that are not negative; {int(negative.sum())} of {n.size} are")
    if negative.any():
        part = -n[negative].sum() / n[~negative].sum()
        warn(f"{name}: {int(negative.sum())} negative densities, {part:.2%} of the sum, are set to 0", stacklevel=5)
    return np.where(negative, 0, n)


def _listed(z, weight, name, label=None):
    if z.ndim > 1:
        raise ValueError(f"{name}: needs a number, redshifts (n,) or a pair (z, n), got an array of shape {z.shape}")
    lowest = z > 0 if z.ndim == 0 else z >= 0  # galaxies at redshift zero are valid and not lensed
    bad = ~(lowest & np.isfinite(z))
    if bad.any() or z.size == 0:
        raise ValueError(f"{name}: needs positive, finite redshifts; {int(bad.sum())} of {bad.size} are not")
    if z.ndim == 0 and weight is not None:
        raise ValueError(f"weight: needs one redshift for each source in {name}, got a plane; leave the weights out")
    weight = np.ones(z.shape) if weight is None else _numbers(weight, "weight")
    if weight.shape != z.shape:
        raise ValueError(f"weight: needs the shape {z.shape} of {name}, got {weight.shape}")
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise ValueError("weight: needs finite numbers, none negative and some positive")
    _doubt(z[weight > 0], name)
    label = label or (f"z_s = {z:g}" if z.ndim == 0 else f"{z.size} redshifts")
    return Sources(np.atleast_1d(z), np.atleast_1d(weight / weight.sum()), label)


def _doubt(z, name):
    beyond = int((z > _FARTHEST).sum())
    if beyond:
        warn(
            f"{name}: {beyond} of {z.size} redshifts are larger than {_FARTHEST}; they may be magnitudes", stacklevel=5
        )


def _from_catalog(catalog, name):
    given = getattr(catalog, "_given_n_z", None)  # which replaces the redshifts, as in maps of the catalogue
    if given is not None:
        return _tabulated(*given, name, "n(z) of the catalogue")
    if catalog.redshift is None:
        raise ValueError(f"{name}: the catalogue has no redshifts; give a redshift or n(z)")
    return _galaxies(catalog.redshift, catalog.weight, name, "redshifts of the catalogue")


def _galaxies(z, weight, name, label):
    """Return the sources of a catalogue; a warning counts missing redshifts and weights."""
    z = _numbers(z, name)
    weight = np.ones(z.shape) if weight is None else _numbers(weight, f"{name}, the weights")
    known = np.isfinite(z) & (z >= 0) & np.isfinite(weight)
    if not known.all():
        warn(f"{name}: {int((~known).sum())} of {z.size} galaxies dropped: redshift or weight missing", stacklevel=4)
    return _listed(z[known], weight[known], name, label)


def _from_table(table, name, column, label=""):
    if not hasattr(table, "colnames"):
        from astropy.table import Table

        table = Table(table)
    lower = {c.lower(): c for c in reversed(table.colnames)}
    z = next((lower[c] for c in REDSHIFT_NAMES if c in lower), None)
    if z is None and [c.lower() for c in table.colnames] == ["col1", "col2"]:  # text without names
        return _tabulated(table[table.colnames[0]], table[table.colnames[1]], name, f"{label}columns 1 and 2")
    if z is None:
        edges = [c for c in table.colnames if _EDGE.fullmatch(c.lower())]
        edges = f"; {', '.join(edges)} are edges of bins: add a column z_mid with their centres" if edges else ""
        raise ValueError(f"{name}: needs a table with columns such as z and n, got the columns {table.colnames}{edges}")
    if column is not None:
        if column.lower() not in lower:
            raise ValueError(f"{name}: no column {column!r} in the table, which has {table.colnames}")
        density = [lower[column.lower()]]
    elif {"ra", "dec"} <= lower.keys():
        density = []
    else:
        density = [lower[c] for c in DENSITY_NAMES if c in lower][:1]
        density = density or [c for c in table.colnames if BIN_NAME.fullmatch(c.lower())]
    if len(density) > 1:
        raise ValueError(
            f"{name}: the table has several distributions, {', '.join(density)}; choose one, for example "
            f"table[{z!r}, {density[0]!r}]"
        )
    if density:
        return _tabulated(table[z], table[density[0]], name, f"{label}columns {z} and {density[0]}")
    return _from_galaxy_table(table, z, lower, name, label)


def _from_galaxy_table(table, z, lower, name, label):
    weight = next((lower[c] for c in WEIGHT_NAMES if c in lower), None)
    others = [c for c in table.colnames if c not in (z, weight)]
    if others and not {"ra", "dec"} <= lower.keys():
        raise ValueError(
            f"{name}: the table has the redshifts {z}, but no density such as n, nz or BIN1 among {table.colnames}; "
            f"give n(z) as a pair, such as (table[{z!r}], table[...])"
        )
    label = f"{label}column {z}" if weight is None else f"{label}columns {z} and {weight}"
    return _galaxies(table[z], None if weight is None else table[weight], name, label)


def _from_tracers(sacc, name, column):
    found = {key: t for key, t in sacc.tracers.items() if hasattr(t, "z") and hasattr(t, "nz")}
    if column is not None:
        found = {key: t for key, t in found.items() if key == column}
    sources = {key: t for key, t in found.items() if "source" in key.lower()}
    found = sources if len(sources) == 1 else found
    if len(found) != 1:
        raise ValueError(
            f"{name}: needs one tracer with n(z), got {', '.join(found) or 'none'} of {', '.join(sacc.tracers)}; "
            "choose one, for example (tracer.z, tracer.nz)"
        )
    ((key, tracer),) = found.items()
    return _tabulated(tracer.z, tracer.nz, name, f"tracer {key}")


def _from_file(file, name, column):
    if isinstance(file, str) and re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*", file):
        return read_n_z(float(file), name)
    found, column = open_n_z(file, name, column)
    if hasattr(found, "tracers"):
        return _from_tracers(found, name, column)
    return _from_table(found, name, column, f"{os.path.basename(file)}, ")
