"""Maps side by side on sky coordinates: a summary, samples, and cutouts of samples."""

import math

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D
from astropy.wcs.utils import proj_plane_pixel_scales
from regions import PixelRegion

from .._sky.geometry import same_grid, to_angle
from .._sky.regions import as_regions
from ..analysis.smoothing import smoother
from ..theory.source_redshifts import read_n_z
from .colors import add_colorbar, color_scale, extend_of
from .labels import draw_key, draw_pixel_regions, on_map, relabelled
from .sky import plot_map
from .style import new_figure, print_width, small, stacked, trimmed

_KAPPA = r"convergence $\kappa$"
_WIDE = 1.5  # width over height of a figure of panels
_TITLES = {"map": "map", "std": "uncertainty", "signal_to_noise": "signal to noise"}
_MANY = 20  # regions; labels of more are left out
_NARROWEST = 1.05  # inches of a panel in print


def plot_samples(
    samples,
    wcs,
    *,
    n=8,
    mean=None,
    smoothing=None,
    regions=None,
    labels="text",
    norm="linear",
    label=_KAPPA,
    figure=None,
):
    """
    Plot samples side by side on one colour scale.

    Parameters
    ----------
    samples, mean : ndarray
        Mean ``(ny, nx)``, if any, drawn first, and samples ``(n_samples, ny, nx)``, of which the first ``n`` are drawn.
    wcs : `~astropy.wcs.WCS`
        Coordinates of the maps.
    smoothing : `~astropy.units.Quantity`, optional
        Standard deviation of a Gaussian that smooths all maps.
    regions, labels, norm
        See `plot_map`. Labels are in the first panel; texts for 20 regions at most.
    label, figure
        Label of the colour bar, and figure to draw into and return; by default a new one.

    Raises
    ------
    TypeError, ValueError, `~astropy.units.UnitsError`
        If an argument is not as described.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> figure = plotting.plot_samples([truth.data] * 3, truth.wcs, mean=truth.data, figure=Figure())
    >>> [ax.get_title() for ax in figure.axes[:4]]
    ['mean', 'sample 1', 'sample 2', 'sample 3']
    """
    samples = _some(samples, n)
    titles = [f"sample {i}" for i in range(1, len(samples) + 1)]
    if mean is not None:
        samples, titles = np.concatenate([np.asarray(mean)[None], samples]), ["mean", *titles]
    if smoothing is not None:
        pixels = to_angle(smoothing, "smoothing").to_value("deg") / proj_plane_pixel_scales(wcs)[0]
        samples = [smoother(np.isfinite(image), pixels)(image) for image in samples]
    return _panels(samples, wcs, titles, regions, labels, norm, label, figure)


def plot_maps(maps, *, regions=None, labels="text", norm="linear", label=_KAPPA, figure=None):
    """
    Plot maps on one grid side by side on one colour scale, such as those of tomographic bins.

    Parameters
    ----------
    maps : dict of `~astro_massmap.ConvergenceMap`
        Maps by title. Maps of tomographic bins have the bin and the mean source redshift as titles.
    regions, labels, norm, label, figure
        See `plot_samples`.

    Raises
    ------
    TypeError, ValueError
        If ``maps`` is not a dictionary of maps on one grid.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> figure = plotting.plot_maps({"truth": truth, "half": truth / 2}, figure=Figure())
    >>> [ax.get_title() for ax in figure.axes[:2]]
    ['truth', 'half']
    """
    if not isinstance(maps, dict) or not maps:
        raise TypeError('maps: needs a dictionary of maps, such as {"bin 1": kappa, ...}')
    first = next(iter(maps.values()))
    for key, kappa in maps.items():
        if kappa.shape != first.shape or not same_grid(kappa.wcs, first.wcs, first.shape):
            raise ValueError(f"maps: need the same grid, but that of {key!r} differs; use reproject_to(wcs, shape)")
    titles = [(bin_title(kappa) or str(key)).replace(", ", "\n") for key, kappa in maps.items()]
    images, masks = ([getattr(kappa, name) for kappa in maps.values()] for name in ("data", "mask"))
    return _panels(images, first.wcs, titles, regions, labels, norm, label, figure, masks=masks)


def bin_title(kappa):
    """Return the tomographic bin and the mean source redshift of a map, or None without a bin."""
    key = kappa.meta.get("bin")
    if key is None:
        return None
    name = "all bins" if key == "all" else f"bin {key}"
    if kappa.n_z is None:
        return name
    return f"{name}, mean source redshift {read_n_z(kappa.n_z, 'n_z').mean:.2f}"


