"""Colours of maps: blue below and red above zero, on a linear scale or one that is logarithmic at both ends."""

import numpy as np

from .._utils.optional import require

_NORMS = ("linear", "asinh")
_STRONG = 0.25  # minimum over maximum of maps whose colours below zero would be mostly unused


def limit_of(values):
    """Return the 99.8 % quantile of absolute finite values, where symmetric colours of a linear scale end."""
    values = np.abs(values[np.isfinite(values)])
    return max(np.quantile(values, 0.998), 1e-12) if len(values) else 1.0


def color_scale(images, norm="linear", *, vmin=None, vmax=None, cmap=None):
    """
    Return the options ``norm`` and ``cmap`` of `matplotlib.axes.Axes.imshow` for images on one scale.

    Colours are symmetric around zero if there are negative values. Unless limits or colours are given, the scale ends
    at the lowest value if this is much closer to zero than the highest. A linear scale ends at the
    99.8 % quantile of the absolute values; ``"asinh"`` is linear below their median, logarithmic above, and ends at
    their maximum. ``norm`` can also be a `~matplotlib.colors.Normalize`.
    """
    colors = require("matplotlib.colors", "plot")
    known = np.concatenate([image[np.isfinite(image)] for image in map(np.asarray, images)])
    signed = known.min(initial=0) < 0
    free = vmin is vmax is cmap is None
    cmap = cmap or ("RdBu_r" if signed else "viridis")
    if isinstance(norm, colors.Normalize):
        return {"norm": norm, "cmap": cmap}
    if norm not in _NORMS:
        raise ValueError(f'norm: needs "linear", "asinh" or a Normalize of matplotlib, got {norm!r}')
    size = np.abs(known)
    largest = limit_of(known) if norm == "linear" else max(size.max(initial=0), 1e-12)
    high = largest if vmax is None else vmax
    low = (-high if signed and high > 0 else 0) if vmin is None else vmin

    def scale(low, high):
        if norm == "linear":
            return colors.Normalize(low, high)
        return colors.AsinhNorm(np.median(size) if size.any() else largest, vmin=low, vmax=high)

    if signed and free and -known.min() < _STRONG * high:
        symmetric, low = scale(low, high), known.min()
        map_of = require("matplotlib", "plot").colormaps[cmap]
        cmap = colors.ListedColormap(map_of(np.linspace(float(symmetric(low)), 1, 256)), f"{cmap}_part")
    return {"norm": scale(low, high), "cmap": cmap}


def add_colorbar(image, ax, label, ticks=6, **kwargs):
    """Add the colour bar of an image, with about this number of ticks, and return it."""
    norm, known = image.norm, np.ma.masked_invalid(image.get_array()).compressed()
    kwargs = {"extend": extend_of([known], norm)} | kwargs
    bar = image.figure.colorbar(image, ax=ax, label=label, **kwargs)
    ticker = require("matplotlib.ticker", "plot")
    if hasattr(norm, "linear_width") or ticks < 4:
        bar.set_ticks(round_ticks(norm, apart=0.45 / ticks))
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
