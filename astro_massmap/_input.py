"""The door where units come off: numbers that users give, as plain arrays."""

import astropy.units as u
import numpy as np


def floats(values, name, *, dtype=float):
    """
    A copy of dimensionless numbers as a plain array of native floats; masked values become NaN.

    Parameters
    ----------
    values : array-like
        Numbers, a Quantity or a column of a table.
    name : str
        Of the argument, for errors.
    dtype : type or None
        Of the result; None keeps single precision single, and makes doubles of the rest.

    Raises
    ------
    TypeError, `~astropy.units.UnitsError`
        If they are no numbers, or have a unit that is not dimensionless.
    """
    unit = getattr(values, "unit", None)
    scale = 1.0
    if unit is not None:
        try:
            scale = u.Unit(unit).to(u.dimensionless_unscaled)
        except u.UnitConversionError as error:
            raise u.UnitsError(f"{name}: needs to be dimensionless, got the unit {unit}") from error
    try:
        array = np.ma.asarray(getattr(values, "value", values))
        if dtype is None:
            dtype = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64
        array = np.array(np.ma.filled(array.astype(dtype), np.nan))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: needs numbers ({error})") from error
    return array if scale == 1 else (array * scale).astype(dtype)


def bools(mask, shape, name="mask"):
    """A copy of a bool array of the given shape; None is False everywhere."""
    if mask is None:
        return np.zeros(shape, dtype=bool)
    mask = np.array(mask)
    if mask.dtype != bool or mask.shape != shape:
        raise ValueError(f"{name}: needs a bool array of shape {shape}, got {mask.dtype} of shape {mask.shape}")
    return mask
