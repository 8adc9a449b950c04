"""Colours of maps: blue below and red above zero, linear or logarithmic at both ends; halos of lines and text."""

import numpy as np

from .._utils.optional import require

_NORMS = ("linear", "asinh")
_STRONG = 0.25  # minimum over maximum of maps whose colours below zero would be mostly unused


def checked_color(color, name):
    """Return a colour of matplotlib, or raise ValueError that names the argument."""
    if not require("matplotlib.colors", "plot").is_color_like(color):
        raise ValueError(f'{name}: needs a colour of matplotlib, such as "black" or "tab:green", got {color!r}')
    return color


def halo(color, linewidth=0.0):
    """Return the path effects of a thin halo, white around dark and black around bright text or lines."""
    bright = np.dot(require("matplotlib.colors", "plot").to_rgb(color), [0.3, 0.59, 0.11]) > 0.7
    stroke = require("matplotlib.patheffects", "plot").withStroke
    return [stroke(linewidth=linewidth + 1.5, foreground="black" if bright else "white", alpha=0.7)]


def limit_of(values):
    """Return the 99.8 % quantile of absolute finite values, where symmetric colours of a linear scale end."""
    values = np.abs(values[np.isfinite(values)])
    return max(np.quantile(values, 0.998), 1e-12) if len(values) else 1.0


def color_scale(images, norm="linear", *, vmin=None, vmax=None, cmap=None):
    """
    Return the options ``norm`` and ``cmap`` of `matplotlib.axes.Axes.imshow` for images on one scale.

    If there are negative values, zero is white, and the scale is symmetric, unless limits are given or the lowest value
    is much closer to zero than the highest. A linear scale ends at the 99.8 % quantile of the absolute values;
    ``"asinh"`` is linear below their median, logarithmic above, and ends at their maximum. ``norm`` can also be a
    `~matplotlib.colors.Normalize`.
    """
    colors = require("matplotlib.colors", "plot")
    known = np.concatenate([image[np.isfinite(image)] for image in map(np.asarray, images)])
    signed, size = known.min(initial=0) < 0, np.abs(known)
    if isinstance(norm, colors.Normalize):
        return {"norm": norm, "cmap": cmap or ("RdBu_r" if signed else "viridis")}
    if norm not in _NORMS:
        raise ValueError(f'norm: needs "linear", "asinh" or a Normalize of matplotlib, got {norm!r}')

    def scale(low, high):
        if norm == "linear":
            return colors.Normalize(low, high)
        return colors.AsinhNorm(np.median(size) if size.any() else high, vmin=low, vmax=high)

    high, low = vmax, vmin
    if high is None:
        high = limit_of(known) if norm == "linear" else max(size.max(initial=0), 1e-12)
    if low is None:
        low = 0 if not signed or high <= 0 else known.min() if -known.min() < _STRONG * high else -high
    if cmap is None and signed and low <= 0 < high and low != -high:
        cmap = _part_of("RdBu_r", scale(-max(-low, high), max(-low, high)), low, high)
    return {"norm": scale(low, high), "cmap": cmap or ("RdBu_r" if signed else "viridis")}


def _part_of(name, symmetric, low, high):
    """Return the part of a colour map between two values of a symmetric scale."""
    within = np.linspace(float(symmetric(low)), float(symmetric(high)), 256)
    colormap = require("matplotlib", "plot").colormaps[name](within)
    return require("matplotlib.colors", "plot").ListedColormap(colormap, f"part of {name}")


def add_colorbar(image, ax, label, ticks=6, **kwargs):
    """Add the colour bar of an image, with about this number of ticks, and return it."""
    norm, known = image.norm, np.ma.masked_invalid(image.get_array()).compressed()
    kwargs = {"extend": extend_of([known], norm)} | kwargs
    bar = image.figure.colorbar(image, ax=ax, label=label, **kwargs)
    ticker = require("matplotlib.ticker", "plot")
    if hasattr(norm, "linear_width") or ticks < 4:
        bar.set_ticks(round_ticks(norm, apart=(0.6 if ticks < 4 else 0.45) / ticks))
        bar.minorticks_off()
    else:
        bar.locator = ticker.MaxNLocator(ticks, steps=[1, 2, 5, 10])
    bar.formatter = ticker.FuncFormatter(lambda value, _: f"{value:.10g}".replace("-", "\N{MINUS SIGN}"))
    bar.update_ticks()
    return bar


def extend_of(images, norm):
    """Return at which ends of a scale there are values beyond it, as an option of a colour bar."""
    below, above = (any(np.nanmax(sign * image, initial=-np.inf) > sign * end for image in images)
                    for sign, end in ((-1, norm.vmin), (1, norm.vmax)))  # fmt: skip
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def round_ticks(norm, apart):
    """Return 0 and 1, 2, 5 times powers of ten within a scale, the roundest first where they would overlap."""
    powers = 10.0 ** np.arange(-6, 7)
    round_values = [0.0] + [sign * digit * power for digit in (1, 5, 2) for power in powers[::-1] for sign in (1, -1)]
    ticks = []
    for value in round_values:
        if norm.vmin <= value <= norm.vmax:
            place = float(norm(value))
            if all(abs(place - float(norm(tick))) > apart for tick in ticks):
                ticks.append(value)
    return sorted(ticks)
