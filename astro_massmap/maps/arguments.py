"""Checks of the arguments of a map."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.nddata import StdDevUncertainty

from .._io.quantities import floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._utils.typing import Bools, Floats, MapParts, Shape

_SURFACE_DENSITY = u.Msun / u.kpc**2


def need_convergence(kappa: MapParts) -> None:
    """Raise `~astropy.units.UnitsError` for a map that is not dimensionless."""
    if kappa.unit != u.dimensionless_unscaled:
        raise u.UnitsError(
            f"kappa: needs a map of the convergence (dimensionless), got one in {kappa.unit}; use the map on which "
            "surface_density was called"
        )


def map_unit(unit: u.UnitBase | str | None, data: Any) -> u.UnitBase:
    """Return ``unit``, by default that of ``data`` if it is one of surface density, else the dimensionless unit."""
    found = u.Unit(getattr(data, "unit", None) or "") if unit is None else u.Unit(unit)
    if found.is_equivalent(_SURFACE_DENSITY):
        return found
    if unit is not None and found != u.dimensionless_unscaled:
        raise u.UnitsError(
            f"unit: needs that of a surface density, or the dimensionless one, got {found}; give percentages as a "
            "Quantity, such as data * u.percent"
        )
    return u.dimensionless_unscaled


def map_std(uncertainty: StdDevUncertainty | ArrayLike, shape: Shape, unit: u.UnitBase) -> StdDevUncertainty:
    if isinstance(uncertainty, StdDevUncertainty):
        uncertainty = uncertainty.array * (unit if uncertainty.unit is None else uncertainty.unit)
    elif hasattr(uncertainty, "uncertainty_type"):
        raise TypeError(f"uncertainty: needs a StdDevUncertainty, got {type(uncertainty).__name__}")
    uncertainty = floats(uncertainty, "uncertainty", dtype=None, unit=unit)
    if uncertainty.shape != shape:
        raise ValueError(f"uncertainty: needs the shape {shape} of data, got {uncertainty.shape}")
    if (uncertainty < 0).any():
        raise ValueError(f"uncertainty: needs to be zero or positive, got a minimum of {np.nanmin(uncertainty):g}")
    return StdDevUncertainty(uncertainty, unit=unit)


def map_samples(samples: Any, mask: Bools, unit: u.UnitBase) -> Floats:
    """Return samples as an array, finite outside of ``mask``; those in a file of single precision stay in the file."""
    in_file, shape = isinstance(samples, np.memmap) and samples.dtype.str[1:] == "f4", mask.shape
    if not in_file:
        samples = floats(samples, "samples", dtype=None, unit=unit)
    if samples.ndim != 3 or samples.shape[1:] != shape or not len(samples):
        raise ValueError(f"samples: need the shape (n_samples, {shape}), got {samples.shape}")
    bad = 0 if in_file else int((~np.isfinite(samples.sum(axis=0)) & ~mask).sum())
    if bad:
        raise ValueError(f"samples: {bad} pixels are not finite; mask them")
    return samples


def map_slices(item: Any, shape: Shape) -> tuple[slice, ...]:
    item = tuple(part for part in (item if isinstance(item, tuple) else (item,)) if part is not Ellipsis)
    if any(isinstance(part, numbers.Integral) for part in item):
        raise IndexError("index: a map keeps both of its axes; use [i:i + 1, j:j + 1] for one pixel, or map.data[i, j]")
    if len(item) > 2 or not all(isinstance(part, slice) for part in item):
        raise IndexError(f"index: needs slices of rows and columns, such as map[10:50, 20:80], got {item!r}")
    item = (*item, slice(None), slice(None))[:2]
    bounds = [part.indices(side) for part, side in zip(item, shape, strict=True)]
    if any(step != 1 for _, _, step in bounds):
        raise IndexError("index: needs slices of step 1; use reproject_to for another resolution")
    return tuple(slice(start, stop) for start, stop, _ in bounds)
