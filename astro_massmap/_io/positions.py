"""Convert columns of angles, numbers or sexagesimal text, to positions on the sky."""

import re

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.utils.masked import Masked

from .._utils.progress import warn
from .quantities import BLANK, floats, without_unit
from .units import known_unit

_SEPARATED = re.compile(
    r"([+-]?)(\d{1,3})([:hd° ]) ?(\d{1,2}(?:\.\d*)?)(?:[:m' ] ?(?:(\d{1,2}(?:\.\d*)?)(?:s|''|\")?)?)?"
)
_FIRST_UNITS = {"h": u.hourangle, "d": u.deg, "°": u.deg}  # by the mark after the first number
# units of columns of text; the first two are those of VizieR
_WORDS = {"h:m:s": u.hourangle, "d:m:s": u.deg, "hms": u.hourangle, "dms": u.deg, "h m s": u.hourangle, "d m s": u.deg}
_PLAIN = str.maketrans("\u2212\u2032\u2033\u02b0\u1d48\u1d50\u02e2", "-'\"hdms")  # marks beyond ASCII
_FEWEST = 10  # positions, for a warning of their unit
_OBLONG = 7.5, 30  # ratios of height to width of fields up to 2:1, if hours are read as degrees
_DENSEST = 1000  # galaxies per square arcminute, several times what the deepest images contain


def positions(ra, dec, *, drop=False):
    """
    Return the positions of two columns as a `SkyCoord` in ICRS.

    Columns ``(n,)`` are Columns or Quantities, or the same `SkyCoord` twice, see `directions`. Numbers without a unit
    are degrees, with a warning; sexagesimal text such as "10:00:24.0" is hours for ``ra`` and degrees for ``dec``.
    With ``drop``, positions out of range become NaN if they are less than half. ValueError, TypeError or UnitsError if
    a column does not contain angles within range, or has a unit that is unknown, or missing in one column only.
    """
    if isinstance(ra, SkyCoord):
        return directions(ra)
    (lon, lon_unit), (lat, lat_unit) = (_angles(column, name) for column, name in ((ra, "ra"), (dec, "dec")))
    if lon_unit is None and lat_unit is None:
        warn("ra and dec have no unit; degrees are assumed", stacklevel=4)
        _doubt_degrees(lon, lat)
    elif lon_unit is None or lat_unit is None:
        without, unit = ("ra", lat_unit) if lon_unit is None else ("dec", lon_unit)
        raise u.UnitsError(
            f"ra, dec: one has the unit {unit}, the other ({without}) has none; set the units of both columns"
        )
    for name, values, most in (("ra", lon, 360), ("dec", lat, 90)):
        outside = np.abs(values) > most * (1 + 1e-9)
        count, known = int(outside.sum()), int(np.isfinite(values).sum())
        if count and (not drop or 2 * count >= known):
            raise ValueError(
                f"{name}: {count} of {known} values are beyond {most} degrees; check the unit of the column"
            )
        values[outside] = np.nan
    return SkyCoord(lon * u.deg, np.clip(lat, -90, 90) * u.deg)


def directions(coords):
    """Return positions as a `SkyCoord` without distances and proper motions, NaN where masked."""
    data, masked = coords.data, getattr(coords, "masked", False)
    if type(data).__name__ == "UnitSphericalRepresentation" and not (data.differentials or masked):
        return coords
    lon, lat = (floats(angle, "coords", unit="deg") for angle in (coords.spherical.lon, coords.spherical.lat))
    return SkyCoord(lon, lat, unit="deg", frame=coords.frame.replicate_without_data())


def _angles(column, name):
    """Return the angles of a column in degrees, NaN where missing, and its unit or None."""
    if not hasattr(column, "unit") or np.ndim(column) != 1:
        raise ValueError(f"{name}: needs a column of angles, got a {type(column).__name__} of shape {column.shape}")
    if column.dtype.kind in "SUO":
        texts = _texts(column)
        if any(map(_SEPARATED.fullmatch, texts)):
            return _from_sexagesimal(texts, column.unit, name)
    unit = known_unit(column.unit, name, u.deg)
    values = without_unit(column, name)
    if unit is None or unit == u.dimensionless_unscaled:
        return values, None
    if not unit.is_equivalent(u.deg):
        raise u.UnitsError(f"{name}: needs an angle, got the unit {unit}")
    return values * unit.to(u.deg), unit


