"""
Fraction of each pixel of a grid that lies in a region: exact where ``regions`` is, else from points within the pixels.

If a region is much larger than the field, only the pixels of the field are evaluated. The area of excluded regions is
subtracted exactly, except in pixels cut by the edges of two regions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from regions import (
    AnnulusPixelRegion,
    CompoundPixelRegion,
    EllipsePixelRegion,
    PixCoord,
    PointPixelRegion,
    RectanglePixelRegion,
    RegionBoundingBox,
)
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from .._utils.typing import Bools

_SUBPIXELS = 10  # on a side, if the overlap of a region with a pixel is not known exactly
_FINE = 100  # on a side, for small regions
ROUNDING = 1e-13  # rounding error of overlaps, in units of the area of the region
_AT_ONCE = 2**22  # numbers in memory at a time
_NOTHING = np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0), 0.0


@dataclass(frozen=True)
class RegionWeights:
    """
    Area of each pixel that lies in each region.

    Attributes
    ----------
    overlap : `scipy.sparse.csr_array`
        Overlap of regions and pixels, ``(n_regions, ny * nx)``, in pixels.
    area : ndarray
        Area of each whole region, including the part outside the field, ``(n_regions,)``, in pixels.

    Examples
    --------
    >>> from regions import CirclePixelRegion, PixCoord
    >>> from astro_massmap import datasets
    >>> from astro_massmap.analysis.detection import region_weights
    >>> weights = region_weights(CirclePixelRegion(PixCoord(0, 60), 5), datasets.demo_truth().wcs, (128, 128))
    >>> print(f"{weights.area[0]:.1f} pixels, {weights.overlap.sum():.1f} of them in the field")
    78.5 pixels, 44.3 of them in the field
    """

    overlap: csr_array
    area: np.ndarray

    def __len__(self) -> int:
        return len(self.area)

    def inside(self, field: Bools) -> RegionWeights:
        """Set the overlap with pixels outside a field, bool ``(ny * nx,)``, to zero; areas stay the same."""
        overlap = self.overlap.copy()
        overlap.data = overlap.data * field[overlap.indices]
        overlap.eliminate_zeros()
        return RegionWeights(overlap, self.area)


def weights_of(pixel_regions, shape, excluded=()):
    """Return the `RegionWeights` of pixel regions minus the excluded ones; a region None has no overlap."""
    holes = _Holes(excluded)
    parts = [_NOTHING if region is None else _overlap(region, shape, holes) for region in pixel_regions]
    y, x, covered = (np.concatenate([_NOTHING[k], *(part[k] for part in parts)]) for k in range(3))
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    overlap = csr_array((covered, y * shape[1] + x, starts), shape=(len(parts), shape[0] * shape[1]))
    return RegionWeights(overlap, np.array([part[3] for part in parts], dtype=float))


class _Boxed:
    """Region whose bounding box is computed once and without units, to save time."""

    @cached_property
    def bounding_box(self):
        angle, (x, y) = self.angle.to_value("rad"), self.center.xy
        c, s = math.cos(angle) / 2, math.sin(angle) / 2
        dx, dy = self._extent(self.width * c, self.height * s), self._extent(self.width * s, self.height * c)
        return RegionBoundingBox.from_float(x - dx, x + dx, y - dy, y + dy)


class _Ellipse(_Boxed, EllipsePixelRegion):
    _extent = staticmethod(math.hypot)


class _Rectangle(_Boxed, RectanglePixelRegion):
    _extent = staticmethod(lambda width, height: abs(width) + abs(height))


_BOXED = {EllipsePixelRegion: _Ellipse, RectanglePixelRegion: _Rectangle}


class _Holes:
    """Excluded regions, searchable by bounding box."""

    def __init__(self, regions):
        boxes = [(region, box) for region in regions if region is not None and (box := _box(region)) is not None]
        self._regions = [region for region, _ in boxes]
        self._boxes = np.array([(b.ixmin, b.ixmax, b.iymin, b.iymax) for _, b in boxes]).reshape(-1, 4)

    def near(self, box):
        if not self._regions:
            return []
        left, right, bottom, top = self._boxes.T
        meets = (left < box.ixmax) & (right > box.ixmin) & (bottom < box.iymax) & (top > box.iymin)
        return [self._regions[i] for i in np.flatnonzero(meets)]


@dataclass
class _Rest:
    """Region minus excluded regions."""

    region: object
    holes: list

    def contains(self, points):
        inside = self.region.contains(points)
        for hole in self.holes:
            inside &= ~hole.contains(points)
        return inside


def _cut(covered, region, holes, y, x):
    """Subtract the areas covered by excluded regions from the covered areas of pixels."""
    left, cuts = covered.copy(), ((covered > 0) & (covered < 1)).astype(int)
    for hole in holes:
        part = _in_window(hole, y, x)
        left *= 1 - part
        cuts += (part > 0) & (part < 1)
    several = (cuts > 1) & (left > 0)
    if several.any():
        left[several] = _on_subpixels(_Rest(region, holes), y[several], x[several], _FINE // 2)
    return left


def _in_window(region, y, x):
    """Return the covered area of the pixels of any window."""
    covered, box = np.zeros(y.shape), _box(region)
    seen = box & RegionBoundingBox(x[0, 0], x[0, -1] + 1, y[0, 0], y[-1, 0] + 1)
    if seen is None:
        return covered
    height, width = box.shape
    box = seen if height * width > _AT_ONCE else box
    rows, columns = np.mgrid[box.iymin : box.iymax, box.ixmin : box.ixmax]
    part = _on_subpixels(region, rows, columns) if box is seen else _covered(region, rows, columns)
    part = part[seen.iymin - box.iymin : seen.iymax - box.iymin, seen.ixmin - box.ixmin : seen.ixmax - box.ixmin]
    covered[seen.iymin - y[0, 0] : seen.iymax - y[0, 0], seen.ixmin - x[0, 0] : seen.ixmax - x[0, 0]] = part
    return covered


def _overlap(region, shape, holes):
    """Return rows, columns and covered areas of the pixels of the field, and the area of the whole region."""
    if type(region) in _BOXED:
        region = _BOXED[type(region)](region.center, region.width, region.height, region.angle, region.meta)
    if isinstance(region, PointPixelRegion):
        return _one_pixel(region, shape, holes)
    box = _box(region)
    if box is None:
        return _NOTHING
    seen = box & RegionBoundingBox(0, shape[1], 0, shape[0])
    if seen is None:
        return *_NOTHING[:3], _area(region, box)
    height, width = box.shape
    most = shape[0] * shape[1] + (_AT_ONCE // _SUBPIXELS**2 if isinstance(region, CompoundPixelRegion) else _AT_ONCE)
    large = height * width > most
    window = seen if large else box
    y, x = np.mgrid[window.iymin : window.iymax, window.ixmin : window.ixmax]
    covered = _on_subpixels(region, y, x) if large else _covered(region, y, x)
    if not (covered.any() or large):
        if not isinstance(region, CompoundPixelRegion):  # smaller than rounding errors
            return _one_pixel(region, shape, holes) if region.area > 0 else _NOTHING
        if _is_small(y):
            covered = _on_subpixels(region, y, x, _FINE)
    area = _area(region, box) if large else covered.sum()
    if y.size and (near := holes.near(box)):
        whole, covered = covered, _cut(covered, region, near, y, x)
        area -= (whole - covered).sum()
    inside = (covered > (0 if large else ROUNDING * area)) & (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    return y[inside], x[inside], covered[inside], area


def _box(region):
    try:
        return region.bounding_box
    except (ValueError, OverflowError):
        return None


def _one_pixel(region, shape, holes):
    """Return the results of `_overlap` for the pixel that contains the centre of a region."""
    x, y = pixel_center(region)
    if not np.isfinite(x + y) or any(
        hole.contains(PixCoord(x, y)) for hole in holes.near(RegionBoundingBox.from_float(x, x, y, y))
    ):
        return _NOTHING
    x, y = np.floor(x + 0.5), np.floor(y + 0.5)
    inside = int(0 <= x < shape[1] and 0 <= y < shape[0])
    return np.full(inside, y, dtype=int), np.full(inside, x, dtype=int), np.ones(inside), 1.0


def pixel_center(region):
    """Return the centre of a region or of its bounding box; NaN beyond the projection of the grid."""
    if hasattr(region, "center"):
        return region.center.xy
    box = None if region is None else _box(region)
    return (np.nan, np.nan) if box is None else ((box.ixmin + box.ixmax - 1) / 2, (box.iymin + box.iymax - 1) / 2)


def _covered(region, y, x):
    """Return the fraction of each pixel of the bounding box that lies in the region, exactly if possible."""
    if y.size == 0:
        return np.zeros(y.shape)
    if isinstance(region, AnnulusPixelRegion):
        inner, outer = region._inner_region, region._outer_region
        covered, box = _covered(outer, y, x), inner.bounding_box
        hole = np.s_[box.iymin - y[0, 0] : box.iymax - y[0, 0], box.ixmin - x[0, 0] : box.ixmax - x[0, 0]]
        covered[hole] -= _covered(inner, y[hole], x[hole])
        return np.where(covered > ROUNDING * outer.area, covered, 0)
    try:
        covered = region.to_mask(mode="exact").data
    except NotImplementedError:
        return _on_subpixels(region, y, x)
    # regions (0.12) loses pixels of an ellipse whose edge goes exactly through their corners
    right = np.isclose(covered.sum(), region.area, rtol=1e-3, atol=0)
    return covered if right else _on_subpixels(region, y, x, _FINE if _is_small(y) else _SUBPIXELS)


def _is_small(y):
    return y.size * _FINE**2 < 10 * _AT_ONCE


def _on_subpixels(region, y, x, n=_SUBPIXELS):
    steps = (np.arange(n) + 0.5) / n - 0.5
    covered = np.zeros(y.size)
    for part in np.array_split(np.arange(y.size), y.size * n**2 // _AT_ONCE + 1):
        shape = (len(part), n, n)
        px, py = (a.ravel()[part, None, None] for a in (x, y))
        points = PixCoord(np.broadcast_to(px + steps, shape), np.broadcast_to(py + steps[:, None], shape))
        covered[part] = region.contains(points).mean(axis=(1, 2))
    return covered.reshape(y.shape)


def _area(region, box):
    """Return the area of a large or distant region; that of a compound region from 1000 x 1000 points."""
    try:
        return float(region.area)
    except NotImplementedError:
        steps = (np.arange(1000) + 0.5) / 1000
        height, width = box.shape
        points = PixCoord(*np.meshgrid(box.ixmin - 0.5 + width * steps, box.iymin - 0.5 + height * steps))
        return region.contains(points).mean() * height * width
