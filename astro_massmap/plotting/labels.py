"""Regions on a map, with labels that do not overlap, or numbers and a key."""

import numpy as np
from regions import CirclePixelRegion, CompoundPixelRegion, TextPixelRegion

from .._sky.regions import all_to_pixel, as_regions, is_excluded, overlaps
from .arranged import ArrangedLabels
from .axes import axes_on
from .colors import checked_color, halo
from .style import small

_LABELS = ("text", "numbers", False)
_LONGEST = 30  # characters of a label on the map
_POINTS = 32  # along an outline
_KEY = "key of numbers"  # gid of the legend
_CHARACTER = 0.6  # width of a character, in font sizes


def draw_regions(ax, regions, wcs, shape, color="black", labels="text"):
    """
    Draw regions with their labels on a map.

    Parameters
    ----------
    ax, regions, labels
        As for `plot_map`.
    wcs, shape
        Coordinates, rows and columns of the map; regions outside are left out.
    color : str
        Colour of regions without a colour of their own.

    Raises
    ------
    TypeError, ValueError
        If ``regions`` are not regions, or ``labels`` is not as described.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> ax = plotting.plot_map(truth.data, truth.wcs, colorbar=False)
    >>> plotting.draw_regions(ax, datasets.demo_clusters(), truth.wcs, truth.shape, color="tab:green")
    >>> len(ax.patches)
    5
    """
    found, key = on_map(regions, wcs, shape, labels)
    draw_pixel_regions(ax, found, wcs, shape, checked_color(color, "color"))
    draw_key(ax.figure, key_on_axes(ax, found, key, wcs, shape))


def on_map(regions, wcs, shape, labels="text"):
    """Return the pixel regions on a map with their labels, and the key of numbers: a dictionary of texts."""
    if labels not in _LABELS:
        raise ValueError(f'labels: needs "text", "numbers" or False, got {labels!r}')
    numbered = enumerate([] if regions is None else all_to_pixel(as_regions(regions), wcs), start=1)
    found = {i: region for i, region in numbered if region is not None and overlaps(region, shape)}
    if labels == "text":
        return list(found.values()), {}
    key = {i: _text(region) for i, region in found.items()} if labels else {}
    return [relabelled(region, str(i) if labels else "") for i, region in found.items()], key


def relabelled(region, text=""):
    """Return a copy of a region with another label, by default without one."""
    region = region.copy()
    region.meta["text"] = text
    return region


def key_on_axes(ax, found, key, wcs, shape):
    """Return the part of a key whose regions, as `on_map` returns them, are within the limits of the axes."""
    _, transform = axes_on(wcs, ax, shape)
    low, high = np.sort(np.transpose([ax.get_xlim(), ax.get_ylim()]), axis=0)

    def seen(region):
        outlines = [_outline(part, transform) for part in _simple([region], shape)]
        return any((np.nanmin(o, axis=0) < high).all() and (np.nanmax(o, axis=0) > low).all() for o in outlines)

    return {i: text for (i, text), region in zip(key.items(), found, strict=False) if seen(region)}


