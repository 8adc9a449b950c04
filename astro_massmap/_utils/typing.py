"""Types shared by annotations, imported by type checkers only."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import astropy.units as u
import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from regions import PixelRegion, Regions, SkyRegion

Axes: TypeAlias = Literal[
    "west-north", "east-north", "north-east", "south-east", "east-south", "west-south", "south-west", "north-west"
]
Bools: TypeAlias = NDArray[np.bool_]
File: TypeAlias = str | os.PathLike[str]
Floats: TypeAlias = NDArray[np.floating]
Pair: TypeAlias = ArrayLike | Sequence[ArrayLike]  # of numbers or columns
_Regions: TypeAlias = SkyRegion | PixelRegion | Table | str | Path
RegionsLike: TypeAlias = _Regions | Iterable[_Regions] | Regions
Select: TypeAlias = str | ArrayLike  # a condition, or flags
KeepColumns: TypeAlias = bool | str | Sequence[str]
Response: TypeAlias = float | NDArray[np.float64]  # one number, (n,), (2, 2) or (n, 2, 2)
Shape: TypeAlias = tuple[int, int]  # (ny, nx)


class CatalogWithRedshifts(Protocol):
    """A `~astro_massmap.ShearCatalog`."""

    @property
    def coords(self) -> Any: ...
    @property
    def redshift(self) -> Any: ...


class Distribution(Protocol):
    """Redshifts and weights of sources, as the reader of n(z) returns them."""

    @property
    def z(self) -> NDArray[np.float64]: ...
    @property
    def weight(self) -> NDArray[np.float64]: ...


RedshiftsLike: TypeAlias = ArrayLike | tuple[ArrayLike, ArrayLike] | Table | File | CatalogWithRedshifts | Distribution
Background: TypeAlias = RegionsLike | u.Quantity
Mask: TypeAlias = Bools | RegionsLike

if TYPE_CHECKING:
    from astropy.nddata import StdDevUncertainty
    from astropy.wcs import WCS

    class MapParts:
        """Attributes and methods of a map, for the mixins of `ConvergenceMap`."""

        def __init__(self, data: ArrayLike, **parts: Any) -> None: ...

        mask: Bools
        meta: dict[str, Any]
        diagnostics: dict[str, Any]
        wcs: WCS
        uncertainty: StdDevUncertainty | None
        n_z: tuple[NDArray[np.float64], NDArray[np.float64]] | None

        @property
        def data(self) -> Floats: ...
        @property
        def unit(self) -> u.UnitBase: ...
        @property
        def samples(self) -> Floats | None: ...
        @property
        def b_mode(self) -> Any: ...
        @property
        def shape(self) -> Shape: ...
        @property
        def pixel_scale(self) -> u.Quantity: ...
        def _need_samples(self) -> Floats: ...
        def _warn_if_gaussian(self) -> None: ...
