"""Figure of `~astro_massmap.validation.compare`: all methods on the same mock surveys."""

import numpy as np

from .._utils.optional import require
from .style import new_figure, stacked

_INK = "#222222"
_WIDE = 6  # bins of the comparison in one bin of the figure


def plot_validation(comparison, *, figure=None):
    """
    Plot power, one-point distributions, peaks, ranks and TARP of all methods.

    Parameters
    ----------
    comparison : `~astro_massmap.validation.Comparison`
        Result of `~astro_massmap.validation.compare`. Error bars are standard errors; grey lines are expected of a
        correct posterior.
    figure : `~matplotlib.figure.Figure`, optional
        Figure to draw into and return; by default a new one.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import ConvergenceMap, datasets, plotting
    >>> from astro_massmap.validation import compare
    >>> wcs, rng = datasets.demo_truth().wcs, np.random.default_rng(0)
    >>> skies = rng.normal(scale=0.03, size=(2, 40, 96, 96))
    >>> truths = [ConvergenceMap(sky[0], wcs=wcs) for sky in skies]
    >>> maps = [ConvergenceMap(sky[1:].mean(axis=0), wcs=wcs, samples=sky[1:]) for sky in skies]
    >>> len(plotting.plot_validation(compare(truths, {"wiener": maps}), figure=Figure()).axes)
    6
    """
    below = stacked(figure)
    figure = new_figure(*((7, 13) if below else (11, 6.6))) if figure is None else figure
    colors = {name: f"C{i}" for i, name in enumerate(comparison.metrics)}
    panels = (figure.subplots(3, 2) if below else figure.subplots(2, 3)).ravel()
    sampled = {name: found for name, found in comparison.metrics.items() if found.ranks is not None}
    _power(panels[0], comparison.metrics, "power of map", comparison.bands, colors)
    _power(panels[1], sampled, "power of samples", comparison.bands, colors)
    _distributions(panels[2], comparison, colors)
    _peaks(panels[3], sampled, comparison.thresholds, colors)
    _ranks(panels[4], sampled, colors)
    _balls(panels[5], sampled, colors)
    for ax in panels:
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    handles += panels[2].get_lines()
    labels += [line.get_label() for line in panels[2].get_lines()]
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2 if below else min(len(handles), 5), frameon=False
    )
    return figure


def _shift(i, n, width=0.05):
    """Return the factor by which error bars of n methods are shifted so that they do not overlap."""
    return np.exp(width * (i - (n - 1) / 2))


def _power(ax, metrics, key, bands, colors):
    middle = np.sqrt(np.multiply(bands[1:], bands[:-1]))
    ax.axhline(1, color="0.7", lw=1)
    for i, (name, found) in enumerate(metrics.items()):
        value, error = found.values[key]
        x = middle * _shift(i, len(metrics))
        ax.errorbar(x, value, np.nan_to_num(error), fmt="o-", ms=3.5, lw=1, color=colors[name], label=_named(name))
    ax.set(xscale="log", xlabel=r"multipole $\ell$", ylabel=f"{key} / truth", ylim=(0, None))
    ax.set_xticks([500, 2000, 10000], ["500", "2000", "10000"])
    ax.minorticks_off()


def _distributions(ax, comparison, colors):
    edges = comparison.edges[::_WIDE]

    def draw(density, color, **style):
        ax.stairs(density.reshape(-1, _WIDE).mean(axis=1), edges, color=color, **style)

    ax.plot([], [], color=_INK, lw=1.6, label="truth")
    if any("samples" not in found.density for found in comparison.metrics.values()):
        ax.plot([], [], color=_INK, lw=1, ls=":", label="map without samples")
    for name, found in comparison.metrics.items():
        if "samples" in found.density:
            draw(found.density["samples"], colors[name], lw=1.2)
        else:
            draw(found.density["map"], colors[name], lw=1, ls=":")
    draw(comparison.density, _INK, lw=1.6)
    lowest = comparison.density[comparison.density > 0].min()
    ax.set(yscale="log", xlim=(edges[0], edges[-1]), ylim=(lowest / 2, 3 * comparison.density.max()))
    ax.xaxis.set_major_locator(require("matplotlib.ticker", "plot").MaxNLocator(3))
    ax.set(xlabel=r"$\kappa$, smoothed 1 arcmin", ylabel="density")


def _peaks(ax, metrics, thresholds, colors):
    ax.axhline(1, color="0.7", lw=1)
    for i, (name, found) in enumerate(metrics.items()):
        value, error = found.values["peaks of samples"]
        x = np.array(thresholds) + 0.0012 * (i - (len(metrics) - 1) / 2)
        ax.errorbar(x, value, np.nan_to_num(error), fmt="o-", ms=3.5, lw=1, color=colors[name])
    ax.set(xlabel=r"threshold in $\kappa$", ylabel="peaks of samples / truth", ylim=(0, None), xticks=thresholds)


def _ranks(ax, metrics, colors):
    ax.axhline(1, color="0.7", lw=1)
    for name, found in metrics.items():
        table = found.ranks
        edges, middle = np.append(table["low"], table["high"][-1]), (table["low"] + table["high"]) / 2
        ax.stairs(table["density"], edges, baseline=None, color=colors[name], lw=1.2)
        ax.errorbar(middle, table["density"], np.nan_to_num(table["error"]), fmt="none", lw=0.8, color=colors[name])
    ax.set(xlabel="rank of the truth", ylabel="density", xlim=(0, 1), ylim=(0, None))


def _balls(ax, metrics, colors):
    ax.axhline(0, color="0.7", lw=1)
    for i, (name, found) in enumerate(metrics.items()):
        if found.balls is not None:
            level, off = found.balls["level"], found.balls["coverage"] - found.balls["level"]
            x = level + 0.012 * (i - (len(metrics) - 1) / 2)
            ax.errorbar(x, off, np.nan_to_num(found.balls["error"]), fmt="o-", ms=3.5, lw=1, color=colors[name])
    ax.set(xlabel="level of balls (TARP)", ylabel="fraction within - level", xlim=(0, 1))
    low, high = ax.get_ylim()
    reach = max(-low, high, 0.1)
    ax.set_ylim(-reach, reach)


def _named(name):
    return name.replace("_", " ")