def draw_key(figure, key):
    """
    List numbers and texts below a figure, with those of its key, if any; nothing if there are no texts.

    A figure without a layout gets a larger margin. ValueError if the key would cover axes, or for other layouts.
    """
    from matplotlib.lines import Line2D  # an optional dependency

    entries = [f"{i}: {text}" for i, text in key.items() if text]
    if not entries:
        return
    for legend in [legend for legend in figure.legends if legend.get_gid() == _KEY]:
        others = [text.get_text() for text in legend.get_texts()]
        entries = sorted({*others, *entries}, key=lambda entry: (int(entry.split(":")[0]), entry))
        legend.remove()
    handles = [Line2D([], [], linestyle="none") for _ in entries]
    place = {"loc": "outside lower center", "frameon": False, "handlelength": 0, "handletextpad": 0}
    legend = figure.legend(handles, entries, **place, columnspacing=1, labelspacing=0.2)
    size = legend.get_texts()[0].get_fontsize()
    columns = figure.bbox.width / figure.dpi * 72 / (size * (_CHARACTER * max(map(len, entries)) + 1))
    legend.remove()
    rows = -(-len(entries) // max(1, int(columns)))
    legend = figure.legend(handles, entries, **place, columnspacing=1, labelspacing=0.2, ncols=-(-len(entries) // rows))
    legend.set_gid(_KEY)
    for text in legend.get_texts():
        text.set_parse_math(False)
    _keep_free(figure, legend)


def _keep_free(figure, legend):
    """Increase the lower margin of a figure without layout, so that a legend is below its content; else ValueError."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine, PlaceHolderLayoutEngine  # as above

    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        return
    if engine is None or isinstance(engine, PlaceHolderLayoutEngine):
        whole, margins = figure.figure, figure.figure.subplotpars
        legend.set_in_layout(False)
        for _ in range(4):  # axes that keep their aspect move less than the margin
            missing = legend.get_window_extent().y1 / whole.dpi - whole.get_tightbbox().y0
            if missing <= 0:
                legend.set_in_layout(True)
                return
            bottom = margins.bottom + missing / whole.get_figheight() + 0.01
            whole.subplots_adjust(bottom=min(bottom, margins.top - 0.2))
    legend.remove()
    raise ValueError('labels: no space for the key of numbers below the axes; use a figure with layout="constrained"')


def draw_pixel_regions(ax, regions, wcs, shape, color="black"):
    """Draw pixel regions, as `on_map` returns them."""
    _, transform = axes_on(wcs, ax, shape)
    outlines, texts, others = [], [], []
    for region in _simple(regions, shape):
        own = _draw_region(ax, region, transform, color)
        outline, label = _outline(region, transform), _text(region)
        if label:
            texts.append(_annotate(ax, label, outline, _height(ax, shape, transform), own))
            outlines.append(outline)
        else:
            others.append(outline)
    if texts:
        ArrangedLabels(ax, texts, outlines + others)


def _simple(regions, shape):
    """Return the parts of compound regions, and others, on a map."""
    for region in regions:
        if isinstance(region, CompoundPixelRegion):
            yield from _simple([region.region1, region.region2], shape)
        elif overlaps(region, shape):
            yield region


def _text(region):
    return "".join(c for c in str(region.meta.get("text", "")) if c.isprintable())


def _draw_region(ax, region, transform, color):
    """Draw a pixel region without its label, and return its colour."""
    own = region.visual.get("color", region.visual.get("edgecolor", color))
    lines = {"linewidth": 0.8} | {k: v for k, v in region.visual.items() if k in ("linestyle", "linewidth")}
    if is_excluded(region):
        lines["linestyle"] = "dashed"
    if isinstance(region, TextPixelRegion):
        lines = {}
    artist = region.copy(visual={}).as_artist(color=own, **lines)
    if transform is not None:
        artist.set_transform(transform + ax.transData)
    artist.set_path_effects(halo(own, lines.get("linewidth", 0)))
    ax.add_artist(artist)
    artist.set_clip_path(ax.patch)
    return own


def _annotate(ax, label, outline, height, color):
    """Write a label next to its region; `ArrangedLabels` moves it when the figure is drawn."""
    place, above = _label_place(outline, height, ax.yaxis_inverted())
    return ax.annotate(
        label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}",
        place,
        xytext=(0, 1 if above else -1),
        textcoords="offset points",
        ha="center",
        va="bottom" if above else "top",
        fontsize=small(),
        color=color,
        annotation_clip=False,
        clip_on=True,
        parse_math=False,
        path_effects=halo(color),
    )


def _around(left, right, low, high):
    """Return points along the sides of a box."""
    part = np.arange(_POINTS // 4) * 4 / _POINTS
    across, up = left + (right - left) * part, low + (high - low) * part
    sides = [(across, low + 0 * part), (right + 0 * part, up), (across[::-1], high + 0 * part), (left + 0 * part, up)]
    return np.concatenate([np.stack(np.broadcast_arrays(*side), axis=-1) for side in sides])


def _outline(region, transform):
    """Return points around a pixel region, in pixels of the axes."""
    if isinstance(region, CirclePixelRegion):
        turn = np.exp(2j * np.pi * np.arange(_POINTS) / _POINTS)
        points = np.transpose([turn.real, turn.imag]) * region.radius + region.center.xy
    else:
        box = region.bounding_box
        points = _around(box.ixmin - 0.5, box.ixmax - 0.5, box.iymin - 0.5, box.iymax - 0.5)
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
