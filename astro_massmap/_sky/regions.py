"""
Conversion of region objects, tables and files to lists of regions.

The area of excluded regions (``-circle(...)`` or ``include=0`` in DS9 files, ``-`` in CRTF, ``!`` in FITS) is
subtracted from all others in the list, in any order, as DS9 does when it saves regions as a mask of pixels. The package
``regions`` reads the mark but does not apply it.
"""

import re
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Row, Table
from astropy.wcs.utils import wcs_to_celestial_frame
from regions import (
    CircleAnnulusPixelRegion,
    CircleAnnulusSkyRegion,
    CirclePixelRegion,
    CircleSkyRegion,
    CompoundPixelRegion,
    CompoundSkyRegion,
    EllipsePixelRegion,
    EllipseSkyRegion,
    LinePixelRegion,
    LineSkyRegion,
    PixCoord,
    PixelRegion,
    PointPixelRegion,
    PointSkyRegion,
    RectanglePixelRegion,
    RectangleSkyRegion,
    Regions,
    SkyRegion,
    TextPixelRegion,
    TextSkyRegion,
)

from .._io.columns import read_table
from .._io.fits_headers import open_fits
from .._io.selection import selected
from .._io.text_files import region_text
from .._utils.progress import warn
from .._utils.untrusted import parsing
from .cluster_tables import regions_of
from .geometry import local_steps

_AROUND = {  # sky regions with a centre: pixel region, and attributes that set the size
    CircleSkyRegion: (CirclePixelRegion, ("radius",)),
    CircleAnnulusSkyRegion: (CircleAnnulusPixelRegion, ("inner_radius", "outer_radius")),
    EllipseSkyRegion: (EllipsePixelRegion, ("width", "height", "angle")),
    RectangleSkyRegion: (RectanglePixelRegion, ("width", "height", "angle")),
}
_TABLE_SUFFIXES = (".ecsv", ".csv", ".txt", ".dat", ".vot", ".xml")
_FORMATS = {".crtf": "crtf", ".fits": "fits", ".fit": "fits"}  # files with other extensions are DS9 region files
_QUOTED, _MARK = re.compile(r"(\btext\s*=\s*[{'\"])"), "\ue000"  # keeps a DS9 text from being read as a number
_KINDS = {  # regions without an area; text labels are also points
    "text label": (TextSkyRegion, TextPixelRegion),
    "line": (LineSkyRegion, LinePixelRegion),
    "point": (PointSkyRegion, PointPixelRegion),
}


class RegionList(list):
    """
    List of regions with the table that they were read from.

    ``table`` is a table of clusters with one row per region, or None, and ``excluded`` a list of regions whose area is
    excluded, set by `included`.
    """

    def __init__(self, regions=(), table=None, excluded=()):
        super().__init__(regions)
        self.table, self.excluded = table, list(excluded)

    def __getitem__(self, item):
        if not isinstance(item, slice):
            return super().__getitem__(item)
        return RegionList(super().__getitem__(item), None if self.table is None else self.table[item], self.excluded)


def as_regions(regions, wcs=None, *, cosmology=None, select=None):
    """
    Return a `RegionList`.

    ``regions`` is a region of the sky or of pixels, a table of positions with radii, a file of regions (DS9, CRTF, ...)
    or of a table (ECSV, CSV, ...), or an iterable of these. ``cosmology`` converts radii in kpc or Mpc of a table, see
    `regions_of`, and ``select`` selects its rows, see `~astro_massmap.ShearCatalog.from_table`. The result includes
    labels and excluded regions, see `included`; with ``wcs`` it is a plain list of pixel regions, without those beyond
    the projection. Other types raise a TypeError, and files that cannot be read an OSError.
    """
    if isinstance(regions, str | Path):
        regions = _read(Path(regions))
    if select is not None:
        if not isinstance(regions, Table):
            raise TypeError("select: needs a table of clusters as regions; other regions have no columns to select by")
        regions = regions[selected(select, regions)]
    if isinstance(regions, Table):
        regions = RegionList(regions_of(regions, cosmology), regions)
    if isinstance(regions, SkyRegion | PixelRegion):
        regions = [regions]
    if isinstance(regions, SkyCoord | Row | dict) or not np.iterable(regions):
        raise TypeError(
            f"regions: needs a region, a list of them, a table or a file, got {type(regions).__name__}; a circle is "
            "CircleSkyRegion(center, radius)"
        )
    regions = regions if isinstance(regions, RegionList) else _joined(list(regions), cosmology)
    for region in regions:
        if not isinstance(region, SkyRegion | PixelRegion):
            raise TypeError(f"regions: needs regions of the sky or of pixels, got {type(region).__name__}")
    if wcs is None:
        return regions
    return [r for r in all_to_pixel(regions, wcs) if r is not None]


