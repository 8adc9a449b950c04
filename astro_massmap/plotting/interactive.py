"""Maps in a notebook, on images of the whole sky. Needs ipyaladin: ``pip install "astro_massmap[notebook]"``."""

import astropy.units as u
import numpy as np
import regions as shapes
from astropy.io import fits
from astropy.wcs.utils import proj_plane_pixel_scales

from .._sky.regions import as_regions
from .._utils.optional import require
from .colors import limit_of

__all__ = ["show"]

_MARGIN = 1.1  # field of view over the size of the map
_DRAWN = ("Circle", "Ellipse", "Rectangle", "Polygon", "Line")


def show(data, wcs, *, regions=None, survey="CDS/P/DSS2/color", opacity=0.7, name="convergence", **kwargs):
    """
    Show a map in a notebook with Aladin Lite, on images of a sky survey.

    The browser loads Aladin Lite and the images from the network; the map and the regions come from Python.

    Parameters
    ----------
    data, wcs
        Values ``(ny, nx)`` and coordinates of the map; NaN is transparent.
    regions : regions, optional
        Circles, ellipses, rectangles, polygons and lines to overplot, as for `plot_map`; points are drawn as circles
        with the radius of a pixel.
    survey : str
        Name of the images below the map, such as ``"CDS/P/HSC/DR2/deep/gri"``.
    opacity : float
        Opacity of the map from 0 to 1.
    name : str
        Name of the map in the list of layers.
    **kwargs
        Options of ``ipyaladin.Aladin``, such as ``height``.

    Returns
    -------
    ipyaladin.Aladin
        The widget, which a notebook displays.

    Raises
    ------
    ImportError
        If ipyaladin is not installed; the message has the command.
    ValueError
        If ``opacity`` is not from 0 to 1, or a region has another shape.

    Examples
    --------
    >>> from astro_massmap import datasets, plotting
    >>> truth = datasets.demo_truth()
    >>> plotting.show(truth.data, truth.wcs, regions=datasets.demo_clusters())  # doctest: +SKIP
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity: needs a number from 0 to 1, got {opacity!r}")
    ny, nx = data.shape
    scale = proj_plane_pixel_scales(wcs.celestial).max()
    view = {"target": wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2).icrs, "fov": float(_MARGIN * max(nx, ny) * scale)}
    drawn = [] if regions is None else [_drawable(region, wcs, scale) for region in as_regions(regions)]
    widget = require("ipyaladin", "notebook").Aladin(**({"survey": survey} | view | kwargs))
    if "fov" not in kwargs:
        widget.observe(lambda _: _fit(widget, nx * scale, ny * scale), names="_is_loaded")
    image = fits.PrimaryHDU(np.asarray(data, dtype=np.float32), wcs.to_header())
    limit, signed = float(limit_of(np.asarray(data))), np.nanmin(data, initial=0) < 0
    colors = {"colormap": "rdbu", "reversed": True} if signed else {"colormap": "viridis"}
    cuts = {"min_cut": -limit if signed else 0.0, "max_cut": limit}
    widget.add_fits(fits.HDUList([image]), name=name, opacity=opacity, stretch="linear", **colors, **cuts)
    if drawn:
        widget.add_graphic_overlay_from_region(drawn, name="regions", color="black")
    return widget


def _fit(widget, width, height):
    """Set the field of view to that of the map; the sides of the widget are known when it is displayed."""
    x, y = (side.to_value(u.deg) for side in widget.fov_xy)
    widget.fov = float(_MARGIN * max(width, height * x / y))


def _drawable(region, wcs, radius):
    """Return a region of the sky of a shape that Aladin Lite draws, for points a circle of ``radius`` in degrees."""
    sky = region if isinstance(region, shapes.SkyRegion) else region.to_sky(wcs)
    if isinstance(sky, shapes.PointSkyRegion):
        return shapes.CircleSkyRegion(sky.center, radius * u.deg)
    if type(sky).__name__ not in {f"{shape}SkyRegion" for shape in _DRAWN}:
        raise ValueError(
            "regions: Aladin Lite draws circles, ellipses, rectangles, polygons, lines and points, got a "
            f"{type(sky).__name__}; leave it out, or draw its edges as circles"
        )
    return sky
