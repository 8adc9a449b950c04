"""The area of excluded regions is subtracted from all others, in masks and in measurements."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning
from hypothesis import given, settings, strategies as st
from regions import (
    CircleAnnulusPixelRegion,
    CirclePixelRegion,
    EllipsePixelRegion,
    LinePixelRegion,
    PixCoord,
    PointPixelRegion,
    RectanglePixelRegion,
    TextPixelRegion,
)

from astro_massmap import ConvergenceMap, ShearCatalog
from astro_massmap._sky.regions import as_regions, included, is_excluded
from astro_massmap.analysis.detection import detection_probability, region_statistics, region_weights
from astro_massmap.analysis.mass import projected_mass

from helpers.cases import each_case
from helpers.skies import scatter, tan_wcs

SHAPE = (30, 40)
GRID = tan_wcs(SHAPE)
OPEN = np.zeros(SHAPE, dtype=bool)


def circle(x, y, r, **meta):
    return CirclePixelRegion(PixCoord(x, y), r, meta=meta)


def maps(n=8):
    samples = np.random.default_rng(0).normal(size=(n, *SHAPE))
    return samples.mean(axis=0), samples, GRID, OPEN


def ds9(file, *lines):
    """Write a DS9 file of circles (x, y, radius) in pixels of the grid."""
    text = ["fk5"]
    for sign, name, (x, y, r), rest in lines:
        place = GRID.pixel_to_world(x, y).icrs
        text.append(f"{sign}{name}({place.ra.deg:.9f},{place.dec.deg:.9f},{r * 0.4:.9f}') {rest}")
    file.write_text("\n".join(text))
    return file


# ---- which regions are excluded


@each_case("include", [0, False, "-", "0", "False", 0.0, np.False_, np.int64(0)])
def test_marks_of_excluded_regions(include):
    assert is_excluded(circle(1, 1, 1, include=include))
    assert not is_excluded(circle(1, 1, 1))


@pytest.mark.parametrize("include", [1, True, "+", "1", np.True_])
def test_marks_of_others(include):
    assert not is_excluded(circle(1, 1, 1, include=include))


def test_files_of_all_formats_exclude(tmp_path):
    x, y = 20, 15
    place = GRID.pixel_to_world(x, y).icrs
    ra, dec = place.ra.deg, place.dec.deg
    crtf = "circle[[{}deg,{}deg],{}arcmin], coord=ICRS"
    files = {
        "a.reg": f"fk5\ncircle({ra},{dec},2')\n-circle({ra},{dec},1')\n",
        "b.reg": f"fk5;-circle({ra},{dec},60\");circle({ra},{dec},2')\n",
        "c.reg": f"global color=red\nfk5\ncircle({ra},{dec},2')\ncircle({ra},{dec},1') # include=0 text={{star}}\n",
        "d.reg": f"image\n-circle({x + 1},{y + 1},2.5)\ncircle({x + 1},{y + 1},5)\n",
        "e.crtf": f"#CRTF\n-{crtf.format(ra, dec, 1)}\n{crtf.format(ra, dec, 2)}\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for i, columns in enumerate([{}, {"COMPONENT": [1, 1]}, {"COMPONENT": [1, 2]}]):  # regions loses the mark
        table = Table(
            {"SHAPE": ["CIRCLE", "!CIRCLE"], "X": [20.0, 20.0], "Y": [15.0, 15.0], "R": [[5.0], [2.5]], **columns}
        )
        hdu = fits.table_to_hdu(table)
        hdu.name = "REGION"
        hdu.writeto(tmp_path / f"f{i}.fits")
        files[f"f{i}.fits"] = None
    for name in files:
        weights = region_weights(str(tmp_path / name), GRID, SHAPE)
        assert len(weights) == 1
        assert np.isclose(weights.area[0], np.pi * (5**2 - 2.5**2), rtol=2e-4)


# ---- measurements


def shapes(x, y, a, b, angle):
    yield circle(x, y, a)
    yield CircleAnnulusPixelRegion(PixCoord(x, y), a / 2, a)
    yield EllipsePixelRegion(PixCoord(x, y), 2 * a, 2 * b, angle * u.rad)
    yield RectanglePixelRegion(PixCoord(x, y), 2 * a, 2 * b, angle * u.rad)
    yield circle(x, y, a) | circle(x + a, y, b)


@settings(deadline=None, max_examples=15)
@given(st.floats(8, 30), st.floats(8, 22), st.floats(1, 7), st.floats(1, 7), st.floats(0, 3), st.data())
@pytest.mark.slow
def test_weights_agree_with_those_of_a_fine_grid_of_points(x, y, a, b, angle, data):
    regions = list(shapes(x, y, a, b, angle))
    dx, dy, c = (data.draw(st.floats(*bounds)) for bounds in ((-4, 4), (-4, 4), (0.5, 4)))
    holes = [next(iter(shapes(x + dx, y + dy, c, c, 0))), list(shapes(x - dy, y, c, 2, 1))[2]]
    for hole in holes:
        hole.meta["include"] = 0
    weights = region_weights([*holes, *regions], GRID, SHAPE)
    n = 16
    steps = (np.arange(n) + 0.5) / n - 0.5
    px, py = np.meshgrid(*((np.arange(side)[:, None] + steps).ravel() for side in SHAPE[::-1]))
    points = PixCoord(px, py)
    out = holes[0].contains(points) | holes[1].contains(points)
    assert len(weights) == len(regions)
    for i, region in enumerate(regions):
        inside = (region.contains(points) & ~out).reshape(SHAPE[0], n, SHAPE[1], n).mean(axis=(1, 3))
        row = weights.overlap[[i]].toarray().reshape(SHAPE)
        # in a pixel cut by an edge, n points on a side are accurate to 1 / n, a compound of 10 points to 1 / 10
        assert np.abs(row - inside).max() < (0.25 if i == 4 else 0.1)
        assert abs(row.sum() - inside.sum()) < 0.1 + 0.02 * inside.sum()


def test_areas_of_regions_minus_excluded_ones():
    ring = CircleAnnulusPixelRegion(PixCoord(20, 15), 3, 6)
    nested = region_weights([circle(20, 15, 6), circle(20, 15, 3, include=0)], GRID, SHAPE)
    assert np.allclose(nested.overlap.toarray(), region_weights(ring, GRID, SHAPE).overlap.toarray(), atol=1e-12)
    r, d = 5.0, 4.0  # overlap of two circles with equal radii
    lens = 2 * r**2 * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r**2 - d**2)
    crossing = region_weights([circle(18, 15, r), circle(18 + d, 15, r, include=0)], GRID, SHAPE)
    assert np.isclose(crossing.area[0], np.pi * r**2 - lens, rtol=1e-3)


def test_excluded_areas_outside_the_field_and_in_large_regions():
    cut = region_weights([circle(0, 15, 6), circle(-3, 15, 2, include=0)], GRID, SHAPE)
    assert np.isclose(cut.area[0], np.pi * (36 - 4), rtol=1e-6)
    huge = region_weights([circle(20, 15, 1e5), circle(20, 15, 3, include=0)], GRID, SHAPE)
    assert np.isclose(huge.overlap.sum(), 30 * 40 - 9 * np.pi, rtol=1e-3)
    nothing = region_weights([circle(20, 15, 3), circle(20, 15, 1e5, include=0)], GRID, SHAPE)
    assert nothing.area[0] == nothing.overlap.nnz == 0
    point = region_weights([PointPixelRegion(PixCoord(20, 15)), circle(20, 15, 3, include=0)], GRID, SHAPE)
    assert point.overlap.nnz == 0


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_measurements_leave_out_excluded_areas(order):
    mean, samples, wcs, mask = maps()
    regions = [circle(15, 15, 6, text="A"), circle(15, 15, 3, include=0), circle(30, 15, 3, text="B")]
    regions = [regions[i] for i in order]
    expected = {"A": CircleAnnulusPixelRegion(PixCoord(15, 15), 3, 6), "B": circle(30, 15, 3)}
    for function, arguments in (
        (region_statistics, {}),
        (detection_probability, {"threshold": 0.0}),
        (projected_mass, {"z_lens": [0.2, 0.2], "z_source": 1.0}),
    ):
        found = function(mean, samples, wcs, mask, regions, **arguments)
        other = function(mean, samples, wcs, mask, [expected[name] for name in found["region"]], **arguments)
        assert sorted(found["region"]) == ["A", "B"]
        for name in set(found.colnames) - {"region", "center"}:
            assert u.allclose(found[name], other[name], rtol=1e-9), name
    assert np.allclose(found["data_fraction"], 1)


def test_rings_and_backgrounds_leave_out_excluded_areas():
    samples = np.zeros((8, *SHAPE))
    samples[:, 12:18, 25:28] = 9.0  # a bright neighbour, in the ring
    hole = RectanglePixelRegion(PixCoord(26, 14.5), 3.0, 6.0, meta={"include": 0})
    for regions, background in (
        ([circle(18, 15, 4), hole], [2, 5] * u.arcmin),
        ([circle(18, 15, 4)], [circle(26, 15, 4), hole]),
    ):
        table = region_statistics(samples[0], samples, GRID, OPEN, regions, background=background)
        assert np.isclose(table["kappa"][0], 0, atol=1e-9)
        plain = region_statistics(
            samples[0],
            samples,
            GRID,
            OPEN,
            regions[:1],
            background=background[:1] if isinstance(background, list) else background,
        )
        assert plain["kappa"][0] < -0.3


def test_regions_are_plotted_with_excluded_ones(tmp_path):
    pytest.importorskip("matplotlib")
    mean, samples, wcs, _ = maps()
    kappa = ConvergenceMap(mean, wcs=wcs, samples=samples)
    file = ds9(tmp_path / "a.reg", ("", "circle", (15, 15, 6), "# text={A}"), ("-", "circle", (15, 15, 3), ""))
    kappa.plot_detection(file, 0.0)
    circles = kappa.plot(regions=file).patches
    assert [patch.get_linestyle() for patch in circles] == ["solid", "dashed"]


# ---- masks


def catalog(n=4000):
    rng = np.random.default_rng(1)
    places = GRID.pixel_to_world(rng.uniform(0, 39, n), rng.uniform(0, 29, n))
    return ShearCatalog(places, *rng.normal(scale=0.2, size=(2, n)), axes="west-north")


def used(mask):
    return catalog().to_map(wcs=GRID, shape=SHAPE, mask=mask).meta["n_galaxies"]


@pytest.mark.parametrize("lines", [("", "-"), ("-", "")])
def test_masks_keep_galaxies_in_excluded_regions(lines, tmp_path):
    radii = {"": 10, "-": 5}
    file = ds9(tmp_path / "a.reg", *((sign, "circle", (20, 15, radii[sign]), "") for sign in lines))
    x, y = GRID.world_to_pixel(catalog().coords)
    distance = np.hypot(x - 20, y - 15)
    assert abs(used(file) - np.sum((distance > 10) | (distance < 5))) <= 2
    assert abs(used(file) - used(CircleAnnulusPixelRegion(PixCoord(20, 15), 5, 10))) <= 2  # FK5 and ICRS


def test_masks_ignore_labels(tmp_path):
    file = ds9(tmp_path / "a.reg", ("", "circle", (20, 15, 10), ""))
    plain = used(file)
    extra = ["# text(150,2) text={star}", "point(150,2) # point=x", "line(150,2,150,2.1)", "# vector(150,2,3',40)"]
    extra += ["# ruler(150,2,150,2.1)", "# compass(150,2,3')", "# projection(150,2,150,2.1,1')", "# a comment"]
    file.write_text("\n".join([file.read_text(), *extra]))
    with pytest.warns(AstropyUserWarning, match="mask: 1 text label, 1 point, 1 line left out; they have no area"):
        assert used(file) == plain
    circles = [circle(20, 15, 10), TextPixelRegion(PixCoord(1, 1), "a"), TextPixelRegion(PixCoord(1, 1), "b")]
    with pytest.warns(AstropyUserWarning, match="mask: 2 text labels left out"):
        assert used(circles) == used(circles[0])
    crtf = tmp_path / "a.crtf"
    place = GRID.pixel_to_world(20, 15).icrs
    line = f"circle[[{place.ra.deg}deg,{place.dec.deg}deg],4arcmin], coord=ICRS"
    crtf.write_text(f"#CRTF\n{line}\nann {line.replace('4arcmin', '9arcmin')}\n")
    with pytest.warns(AstropyUserWarning, match="mask: 1 annotation left out"):
        assert abs(used(crtf) - plain) <= 2


def test_measurements_ignore_labels():
    regions = [TextPixelRegion(PixCoord(1, 1), "star"), circle(20, 15, 3), PointPixelRegion(PixCoord(3, 3))]
    with pytest.warns(AstropyUserWarning, match="regions: 1 text label left out"):
        table = region_statistics(*maps(), regions)
    assert len(table) == 2 and np.isfinite(table["kappa"]).all()  # a point covers one pixel


@each_case(
    ("regions", "message"),
    [
        ([circle(1, 1, 1, include=0)], ": all regions are excluded ones .* remove the minus sign"),
        ([TextPixelRegion(PixCoord(1, 1), "a")], ": contains only 1 text label, without an area"),
        (
            [LinePixelRegion(PixCoord(1, 1), PixCoord(2, 2), meta={"include": 0}), circle(1, 1, 1, include=0)],
            "excluded",
        ),
    ],
)
def test_lists_without_usable_regions(regions, message):
    with pytest.raises(ValueError, match=f"^regions.*{message}"):
        region_statistics(*maps(), regions)
    with pytest.raises(ValueError, match=f"^mask.*{message}"):
        used(regions)
    with pytest.raises(ValueError, match=r"^mask: contains only 1 point, without an area to exclude; give"):
        used(PointPixelRegion(PixCoord(1, 1)))


def test_lists_of_included_regions_are_unchanged():
    regions = as_regions([circle(1, 1, 1), circle(2, 2, 2, include=0), circle(3, 3, 3)])
    found = included(regions, "regions")
    assert len(regions) == 3 and len(found) == 2 and found.excluded == regions[1:2]
    assert included(as_regions(found), "regions").excluded == found[:1].excluded == found.excluded
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(included(as_regions([]), "regions")) == 0


@each_case(("center", "frame"), [((150.0, 2.2), "RADEC"), ((210.0, 88.0), "RADEC"), ((2.0, -60.0), "GAL")])
def test_galaxies_outside_regions_of_the_sky_without_a_grid(center, frame, tmp_path):
    wcs = tan_wcs((400, 400), scale=6, center=center, frame=frame)  # 40 degrees
    places = scatter(wcs, (400, 400), 4000)
    field = ShearCatalog(places, *np.full((2, 4000), 0.1), axes="west-north")
    stars, radii = places.icrs[:60], np.linspace(0.1, 1.5, 60)
    lines = [f"circle({star.ra.deg},{star.dec.deg},{r}d)" for star, r in zip(stars, radii, strict=True)]
    (tmp_path / "stars.reg").write_text("\n".join(["icrs", *lines]))
    inside = (places[:, None].separation(stars).deg < radii).any(axis=1)
    kept = field.outside(str(tmp_path / "stars.reg"))
    assert inside.sum() > 100 and abs(len(kept) - (~inside).sum()) <= 1


def test_regions_in_pixels_need_a_grid():
    with pytest.raises(ValueError, match="mask: regions in pixels need a grid"):
        catalog().outside([circle(20, 15, 3)])
    with pytest.raises(ValueError, match="mask: regions in pixels need a grid"):
        catalog().check_axes(mask=circle(20, 15, 3))
    assert len(catalog().outside([circle(20, 15, 3)], GRID)) == used(circle(20, 15, 3))
