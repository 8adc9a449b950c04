import operator
import warnings
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, strategies as st
from regions import (
    CircleAnnulusSkyRegion,
    CirclePixelRegion,
    CircleSkyRegion,
    CompoundPixelRegion,
    CompoundSkyRegion,
    EllipseAnnulusSkyRegion,
    EllipsePixelRegion,
    EllipseSkyRegion,
    PixCoord,
    PointSkyRegion,
    PolygonPixelRegion,
    PolygonSkyRegion,
    RectangleAnnulusSkyRegion,
    RectanglePixelRegion,
    RectangleSkyRegion,
    Regions,
)

from astro_massmap._sky.regions import all_to_pixel, as_regions, inside_any, is_excluded, overlaps
from astro_massmap.analysis.overlap import _BOXED

from helpers.cases import each_case
from helpers.skies import tan_wcs

GRID = tan_wcs((30, 40))
CIRCLE = CircleSkyRegion(GRID.pixel_to_world(20, 10), 2 * u.arcmin)


def test_all_forms_of_regions_are_read():
    assert as_regions(CIRCLE) == [CIRCLE]
    assert as_regions([CIRCLE, CIRCLE]) == [CIRCLE, CIRCLE]
    assert as_regions(Regions([CIRCLE])) == [CIRCLE]
    pixel = CirclePixelRegion(PixCoord(3, 4), 2)
    assert as_regions(pixel) == [pixel]
    assert np.isclose(as_regions(CIRCLE, GRID)[0].radius, 5)
    assert as_regions([pixel], GRID) == [pixel]


def test_lists_of_files_tables_and_regions():
    Path("a.reg").write_text("icrs; circle(150, 2.2, 1')\nicrs; -circle(150, 2.2, 0.5')\n")
    table = QTable({"ra": [150.0, 150.1] * u.deg, "dec": [2.2, 2.3] * u.deg, "r500": [2, 3] * u.arcmin})
    table.write("b.ecsv")
    for part in (table, "b.ecsv"):
        found = as_regions(["a.reg", CIRCLE, part, Regions([CIRCLE])])
        radii = [region.radius.to_value(u.arcmin) for region in found]
        assert np.allclose(radii, [1, 0.5, 2, 2, 3, 2])
        assert [is_excluded(region) for region in found] == [False, True, False, False, False, False]
        assert found.table is None
    assert len(as_regions(["b.ecsv"]).table) == 2
    with pytest.raises(OSError, match=r"^regions: there is no file 'none.reg'"):
        as_regions(["a.reg", "none.reg"])


@pytest.mark.parametrize("name", ["r.reg", "r.crtf", "r.fits"])
def test_region_files(name):
    regions = [CIRCLE] if name != "r.fits" else [CIRCLE.to_pixel(GRID)]
    Regions(regions).write(name)
    (back,) = as_regions(name, GRID)
    assert np.allclose([back.center.x, back.center.y, back.radius], [20, 10, 5], atol=0.01)


def test_tables_are_circles_or_points_with_labels():
    table = QTable({"ra": [150.0, 150.1] * u.deg, "dec": [2.2, 2.3] * u.deg, "r500": [1, 2] * u.arcmin})
    table["redshift"] = [0.73, 0.1]
    table.write("clusters.ecsv")
    for source in (table, "clusters.ecsv"):
        one, two = as_regions(source)
        assert isinstance(one, CircleSkyRegion) and two.radius == 2 * u.arcmin
        assert "text" not in one.meta  # a redshift is not a name
    assert all(isinstance(r, PointSkyRegion) for r in as_regions(table["ra", "dec"]))


@each_case(
    ("regions", "error", "message"),
    [
        ([3], TypeError, "regions"),
        ("missing.reg", OSError, "no file"),
        (Table({"x": [1]}), ValueError, "ra and dec"),
        (QTable({"ra": [1] * u.deg, "dec": [1] * u.deg, "radius": [1.0]}), u.UnitsError, "radius"),
    ],
)
def test_arguments_that_are_not_regions(regions, error, message):
    with pytest.raises(error, match=message):
        as_regions(regions)


