"""Regions of the sky, in whatever form they come."""

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from regions import (
    CircleAnnulusPixelRegion,
    CircleAnnulusSkyRegion,
    CirclePixelRegion,
    CircleSkyRegion,
    CompoundPixelRegion,
    EllipsePixelRegion,
    EllipseSkyRegion,
    PixCoord,
    PixelRegion,
    PointSkyRegion,
    RectanglePixelRegion,
    RectangleSkyRegion,
    Regions,
    SkyRegion,
)

from ._columns import read_table, table_positions
from ._fits_headers import open_fits
from ._geometry import local_steps
from ._text_files import region_text
from ._untrusted import parsing

_RADIUS_NAMES = ("radius", "r500", "r200", "r", "rad", "theta")
_AROUND = {  # kinds of regions around a centre on the sky, on the grid, and what they have
    CircleSkyRegion: (CirclePixelRegion, ("radius",)),
    CircleAnnulusSkyRegion: (CircleAnnulusPixelRegion, ("inner_radius", "outer_radius")),
    EllipseSkyRegion: (EllipsePixelRegion, ("width", "height", "angle")),
    RectangleSkyRegion: (RectanglePixelRegion, ("width", "height", "angle")),
}
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
    found = dict.fromkeys(range(len(regions)))
    around = [i for i, region in enumerate(regions) if type(region) in _AROUND]
    if around:
        frame = regions[around[0]].center.frame
        around = [i for i in around if regions[i].center.frame.is_equivalent_frame(frame)]
    if len(around) > 1:
        found |= zip(around, _around_to_pixel([regions[i] for i in around], wcs), strict=True)
    for i in set(found).difference(around if len(around) > 1 else ()):
        found[i] = regions[i] if isinstance(regions[i], PixelRegion) else to_pixel(regions[i], wcs)
    return list(found.values())


def _around_to_pixel(regions, wcs):
    """As `to_pixel`, for many regions of one frame at once, each with a centre and sides or radii."""
    frame = regions[0].center.frame.replicate_without_data()
    lon, lat = (u.Quantity([getattr(r.center.spherical, name) for r in regions]) for name in ("lon", "lat"))
    x, y, steps = local_steps(SkyCoord(lon, lat, frame=frame), wcs)
    there = np.isfinite(steps).all(axis=(1, 2))
    steps[~there] = np.eye(2)
    scale = np.sqrt(np.abs(np.linalg.det(steps)))
    sides = np.array([[getattr(r, name, 0 * u.rad).to_value(u.rad) for name in ("width", "height")] for r in regions])
    angles = np.array([r.angle.to_value(u.rad) if hasattr(r, "angle") else 0.0 for r in regions])
    sides, angles = _sides_to_pixel(steps, sides, angles)
    found = []
    for i, region in enumerate(regions):
        kind, names = _AROUND[type(region)]
        if "angle" in names:
            values = *sides[i], angles[i] * u.rad
        else:
            values = (getattr(region, name).to_value(u.rad) * scale[i] for name in names)
        marks = region.meta.copy(), region.visual.copy()
        found.append(kind(PixCoord(x[i], y[i]), *values, *marks) if there[i] else None)
    return found


def _sides_to_pixel(steps, sides, angles):
    """
    Width and height ``(n, 2)`` in pixels, and the angle of the width, of ellipses that a grid maps.

    On the sky angles begin at the West. The ellipse keeps its shape where pixels are square; elsewhere the singular
    values are its axes, and the width is the axis that is closer to the image of the width on the sky.
    """
    rows, (c, s) = np.arange(len(sides)), (np.cos(angles), np.sin(angles))
    axes = steps @ np.moveaxis(np.array([[-c, s], [s, c]]), -1, 0) * sides[:, None, :]
    directions, lengths, _ = np.linalg.svd(axes)
    along = (axes[:, None, :, 0] @ directions)[:, 0]
    first = np.abs(along).argmax(axis=1)
    width = directions[rows, :, first] * np.sign(along[rows, first])[:, None]
    width = np.where(np.isclose(*sides.T)[:, None], axes[..., 0], width)
    lengths = np.stack([lengths[rows, first], lengths[rows, 1 - first]], axis=1)
    return lengths, np.arctan2(width[:, 1], width[:, 0])


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


def inside_any(regions, x, y):
    """
    Bool ``(n,)``: which positions lie inside any of the pixel regions, as ``region.contains`` has it.

    Only positions within the bounding box of a region are compared with it.
    """
    inside, order = np.zeros(len(x), dtype=bool), np.argsort(x)
    sorted_x, sorted_y = x[order], y[order]
    for region in regions:
        box = _reach(region)
        if box is None:
            inside |= region.contains(PixCoord(x, y))
            continue
        strip = slice(*np.searchsorted(sorted_x, box[:2]))
        near = order[strip][(sorted_y[strip] >= box[2]) & (sorted_y[strip] <= box[3])]
        inside[near] |= region.contains(PixCoord(x[near], y[near]))
    return inside


def _reach(region):
    """Sides (left, right, bottom, top) beyond which a pixel region contains nothing, None if it has none."""
    try:
        box = region.bounding_box
    except (ValueError, OverflowError, np.linalg.LinAlgError):
        return None
    beyond = PixCoord(2.0 * box.ixmax - box.ixmin + 2, 2.0 * box.iymax - box.iymin + 2)
    if region.contains(beyond):  # a complement, which has no sides
        return None
    return box.ixmin - 1, box.ixmax + 1, box.iymin - 1, box.iymax + 1  # a margin for rounding


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
