"""
Maps and shear on sky coordinates. Needs matplotlib: ``pip install "astro_massmap[plot]"``.

A map on axes of its own WCS is drawn as an image. On axes of another WCS (another frame, projection, rotation or pixel
size) the image is resampled: each point shows the map pixel in which it lies on the sky.
"""

import numpy as np
from astropy.wcs import WCSSUB_LATITUDE, WCSSUB_LONGITUDE

from .._sky.regions import as_regions, is_excluded, overlaps
from .._utils.optional import require

__all__ = ["draw_regions", "new_axes", "plot_map", "plot_shear"]

_LABELS = {"pos.eq.ra": "RA", "pos.eq.dec": "Dec", "pos.galactic.lon": "l", "pos.galactic.lat": "b"}
_SAME = 0.01  # largest offset in pixels of two grids that agree in a figure
_FINER, _MOST_POINTS = 4, 4_000_000  # points of a resampled map: along a side of a pixel, and in total


def new_axes(wcs, figsize=(7, 6)):
    """
    Create axes of a WCS in a new figure.

    Parameters
    ----------
    wcs, figsize
        Coordinates of the axes, and width and height of the figure in inches.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> ax = plotting.new_axes(datasets.demo_truth().wcs, figsize=(4, 4))
    >>> print(type(ax).__name__, ax.figure.get_size_inches())
    WCSAxes [4. 4.]
    """
    return (
        require("matplotlib.pyplot", "plot").figure(figsize=figsize, layout="constrained").add_subplot(projection=wcs)
    )


def plot_map(data, wcs, *, ax=None, regions=None, mask=None, colorbar=True, label=r"$\kappa$", title=None, **kwargs):
    """
    Draw a map.

    Parameters
    ----------
    data, wcs
        Values ``(ny, nx)`` and coordinates of the map.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Axes of any celestial WCS, returned; by default those of a new figure. Axes of another WCS that already show
        something keep their limits.
    regions : regions, optional
        Regions to overplot with their labels: a region, a list of regions, a table of positions and radii, or a file.
        Regions outside the map are left out.
    mask : ndarray of bool, optional
        Mask ``(ny, nx)``, True without data: drawn as a grey overlay.
    colorbar, label, title
        Whether to draw a colour bar, its label, and the title of the axes.
    **kwargs
        Options of `matplotlib.axes.Axes.imshow`; the colours end at the 99.8 % quantile of ``|data|`` unless
        ``vmin`` and ``vmax`` are given.

    Raises
    ------
    TypeError, ValueError
        If ``ax`` has no celestial coordinates, or the map is outside its projection.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> ax = plotting.plot_map(truth.data, truth.wcs, regions=datasets.demo_clusters(), title="the truth")
    >>> ax.get_title(), len(ax.texts)
    ('the truth', 5)
    """
    ax, transform = _axes_on(wcs, ax, data.shape)
    known = data[np.isfinite(data)]
    limit = np.quantile(np.abs(known), 0.998) if known.size else 1.0
    signed = known.min(initial=0) < 0
    defaults = {"vmin": -limit if signed else 0, "vmax": limit, "cmap": "RdBu_r" if signed else "viridis"}
    image = _draw_pixels(ax, data, transform, **(defaults | kwargs))
    if mask is not None and mask.any():
        overlay = np.zeros((*mask.shape, 4))
        overlay[mask] = (0.5, 0.5, 0.5, 0.3)
        _draw_pixels(ax, overlay, transform)
    if regions is not None:
        draw_regions(ax, regions, wcs, data.shape)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.85, extend="both" if signed else "max")
    _label_sky(ax, title)
    return ax