def test_files_without_regions(tmp_path):
    (tmp_path / "junk.reg").write_text("circle(what)")
    (tmp_path / "junk.ecsv").write_text("nonsense")
    for name in ("junk.reg", "junk.ecsv"):
        with pytest.raises(OSError, match="cannot read"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            as_regions(name)


def test_ds9_files_without_a_frame(tmp_path):
    circles = "circle(150,2,2')\ncircle(150.1,2,2')\n"
    (tmp_path / "none.reg").write_text(f"# Region file format: DS9\nglobal color=green\n{circles}")
    message = "no coordinate frame for 2 of the regions; add a line with the frame before them, for example 'fk5'"
    with pytest.raises(OSError, match=f"^regions: cannot read '.*none.reg' as regions: {message}"):
        as_regions(tmp_path / "none.reg")
    (tmp_path / "named.reg").write_text(f"fk5\n{circles}")
    assert [region.center.fk5.ra.deg for region in as_regions(tmp_path / "named.reg")] == [150, 150.1]
    (tmp_path / "late.reg").write_text(f"circle(10,20,3)\nfk5\n{circles}")
    with pytest.warns(AstropyUserWarning, match="no coordinate frame for 1 of the regions"):
        assert len(as_regions(tmp_path / "late.reg")) == 2
    (tmp_path / "physical.reg").write_text("physical\ncircle(10,20,3)\n")
    with (
        pytest.warns(AstropyUserWarning, match=r'regions: "physical" frame or shape is not supported'),
        pytest.raises(OSError, match="no coordinate frame for 1 of the regions"),
    ):
        as_regions(tmp_path / "physical.reg")


def test_overlap():
    polygon = PolygonSkyRegion(GRID.pixel_to_world([1, 5, 5], [1, 1, 6])).to_pixel(GRID)
    assert overlaps(polygon, (30, 40))
    for x, y, expected in [(20, 10, True), (-2, 10, True), (-9, 10, False), (44, 10, True), (20, 40, False)]:
        assert overlaps(CirclePixelRegion(PixCoord(x, y), 5), (30, 40)) == expected


def test_a_table_of_peaks_is_positions():
    center = GRID.pixel_to_world([20, 5], [10, 4])
    regions = as_regions(QTable({"center": center, "kappa": [0.1, 0.05], "radius": [1, 2] * u.arcmin}))
    assert [r.radius for r in regions] == [1 * u.arcmin, 2 * u.arcmin]
    assert regions[1].center.separation(center[1]) < 1e-6 * u.arcsec
    assert all(isinstance(r, PointSkyRegion) for r in as_regions(QTable({"center": center})))


@each_case("wrong", [CIRCLE.center, 3, None, {"A": CIRCLE}, Table({"name": ["A"], "ra": [150.0]})[0]])
def test_errors_suggest_a_circle(wrong):
    with pytest.raises(TypeError, match=r"regions: needs a region, .*; a circle is CircleSkyRegion"):
        as_regions(wrong)


# ---- many regions


def shapes(rng, n, kinds=(CircleSkyRegion, CircleAnnulusSkyRegion, EllipseSkyRegion, RectangleSkyRegion)):
    """Sky regions of all kinds, some of them partly or entirely outside the grid."""
    found = []
    for i in range(n):
        center = GRID.pixel_to_world(*(rng.uniform(-8, side + 8) for side in (40, 30)))
        small, large = np.sort(rng.uniform(0.2, 3, 2)) * u.arcmin
        kind, angle = kinds[i % len(kinds)], rng.uniform(-90, 400) * u.deg
        if kind is CircleSkyRegion:
            found.append(kind(center, large))
        elif kind is CircleAnnulusSkyRegion:
            found.append(kind(center, small, large))
        else:
            found.append(kind(center, *(u.Quantity([small, large])[rng.permutation(2)]), angle))
    return found


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("oblong", [1, 1.1])
def test_many_regions_are_converted_to_pixels_as_one_is(flip, oblong):
    grid = GRID.deepcopy()
    grid.wcs.cd = np.diag([-flip * 0.4 / 60, oblong * 0.4 / 60]) @ [[0.8, -0.6], [0.6, 0.8]]
    kinds = (EllipseSkyRegion, RectangleSkyRegion, *([CircleSkyRegion, CircleAnnulusSkyRegion] if oblong == 1 else []))
    regions = shapes(np.random.default_rng(0), 40, kinds)
    regions.insert(0, PointSkyRegion(regions[0].center))
    for ours, region in zip(all_to_pixel(regions, grid), regions, strict=True):
        theirs = region.to_pixel(grid)
        assert type(ours) is type(theirs) and np.allclose(ours.center.xy, theirs.center.xy, atol=1e-6)
        for name in set(ours._params) - {"center", "angle"}:
            assert np.isclose(getattr(ours, name), getattr(theirs, name), rtol=1e-4)
        if "angle" in ours._params:
            assert abs(np.sin((ours.angle - theirs.angle).to_value(u.rad))) < 1e-3  # equal up to 180 degrees


@pytest.mark.parametrize("grid", [GRID, GRID.sub([2, 1])])
@pytest.mark.parametrize("first", ["icrs", "galactic"])
def test_angles_are_those_of_the_frame_of_the_region(grid, first):
    around = GRID.pixel_to_world(20, 10).galactic
    sizes, angle = [3 * u.arcmin, 1 * u.arcmin], 40 * u.deg
    rings = [1 * u.arcmin, 3 * u.arcmin, 0.5 * u.arcmin, 1 * u.arcmin]
    regions = [
        EllipseSkyRegion(around, *sizes, angle),
        RectangleSkyRegion(around, *sizes, angle),
        EllipseAnnulusSkyRegion(around, *rings, angle),
        RectangleAnnulusSkyRegion(around, *rings, angle),
    ]
    both = CompoundSkyRegion(regions[0], CircleSkyRegion(around, 1 * u.arcsec), operator.or_)
    others = [CircleSkyRegion(around.transform_to(first), 1 * u.arcmin)] * 2
    center = PixCoord(*grid.world_to_pixel(around))
    end = PixCoord(*grid.world_to_pixel(around.directional_offset_by(270 * u.deg + angle, 1 * u.arcmin)))
    wanted = np.arctan2(end.y - center.y, end.x - center.x)
    alone = [all_to_pixel([region], grid)[0] for region in (*regions, both)]
    for region in (*alone[:-1], alone[-1].region1, *all_to_pixel([*others, *regions], grid)[2:]):
        assert abs(np.sin(region.angle.to_value(u.rad) - wanted)) < 1e-4  # 0.65 if the angle were from the West of ICRS


def test_regions_on_the_other_side_of_the_sky_are_none():
    regions = shapes(np.random.default_rng(1), 8)
    regions[3] = EllipseSkyRegion(SkyCoord(330, -2.2, unit="deg"), 1 * u.arcmin, 2 * u.arcmin)
    assert [r is None for r in all_to_pixel(regions, GRID)] == [i == 3 for i in range(8)]


def test_positions_inside_any_region_are_those_inside_each():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-10, 50, 5000), rng.uniform(-10, 40, 5000)
    x[::100] = np.nan  # outside the projection
    points = PixCoord(x, y)
    regions = all_to_pixel(shapes(rng, 24), GRID)
    for _ in range(6):
        corners = rng.uniform(-5, 35, (2, 5))
        regions.append(PolygonPixelRegion(PixCoord(*corners)))
    a, b = regions[:2]
    regions += [a & b, a | b, a ^ b, CompoundPixelRegion(a, b, lambda p, q: p & ~q)]
    tiny = CirclePixelRegion(PixCoord(x[1], y[1]), 1e-9)
    everything_else = CompoundPixelRegion(a, b, lambda p, q: ~p)
    for region in [*regions, tiny, everything_else]:
        assert np.array_equal(inside_any([region], x, y), region.contains(points))
    assert inside_any([tiny], x, y).sum() == 1 and inside_any([everything_else], x, y).mean() > 0.9
    expected = np.any([region.contains(points) for region in regions], axis=0)
    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(inside_any(regions, x, y), expected)
    assert not inside_any([], x, y).any()


