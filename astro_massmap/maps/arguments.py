"""What users give to make a map, or to cut one, as the map keeps it."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.nddata import StdDevUncertainty

from .._io.quantities import floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._utils.typing import Floats, Shape

_SURFACE_DENSITY = u.Msun / u.kpc**2


def map_unit(unit: u.UnitBase | str | None) -> u.UnitBase:
    """The unit of a map: that of a surface density, or none."""
    unit = u.dimensionless_unscaled if unit is None else u.Unit(unit)
    return unit if unit.is_equivalent(_SURFACE_DENSITY) else u.dimensionless_unscaled


def map_std(uncertainty: StdDevUncertainty | ArrayLike, shape: Shape, unit: u.UnitBase) -> StdDevUncertainty:
    if isinstance(uncertainty, StdDevUncertainty):
        uncertainty = uncertainty.array * (unit if uncertainty.unit is None else uncertainty.unit)
    elif hasattr(uncertainty, "uncertainty_type"):
        raise TypeError(f"uncertainty: needs a StdDevUncertainty, got {type(uncertainty).__name__}")
    uncertainty = floats(uncertainty, "uncertainty", dtype=None, unit=unit)
    if uncertainty.shape != shape:
        raise ValueError(f"uncertainty: needs the shape {shape} of data, got {uncertainty.shape}")
    if (uncertainty < 0).any():
        raise ValueError("uncertainty: a standard deviation is not negative")
    return StdDevUncertainty(uncertainty, unit=unit)


def map_samples(samples: ArrayLike, shape: Shape, unit: u.UnitBase) -> Floats:
    """Samples as numbers in memory; those of a file stay there."""
    if not (isinstance(samples, np.memmap) and samples.dtype.kind == "f" and samples.dtype.itemsize == 4):
        samples = floats(samples, "samples", dtype=None, unit=unit)
    if samples.ndim != 3 or samples.shape[1:] != shape or not len(samples):
        raise ValueError(f"samples: need the shape (n_samples, {shape}), got {samples.shape}")
    return samples


def map_slices(item: Any, shape: Shape) -> tuple[slice, ...]:
    """Two plain slices of step one from what stands in the brackets."""
    item = tuple(part for part in (item if isinstance(item, tuple) else (item,)) if part is not Ellipsis)
    if any(isinstance(part, numbers.Integral) for part in item):
        raise IndexError("a map keeps both of its axes: write [i:i + 1, j:j + 1] for one pixel, or map.data[i, j]")
    if len(item) > 2 or not all(isinstance(part, slice) for part in item):
        raise IndexError("a map is cut by slices of its rows and columns, such as map[10:50, 20:80]")
    item = (*item, slice(None), slice(None))[:2]
    bounds = [part.indices(side) for part, side in zip(item, shape, strict=True)]
    if any(step != 1 for _, _, step in bounds):
        raise IndexError("a map is cut by slices of step 1; for another resolution use reproject_to")
    return tuple(slice(start, stop) for start, stop, _ in bounds)
