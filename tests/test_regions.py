import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable, Table
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, PointSkyRegion, PolygonSkyRegion, Regions

from astro_massmap._regions import as_regions, overlaps

from skies import tan_wcs

GRID = tan_wcs((30, 40))
CIRCLE = CircleSkyRegion(GRID.pixel_to_world(20, 10), 2 * u.arcmin)


def test_regions_come_in_many_forms():
    assert as_regions(CIRCLE) == [CIRCLE]
    assert as_regions([CIRCLE, CIRCLE]) == [CIRCLE, CIRCLE]
    assert as_regions(Regions([CIRCLE])) == [CIRCLE]
    pixel = CirclePixelRegion(PixCoord(3, 4), 2)
    assert as_regions(pixel) == [pixel]
    assert np.isclose(as_regions(CIRCLE, GRID)[0].radius, 5)
    assert as_regions([pixel], GRID) == [pixel]


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
        assert one.meta["text"] == "0.73"
    assert all(isinstance(r, PointSkyRegion) for r in as_regions(table["ra", "dec"]))


@pytest.mark.parametrize(
    ("regions", "error", "message"),
    [
        (["circle"], TypeError, "regions"),
        ("missing.reg", OSError, "no file"),
        (Table({"x": [1]}), ValueError, "ra and dec"),
        (QTable({"ra": [1] * u.deg, "dec": [1] * u.deg, "radius": [1.0]}), u.UnitsError, "radius"),
    ],
)
def test_what_is_no_region(regions, error, message):
    with pytest.raises(error, match=message):
        as_regions(regions)


def test_files_that_hold_no_regions(tmp_path):
    (tmp_path / "junk.reg").write_text("circle(what)")
    (tmp_path / "junk.ecsv").write_text("nonsense")
    for name in ("junk.reg", "junk.ecsv"):
        with pytest.raises(OSError, match="cannot read"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            as_regions(name)


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


@pytest.mark.parametrize("wrong", [CIRCLE.center, 3, None])
def test_what_is_no_region_is_told_what_would_be(wrong):
    with pytest.raises(TypeError, match=r"regions: needs a region, .*; a circle is CircleSkyRegion"):
        as_regions(wrong)
