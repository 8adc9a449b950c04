"""Regions of the sky from a table of clusters: positions, radii and names."""

import re

import astropy.units as u
import numpy as np
from regions import CircleSkyRegion, PointSkyRegion

from .._io.columns import USUAL_NAMES, table_positions
from .._io.quantities import numbers
from .._io.units import known_unit
from .._utils.progress import warn

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
_SUFFIXES = {"arcmin": u.arcmin, "arcsec": u.arcsec, "deg": u.deg, "kpc": u.kpc, "mpc": u.Mpc}  # radius_arcmin
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
    Circles from the positions and radii of a table, points where it has no radius, with names as labels.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of clusters.
    cosmology : `~astropy.cosmology.FLRW`, optional
        Cosmology that converts radii in kpc or Mpc to angles, where the table has redshifts; by default the one that
        astropy is set to.

    Returns
    -------
    list of region

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If there are no positions, or a radius is missing, not positive, or has no unit.

    Warns
    -----
    `~astropy.utils.exceptions.AstropyUserWarning`
        For missing positions, radii that are converted, and columns that are not used as radii.
    """
    centres, radii = table_positions(table, "regions"), _radii(table, cosmology)
    nowhere = int((~np.isfinite(centres.spherical.lon.deg + centres.spherical.lat.deg)).sum())
    if nowhere:
        warn(f"regions: {nowhere} of {len(table)} positions are missing; nothing is measured there", 4)
    if radii is None:
        regions = [PointSkyRegion(c) for c in centres]
    else:
        regions = [CircleSkyRegion(c, r) for c, r in zip(centres, radii, strict=True)]
    for region, name in zip(regions, names_of(table), strict=True):
        if name:
            region.meta["text"] = name
    return regions


def _named(table, names):
    """Columns of these names, in the order of ``names``."""
    plain = {}
    for column in table.colnames:
        plain.setdefault(_plain(column), column)
    return [plain[name] for name in dict.fromkeys(map(_plain, names)) if name in plain]


def _plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


# ---- radii


def _radii(table, cosmology):
    """A Quantity of angles, or None where the table has no radius."""
    faults, unused = [], []
    lengths = None
    for column in _named(table, [name + suffix for name in _RADII for suffix in ("", *_SUFFIXES)]):
        try:
            unit = _unit(table, column)
        except u.UnitsError as error:
            unit, fault = None, str(error)
        else:
            fault = (
                f"regions: column {column!r}, the radius, needs an angular unit such as arcmin, got {unit}; ECSV and "
                "FITS keep units"
            )
        if isinstance(unit, u.UnitBase) and unit.is_equivalent(u.rad):
            return _positive(table, column)
        if isinstance(unit, u.UnitBase) and unit.is_equivalent(u.m):
            lengths = lengths or column
        elif column.lower() in _DOUBTFUL:
            unused.append(f"{column!r} in {unit}" if unit else f"{column!r} without a known unit")
        else:
            faults.append(fault)
    if lengths is not None:
        return _angles(table, lengths, cosmology)
    if faults:
        raise u.UnitsError(faults[0])
    if unused:
        warn(
            f"regions: column {', '.join(unused)} is no angle and is not used as a radius; positions stand for one "
            "pixel each",
            5,
        )
    return None


def _unit(table, column):
    """Unit of a column, or else that at the end of its name, or None; UnitsError for an unknown one."""
    unit = known_unit(getattr(table[column], "unit", None), f"regions: column {column!r}", u.arcmin)
    if unit in (None, u.dimensionless_unscaled):
        return next((unit for suffix, unit in _SUFFIXES.items() if _plain(column).endswith(suffix)), None)
    return unit


def _positive(table, column):
    """Radii in the unit of the column, or an error where one is missing or not positive."""
    unit = _unit(table, column)
    values, missing = numbers(table[column], f"regions: column {column!r}", unit=unit)
    if missing.any():
        raise ValueError(
            f"regions: {missing.sum()} of {len(values)} values of column {column!r}, the radius, are missing; fill "
            "them in, or select the rows that have one"
        )
    if not ((values > 0) & (values < np.inf)).all():
        raise ValueError(f"regions: column {column!r}, the radius, needs to be positive everywhere")
    return values * unit


def _angles(table, column, cosmology):
    """Angles of proper lengths at the redshifts of the table; None, with a hint, where it has no redshift."""
    from ..theory.cosmology import checked_cosmology

    name = redshift_column(table)
    if name is None:
        warn(
            f"regions: column {column!r} in {_unit(table, column)} is no angle; positions stand for one pixel each. A "
            "column redshift would convert it, or give an angular radius",
            6,
        )
        return None
    lengths = _positive(table, column)
    z, _ = numbers(table[name], f"regions: column {name!r}")
    bad = ~((z > 0) & (z < _FARTHEST))
    if bad.any():
        raise ValueError(
            f"regions: {bad.sum()} of {len(z)} redshifts of column {name!r} are missing or not between 0 and "
            f"{_FARTHEST:g}; column {column!r} in {lengths.unit} needs them to become an angle"
        )
    cosmology = checked_cosmology(cosmology)
    warn(
        f"regions: column {column!r} in {lengths.unit} is converted to angles, as proper lengths at the redshifts of "
        f"column {name!r}, with the cosmology {cosmology.name or type(cosmology).__name__}",
        6,
    )
    return (lengths / cosmology.angular_diameter_distance(z)).to(u.arcmin, u.dimensionless_angles())


def redshift_column(table):
    """Name of the column of redshifts, or None; a column z with a unit is a magnitude."""
    for column in _named(table, _REDSHIFTS):
        unit = getattr(table[column], "unit", None)
        if unit is None or str(unit).strip() in ("", "---"):
            return column
    return None


# ---- names


def names_of(table):
    """Text of the column of names, or else of identifiers, row by row; empty where there is none."""
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
    """Values of a column as Python objects, None where they are masked."""
    array = np.ma.asarray(getattr(values, "value", values))
    return array.tolist()


def _text(value):
    """The text of a name or an integer, empty for none; None for what is neither."""
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