def _texts(column):
    mask = np.broadcast_to(getattr(column, "mask", False), len(column))
    values = np.asarray(column.unmasked if isinstance(column, Masked) else column)
    values = (value.decode("latin-1") if isinstance(value, bytes) else value for value in values.tolist())
    texts = ("" if bad or value is None else str(value) for value, bad in zip(values, mask, strict=True))
    return [" ".join(text.lower().translate(_PLAIN).split()) for text in texts]


def _from_sexagesimal(texts, unit, name):
    """Return degrees of texts such as "10:00:24.0", "10 00 24" or "10h00m24s", and the unit of first numbers."""
    stated = _WORDS.get(str(unit).lower().strip(" '\""))
    unit = stated or known_unit(unit, name, u.deg)
    if unit not in (None, u.hourangle, u.deg):
        raise u.UnitsError(f"{name}: sexagesimal text needs the unit hourangle or deg, got {unit}")
    values, assumed, unmarked = np.full(len(texts), np.nan), False, []
    default = unit or (u.hourangle if name == "ra" else u.deg)
    for i, text in enumerate(texts):
        match = _SEPARATED.fullmatch(text)
        if match is None:
            if text in BLANK:
                continue
            raise ValueError(f"{name}: needs angles such as 10:00:24.0 in all rows, got {text!r} in row {i}")
        sign, first, mark, minutes, seconds = match.groups()
        if float(minutes) >= 60 or float(seconds or 0) > 60:
            raise ValueError(
                f"{name}: minutes and seconds of an angle need to be less than 60, got {text!r} in row {i}"
            )
        own = _FIRST_UNITS.get(mark, default)
        assumed |= unit is None and mark not in _FIRST_UNITS
        value = int(first) + float(minutes) / 60 + float(seconds or 0) / 3600
        if own == u.hourangle and value > 24:
            raise ValueError(
                f"{name}: hours need to be at most 24, got {text!r} in row {i}; set the unit deg for degrees"
            )
        if mark not in _FIRST_UNITS:
            unmarked.append((value, text))
        values[i] = (-value if sign == "-" else value) * own.to(u.deg)
    if name == "ra" and unit == u.deg and not stated and unmarked and max(unmarked)[0] <= 24:
        raise ValueError(
            f"{name}: the column has the unit deg, but sexagesimal right ascensions such as {unmarked[0][1]!r} are in "
            "hours by convention; set its unit to 'hourangle' if they are hours, to 'd:m:s' if they are degrees"
        )
    if assumed:
        warn(f"{name}: sexagesimal text has no unit; {'hours' if default == u.hourangle else 'degrees'} are assumed", 6)
    return values, default


def _doubt_degrees(lon, lat):
    """
    Warn if numbers without a unit are more likely radians, or hours and degrees.

    Radians read as degrees give a field 57 times too small: too many galaxies per square arcminute, or a side below one
    arcminute. Hours give a field 15 times narrower than its height.
    """
    known = (np.abs(lon) <= 360) & (np.abs(lat) <= 90)
    lon, lat = lon[known], lat[known]
    if len(lon) < _FEWEST:
        return
    height, narrowing = np.ptp(lat), np.cos(np.radians(np.median(lat)))
    side = max(height, _extent(lon, 2 * np.pi))
    radians = np.all(np.abs(lat) <= np.pi / 2) and np.all((lon >= -np.pi) & (lon <= 2 * np.pi))
    if radians and (side < 1 / 60 or len(lon) > _DENSEST * (60 * side) ** 2):
        warn(
            f"ra, dec: in degrees {len(lon)} positions lie within {60 * side:.2g} arcmin; they may be in radians. Set "
            "the units of the columns",
            stacklevel=5,
        )
    width = _extent(lon, 24) * narrowing
    if np.all((lon >= 0) & (lon <= 24)) and _OBLONG[0] * width < height < _OBLONG[1] * width:
        warn(
            f"ra, dec: in degrees the field is {height / width:.3g} times as high as it is wide; ra may be in hours. "
            "Set the units of the columns",
            stacklevel=5,
        )


def _extent(lon, period):
    """Return the length of the shortest arc that contains all longitudes."""
    lon = np.sort(np.mod(lon, period))
    return period - np.max(np.diff(lon, append=lon[0] + period))


def one_position(position, name):
    """Return a `SkyCoord` of one finite position; TypeError or ValueError for others."""
    if not isinstance(position, SkyCoord):
        raise TypeError(f"{name}: needs a SkyCoord, got {type(position).__name__}")
    if not position.isscalar or not np.isfinite(position.spherical.lon.deg + position.spherical.lat.deg):
        raise ValueError(f"{name}: needs one finite position, got {position}")
    return position
