"""A map on other grids: parts of it, and the whole moved to the grid of another image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D, NoOverlapError

from ._geometry import celestial_wcs, to_angle
from ._map_arguments import map_slices

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from ._typing import Floats, MapParts, Shape
else:
    MapParts = object

_ENOUGH_SAMPLES = 16  # to tell a standard deviation to 18 %


class OtherGrids(MapParts):
    """Methods of `~astro_massmap.ConvergenceMap` that make one on another grid."""

    def __getitem__(self, item: slice | tuple[slice, ...]) -> Self:
        """A part of the map, by slices of rows and columns; its WCS, uncertainty and samples follow."""
        rows, columns = map_slices(item, self.shape)
        part = np.s_[..., rows, columns]
        if 0 in self.data[part].shape:
            raise IndexError(f"the part [{rows.start}:{rows.stop}, {columns.start}:{columns.stop}] is empty")
        return type(self)(
            self.data[part],
            wcs=self.wcs[rows, columns],
            uncertainty=None if self.uncertainty is None else self.uncertainty.array[part],
            mask=self.mask[part],
            samples=None if self.samples is None else self.samples[part],
            meta=self.meta,
            diagnostics=self.diagnostics,
            b_mode=None if self.b_mode is None else self.b_mode[rows, columns],
            unit=self.unit,
        )

    def cutout(self, center: SkyCoord, size: u.Quantity | int | tuple[int, int]) -> Self:
        """
        The part of the map around a position, as far as the map reaches.

        Parameters
        ----------
        center : `~astropy.coordinates.SkyCoord`
            Its middle.
        size : `~astropy.units.Quantity` or int
            Height and width: one angle, or two (ny, nx); numbers without a unit are pixels.

        Returns
        -------
        ConvergenceMap

        Raises
        ------
        TypeError, ValueError
            If ``center`` is no SkyCoord, or ``size`` no angle and no number of pixels; a ValueError of the kind
            `~astropy.nddata.NoOverlapError` if the part lies outside of the map.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.coordinates import SkyCoord
        >>> from astro_massmap import datasets
        >>> datasets.demo_truth().cutout(SkyCoord(34.6572, -4.8366, unit="deg"), 8 * u.arcmin)
        <ConvergenceMap: 20 x 20 pixels of 0.4 arcmin, 100% measured, no samples>
        """
        if not isinstance(center, SkyCoord) or not center.isscalar:
            raise TypeError(f"center: needs a SkyCoord of one position, got {center!r}")
        sides = np.atleast_1d(size)
        if isinstance(size, u.Quantity):
            for side in sides:
                to_angle(side, "size")
        elif sides.dtype.kind not in "iu" or not (sides > 0).all() or sides.size > 2:
            raise ValueError(f"size: needs one angle or two, or positive numbers of pixels, got {size!r}")
        position = self.wcs.world_to_pixel(center)
        if not np.all(np.isfinite(position)):
            raise NoOverlapError("center: lies on the other side of the sky")
        return self[Cutout2D(self.data, center, size, wcs=self.wcs, mode="trim").slices_original]

    def reproject_to(self, wcs: WCS, shape: Shape | None = None) -> Self:
        """
        The map on another grid, by bilinear interpolation.

        Every sample is moved, and the standard deviation is theirs on the new grid:
        interpolation smooths, and a map of standard deviations cannot know by how much. With fewer
        than 16 samples the standard deviation is interpolated, which is an upper limit. Pixels are
        sampled, not averaged: cut the resolution of the catalogue's map instead of that of the result.

        Parameters
        ----------
        wcs : `~astropy.wcs.WCS`
            The new grid.
        shape : tuple of int, optional
            Its rows and columns; by default ``wcs.array_shape``.

        Returns
        -------
        ConvergenceMap
            Where the old map does not reach, it is masked, its value is 0, and its standard deviation
            and samples are NaN (numpy's nan-functions pass over them).

        Raises
        ------
        TypeError, ValueError
            If ``wcs`` or ``shape`` is no grid, or the grids do not overlap.

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

        data = move(self.data)
        outside = ~np.isfinite(data)
        if outside.all():
            raise ValueError("wcs: the new grid does not overlap with the map")
        mask = outside | (move(self.mask.astype(float), "nearest-neighbor") != 0)
        samples = None if self.samples is None else move(self.samples)
        uncertainty = None
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
            unit=self.unit,
        )