def plot_cutouts(
    samples, wcs, center, size, *, n=12, regions=None, labels="text", norm="linear", label=_KAPPA, figure=None
):
    """
    Plot one position in many samples: a structure that the data constrain is in all of them.

    Parameters
    ----------
    samples, wcs, n, regions, labels, norm, label, figure
        See `plot_samples`.
    center : `~astropy.coordinates.SkyCoord`
        Position at the centre of the cutouts; ValueError outside the field.
    size : `~astropy.units.Quantity`
        Height and width of the cutouts: one angle, or two.

    Examples
    --------
    >>> import astropy.units as u
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> center = truth.wcs.pixel_to_world(40, 60)
    >>> figure = plotting.plot_cutouts([truth.data] * 3, truth.wcs, center, 8 * u.arcmin, figure=Figure())
    >>> figure.axes[0].images[0].get_array().shape
    (20, 20)
    """
    samples = _some(samples, n)
    if not isinstance(center, SkyCoord) or not center.isscalar:
        raise TypeError(f"center: needs a SkyCoord of one position, got {center!r}")
    size = [to_angle(side, "size") for side in np.atleast_1d(size)]
    size = u.Quantity(size if len(size) == 2 else size[0])
    try:
        cuts = [Cutout2D(np.asarray(image, dtype=float), center, size, wcs=wcs, mode="partial") for image in samples]
    except ValueError as error:
        raise ValueError(f"center: needs a position in the field, got {center.to_string('decimal')}") from error
    if not cuts[0].data.size:
        raise ValueError(f"size: needs to be at least a pixel, got {size}")
    if regions is not None:
        regions = [r.to_sky(wcs) if isinstance(r, PixelRegion) else r for r in as_regions(regions)]
    titles = [f"sample {i}" for i in range(1, len(samples) + 1)]
    return _panels([cut.data for cut in cuts], cuts[0].wcs, titles, regions, labels, norm, label, figure, panel=2.1)


def plot_summary(
    mean,
    std,
    wcs,
    mask=None,
    *,
    gap_size=1.0,
    regions=None,
    labels="text",
    norm="linear",
    label=_KAPPA,
    figure=None,
):
    """
    Plot a map, its standard deviation, and the ratio of the two.

    Parameters
    ----------
    mean, std : ndarray
        Map and standard deviation ``(ny, nx)``; if ``std`` is None, only the map is drawn.
    mask, gap_size, norm
        Mask ``(ny, nx)``, True without data, its smallest gaps in pixels, and colour scale of the map; see `plot_map`.
    wcs, regions, labels, label, figure
        See `plot_samples`; regions are drawn on the map and on the ratio.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> figure = plotting.plot_summary(truth.data, 0 * truth.data + 0.02, truth.wcs, figure=Figure())
    >>> [ax.get_title() for ax in figure.axes[::2]]
    ['map', 'uncertainty', 'signal to noise']
    """
    panels = layers(mean, std, label, norm)
    own, below = figure is None, stacked(figure)
    rows, columns = (len(panels), 1) if below else (1, len(panels))
    if own:
        figure = _panel_figure(rows, columns, mean.shape, 3.7, 0.1 * columns, 1.1, widest=3.7)
    found, key = _in_field(regions, wcs, mean.shape, labels)
    for i, (quantity, (image, what, scale)) in enumerate(panels.items()):
        ax = figure.add_subplot(rows, columns, i + 1, projection=wcs)
        plot_map(image, wcs, ax=ax, mask=mask, gap_size=gap_size, colorbar=False, **scale)
        ax.set_title(_TITLES[quantity], pad=4)
        _sky_frame(ax, wcs, mean.shape, labels=i == (rows - 1 if below else 0))
        draw_pixel_regions(ax, [] if quantity == "std" else found, wcs, mean.shape)
        place = {"location": "right"} if below else {"location": "bottom", "shrink": 0.8, "aspect": 30, "ticks": 4}
        add_colorbar(ax.images[0], ax, what, **place)
    draw_key(figure, key)
    return trimmed(figure) if own and print_width() else figure


def layers(mean, std, label, norm="linear"):
    """Return the image, label and colour scale of the map and, with ``std``, of that and of their ratio, by name."""
    panels = {"map": (mean, label, color_scale([mean], norm))}
    if std is None:
        return panels
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(std > 0, mean / std, np.nan)
    shown = std[np.isfinite(std)] if np.isfinite(std).any() else np.array([0, 1])
    low, high = np.quantile(shown, [0.002, 0.998])
    errors = {"vmin": low, "vmax": max(high, low + 1e-12), "cmap": "viridis"}
    panels["std"] = std, "standard deviation", errors
    panels["signal_to_noise"] = ratio, "map / standard deviation", color_scale([ratio])
    return panels


def _panel_figure(rows, columns, shape, side, width, height, widest=np.inf):
    """Create a figure for panels with the area of a square of this side, and a margin of this width and height."""
    inches = print_width()
    if inches is None:
        panel = _panel_size(side, shape, widest)
        size = panel[0] * columns + width, panel[1] * rows + height
    else:
        size = inches, min(1.2 * inches * rows * shape[0] / (columns * shape[1]) + 1.5, 12)
    # the compressed layout keeps the shape of sky panels, without gaps between them
    return new_figure(*size, layout="compressed")


