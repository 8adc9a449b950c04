"""
Axes with sky coordinates, and images on axes of another WCS.

A map on axes of its own WCS is drawn as an image. On axes of another WCS (another frame, projection, rotation or pixel
size) the image is resampled: each point shows the map pixel in which it lies on the sky.
"""

import numpy as np
from astropy.wcs import WCSSUB_LATITUDE, WCSSUB_LONGITUDE

from .style import new_figure, stacked

_LABELS = {"pos.eq.ra": "RA", "pos.eq.dec": "Dec", "pos.galactic.lon": "l", "pos.galactic.lat": "b"}
_SAME = 0.01  # largest offset in pixels of two grids that agree in a figure
_FINER, _MOST_POINTS = 4, 4_000_000  # points of a resampled map: along a side of a pixel, and in total


def new_axes(wcs, figsize=None):
    """
    Create axes of a WCS in a new figure.

    Parameters
    ----------
    wcs, figsize
        Coordinates of the axes, and width and height of the figure in inches, by default 7 and 6, or as in `style`.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> ax = plotting.new_axes(datasets.demo_truth().wcs, figsize=(4, 4))
    >>> print(type(ax).__name__, ax.figure.get_size_inches())
    WCSAxes [4. 4.]
    """
    figure = new_figure(7, 6, layout="compressed")
    if figsize is not None:
        figure.set_size_inches(figsize)
    ax = figure.add_subplot(projection=wcs)
    if stacked(figure):  # a narrow figure
        for coord in ax.coords:
            coord.set_ticks(number=4)
    return ax


def axes_on(wcs, ax, shape):
    """Return the axes (new by default) and the transformation from map pixels to them, or None if they agree."""
    if ax is None:
        return new_axes(wcs), None
    if not hasattr(ax, "coords"):
        raise TypeError(f"ax: needs sky coordinates, got {type(ax).__name__}; use add_subplot(projection=kappa.wcs)")
    types = [coord.coord_type for coord in ax.coords if coord.coord_type != "scalar"]
    if types != ["longitude", "latitude"]:  # the only axes that astropy transforms to
        if types and hasattr(ax.wcs, "wcs") and ax.wcs.wcs.compare(wcs.wcs):
            return ax, None
        raise TypeError(
            "ax: needs celestial axes, with the longitude first and the latitude second, got "
            f"{', '.join(map(str, ax.wcs.world_axis_physical_types))}; use add_subplot(projection=kappa.wcs)"
        )
    transform = _pixels_to_pixels(wcs, ax)
    points = pixel_corners(shape).reshape(-1, 2)[:: max(1, shape[1] // 4)]
    return ax, None if np.allclose(transform.transform(points), points, rtol=0, atol=_SAME) else transform


def _pixels_to_pixels(wcs, ax):
    from matplotlib.transforms import Affine2D  # an optional dependency

    if wcs.wcs.lng < wcs.wcs.lat:
        return ax.get_transform(wcs) - ax.transData
    swapped = wcs.sub([WCSSUB_LONGITUDE, WCSSUB_LATITUDE])
    return Affine2D(np.eye(3)[[1, 0, 2]]) + (ax.get_transform(swapped) - ax.transData)


def pixel_corners(shape):
    y, x = np.mgrid[: shape[0] + 1, : shape[1] + 1] - 0.5
    return np.stack([x, y], axis=-1)


def draw_pixels(ax, image, transform, **kwargs):
    """Draw an image ``(ny, nx)`` or ``(ny, nx, 4)``, resampled for axes of another WCS."""
    if transform is None:
        return ax.imshow(image, origin="lower", **kwargs)
    image, extent = _resampled(image, transform)
    limits = limits_around(ax, np.reshape(extent, (2, 2)).T)
    drawn = ax.imshow(image, origin="lower", extent=extent, **kwargs)
    ax.set(**limits)
    return drawn


def _resampled(image, transform):
    """Return the map on a finer grid of the axes, transparent outside the map, and the extent of that grid."""
    ny, nx = image.shape[:2]
    corners = transform.transform(pixel_corners((ny, nx)).reshape(-1, 2)).reshape(ny + 1, nx + 1, 2)
    if not np.isfinite(corners).all(axis=-1).any():
        raise ValueError("ax: needs a projection on which the map lies; no pixel of the map is on these axes")
    low, high = np.nanmin(corners, axis=(0, 1)), np.nanmax(corners, axis=(0, 1))
    across, up = np.diff(corners, axis=1)[:-1], np.diff(corners, axis=0)[:, :-1]
    area = np.abs(across[..., 0] * up[..., 1] - across[..., 1] * up[..., 0])
    step = max(np.sqrt(np.nanmedian(area)) / _FINER, np.sqrt(np.prod(high - low) / _MOST_POINTS))
    columns, rows = np.ceil((high - low) / step).astype(int)
    points = low + step * (np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1) + 0.5)
    x, y = np.nan_to_num(transform.inverted().transform(points.reshape(-1, 2)), nan=-1).T.reshape(2, rows, columns)
    i, j = np.rint(y).astype(int), np.rint(x).astype(int)
    inside = (i >= 0) & (i < ny) & (j >= 0) & (j < nx)
    result = np.full((rows, columns, *image.shape[2:]), np.nan if image.ndim == 2 else 0.0)
    result[inside] = image[i[inside], j[inside]]
    return result, (low[0], low[0] + columns * step, low[1], low[1] + rows * step)


def limits_around(ax, points):
    """Return the limits of the axes, if set or if something is drawn, or else limits around the points."""
    points = points[np.isfinite(points).all(axis=1)]
    if ax.has_data() or not ax.get_autoscale_on() or not len(points):
        return {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    (left, low), (right, high) = points.min(axis=0), points.max(axis=0)
    return {"xlim": (left, right), "ylim": (low, high)}


def label_sky(ax, title):
    for coord, kind in zip(ax.coords, ax.wcs.world_axis_physical_types, strict=True):
        if kind in _LABELS:
            coord.set_axislabel(_LABELS[kind])
            coord.set_ticklabel(exclude_overlapping=True)
    if title:
        ax.set_title(title)
