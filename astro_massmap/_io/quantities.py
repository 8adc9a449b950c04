"""Convert user input to plain arrays in known units."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, overload

import astropy.units as u
import numpy as np
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked

from .units import scale_to

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from numpy.typing import ArrayLike, NDArray

    from .._utils.typing import Bools, Shape

BLANK = ("", "-", "--", "---", "...", "nan", "na", "n/a", "null", "none", "masked", "<na>", '""')
_LARGEST_M, _LARGEST_RESPONSE = 10, 50  # of one galaxy; surveys write -99 or 99 for missing values


def numbers(
    values: Any, name: str, *, unit: Any = u.dimensionless_unscaled, dtype: Any = float
) -> tuple[NDArray[Any], Bools]:
    """
    Return the numbers of a column as a plain array of native floats, and a mask of missing values.

    ``values`` are an array, a Quantity or a column, masked or not, or text with numbers; ``unit`` is that of the result
    and of numbers without a unit. With the dtype None, single precision is kept and others become double precision. The
    result is a copy, NaN for values that are masked, None or blank text. TypeError or UnitsError, with ``name``, if a
    value is not a number or the unit cannot be converted.
    """
    array = floats(values, name, unit=unit, dtype=dtype)
    return array, np.isnan(array)


def floats(values: Any, name: str, *, unit: Any = u.dimensionless_unscaled, dtype: Any = float) -> NDArray[Any]:
    """Return the first result of `numbers`: a copy as native floats, NaN for missing values."""
    scale = scale_to(getattr(values, "unit", None), u.Unit(unit), name)
    array = without_unit(values, name, dtype=dtype)
    return array if scale == 1 else (array * scale).astype(array.dtype)


def without_unit(values: Any, name: str, *, dtype: Any = float) -> NDArray[Any]:
    """Return the numbers of `floats` without conversion of their unit."""
    mask: Any = False
    if isinstance(values, Masked):
        mask, values = values.mask, values.unmasked
    try:
        masked = np.ma.asarray(values.value if isinstance(values, u.Quantity) else values)
        mask, array = mask | np.ma.getmask(masked), np.asarray(np.ma.getdata(masked))
        if array.dtype.kind in "SUO":
            array = _from_text(array, np.broadcast_to(mask, array.shape))
        if array.dtype.kind not in "biuf":
            raise TypeError(f"its type is {array.dtype}")
        if dtype is None:
            dtype = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64
        array = np.array(array, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: needs numbers ({error})") from error
    if np.any(mask):
        array[mask] = np.nan
    return array


def _from_text(array: NDArray[Any], mask: Bools) -> NDArray[np.float64]:
    """Return the numbers in an array of text or objects, NaN where masked or blank."""
    found = np.full(array.shape, np.nan)
    for i in zip(*np.nonzero(~mask), strict=True) if array.ndim else [()]:
        value = array[i]
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if text is None or str(text).strip().lower() in BLANK:
            continue
        if isinstance(text, str) and "_" in text:  # Python reads 1_000 as a number
            raise ValueError(f"could not convert string to float: {str(text)!r}")
        found[i] = float(str(text) if isinstance(text, str) else text)
    return found


def checked_level(level: ArrayLike) -> float:
    """Return the level of an interval as a float; ValueError unless it is between 0 and 1."""
    level = floats(level, "level")
    if level.ndim or not 0 < level < 1:
        raise ValueError(f"level: needs to be between 0 and 1, got {level}")
    return float(level)


def bools(mask: ArrayLike | None, shape: Shape, name: str = "mask") -> Bools:
    """Return a copy of a bool array of the given shape; None is False everywhere."""
    if mask is None:
        return np.zeros(shape, dtype=bool)
    mask = np.array(mask)
    if mask.dtype != bool or mask.shape != shape:
        raise ValueError(f"{name}: needs a bool array of shape {shape}, got {mask.dtype} of shape {mask.shape}")
    return mask


@overload
def column(values: ArrayLike, name: str, n: int) -> NDArray[np.float64]: ...
@overload
def column(values: ArrayLike, name: str, n: int, *, scalar: bool) -> float | NDArray[np.float64]: ...
def column(values: ArrayLike, name: str, n: int, *, scalar: bool = False) -> float | NDArray[np.float64]:
    """Return ``values`` as ``n`` doubles, or as one number if ``scalar``."""
    values = floats(values, name)
    if scalar and values.ndim == 0:
        return float(values)
    if values.shape != (n,):
        raise ValueError(f"{name}: needs the shape ({n},) of coords, got {values.shape}")
    return values


def pair(values: Any, name: str, n: int) -> tuple[float | NDArray[np.float64], ...]:
    try:
        first, second = values
    except (TypeError, ValueError):
        raise ValueError(f"{name}: needs two numbers or arrays, one for each component, got {values!r}") from None
    columns = tuple(column(c, name, n, scalar=True) for c in (first, second))
    if not all(np.isfinite(c) for c in columns if np.ndim(c) == 0):
        raise ValueError(f"{name}: needs finite numbers, got {values!r}")
    return columns


def _rows_up_to(values: Any, n: int, largest: float) -> Bools:
    """Return bool ``(n,)`` for rows of numbers or matrices up to ``largest``; True for one value of all galaxies."""
    if np.shape(values) in ((), (2, 2)):
        return np.ones(n, dtype=bool)
    return np.asarray((np.abs(values) <= largest).reshape(n, -1).all(axis=1))


class NoValidGalaxy(ValueError):
    """Error for a catalogue of which no galaxy has valid values."""


def credible(
    coords: SkyCoord,
    g1: NDArray[np.float64],
    g2: NDArray[np.float64],
    weight: NDArray[np.float64],
    max_shear: float,
    m_bias: float | NDArray[np.float64] | None = None,
    c_bias: tuple[float | NDArray[np.float64], ...] = (0.0, 0.0),
    response: Any = None,
) -> Bools:
    """Return bool ``(n,)`` for galaxies with valid values; a warning counts the others by their fault."""
    good = np.ones(len(g1), dtype=bool)
    where = coords.spherical
    m = np.broadcast_to(0.0 if m_bias is None else m_bias, good.shape)
    for fault, bad in {
        "position missing or out of range": ~(np.isfinite(where.lon.deg) & np.isfinite(where.lat.deg)),
        "shear not finite": ~(np.isfinite(g1) & np.isfinite(g2)),
        f"|g| > max_shear = {max_shear:g}": np.hypot(g1, g2) > max_shear,
        "weight not positive": ~((weight > 0) & np.isfinite(weight)),
        f"m_bias not between -1 and {_LARGEST_M}": ~((m > -1) & (m < _LARGEST_M)),
        f"|c_bias| > max_shear = {max_shear:g}, or not finite": ~(np.hypot(c_bias[0], c_bias[1]) <= max_shear),
        f"|response| > {_LARGEST_RESPONSE}, or not finite": ~_rows_up_to(response, len(g1), _LARGEST_RESPONSE),
    }.items():
        count = int((bad & good).sum())
        good &= ~bad
        if not good.any():
            raise NoValidGalaxy(
                f"g1, g2, weight: no galaxy has valid values; the last {count} were dropped because of: {fault}"
            )
        if count:
            warnings.warn(f"{count} of {len(good)} galaxies dropped: {fault}", AstropyUserWarning, stacklevel=4)
    return good