def _some(samples, n):
    samples = np.asarray(samples)
    if samples.ndim != 3 or not len(samples):
        raise ValueError(f"samples: needs the shape (n_samples, ny, nx), got {samples.shape}")
    if n < 1:
        raise ValueError(f"n: needs to be at least 1, got {n!r}")
    return samples[:n]


def _panels(images, wcs, titles, regions, labels, norm, label, figure, panel=2.6, masks=None):
    shape, own = images[0].shape, figure is None
    rows, columns = _rows_and_columns(len(images), shape)
    if own:
        figure = _panel_figure(rows, columns, shape, panel, 2, 0.25 * rows + 0.5)
    found, key = _in_field(regions, wcs, shape, labels)
    scale = color_scale(images, norm)
    axes = [figure.add_subplot(rows, columns, i + 1, projection=wcs) for i in range(len(images))]
    for i, (ax, image, title) in enumerate(zip(axes, images, titles, strict=True)):
        plot_map(image, wcs, ax=ax, mask=None if masks is None else masks[i], colorbar=False, **scale)
        ax.set_title(title, fontsize=small(), pad=3)
        ax.set_facecolor("0.9")
        _sky_frame(ax, wcs, shape, labels=i == columns * (rows - 1))
        draw_pixel_regions(ax, found if i == 0 else [relabelled(region) for region in found], wcs, shape)
    _shared_colorbar(figure, axes, label, rows, columns, extend_of(images, scale["norm"]))
    draw_key(figure, key)
    return trimmed(figure) if own and print_width() else figure


def _shared_colorbar(figure, axes, label, rows, columns, extend):
    """Draw the colour bar of all panels where a panel would be empty, or else beside the panels."""
    spare = rows * columns - len(axes)
    if not spare:
        add_colorbar(axes[0].images[0], axes, label, shrink=0.8, aspect=30, extend=extend)
        return
    cax = figure.add_subplot(rows, columns, (len(axes) + 1, rows * columns))
    cax.set_axes_locator(_middle)
    options = {"ticks": 2 if spare == 1 else 4, "orientation": "horizontal", "extend": extend}
    add_colorbar(axes[0].images[0], None, label, cax=cax, **options)


def _middle(ax, _renderer):
    """Return the position of a colour bar within its part of the figure."""
    box = ax.get_position(original=True)
    bounds = box.x0 + 0.08 * box.width, box.y0 + 0.5 * box.height, 0.84 * box.width, 0.07 * box.height
    return type(box).from_bounds(*bounds)


def _panel_size(side, shape, widest=np.inf):
    """Return width and height in inches of a map of this shape, with the area of a square of this side."""
    stretch = min(max(math.sqrt(shape[1] / shape[0]), 0.4), 2.5)
    width = min(side * stretch, widest)
    return width, min(width * shape[0] / shape[1], side / 0.4)


def _rows_and_columns(n, shape):
    """Choose few empty panels, and a figure slightly wider than high."""

    def cost(columns):
        rows = math.ceil(n / columns)
        return 1.5 * (rows * columns - n) + 2 * abs(math.log(columns * shape[1] / (rows * shape[0]) / _WIDE))

    most = n if print_width() is None else max(1, min(n, int(print_width() / _NARROWEST)))
    columns = min(range(1, most + 1), key=cost)
    return math.ceil(n / columns), columns


def _in_field(regions, wcs, shape, labels):
    """Return the regions on the map and the key of their numbers, without texts if there are many."""
    found, key = on_map(regions, wcs, shape, labels)
    if labels == "text" and len(found) > _MANY:
        found = [relabelled(region) for region in found]
    return found, key


def _sky_frame(ax, wcs, shape, *, labels):
    """Put East to the left and North up, by reflection if necessary; few tick labels, in degrees."""
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    here, right, up = (wcs.pixel_to_world(x + dx, y + dy) for dx, dy in ((0, 0), (0.5, 0), (0, 0.5)))
    (right_east, right_north), (up_east, up_north) = (
        [offset.rad for offset in here.spherical_offsets_to(there)] for there in (right, up)
    )
    mirrored, upside_down = right_east * up_north > right_north * up_east, up_north < -abs(up_east)
    if mirrored != upside_down:
        ax.invert_xaxis()
    if upside_down:
        ax.invert_yaxis()
    for coord in ax.coords:
        coord.set_format_unit("deg", decimal=True, show_decimal_unit=False)
        coord.set_ticks(number=4, direction="in", color="0.3")
        coord.set_ticklabel(size=small(), exclude_overlapping=True)
        coord.set_ticklabel_visible(labels)
        coord.set_axislabel(f"{coord.get_axislabel()} [deg]" if labels else " ", minpad=0.8)
