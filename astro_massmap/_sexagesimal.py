"""Positions in tables that are text, such as 10:00:24.0 +02:08:00."""

import re

import astropy.units as u
import numpy as np
from astropy.coordinates import Angle
from astropy.table import Column

from ._input import floats
from ._units import known_unit

_SEXAGESIMAL = re.compile(r"\d\s*[:hdms°]|\d\s+\d", re.IGNORECASE)
_PATTERN = re.compile(r"[^a-z]*([hd])[a-z]*[^a-z]*m[a-z]*[^a-z]*s[a-z]*[^a-z]*", re.IGNORECASE)  # a unit such as h:m:s


def decimal(column, name):
    """
    A column of sexagesimal text in degrees; any other column as it is.

    Parameters
    ----------
    column : column
        Text such as ``10:00:24.0``, ``10 00 24.0`` or ``10h00m24s``: hours for ``ra``, where neither the text nor the
        unit contains degrees.
    name : {'ra', 'dec'}
        Coordinate, for the unit and for errors.

    Raises
    ------
    ValueError
        If a value is no angle, such as 24 hours or more.
    """
    array = np.ma.asarray(column)
    if array.dtype.kind not in "SUO" or array.ndim != 1:
        return column
    texts = ["" if value is None else _decoded(value) for value in array.tolist()]
    if not any(_SEXAGESIMAL.search(text) for text in texts):
        return column
    unit = _unit(column, name)
    values = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if _SEXAGESIMAL.search(text):
            try:
                values[i] = Angle(text, unit).deg
            except (ValueError, TypeError) as error:
                hint = "; the unit deg of the column makes it degrees" if unit == u.hourangle else ""
                raise ValueError(f"{name}: {text!r} in row {i} is no angle ({error}){hint}") from error
        elif text:
            values[i] = floats(text, f"{name} in row {i}") * unit.to(u.deg)
    return Column(values, name=getattr(column, "name", name), unit=u.deg)


def _decoded(value):
    return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).strip()


def _unit(column, name):
    unit = getattr(column, "unit", None)
    pattern = _PATTERN.fullmatch(str(unit)) if unit is not None else None
    if pattern:
        return u.hourangle if pattern[1].lower() == "h" else u.deg
    return known_unit(unit, name, u.deg) or (u.hourangle if name == "ra" else u.deg)
