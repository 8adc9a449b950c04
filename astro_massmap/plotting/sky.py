"""Maps and shear on sky coordinates. Needs matplotlib: ``pip install "astro_massmap[plot]"``."""

import numpy as np

from .axes import axes_on, draw_pixels, label_sky, limits_around, pixel_corners
from .colors import add_colorbar, checked_color, color_scale
from .contours import draw_contours
from .decorations import draw_beam, draw_grey, draw_scalebar, unmeasured
from .labels import draw_key, draw_pixel_regions, key_on_axes, on_map
from .style import trimmed

__all__ = ["plot_map", "plot_shear"]


def plot_map(
    data,
    wcs,
    *,
    ax=None,
    image=True,
    regions=None,
    labels="text",
    mask=None,
    gap_size=1.0,
    std=None,
    contours=None,
    contour_color=None,
    region_color="black",
    norm="linear",
    scalebar=None,
    beam=None,
    redshift=None,
    cosmology=None,
    colorbar=True,
    label=r"$\kappa$",
    title=None,
    **kwargs,
):
    r"""
    Draw a map.

    Parameters
    ----------
    data, wcs
        Values ``(ny, nx)`` and coordinates of the map.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Axes of any celestial WCS, returned; by default those of a new figure (see `style`). Axes of another WCS that
        already show something keep their limits.
    image : bool
        Whether to draw the map, its area without data and the colour bar; False for contours and regions on another
        image.
    regions : regions, optional
        Regions to overplot: a region, a table of positions and radii, a file, or a list of these. Regions outside
        the map are left out.
    labels : str or False
        Labels of the regions, without overlap: their ``"text"``, or ``"numbers"`` in the order of ``regions`` with a
        key, below the figure, of those on the axes, or none. The key needs a figure with the layout "constrained" or
        "compressed", or with a margin that can be made larger.
    mask, gap_size : ndarray of bool and float, optional
        Mask ``(ny, nx)``, True without data. The area without data is grey, except for gaps that are as small as
        expected by chance for the pixels of galaxies, ``gap_size`` pixels of the map (see `unmeasured`).
    std : ndarray, optional
        Standard deviation ``(ny, nx)``, for ``contours``.
    contours : array-like or tuple, optional
        Levels of ``data / std`` at which contours are drawn, such as ``[3, 4, 5]``, or a pair (image, levels) with
        another image: an HDU, a FITS file (its first image of the sky), an object with ``data`` and ``wcs``, or an
        array on the same grid.
    contour_color, region_color : color
        Colours of matplotlib: of contours, by default black for those of the map that is drawn and green for others,
        and of regions without a colour of their own.
    norm : str or `~matplotlib.colors.Normalize`
        Colour scale: ``"linear"`` up to the 99.8 % quantile of ``|data|``, or ``"asinh"``, which is logarithmic above
        the median of ``|data|`` and reaches the maximum, for strong clusters.
    scalebar : `~astropy.units.Quantity` or True, optional
        Angle of a scale bar, a length at ``redshift`` in ``cosmology`` (by default that of astropy's settings), or
        True for a round angle.
    beam : `~astropy.units.Quantity`, optional
        Standard deviation of the Gaussian by which the map was smoothed; a disk shows its full width at half maximum.
    redshift, cosmology
        See ``scalebar``.
    colorbar, label, title
        Whether to draw a colour bar, its label, and the title of the axes.
    **kwargs
        Options of `matplotlib.axes.Axes.imshow`, such as ``vmin``, ``vmax`` and ``cmap``.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described, ``ax`` has no celestial coordinates, or the map is outside its projection.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> ax = plotting.plot_map(truth.data, truth.wcs, regions=datasets.demo_clusters(), title="the truth")
    >>> ax.get_title(), len(ax.texts)
    ('the truth', 5)
    """
    own = ax is None
    ax, transform = axes_on(wcs, ax, data.shape)
    hidden = np.zeros(data.shape, dtype=bool) if mask is None else unmeasured(mask, gap_size)
    if image:
        colors = {name: kwargs.pop(name, None) for name in ("vmin", "vmax", "cmap")}
        options = color_scale([data], norm, **colors) | {"interpolation": "nearest"}
        drawn = draw_pixels(ax, data, transform, **(options | kwargs))
        draw_grey(ax, hidden, transform)
    elif kwargs:
        raise TypeError(f"image: False takes no options of imshow, got {', '.join(kwargs)}")
    else:
        corners = pixel_corners(data.shape).reshape(-1, 2)
        corners = corners if transform is None else transform.transform(corners)
        ax.set(**limits_around(ax, corners), aspect="equal")
    if contours is not None:
        draw_contours(ax, contours, data, std, wcs, hidden, contour_color, image=image)
    found, key = on_map(regions, wcs, data.shape, labels)
    draw_pixel_regions(ax, found, wcs, data.shape, checked_color(region_color, "region_color"))
    if image and colorbar:
        add_colorbar(drawn, ax, label, shrink=1 if own else 0.85)
    label_sky(ax, title)
    if scalebar is not None and scalebar is not False:
        draw_scalebar(ax, scalebar, redshift, cosmology)
    if beam is not None:
        draw_beam(ax, beam)
    draw_key(ax.figure, key_on_axes(ax, found, key, wcs, data.shape))
    if own:
        trimmed(ax.figure, height=1.4 * ax.figure.get_figwidth())
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
    own = ax is None
    ax, transform = axes_on(wcs, ax, noise_std.shape)
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
        limits = limits_around(ax, transform.transform(pixel_corners(noise_std.shape).reshape(-1, 2)))
        places, sticks = _moved_sticks(places, sticks, transform)
    quiver = ax.quiver(*places.T, sticks.real, sticks.imag, **(defaults | kwargs))
    key = ax.quiverkey(quiver, 0.92, 0.96, 0.05, "5 % shear", labelpos="W", coordinates="axes")
    key.text.set_bbox({"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1})
    ax.set(**limits, aspect="equal")
    label_sky(ax, title)
    if own:
        trimmed(ax.figure, height=1.4 * ax.figure.get_figwidth())
    return ax


def _moved_sticks(places, sticks, transform):
    """Return positions and complex sticks on axes of another WCS; sticks keep their lengths."""
    half = 0.5 * np.transpose([np.cos(np.angle(sticks)), np.sin(np.angle(sticks))])
    ahead, behind = (transform.transform(places + sign * half) for sign in (1, -1))
    along = (ahead - behind) @ [1, 1j]
    seen = np.isfinite(along) & (along != 0)
    return transform.transform(places)[seen], (np.abs(sticks) * along / np.abs(along))[seen]