def plot_shear(shear, noise_std, wcs, *, ax=None, pixels_per_stick=None, title=None, **kwargs):
    """
    Draw shear as sticks along the direction in which images of galaxies are stretched.

    Parameters
    ----------
    shear : ndarray
        Shear along the pixel axes, ``(2, ny, nx)``.
    noise_std : ndarray
        Standard deviation of the noise per pixel, ``(ny, nx)``; infinite without data. Sticks are weighted means over
        squares with enough data.
    wcs, ax, title
        See `plot_map`, also for errors.
    pixels_per_stick : int, optional
        Side of the squares that are averaged; by default some 24 sticks fit along the longer side.
    **kwargs
        Options of `matplotlib.axes.Axes.quiver`.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> shear = datasets.demo().to_map()
    >>> plotting.plot_shear(shear.data, shear.noise_std, shear.wcs, title="shear").get_title()
    'shear'
    """
    ax, transform = _axes_on(wcs, ax, noise_std.shape)
    ny, nx = noise_std.shape
    step = max(1, max(ny, nx) // 24) if pixels_per_stick is None else int(pixels_per_stick)
    step = min(step, ny, nx)
    rows, columns = ny // step, nx // step

    def block_sum(a):
        return a[: rows * step, : columns * step].reshape(rows, step, columns, step).sum(axis=(1, 3))

    weight = noise_std**-2.0
    total = block_sum(weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        e = (block_sum(weight * shear[0]) + 1j * block_sum(weight * shear[1])) / total
    stick = np.abs(e) * np.exp(0.5j * np.angle(e))
    y, x = (np.mgrid[:rows, :columns] + 0.5) * step - 0.5
    defaults = {"angles": "xy", "pivot": "middle", "headwidth": 0, "headlength": 0, "headaxislength": 0, "width": 0.002}
    good = total > 0.2 * total.max()  # a few galaxies at an edge would give long, noisy sticks
    places, sticks = np.transpose([x[good], y[good]]), stick[good]
    limits = {"xlim": (-0.5, nx - 0.5), "ylim": (-0.5, ny - 0.5)}
    if transform is not None:
        limits = _limits(ax, transform.transform(_corners(noise_std.shape).reshape(-1, 2)))
        places, sticks = _moved_sticks(places, sticks, transform)
    quiver = ax.quiver(*places.T, sticks.real, sticks.imag, **(defaults | kwargs))
    ax.quiverkey(quiver, 0.92, 0.96, 0.05, "5 % shear", labelpos="W", coordinates="axes")
    ax.set(**limits, aspect="equal")
    _label_sky(ax, title)
    return ax


def draw_regions(ax, regions, wcs, shape, color="black"):
    """
    Draw regions with their labels on a map.

    Parameters
    ----------
    ax, regions
        As for `plot_map`.
    wcs, shape
        Coordinates, rows and columns of the map; regions outside are left out.
    color : str
        Colour of regions without a colour of their own.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> ax = plotting.plot_map(truth.data, truth.wcs, colorbar=False)
    >>> plotting.draw_regions(ax, datasets.demo_clusters(), truth.wcs, truth.shape, color="tab:green")
    >>> len(ax.patches)
    5
    """
    draw_pixel_regions(ax, as_regions(regions, wcs), wcs, shape, color)


def draw_pixel_regions(ax, regions, wcs, shape, color="black"):
    """Draw pixel regions, as `as_regions` returns them with a WCS."""
    # here and above: regions imports matplotlib, and maps import this module without it
    from regions import CompoundPixelRegion, TextPixelRegion

    _, transform = _axes_on(wcs, ax, shape)
    for region in regions:
        if not overlaps(region, shape):
            continue
        if isinstance(region, CompoundPixelRegion):
            draw_pixel_regions(ax, [region.region1, region.region2], wcs, shape, color)
            continue
        own = region.visual.get("color", region.visual.get("edgecolor", color))
        lines = {"linewidth": 1.2} | {k: v for k, v in region.visual.items() if k in ("linestyle", "linewidth")}
        if is_excluded(region):
            lines["linestyle"] = "dashed"
        if isinstance(region, TextPixelRegion):
            lines = {}
        artist = region.copy(visual={}).as_artist(color=own, **lines)
        if transform is not None:
            artist.set_transform(transform + ax.transData)
        ax.add_artist(artist)
        artist.set_clip_path(ax.patch)
        label = "".join(c for c in str(region.meta.get("text", "")) if c.isprintable())
        if label:
            place, above = _label_place(_outline(region, transform), _height(ax, shape, transform), ax.yaxis_inverted())
            ax.annotate(
                label,
                place,
                xytext=(0, 1 if above else -1),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=7,
                color=own,
                annotation_clip=True,
                clip_on=True,
                parse_math=False,
            )


def _outline(region, transform):
    """Return points around a pixel region, in pixels of the axes."""
    from regions import CirclePixelRegion  # as in draw_regions

    if isinstance(region, CirclePixelRegion):
        turn = np.exp(2j * np.pi * np.arange(64) / 64)
        points = np.transpose([turn.real, turn.imag]) * region.radius + region.center.xy
    else:
        box = region.bounding_box
        points = np.array([(x - 0.5, y - 0.5) for x in (box.ixmin, box.ixmax) for y in (box.iymin, box.iymax)])
    return points if transform is None else transform.transform(points)


def _height(ax, shape, transform):
    """Return the lowest and highest pixel of the map, or of axes of another WCS."""
    return (0, shape[0]) if transform is None else sorted(ax.get_ylim())


def _label_place(outline, height, inverted):
    """Return the position of a label that stays on the axes, and whether it is above its region."""
    (left, low), (right, high) = np.min(outline, axis=0), np.max(outline, axis=0)
    x, margin = (left + right) / 2, 0.06 * (height[1] - height[0])
    if inverted:
        above = low > height[0] + margin
        return (x, low if above else high), above
    above = high < height[1] - margin
    return (x, high if above else low), above


def _axes_on(wcs, ax, shape):
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
    points = _corners(shape).reshape(-1, 2)[:: max(1, shape[1] // 4)]
    return ax, None if np.allclose(transform.transform(points), points, rtol=0, atol=_SAME) else transform


def _pixels_to_pixels(wcs, ax):
    from matplotlib.transforms import Affine2D  # an optional dependency

    if wcs.wcs.lng < wcs.wcs.lat:
        return ax.get_transform(wcs) - ax.transData
    swapped = wcs.sub([WCSSUB_LONGITUDE, WCSSUB_LATITUDE])
    return Affine2D(np.eye(3)[[1, 0, 2]]) + (ax.get_transform(swapped) - ax.transData)


def _corners(shape):
    y, x = np.mgrid[: shape[0] + 1, : shape[1] + 1] - 0.5
    return np.stack([x, y], axis=-1)


def _draw_pixels(ax, image, transform, **kwargs):
    """Draw an image ``(ny, nx)`` or ``(ny, nx, 4)``, resampled for axes of another WCS."""
    if transform is None:
        return ax.imshow(image, origin="lower", **kwargs)
    image, extent = _resampled(image, transform)
    limits = _limits(ax, np.reshape(extent, (2, 2)).T)
    drawn = ax.imshow(image, origin="lower", extent=extent, **kwargs)
    ax.set(**limits)
    return drawn


def _resampled(image, transform):
    """Return the map on a finer grid of the axes, transparent outside the map, and the extent of that grid."""
    ny, nx = image.shape[:2]
    corners = transform.transform(_corners((ny, nx)).reshape(-1, 2)).reshape(ny + 1, nx + 1, 2)
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


def _limits(ax, points):
    """Return the limits of the axes, if set or if something is drawn, or else limits around the points."""
    points = points[np.isfinite(points).all(axis=1)]
    if ax.has_data() or not ax.get_autoscale_on() or not len(points):
        return {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
    (left, low), (right, high) = points.min(axis=0), points.max(axis=0)
    return {"xlim": (left, right), "ylim": (low, high)}


def _moved_sticks(places, sticks, transform):
    """Return positions and complex sticks on axes of another WCS; sticks keep their lengths."""
    half = 0.5 * np.transpose([np.cos(np.angle(sticks)), np.sin(np.angle(sticks))])
    ahead, behind = (transform.transform(places + sign * half) for sign in (1, -1))
    along = (ahead - behind) @ [1, 1j]
    seen = np.isfinite(along) & (along != 0)
    return transform.transform(places)[seen], (np.abs(sticks) * along / np.abs(along))[seen]


def _label_sky(ax, title):
    for coord, kind in zip(ax.coords, ax.wcs.world_axis_physical_types, strict=True):
        if kind in _LABELS:
            coord.set_axislabel(_LABELS[kind])
    if title:
        ax.set_title(title)
