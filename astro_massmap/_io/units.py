"""Units of columns in the spellings that archives use."""

from __future__ import annotations

from typing import Any

import astropy.units as u

from .._utils.progress import warn
from .yaml_text import check_unit

# lower case, without brackets, quotes, a plural s and notes in parentheses
_ANGLES = {
    "deg": u.deg,
    "degree": u.deg,
    "decimal degree": u.deg,
    "decimal deg": u.deg,
    "rad": u.rad,
    "radian": u.rad,
    "arcmin": u.arcmin,
    "arcminute": u.arcmin,
    "arcsec": u.arcsec,
    "arcsecond": u.arcsec,
    "h": u.hourangle,
    "hr": u.hourangle,
    "hour": u.hourangle,
    "hourangle": u.hourangle,
    "hour angle": u.hourangle,
    "decimal hour": u.hourangle,
}
_NONE: tuple[str, ...] = ("", "none", "null", "n/a", "na", "1", "number", "unitless", "dimensionless")
_NONE += ("no unit", "nounit", "no dimension", "pure number")
_AROUND = " \t'\"[](){}<>-_."


def known_unit(unit: Any, name: str, needed: u.UnitBase | None = None) -> u.UnitBase | None:
    """
    Return the unit of the column ``name``, with a warning if its spelling is not standard.

    None stands for no unit, also in words such as "none" or "---". Hours are hour angles if the unit ``needed`` is an
    angle. UnitsError if the unit is unknown.
    """
    if unit is None:
        return None
    text = str(unit).strip()
    check_unit(text)
    parsed = _parsed(unit)
    if isinstance(parsed, u.UnrecognizedUnit) or not (needed is None or parsed.is_equivalent(needed)):
        parsed = _parsed(text)  # a VOTable reads "degrees" as 0.1 "egrees"
    angle = needed is not None and needed.is_equivalent(u.deg)
    if not isinstance(parsed, u.UnrecognizedUnit):
        if not (angle and parsed == u.hour):
            return parsed
        found: u.UnitBase | None = u.hourangle
    else:
        plain = text.lower().strip(_AROUND).partition(" (")[0].strip(_AROUND).replace("_", " ")
        if plain not in _NONE:
            plain = plain.removesuffix("s")
        if plain not in _ANGLES and plain not in _NONE:
            wanted = f"; the column needs {_wanted(needed)}" if needed is not None else ""
            raise u.UnitsError(f"{name}: the unit {text!r} is unknown{wanted}; set the unit of the column")
        found = _ANGLES.get(plain)
    warn(f"{name}: the unit {text!r} is not in a standard spelling; {found or 'no unit'} is assumed")
    return found


def scale_to(unit: Any, needed: u.UnitBase, name: str) -> float:
    """Return the factor from the unit of a column, if it has one, to ``needed``; UnitsError if there is none."""
    own = known_unit(unit, name, needed)
    if own is None:
        return 1.0
    if isinstance(own, u.UnitBase):  # not a magnitude or another logarithm of a unit
        try:
            return float(own.to(needed))
        except u.UnitConversionError:
            pass
    raise u.UnitsError(f"{name}: needs {_wanted(needed)}, got the unit {own}")


def _parsed(unit: Any) -> Any:
    return u.Unit(unit, parse_strict="silent")  # type: ignore[call-arg]


def _wanted(unit: u.UnitBase) -> str:
    return f"the unit {unit}" if unit.to_string() else "to be dimensionless"
