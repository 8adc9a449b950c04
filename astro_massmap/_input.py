"""The door where units come off: numbers that users give, as plain arrays."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, overload

import astropy.units as u
import numpy as np
from astropy.utils.exceptions import AstropyUserWarning

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord
    from numpy.typing import ArrayLike, NDArray

    from ._typing import Bools, Shape


def floats(values: Any, name: str, *, dtype: Any = float, unit: Any = u.dimensionless_unscaled) -> NDArray[Any]:
    """
    A copy of numbers as a plain array of native floats; masked values become NaN.

    Parameters
    ----------
    values : array-like
        Numbers, a Quantity or a column of a table.
    name : str
        Of the argument, for errors.
    dtype : type or None
        Of the result; None keeps single precision single, and makes doubles of the rest.
    unit : `~astropy.units.Unit`
        Of the result, and of numbers that have none.

    Raises
    ------
    TypeError, `~astropy.units.UnitsError`
        If they are no numbers, or have a unit that cannot be converted.
    """
    own = getattr(values, "unit", None)
    scale = 1.0
    if own is not None:
        try:
            scale = u.Unit(own).to(unit)
        except u.UnitConversionError as error:
            needed = f"the unit {unit}" if unit.to_string() else "to be dimensionless"
            raise u.UnitsError(f"{name}: needs {needed}, got the unit {own}") from error
    try:
        array: NDArray[Any] = np.ma.asarray(getattr(values, "value", values))
        if dtype is None:
            dtype = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64
        array = np.array(np.ma.filled(array.astype(dtype), np.nan))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: needs numbers ({error})") from error
    return array if scale == 1 else (array * scale).astype(dtype)


def checked_level(level: ArrayLike) -> float:
    """The level of an interval as a float, or an error."""
    level = floats(level, "level")
    if level.ndim or not 0 < level < 1:
        raise ValueError(f"level: needs to be between 0 and 1, got {level}")
    return float(level)


def bools(mask: ArrayLike | None, shape: Shape, name: str = "mask") -> Bools:
    """A copy of a bool array of the given shape; None is False everywhere."""
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
    """``values`` as ``n`` doubles, or as one number where that is allowed."""
    values = floats(values, name)
    if scalar and values.ndim == 0:
        return float(values)
    if values.shape != (n,):
        raise ValueError(f"{name}: has shape {values.shape}, but coords has {n} positions; lengths must be equal")
    return values


def pair(values: Any, name: str, n: int) -> tuple[float | NDArray[np.float64], ...]:
    """Two finite numbers, or columns of ``n`` of them."""
    try:
        first, second = values
    except (TypeError, ValueError):
        raise ValueError(f"{name}: needs two numbers (or arrays), one a component; got {values!r}") from None
    columns = tuple(column(c, name, n, scalar=True) for c in (first, second))
    if not all(np.all(np.isfinite(c)) for c in columns):
        raise ValueError(f"{name}: needs finite numbers")
    return columns


def _finite_rows(values: Any, n: int) -> Bools:
    """Which of n galaxies have finite values, in a column of numbers or matrices; all where it is no column."""
    if np.shape(values) in ((), (2, 2)):
        return np.ones(n, dtype=bool)
    return np.asarray(np.isfinite(values).reshape(n, -1).all(axis=1))


def credible(
    coords: SkyCoord,
    g1: NDArray[np.float64],
    g2: NDArray[np.float64],
    weight: NDArray[np.float64],
    max_shear: float,
    response: Any = None,
) -> Bools:
    """Which galaxies can be used, a bool array; a warning counts the others by their fault."""
    good = np.ones(len(g1), dtype=bool)
    where = coords.spherical
    for fault, bad in {
        "position not finite": ~(np.isfinite(where.lon.deg) & np.isfinite(where.lat.deg)),
        "shear not finite": ~(np.isfinite(g1) & np.isfinite(g2)),
        f"|g| > max_shear = {max_shear:g}": np.hypot(g1, g2) > max_shear,
        "weight not positive": ~((weight > 0) & np.isfinite(weight)),
        "response not finite": ~_finite_rows(response, len(g1)),
    }.items():
        count = int((bad & good).sum())
        good &= ~bad
        if not good.any():
            raise ValueError(f"g1, g2, weight: no galaxy can be used; the last {count} were left out for: {fault}")
        if count:
            warnings.warn(f"{count} of {len(good)} galaxies dropped: {fault}", AstropyUserWarning, stacklevel=4)
    return good
