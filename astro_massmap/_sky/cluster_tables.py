"""Regions of the sky from a table of clusters: positions, radii and names."""

import re

import astropy.units as u
import numpy as np
from regions import CircleSkyRegion, PointSkyRegion

from .._io.columns import USUAL_NAMES, table_positions
from .._io.quantities import numbers, without_unit
from .._io.units import known_unit
from .._utils.progress import warn
from ..theory.cosmology import checked_cosmology

# compared in lower case, letters and digits only, in this order
_RADII: tuple[str, ...] = (
    "radius",
    "r500",
    "r500c",
    "theta500",
    "r200",
    "r200c",
    "r200m",
    "theta200",
    "r",
    "rad",
    "theta",
)
_PER_H = ("{}/h", "h-1{}", "{}h-1", "{}/littleh", "littleh-1{}", "{}littleh-1")  # Mpc/h, ...
_LENGTHS = {"kpc": u.kpc, "mpc": u.Mpc}
_SUFFIXES = {"arcmin": u.arcmin, "arcsec": u.arcsec, "deg": u.deg} | _LENGTHS  # radius_arcmin
_LENGTHS_PER_H = {form.format(name): unit for form in _PER_H for name, unit in _LENGTHS.items()}
_DOUBTFUL = ("r", "rad", "theta")  # names of other quantities too
_NAMES: tuple[str, ...] = (
    "name",
    "region",
    "label",
    "cluster",
    "clustername",
    "objectname",
    "objname",
    "sourcename",
    "srcname",
)
_NAMES += ("targetname", "object", "target", "mainid", "mcxc", "id", "clusterid", "objectid", "objid", "sourceid")
_NAMES += ("srcid", "detuid", "memmatchid", "number", "seq", "recno")
_LIKE_A_NAME = re.compile(r"([^A-Za-z](name|id)|[a-z](Name|ID|Id))$|[^A-Za-z](NAME|ID)$")
_REDSHIFTS: tuple[str, ...] = (
    *USUAL_NAMES["redshift"],
    "zspec",
    "z_spec",
    "z_phot",
    "z_lambda",
    "z_cl",
    "z_best",
    "redshift_best",
)
_FARTHEST = 10.0  # redshift of a cluster; larger numbers are magnitudes in the z band


def regions_of(table, cosmology=None):
    """
    Return circles from the positions and radii of a table, or points if it has no radius, with names as labels.

    Radii in kpc, Mpc, kpc/h or Mpc/h are converted to angles with the cosmology, by default that of astropy, and the
    redshifts of the table. Missing positions, conversions and columns that are not used as radii raise a warning;
    missing columns of positions, and radii that are missing, not positive or without a unit, an error.
    """
    centres, radii = table_positions(table, "regions"), _radii(table, cosmology)
    nowhere = int((~np.isfinite(centres.spherical.lon.deg + centres.spherical.lat.deg)).sum())
    if nowhere:
        warn(f"regions: {nowhere} of {len(table)} positions are missing; the results there are NaN", 4)
    if radii is None:
        regions = [PointSkyRegion(c) for c in centres]
    else:
        regions = [CircleSkyRegion(c, r) for c, r in zip(centres, radii, strict=True)]
    for region, name in zip(regions, names_of(table), strict=True):
        if name:
            region.meta["text"] = name
    return regions


def _named(table, names):
    plain = {}
    for column in table.colnames:
        plain.setdefault(_plain(column), column)
    return [plain[name] for name in dict.fromkeys(map(_plain, names)) if name in plain]


def _plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


# ---- radii


def _radii(table, cosmology):
    """Return the radii as a Quantity of angles, or None if the table has none."""
    faults, unused = [], []
    lengths = None
    suffixes = ("", *_SUFFIXES, *map(_plain, _LENGTHS_PER_H))
    for column in _named(table, [name + suffix for name in _RADII for suffix in suffixes]):
        try:
            unit, per_h = _unit(table, column)
        except u.UnitsError as error:
            unit, per_h, fault = None, False, str(error)
        else:
            fault = (
                f"regions: column {column!r}, the radius, needs an angular unit such as arcmin, got {unit}; ECSV and "
                "FITS files keep units"
            )
        if isinstance(unit, u.UnitBase) and unit.is_equivalent(u.rad):
            return _positive(table, column) * unit
        if isinstance(unit, u.UnitBase) and unit.is_equivalent(u.m):
            lengths = lengths or (column, unit, per_h)
        elif column.lower() in _DOUBTFUL:
            unused.append(f"{column!r} in {unit}" if unit else f"{column!r} without a known unit")
        else:
            faults.append(fault)
    if lengths is not None:
        return _angles(table, *lengths, cosmology)
    if faults:
        raise u.UnitsError(faults[0])
    if unused:
        warn(
            f"regions: column {', '.join(unused)} is not an angle and is not used as a radius; each position selects "
            "one pixel",
            5,
        )
    return None


