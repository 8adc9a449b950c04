"""Regions of the sky, in whatever form they come."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from regions import (
    CirclePixelRegion,
    CircleSkyRegion,
    CompoundPixelRegion,
    PixCoord,
    PixelRegion,
    PointSkyRegion,
    Regions,
    SkyRegion,
)

from ._columns import read_table, table_positions
from ._fits_headers import open_fits
from ._geometry import local_scale
from ._text_files import region_text
from ._untrusted import parsing

_RADIUS_NAMES = ("radius", "r500", "r200", "r", "rad", "theta")
_TABLE_SUFFIXES = (".ecsv", ".csv", ".txt", ".dat", ".vot", ".xml")
_FORMATS = {".crtf": "crtf", ".fits": "fits", ".fit": "fits"}  # other names are DS9 region files


def as_regions(regions, wcs=None):
    """
    A list of regions.

    Parameters
    ----------
    regions : region, iterable of regions, table, str or path-like
        A region of the sky or of pixels, several, a table of positions with radii, or a file: of
        regions (DS9, CRTF, FITS) or of a table (ECSV, CSV, ...).
    wcs : `~astropy.wcs.WCS`, optional
        If given, all are turned into pixel regions of this grid; those beyond its projection are left out.

    Returns
    -------
    list

    Raises
    ------
    TypeError, ValueError, OSError
        If ``regions`` is none of these, or the file cannot be read.
    """
    if isinstance(regions, str | Path):
        regions = _read(Path(regions))
    if isinstance(regions, Table):
        regions = _from_table(regions)
    if isinstance(regions, SkyRegion | PixelRegion):
        regions = [regions]
    if isinstance(regions, SkyCoord) or not np.iterable(regions):
        raise TypeError(
            f"regions: needs a region, a list of them, a table or a file, got {type(regions).__name__}; a circle is "
            "CircleSkyRegion(center, radius)"
        )
    regions = list(regions)
    for region in regions:
        if not isinstance(region, SkyRegion | PixelRegion):
            raise TypeError(f"regions: needs regions of the sky or of pixels, got {type(region).__name__}")
    if wcs is None:
        return regions
    return [r for r in all_to_pixel(regions, wcs) if r is not None]


def all_to_pixel(regions, wcs):
    """Regions on a grid, None in the place of those that it does not reach."""
    if len(regions) > 1 and all(type(r) is CircleSkyRegion for r in regions):
        first = regions[0].center
        if all(r.center.is_equivalent_frame(first) for r in regions):
            return _circles_to_pixel(regions, wcs)
    return [r if isinstance(r, PixelRegion) else to_pixel(r, wcs) for r in regions]


def _circles_to_pixel(circles, wcs):
    """As `to_pixel`, for many circles of one frame at once."""
    frame = circles[0].center.frame.replicate_without_data()
    lon, lat = (u.Quantity([getattr(r.center.spherical, name) for r in circles]) for name in ("lon", "lat"))
    x, y, scale = local_scale(SkyCoord(lon, lat, frame=frame), wcs)
    radii = u.Quantity([r.radius for r in circles]).to_value(u.rad) * scale
    return [
        CirclePixelRegion(PixCoord(*place), radius, r.meta.copy(), r.visual.copy()) if np.isfinite(radius) else None
        for r, radius, *place in zip(circles, radii, x, y, strict=True)
    ]


def to_pixel(region, wcs):
    """The region on a grid, or None where the grid does not reach: on the other side of the sky."""
    try:
        with np.errstate(invalid="ignore"):
            return region.to_pixel(wcs)
    except (ValueError, np.linalg.LinAlgError):
        return None


def _read(file):
    if not file.is_file():
        raise OSError(f"regions: there is no file {str(file)!r}")
    kind = _FORMATS.get(file.suffix.lower(), "ds9")
    if file.suffix.lower() in _TABLE_SUFFIXES or (kind == "fits" and not _holds_fits_regions(file)):
        return read_table(file, "regions")
    fault = f"regions: cannot read {str(file)!r}"
    with parsing(f"{fault} as regions"):
        if kind == "fits":
            with open_fits(file) as hdus:
                regions = Regions.parse(QTable.read(hdus["REGION"]), format=kind)
        else:
            regions = Regions.parse(region_text(file, kind), format=kind)
    if not len(regions):
        raise OSError(f"{fault}: it holds no region")
    return regions


def _holds_fits_regions(file):
    with parsing(f"regions: cannot read {str(file)!r}"), open_fits(file) as hdus:
        return "REGION" in [hdu.name for hdu in hdus]


def _from_table(table):
    """Circles from positions and radii, points where there is no radius; labelled by redshift or name."""
    by_lower = {name.lower(): name for name in reversed(table.colnames)}

    def column(*names):
        return next((table[by_lower[n]] for n in names if n in by_lower), None)

    centres, radius = table_positions(table, "regions"), column(*_RADIUS_NAMES)
    if radius is None:
        regions = [PointSkyRegion(c) for c in centres]
    else:
        if radius.unit is None or not radius.unit.is_equivalent(u.deg):
            raise u.UnitsError(
                f"regions: the radius needs an angular unit such as arcmin, got {radius.unit}; ECSV and FITS keep it"
            )
        if not np.all(np.asarray(u.Quantity(radius)) > 0):
            raise ValueError("regions: the radius needs to be positive everywhere")
        regions = [CircleSkyRegion(c, r) for c, r in zip(centres, u.Quantity(radius), strict=True)]
    labels = column("name", "label", "redshift", "z")
    if labels is not None:
        for region, label in zip(regions, labels, strict=True):
            region.meta["text"] = f"{label:.2f}" if isinstance(label, float | np.floating) else str(label)
    return regions


def overlaps(region, shape):
    """Whether a pixel region lies (partly, by its bounding box) within an array of the shape (ny, nx)."""
    if isinstance(region, CompoundPixelRegion):
        return overlaps(region.region1, shape) or overlaps(region.region2, shape)
    if isinstance(region, CirclePixelRegion):
        # Regions smaller than a pixel have an empty bounding box in places; a circle tells exactly.
        x, y, r = region.center.x, region.center.y, region.radius
        return bool(-0.5 - r < x < shape[1] - 0.5 + r and -0.5 - r < y < shape[0] - 0.5 + r)
    try:
        box = region.bounding_box
    except (ValueError, np.linalg.LinAlgError):  # on the other side of the sky it has no pixels
        return False
    return box.ixmin < shape[1] and box.ixmax > 0 and box.iymin < shape[0] and box.iymax > 0