def _joined(parts, cosmology):
    """Return the regions of a list in their order; tables and files in the list are replaced by their regions."""
    nested = [isinstance(part, str | Path | Table | Regions | list) for part in parts]
    lists = [
        as_regions(part, cosmology=cosmology) if inner else [part] for part, inner in zip(parts, nested, strict=True)
    ]
    excluded = [region for part in lists for region in getattr(part, "excluded", ())]
    return RegionList(
        [region for part in lists for region in part], lists[0].table if nested == [True] else None, excluded
    )


def is_excluded(region):
    include = region.meta.get("include", True)
    return not include or str(include).strip().lower() in ("-", "0", "false", "no")


def without_area(region):
    """Return the kind of a region that has no area, such as "point", or None."""
    if region.meta.get("type") == "ann":  # of CRTF
        return "annotation"
    return next((kind for kind, classes in _KINDS.items() if isinstance(region, classes)), None)


def included(regions, name, *, areas=False):
    """
    Separate regions into those that are measured and, in ``excluded``, those whose area is excluded.

    Text labels and annotations are left out, and with ``areas`` also points and lines; a warning counts them. A
    ValueError is raised if no region is left. ``name`` is that of the argument.
    """
    kept, excluded, left_out = [], list(regions.excluded), {}
    for region in regions:
        kind, minus = without_area(region), is_excluded(region)
        if kind in ("text label", "annotation") or (kind is not None and (areas or minus)):
            left_out[kind] = left_out.get(kind, 0) + 1
        else:
            (excluded if minus else kept).append(region)
    counts = ", ".join(f"{n} {kind}{'s' * (n > 1)}" for kind, n in left_out.items())
    if not kept and (left_out or excluded):
        if not excluded:
            raise ValueError(
                f"{name}: contains only {counts}, without an area{' to exclude' if areas else ''}; give circles, "
                "or a table with a column radius"
            )
        raise ValueError(
            f"{name}: all regions are excluded ones (-circle(...), include=0), whose area is subtracted from others; "
            "remove the minus sign, or add the region to subtract them from"
        )
    if left_out:
        warn(f"{name}: {counts} left out; they have no area", 5)
    return RegionList(kept, regions.table if len(kept) == len(regions) else None, excluded)


def all_to_pixel(regions, wcs):
    """Convert regions to pixel regions of a grid, or None for those beyond its projection."""
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
    """Convert many regions of one frame that have a centre, as `to_pixel` does for one region."""
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
    Return width and height ``(n, 2)`` of ellipses in pixels, and the angle of the width, on the sky from West.

    If pixels are not square, the axes are the singular values, and the width is the axis closer to the image of the
    width on the sky.
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
    """Return the pixel region, or None beyond the projection of the grid (on the other side of the sky)."""
    try:
        with np.errstate(invalid="ignore"):
            return _in_frame(region, wcs_to_celestial_frame(wcs)).to_pixel(wcs)
    except (ValueError, np.linalg.LinAlgError):
        return None


