"""Maps side by side on sky coordinates: a summary, samples, and cutouts of samples."""

import math

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D
from astropy.wcs.utils import proj_plane_pixel_scales
from regions import PixelRegion

from .._sky.geometry import to_angle
from .._sky.regions import as_regions, overlaps
from .._utils.optional import require
from ..analysis.smoothing import smoother
from .sky import draw_pixel_regions, plot_map

_KAPPA = r"convergence $\kappa$"
_WIDE = 1.5  # width over height of a figure of panels
_MANY = 20  # regions; labels of more would overlap


def plot_samples(samples, wcs, *, n=8, mean=None, smoothing=None, regions=None, label=_KAPPA, figure=None):
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
    regions : regions, optional
        Regions to overplot: a region, a list of regions, a table of positions and radii, or a file. Labels are in the
        first panel, for 20 regions at most.
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
    return _panels(samples, wcs, titles, regions, label, figure)


def plot_cutouts(samples, wcs, center, size, *, n=12, regions=None, label=_KAPPA, figure=None):
    """
    Plot one position in many samples: a structure that the data constrain is in all of them.

    Parameters
    ----------
    samples, wcs, n, regions, label, figure
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
    return _panels([cut.data for cut in cuts], cuts[0].wcs, titles, regions, label, figure, panel=2.1)


def plot_summary(mean, std, wcs, mask=None, *, regions=None, label=_KAPPA, figure=None):
    """
    Plot a map, its standard deviation, and the ratio of the two.

    Parameters
    ----------
    mean, std : ndarray
        Map and standard deviation ``(ny, nx)``; if ``std`` is None, only the map is drawn.
    mask : ndarray of bool, optional
        Mask ``(ny, nx)``, True without data: drawn as a grey overlay.
    wcs, regions, label, figure
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
    regions = _in_field(regions, wcs, mean.shape)
    panels = [(mean, label, "map", "RdBu_r", -_limit([mean]), _limit([mean]), regions)]
    if std is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(std > 0, mean / std, np.nan)
        shown = std[np.isfinite(std)] if np.isfinite(std).any() else np.array([0, 1])
        low, high = np.quantile(shown, [0.002, 0.998])
        panels += [(std, "standard deviation", "uncertainty", "viridis", low, max(high, low + 1e-12), [])]
        panels += [(ratio, "map / standard deviation", "signal to noise", "RdBu_r", -_limit([ratio]),
                    _limit([ratio]), regions)]  # fmt: skip
    if figure is None:
        width, height = _panel_size(3.7, mean.shape, widest=3.7)
        figure = _new_figure((width + 0.1) * len(panels), height + 1.1)
    for i, (image, what, title, cmap, low, high, drawn) in enumerate(panels):
        ax = figure.add_subplot(1, len(panels), i + 1, projection=wcs)
        plot_map(image, wcs, ax=ax, mask=mask, colorbar=False, title=title, cmap=cmap, vmin=low, vmax=high)
        _sky_frame(ax, wcs, mean.shape, labels=i == 0)
        draw_pixel_regions(ax, drawn, wcs, mean.shape)
        extend = "both" if cmap == "RdBu_r" or low > 0 else "max"
        bar = figure.colorbar(ax.images[0], ax=ax, location="bottom", label=what, shrink=0.8, aspect=30, extend=extend)
        bar.locator = require("matplotlib.ticker", "plot").MaxNLocator(4, steps=[1, 2, 5, 10])
    return figure


def _new_figure(width, height):
    # the compressed layout keeps the shape of sky panels, without gaps between them
    return require("matplotlib.pyplot", "plot").figure(figsize=(width, height), layout="compressed")


def _some(samples, n):
    samples = np.asarray(samples)
    if samples.ndim != 3 or not len(samples):
        raise ValueError(f"samples: needs the shape (n_samples, ny, nx), got {samples.shape}")
    if n < 1:
        raise ValueError(f"n: needs to be at least 1, got {n!r}")
    return samples[:n]


def _limit(images):
    """Return the 99.8 % quantile of the absolute pixel values, where symmetric colours end."""
    values = np.concatenate([np.abs(image[np.isfinite(image)]) for image in images])
    return max(np.quantile(values, 0.998), 1e-12) if len(values) else 1.0


def _panels(images, wcs, titles, regions, label, figure, panel=2.6):
    shape = images[0].shape
    rows, columns = _rows_and_columns(len(images), shape)
    if figure is None:
        width, height = _panel_size(panel, shape)
        figure = _new_figure(width * columns + 2, (height + 0.25) * rows + 0.5)
    regions = _in_field(regions, wcs, shape)
    limit = _limit(images)
    axes = [figure.add_subplot(rows, columns, i + 1, projection=wcs) for i in range(len(images))]
    for i, (ax, image, title) in enumerate(zip(axes, images, titles, strict=True)):
        plot_map(image, wcs, ax=ax, colorbar=False, vmin=-limit, vmax=limit, cmap="RdBu_r")
        ax.set_title(title, fontsize=9, pad=3)
        ax.set_facecolor("0.9")
        _sky_frame(ax, wcs, shape, labels=i == columns * (rows - 1))
        draw_pixel_regions(ax, regions if i == 0 else [_unlabelled(region) for region in regions], wcs, shape)
    figure.colorbar(axes[0].images[0], ax=axes, label=label, shrink=0.8, aspect=30, extend="both")
    return figure


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

    columns = min(range(1, n + 1), key=cost)
    return math.ceil(n / columns), columns


def _in_field(regions, wcs, shape):
    """Return the regions on the map, without labels if there are too many to be legible."""
    regions = [] if regions is None else as_regions(regions, wcs)
    regions = [region for region in regions if overlaps(region, shape)]
    return regions if len(regions) <= _MANY else [_unlabelled(region) for region in regions]


def _unlabelled(region):
    region = region.copy()
    region.meta.pop("text", None)
    return region


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
        coord.set_ticklabel(size=8, exclude_overlapping=True)
        coord.set_ticklabel_visible(labels)
        coord.set_axislabel(f"{coord.get_axislabel()} [deg]" if labels else " ", minpad=0.8)
