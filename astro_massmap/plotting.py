"""Figures on sky coordinates. Needs matplotlib: ``pip install "astro_massmap[plot]"``."""

import numpy as np

from ._optional import require

__all__ = ["draw_regions", "new_axes", "plot_map", "plot_shear"]

_LABELS = {"RA": "RA", "DEC": "Dec", "GLON": "l", "GLAT": "b"}


def new_axes(wcs, figsize=(7, 6)):
    """
    A WCSAxes of this WCS in a new figure.

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
    data : ndarray
        Values ``(ny, nx)``.
    wcs : `~astropy.wcs.WCS`
        Where they are.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw; by default a new figure.
    regions : regions, optional
        Drawn on top with their labels: a region, a list of them, a table of positions and radii, or
        a file. Those outside of the map are left out.
    mask : ndarray of bool, optional
        Drawn as a grey veil: under it nothing was measured.
    colorbar : bool
        Draw one.
    label : str
        What the values are.
    title : str, optional
        Of the axes.
    **kwargs
        Of `matplotlib.axes.Axes.imshow`; the colours end at the 99.8 % quantile of ``|data|`` unless
        ``vmin`` and ``vmax`` are given.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> ax = plotting.plot_map(truth.data, truth.wcs, regions=datasets.demo_clusters(), title="the truth")
    >>> ax.get_title(), len(ax.texts)
    ('the truth', 5)
    """
    ax = _axes_on(wcs, ax)
    known = data[np.isfinite(data)]
    limit = np.quantile(np.abs(known), 0.998) if known.size else 1.0
    signed = known.min(initial=0) < 0
    defaults = {"vmin": -limit if signed else 0, "vmax": limit, "cmap": "RdBu_r" if signed else "viridis"}
    image = ax.imshow(data, origin="lower", **(defaults | kwargs))
    if mask is not None and mask.any():
        veil = np.zeros((*mask.shape, 4))
        veil[mask] = (0.5, 0.5, 0.5, 0.3)
        ax.imshow(veil, origin="lower")
    if regions is not None:
        draw_regions(ax, regions, wcs, data.shape)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.85, extend="both" if signed else "max")
    _label_sky(ax, wcs, title)
    return ax


def plot_shear(shear, noise_std, wcs, *, ax=None, pixels_per_stick=None, title=None, **kwargs):
    """
    Draw shear as sticks along the direction in which images of galaxies are stretched.

    Parameters
    ----------
    shear : ndarray
        ``(2, ny, nx)`` along the pixel axes.
    noise_std : ndarray
        ``(ny, nx)``; infinite without data. Sticks are weighted means over squares with enough data.
    wcs : `~astropy.wcs.WCS`
        Where the pixels are.
    ax : `~astropy.visualization.wcsaxes.WCSAxes`, optional
        Where to draw; by default a new figure.
    pixels_per_stick : int, optional
        Side of the squares that are averaged; by default some 24 sticks fit along the longer side.
    title : str, optional
        Of the axes.
    **kwargs
        Of `matplotlib.axes.Axes.quiver`.

    Returns
    -------
    `~astropy.visualization.wcsaxes.WCSAxes`

    Examples
    --------
    >>> import astropy.units as u
    >>> from astro_massmap import datasets, plotting
    >>> shear = datasets.demo().to_map(pixel_scale=1.6 * u.arcmin)
    >>> ax = plotting.plot_shear(shear.data, shear.noise_std, shear.wcs, pixels_per_stick=4)
    >>> float(ax.get_xlim()[1])
    31.5
    """
    ax = _axes_on(wcs, ax)
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
    defaults = {"pivot": "middle", "headwidth": 0, "headlength": 0, "headaxislength": 0, "width": 0.002}
    good = total > 0.2 * total.max()  # a few galaxies at an edge say nothing, in long sticks
    quiver = ax.quiver(x[good], y[good], stick.real[good], stick.imag[good], **(defaults | kwargs))
    ax.quiverkey(quiver, 0.92, 0.96, 0.05, "5 % shear", labelpos="W", coordinates="axes")
    ax.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5), aspect="equal")
    _label_sky(ax, wcs, title)
    return ax


def draw_regions(ax, regions, wcs, shape, color="black"):
    """
    Draw regions, with their labels, where they lie in a map.

    Parameters
    ----------
    ax : `~astropy.visualization.wcsaxes.WCSAxes`
        Where to draw.
    regions : regions
        A region of the sky or of pixels, a list of them, a table of positions and radii, or a file.
    wcs : `~astropy.wcs.WCS`
        Of the map.
    shape : tuple of int
        Its rows and columns; regions outside are left out.
    color : str
        Of those that have none of their own.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> ax = plotting.plot_map(truth.data, truth.wcs, colorbar=False)
    >>> plotting.draw_regions(ax, datasets.demo_clusters(), truth.wcs, truth.shape, color="tab:green")
    >>> len(ax.patches)
    5
    """
    from regions import CompoundPixelRegion, TextPixelRegion

    from ._regions import as_regions, is_excluded, overlaps

    for region in as_regions(regions, wcs):
        if not overlaps(region, shape):
            continue
        if isinstance(region, CompoundPixelRegion):
            draw_regions(ax, [region.region1, region.region2], wcs, shape, color)
            continue
        own = region.visual.get("color", region.visual.get("edgecolor", color))
        lines = {"linewidth": 1.2} | {k: v for k, v in region.visual.items() if k in ("linestyle", "linewidth")}
        if is_excluded(region):
            lines["linestyle"] = "dashed"
        if isinstance(region, TextPixelRegion):
            lines = {}
        artist = region.copy(visual={}).as_artist(color=own, **lines)
        ax.add_artist(artist)
        artist.set_clip_path(ax.patch)
        label = "".join(c for c in str(region.meta.get("text", "")) if c.isprintable())
        if label:
            place, above = _label_place(region, shape, ax.yaxis_inverted())
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


def _label_place(region, shape, inverted):
    """Where the label of a pixel region stands, and whether it is above it: not where it would leave the map."""
    from regions import CirclePixelRegion

    if isinstance(region, CirclePixelRegion):
        (x, y), r = region.center.xy, region.radius
        low, high = y - r, y + r
    else:
        box = region.bounding_box
        x, low, high = (box.ixmin + box.ixmax - 1) / 2, box.iymin - 0.5, box.iymax - 0.5
    if inverted:
        above = low > 0.06 * shape[0]
        return (x, low if above else high), above
    above = high < 0.94 * shape[0]
    return (x, high if above else low), above


def _axes_on(wcs, ax):
    if ax is None:
        return new_axes(wcs)
    if not hasattr(ax, "coords"):
        raise TypeError("ax: needs sky coordinates; make it with fig.add_subplot(projection=kappa.wcs)")
    return ax


def _label_sky(ax, wcs, title):
    for coord, ctype in zip(ax.coords, wcs.wcs.ctype, strict=True):
        coord.set_axislabel(_LABELS.get(ctype.split("-")[0], ctype))
    if title:
        ax.set_title(title)