def _in_frame(region, frame):
    """Return a region whose angle counts from the axes of another frame; regions 0.12 ignores the frame of angles."""
    if isinstance(region, CompoundSkyRegion):
        return region.copy(region1=_in_frame(region.region1, frame), region2=_in_frame(region.region2, frame))
    if not hasattr(region, "angle") or region.center.frame.is_equivalent_frame(frame):
        return region
    center = region.center.transform_to(frame)
    north = region.center.directional_offset_by(0 * u.deg, 1 * u.arcsec)
    return region.copy(center=center, angle=region.angle + center.position_angle(north.transform_to(frame)))


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
                regions = _from_fits(QTable.read(hdus["REGION"]))
        elif kind == "ds9":
            regions = _from_ds9(region_text(file, kind))
        else:
            regions = Regions.parse(region_text(file, kind), format=kind)
    if not len(regions):
        raise OSError(f"{fault}: it contains no region")
    return regions


def _from_fits(table):
    """Return the regions of a FITS table; regions 0.12 loses the mark of excluded ones with a column COMPONENT."""
    if "SHAPE" not in table.colnames:
        return Regions.parse(table, format="fits")
    minus = np.array([str(shape).strip().startswith("!") for shape in table["SHAPE"]], dtype=bool)
    kept, excluded = ([*Regions.parse(table[part], format="fits")] if part.any() else [] for part in (~minus, minus))
    for region in excluded:
        region.meta["include"] = 0
    return kept + excluded


def _from_ds9(text):
    """Return the regions of a DS9 file; ValueError if none has a coordinate frame, a warning if some have none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regions = Regions.parse(_QUOTED.sub(rf"\1{_MARK}", text), format="ds9")
    messages = [str(one.message) for one in caught]
    without_frame = sum("coordinate frame was not found" in message for message in messages)
    for message in messages:
        if "coordinate frame was not found" not in message:
            warn(f"regions: {message}", 6)
    if without_frame:
        fault = (
            f"no coordinate frame for {without_frame} of the regions; add a line with the frame before them, for "
            "example 'fk5' (right ascension and declination, J2000), 'icrs', 'galactic', or 'image' for pixels"
        )
        if not len(regions):
            raise ValueError(fault)
        warn(f"regions: {fault}", 6)
    for region in regions:
        if "text" in region.meta:
            region.meta["text"] = str(region.meta["text"]).replace(_MARK, "")
        if isinstance(region, TextSkyRegion | TextPixelRegion):
            region.text = str(region.text).replace(_MARK, "")
    return regions


def _holds_fits_regions(file):
    with parsing(f"regions: cannot read {str(file)!r}"), open_fits(file) as hdus:
        return "REGION" in [hdu.name for hdu in hdus]


def inside_any(regions, x, y):
    """Return which positions ``(n,)`` lie inside any pixel region; each is evaluated in its bounding box only."""
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
    """Return bounds (left, right, bottom, top) of a pixel region, None if it is unbounded or unknown."""
    try:
        box = region.bounding_box
    except (ValueError, OverflowError, np.linalg.LinAlgError):
        return None
    beyond = PixCoord(2.0 * box.ixmax - box.ixmin + 2, 2.0 * box.iymax - box.iymin + 2)
    if region.contains(beyond):  # the complement of a region is unbounded
        return None
    return box.ixmin - 1, box.ixmax + 1, box.iymin - 1, box.iymax + 1  # a margin for rounding


def overlaps(region, shape):
    """Return whether the bounding box of a pixel region overlaps an array of shape (ny, nx)."""
    if isinstance(region, CompoundPixelRegion):
        return overlaps(region.region1, shape) or overlaps(region.region2, shape)
    if isinstance(region, CirclePixelRegion):
        # the bounding box of a region smaller than a pixel can be empty
        x, y, r = region.center.x, region.center.y, region.radius
        return bool(-0.5 - r < x < shape[1] - 0.5 + r and -0.5 - r < y < shape[0] - 0.5 + r)
    try:
        box = region.bounding_box
    except (ValueError, np.linalg.LinAlgError):  # on the other side of the sky
        return False
    return box.ixmin < shape[1] and box.ixmax > 0 and box.iymin < shape[0] and box.iymax > 0
