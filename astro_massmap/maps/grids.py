"""Cut-outs of a map, and its interpolation to other grids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D, NoOverlapError

from .._sky.geometry import celestial_wcs, to_angle
from .arguments import map_slices

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from .._utils.typing import Floats, MapParts, Shape
else:
    MapParts = object

_ENOUGH_SAMPLES = 16  # which determine a standard deviation to 18 %


class OtherGrids(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that return a map on another grid."""

    __iter__ = None  # list(map) would be empty, because a map has no integer index

    def __getitem__(self, item: slice | tuple[slice, ...]) -> Self:
        """Cut the map, its WCS, uncertainty and samples by slices of rows and columns."""
        rows, columns = map_slices(item, self.shape)
        part = np.s_[..., rows, columns]
        if 0 in self.data[part].shape:
            raise IndexError(
                f"index: [{rows.start}:{rows.stop}, {columns.start}:{columns.stop}] selects no pixel of the "
                f"{self.shape[0]} x {self.shape[1]} pixels of the map"
            )
        return type(self)(
            self.data[part],
            wcs=self.wcs[rows, columns],
            uncertainty=None if self.uncertainty is None else self.uncertainty.array[part],
            mask=self.mask[part],
            samples=None if self.samples is None else self.samples[part],
            meta=self.meta,
            diagnostics=self.diagnostics,
            b_mode=None if self.b_mode is None else self.b_mode[rows, columns],
            n_z=self.n_z,
            unit=self.unit,
        )

    def cutout(self, center: SkyCoord, size: u.Quantity | int | tuple[int, int]) -> Self:
        """
        Cut the map around a position; a part beyond the edge of the map is left out.

        Parameters
        ----------
        center : `~astropy.coordinates.SkyCoord`
            Centre of the cut-out.
        size : `~astropy.units.Quantity` or int
            Height and width: one angle, or two (ny, nx); numbers without a unit are pixels.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or the cut-out is outside of the map (`~astropy.nddata.NoOverlapError`).

        Examples
        --------
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().cutout(SkyCoord(34.6572, -4.8366, unit="deg"), 20)
        <ConvergenceMap: 20 x 20 pixels of 0.4 arcmin, 100% measured, no samples>
        """
        if not isinstance(center, SkyCoord) or not center.isscalar:
            raise TypeError(f"center: needs a SkyCoord of one position, got {center!r}")
        sides = list(size) if np.iterable(size) else [size]
        on_sky = any(isinstance(side, u.Quantity) for side in sides)
        if len(sides) > 2 or not (on_sky or (np.asarray(sides).dtype.kind in "iu" and min(sides) > 0)):
            raise ValueError(f"size: needs one angle or two, or positive numbers of pixels, got {size!r}")
        if on_sky:
            size = u.Quantity([to_angle(side, "size") for side in sides * (3 - len(sides))])
        position = self.wcs.world_to_pixel(center)
        if not np.all(np.isfinite(position)):
            raise NoOverlapError(
                "center: needs a position on the projection of the map, got one on the far side of the sky"
            )
        try:
            return self[Cutout2D(self.data, center, size, wcs=self.wcs, mode="trim").slices_original]
        except NoOverlapError:
            raise NoOverlapError(f"center: the cut-out of size {size} is outside of the map") from None

    def reproject_to(self, wcs: WCS, shape: Shape | None = None) -> Self:
        """
        Interpolate the map and its samples bilinearly to another grid.

        The standard deviation is that of the interpolated samples. With fewer than 16 samples it is interpolated, and
        is then an upper limit, because interpolation smooths noise. Pixels are interpolated, not averaged: for a
        coarser map, bin the catalogue on coarser pixels instead.

        Parameters
        ----------
        wcs, shape
            WCS of the new grid, and its rows and columns (by default ``wcs.array_shape``).

        Returns
        -------
        ConvergenceMap
            Pixels outside of the old map are masked, with the value 0 and NaN for standard deviation and samples.

        Raises
        ------
        TypeError, ValueError
            If ``wcs`` or ``shape`` is not a valid grid, or the grids do not overlap.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astro_massmap import datasets
        >>> coarse = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
        >>> datasets.demo_truth().reproject_to(coarse.wcs)
        <ConvergenceMap: 32 x 32 pixels of 1.6 arcmin, 100% measured, no samples>
        """
        from reproject import reproject_interp

        wcs, shape = celestial_wcs(wcs, shape)

        def move(arrays: Floats, order: str = "bilinear") -> Floats:  # the coordinates of all images are computed once
            return reproject_interp((arrays, self.wcs), wcs, shape_out=shape, order=order, return_footprint=False)

        data = move(np.where(self.mask & (self.data == 0), np.nan, self.data))  # zero: without a value
        outside = ~np.isfinite(data)
        if outside.all():
            raise ValueError("wcs: needs a grid that overlaps with the map")
        mask = outside | (move(self.mask.astype(float), "nearest-neighbor") != 0)
        samples = None if self.samples is None else move(self.samples)
        uncertainty = None
        if samples is not None:
            mask |= ~np.isfinite(samples.sum(axis=0))
        if samples is not None and len(samples) >= _ENOUGH_SAMPLES:
            uncertainty = samples.std(axis=0, ddof=1)
        elif self.uncertainty is not None:
            uncertainty = move(self.uncertainty.array)
        return type(self)(
            data,
            wcs=wcs,
            uncertainty=uncertainty,
            mask=mask,
            samples=samples,
            meta=self.meta,
            diagnostics=self.diagnostics,
            b_mode=None if self.b_mode is None else self.b_mode.reproject_to(wcs, shape),
            n_z=self.n_z,
            unit=self.unit,
        )