def _unit(table, column):
    """Return the unit of a column or at the end of its name, or None, and whether it is divided by h (Mpc/h)."""
    own = getattr(table[column], "unit", None)
    length = _LENGTHS_PER_H.get(re.sub(r"[\s.*^_(){}\[\]]", "", str(own).lower()))  # astropy reads h as hours
    if length is not None:
        return length, True
    unit = known_unit(own, f"regions: column {column!r}", u.arcmin)
    if unit not in (None, u.dimensionless_unscaled):
        return unit, False
    name = _plain(column)
    length = next((unit for suffix, unit in _LENGTHS_PER_H.items() if name.endswith(_plain(suffix))), None)
    if length is not None:
        return length, True
    return next((unit for suffix, unit in _SUFFIXES.items() if name.endswith(suffix)), None), False


def _positive(table, column):
    values = without_unit(table[column], f"regions: column {column!r}")
    missing = np.isnan(values)
    if missing.any():
        raise ValueError(
            f"regions: {missing.sum()} of {len(values)} values of column {column!r}, the radius, are missing; fill "
            "them in, or select rows by select="
        )
    if not ((values > 0) & (values < np.inf)).all():
        raise ValueError(f"regions: column {column!r}, the radius, needs to be positive in all rows")
    return values


def _angles(table, column, unit, per_h, cosmology):
    """Convert proper lengths to angles at the redshifts of the table; None, with a warning, if it has no redshifts."""
    name, shown = redshift_column(table), f"{unit}/h" if per_h else str(unit)
    if name is None:
        warn(
            f"regions: column {column!r} in {shown} is not an angle, and each position selects one pixel. Add a column "
            "of redshifts to convert it, or an angular radius",
            6,
        )
        return None
    lengths = _positive(table, column) * unit
    z, _ = numbers(table[name], f"regions: column {name!r}")
    bad = ~((z > 0) & (z < _FARTHEST))
    if bad.any():
        raise ValueError(
            f"regions: {bad.sum()} of {len(z)} redshifts of column {name!r} are missing or not between 0 and "
            f"{_FARTHEST:g}; they are needed to convert column {column!r} in {shown} to angles"
        )
    cosmology = checked_cosmology(cosmology)
    warn(
        f"regions: column {column!r} in {shown} is converted to angles, as proper lengths at the redshifts of "
        f"column {name!r}, with the cosmology {cosmology.name or type(cosmology).__name__}; to use another one, give "
        "cosmology= or set astropy.cosmology.default_cosmology",
        6,
    )
    lengths = lengths / cosmology.h if per_h else lengths
    return (lengths / cosmology.angular_diameter_distance(z)).to(u.arcmin, u.dimensionless_angles())


def redshift_column(table):
    """Return the name of the column of redshifts, or None; a column z with a unit is a magnitude."""
    for column in _named(table, _REDSHIFTS):
        unit = getattr(table[column], "unit", None)
        if unit is None or str(unit).strip() in ("", "---"):
            return column
    return None


# ---- names


def names_of(table):
    """Return the names, or else the identifiers, of the rows as text; empty if there is none."""
    usual = _named(table, _NAMES)
    others = [name for name in table.colnames if name not in usual and _LIKE_A_NAME.search(name)]
    for column in (*usual, *others):
        values = table[column]
        if getattr(values, "ndim", 0) != 1 or getattr(values, "dtype", np.dtype(complex)).kind not in "SUOiuf":
            continue
        names = [_text(value) for value in _listed(values)]
        if None not in names and any(names):
            return names
    return [""] * len(table)


def _listed(values):
    array = np.ma.asarray(getattr(values, "value", values))
    return array.tolist()


def _text(value):
    """Return the text of a name or an integer, empty for a missing value; None for other values."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    if isinstance(value, float):
        if np.isnan(value):
            return ""
        if not value.is_integer():
            return None
        value = int(value)
    return str(value).strip() if isinstance(value, str | int) else None