def test_positions_far_from_a_region_are_not_compared_with_it(monkeypatch):
    # 200 circles of 1 % of the side: 4e-4 of the galaxies are in a bounding box
    contains, compared = CirclePixelRegion.contains, []

    def counted(self, points):
        compared.append(np.size(points.x))
        return contains(self, points)

    monkeypatch.setattr(CirclePixelRegion, "contains", counted)
    x, y = np.random.default_rng(3).uniform(0, 1000, (2, 50_000))
    circles = [CirclePixelRegion(PixCoord(*place), 10) for place in zip(x[:200], y[:200], strict=True)]
    assert inside_any(circles, x, y).sum() > 200
    assert sum(compared) < 1e-3 * len(x) * len(circles)


@given(st.floats(-20, 40), st.floats(-20, 40), st.floats(0.01, 30), st.floats(0.01, 30), st.floats(-7, 7))
def test_bounding_boxes_without_units_are_those_with_units(x, y, width, height, angle):
    for kind in (EllipsePixelRegion, RectanglePixelRegion):
        region = kind(PixCoord(x, y), width, height, angle * u.rad)
        ours, theirs = _BOXED[kind](PixCoord(x, y), width, height, angle * u.rad).bounding_box, region.bounding_box
        # an edge on the edge of a pixel may be rounded to either side
        assert np.abs(np.subtract(ours.extent, theirs.extent)).max() <= 1
        c, s = np.cos(np.linspace(0, 2 * np.pi, 101)), np.sin(np.linspace(0, 2 * np.pi, 101))
        if kind is RectanglePixelRegion:
            c, s = np.sign(c), np.sign(s)
        dx, dy = width / 2 * c, height / 2 * s
        px, py = x + dx * np.cos(angle) - dy * np.sin(angle), y + dx * np.sin(angle) + dy * np.cos(angle)
        left, right, bottom, top = ours.extent
        assert left - 1e-9 <= px.min() and px.max() <= right + 1e-9
        assert bottom - 1e-9 <= py.min() and py.max() <= top + 1e-9
        assert right - left < np.ptp(px) * 1.01 + 2.01 and top - bottom < np.ptp(py) * 1.01 + 2.01
