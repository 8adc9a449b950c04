"""Maps, shear sticks and regions on axes of another WCS keep their positions on the sky."""

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings, strategies as st
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord, PointSkyRegion, PolygonSkyRegion, RectangleSkyRegion

from astro_massmap import ConvergenceMap, ShearMap
from astro_massmap.plotting import draw_regions, plot_map

from helpers.skies import tan_wcs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SHAPE = (48, 60)
GRID = tan_wcs(SHAPE)
CENTER = GRID.pixel_to_world(29.5, 23.5)
SIDE = 0.4 / 60  # side of a pixel in degrees
PIXEL = 3600 * SIDE  # in arcsec
PEAK = (41, 33)  # column and row


def other_wcs(frame="galactic", rotation=0.0, scale=1.0, mirror=False, projection="TAN", size=100):
    """Grid around the centre with ``scale`` times the pixel side of the map."""
    names = {"galactic": ("GLON", "GLAT"), "icrs": ("RA--", "DEC-"), "fk5": ("RA--", "DEC-")}[frame]
    center = CENTER.transform_to(frame)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"{name}-{projection}" for name in names]
    wcs.wcs.crval = [center.spherical.lon.deg, center.spherical.lat.deg]
    if projection == "CAR":  # the reference is on the equator
        wcs.wcs.crval[1] = 0
    wcs.wcs.crpix = [size / 2, size / 2]
    wcs.wcs.cdelt = np.array([1 if mirror else -1, 1]) * scale * SIDE
    angle = np.radians(rotation)
    wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if frame == "fk5":
        wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 1975.0
    return wcs


OTHERS = {
    "Galactic": other_wcs(),
    "rotated": other_wcs("icrs", rotation=37.0),
    "finer": other_wcs("icrs", scale=0.31, size=300),
    "coarser": other_wcs("icrs", scale=3.7, rotation=10),
    "mirrored": other_wcs("icrs", mirror=True),
    "Galactic, rotated, mirrored": other_wcs(rotation=-110, scale=0.7, mirror=True, projection="ZEA"),
    "another equinox": other_wcs("fk5", rotation=5),
    "a plate far from its reference": other_wcs("galactic", projection="CAR"),
}


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    matplotlib.pyplot.close("all")


def axes_of(wcs):
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(6, 6), dpi=100).add_subplot(projection=wcs)


def one_peak(column=PEAK[0], row=PEAK[1]):
    data = np.zeros(SHAPE)
    data[row, column] = 1.0
    return data


def peak_on_the_sky(image, wcs):
    """Sky position of the brightest points of an image, from its extent in pixels of the axes."""
    values = np.ma.filled(image.get_array(), np.nan)
    left, right, low, high = image.get_extent()
    rows, columns = np.nonzero(values == np.nanmax(values))
    x = left + (columns + 0.5) * (right - left) / values.shape[1]
    y = low + (rows + 0.5) * (high - low) / values.shape[0]
    return wcs.pixel_to_world(x.mean(), y.mean())


@pytest.mark.parametrize("name", OTHERS)
def test_the_peak_is_drawn_at_its_position_on_the_sky(name):
    wcs = OTHERS[name]
    ax = ConvergenceMap(one_peak(), wcs=GRID).plot(axes_of(wcs))
    off = peak_on_the_sky(ax.images[0], wcs).separation(GRID.pixel_to_world(*PEAK)).arcsec
    assert off < 0.1 * PIXEL
    # the number of bright points is that of one pixel, and the whole map is drawn
    values = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert np.isclose(np.nansum(values) / np.isfinite(values).sum(), 1 / np.prod(SHAPE), rtol=0.3)


@pytest.mark.parametrize("name", ["Galactic", "coarser", "Galactic, rotated, mirrored"])
def test_the_peak_on_the_canvas(name):
    wcs, data = OTHERS[name], np.zeros(SHAPE)
    data[PEAK[1] - 1 : PEAK[1] + 2, PEAK[0] - 1 : PEAK[0] + 2] = 1.0
    ax = axes_of(wcs)
    ax.coords[0].set_ticks_visible(False)
    ConvergenceMap(data, wcs=GRID).plot(ax, colorbar=False, cmap="gray", vmin=0, vmax=1)
    ax.set_facecolor("black")
    ax.figure.set_facecolor("black")
    for coord in ax.coords:
        coord.set_ticks_visible(False)
        coord.set_ticklabel_visible(False)
        coord.set_axislabel(" ")
    ax.figure.canvas.draw()
    canvas = 1.0 * (np.asarray(ax.figure.canvas.buffer_rgba())[..., 0] > 127)  # leaves out the grey frame
    rows, columns = np.mgrid[: canvas.shape[0], : canvas.shape[1]]
    x = (canvas * (columns + 0.5)).sum() / canvas.sum()
    y = canvas.shape[0] - (canvas * (rows + 0.5)).sum() / canvas.sum()  # the first row is the top
    seen = wcs.pixel_to_world(*ax.transData.inverted().transform([x, y]))
    assert seen.separation(GRID.pixel_to_world(*PEAK)).arcsec < 0.25 * PIXEL


@settings(deadline=None, max_examples=15)
@given(
    st.sampled_from(["galactic", "icrs", "fk5"]),
    st.floats(-180, 180),
    st.floats(0.3, 3),
    st.booleans(),
    st.integers(0, SHAPE[1] - 1),
    st.integers(0, SHAPE[0] - 1),
)
@pytest.mark.slow
def test_the_peak_on_any_axes(frame, rotation, scale, mirror, column, row):
    from matplotlib.figure import Figure

    wcs = other_wcs(frame, rotation, scale, mirror)
    ax = Figure().add_subplot(projection=wcs)
    plot_map(one_peak(column, row), GRID, ax=ax)
    off = peak_on_the_sky(ax.images[0], wcs).separation(GRID.pixel_to_world(column, row)).arcsec
    # the 4 x 4 points of a pixel become 5 x 5 where its edges are almost parallel to them: half a point along both axes
    assert off < np.hypot(0.125, 0.125) * 1.05 * PIXEL


def test_values_are_not_interpolated():
    data = np.random.default_rng(0).normal(size=SHAPE)
    data[3:6, 3:9] = np.nan
    values = plot_map(data, GRID, ax=axes_of(OTHERS["rotated"])).images[0].get_array()
    shown, counts = np.unique(np.ma.compressed(np.ma.masked_invalid(values)), return_counts=True)
    assert np.array_equal(shown, np.unique(data[np.isfinite(data)]))
    assert counts.min() > 8 and counts.max() < 24  # of 16


@pytest.mark.parametrize("same", [GRID, GRID.deepcopy(), WCS(GRID.to_header())])
def test_maps_on_the_same_grid_are_drawn_without_resampling(same):
    data = np.random.default_rng(0).normal(size=SHAPE)
    ax = plot_map(data, GRID, ax=axes_of(same))
    assert np.array_equal(ax.images[0].get_array(), data)
    assert list(ax.images[0].get_extent()) == [-0.5, SHAPE[1] - 0.5, -0.5, SHAPE[0] - 0.5]


def test_axes_with_content_keep_their_limits():
    wcs = OTHERS["Galactic"]
    empty, used, limited = (axes_of(wcs) for _ in range(3))
    used.imshow(np.zeros((100, 100)), origin="lower")
    limited.set(xlim=(10, 60), ylim=(20, 70))
    for ax in (empty, used, limited):
        mask = one_peak() > 0
        ConvergenceMap(one_peak(), wcs=GRID, mask=mask).plot(ax)
        ShearMap(np.ones((2, *SHAPE)), wcs=GRID, noise_std=0.1).plot(ax)
        ax.figure.canvas.draw()
    assert used.get_xlim() == (-0.5, 99.5) and used.get_ylim() == (-0.5, 99.5)
    assert limited.get_xlim() == (10, 60) and limited.get_ylim() == (20, 70)
    x, y = wcs.world_to_pixel(GRID.pixel_to_world([0, 0, 59, 59], [0, 47, 0, 47]))
    assert np.allclose(empty.get_xlim(), (x.min(), x.max()), atol=1.5)
    assert np.allclose(empty.get_ylim(), (y.min(), y.max()), atol=1.5)


@pytest.mark.parametrize("wcs", [GRID, OTHERS["Galactic"]], ids=["same", "Galactic"])
def test_contours_and_regions_without_the_map(wcs):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:10] = True
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    data = np.exp(-((x - PEAK[0]) ** 2 + (y - PEAK[1]) ** 2) / 32)
    kappa = ConvergenceMap(data, wcs=GRID, mask=mask, uncertainty=np.full(SHAPE, 0.1))
    options = {"image": False, "contours": [5], "regions": CircleSkyRegion(GRID.pixel_to_world(*PEAK), 2 * u.arcmin)}
    empty, used = axes_of(wcs), axes_of(wcs)
    used.imshow(np.zeros((100, 100)), origin="lower")
    for ax in (empty, used):
        kappa.plot(ax, **options)
        assert len(ax.patches) == 1 and len(ax.figure.axes) == 1  # no colour bar
        (contours,) = (c for c in ax.collections if isinstance(c, matplotlib.contour.ContourSet))
        assert not matplotlib.colors.same_color(contours.get_edgecolor()[0], "black")  # as regions
        vertices = contours.get_transform().transform(contours.get_paths()[0].vertices)
        where = wcs.pixel_to_world(*ax.transData.inverted().transform(vertices).T)
        radius = where.separation(GRID.pixel_to_world(*PEAK)).arcsec
        assert np.allclose(radius, 4 * np.sqrt(2 * np.log(2)) * PIXEL, atol=0.1 * PIXEL)
        assert ax.get_aspect() == 1
    assert not empty.images and len(used.images) == 1
    assert used.get_xlim() == (-0.5, 99.5)
    x, _ = wcs.world_to_pixel(GRID.pixel_to_world([-0.5, -0.5, 59.5, 59.5], [-0.5, 47.5, -0.5, 47.5]))
    assert np.allclose(empty.get_xlim(), (x.min(), x.max()), atol=0.1)
    with pytest.raises(TypeError, match="image: False takes no options of imshow, got vmax"):
        kappa.plot(axes_of(wcs), image=False, vmax=1)


def test_the_mask_is_drawn_at_its_position():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[PEAK[1] - 2 : PEAK[1] + 3, PEAK[0] - 2 : PEAK[0] + 3] = True
    wcs = OTHERS["Galactic, rotated, mirrored"]
    ax = ConvergenceMap(np.zeros(SHAPE), wcs=GRID, mask=mask).plot(axes_of(wcs))
    overlay = ax.images[1]
    overlay.set_array(overlay.get_array()[..., 3])
    assert peak_on_the_sky(overlay, wcs).separation(GRID.pixel_to_world(*PEAK)).arcsec < 0.1 * PIXEL


def latitude_first():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "DEC--TAN", "RA---TAN"
    wcs.wcs.crval = CENTER.dec.deg, CENTER.ra.deg
    wcs.wcs.cdelt = SIDE, -SIDE
    wcs.wcs.crpix = 20, 30
    return wcs


def test_labels_are_those_of_the_axes():
    galactic = OTHERS["Galactic"]
    kappa = ConvergenceMap(one_peak(), wcs=GRID)
    shear = ShearMap(np.ones((2, *SHAPE)), wcs=GRID, noise_std=0.1)
    for drawn in (kappa, kappa.reproject_to(galactic, (100, 100)), shear):
        for wcs, expected in ((OTHERS["rotated"], ["RA", "Dec"]), (galactic, ["l", "b"])):
            assert [coord.get_axislabel() for coord in drawn.plot(axes_of(wcs)).coords] == expected


def test_maps_with_the_latitude_first():
    swapped = latitude_first()
    kappa = ConvergenceMap(one_peak(), wcs=swapped)
    ax = kappa.plot()
    assert [coord.get_axislabel() for coord in ax.coords] == ["Dec", "RA"]
    assert np.array_equal(kappa.plot(axes_of(swapped.deepcopy())).images[0].get_array(), one_peak())
    wcs = OTHERS["Galactic"]
    seen = peak_on_the_sky(kappa.plot(axes_of(wcs)).images[0], wcs)
    assert seen.separation(swapped.pixel_to_world(*PEAK)).arcsec < 0.1 * PIXEL
    with pytest.raises(TypeError, match=r"ax: needs celestial axes, with the longitude .* got pos.eq.dec"):
        ConvergenceMap(one_peak(), wcs=GRID).plot(ax)


def outline(artist):
    """Points along the outline of a patch on the canvas."""
    path = artist.get_transform().transform_path(artist.get_path())
    return np.concatenate(path.to_polygons(closed_only=False))


def outline_on_the_sky(artist, ax, wcs):
    return wcs.pixel_to_world(*ax.transData.inverted().transform(outline(artist)).T)


@pytest.mark.parametrize("name", OTHERS)
def test_regions_are_drawn_at_their_positions_on_the_sky(name):
    wcs = OTHERS[name]
    here = GRID.pixel_to_world(*PEAK)
    radius = 3 * u.arcmin
    regions = [
        CircleSkyRegion(here, radius, meta={"text": "A"}),
        CirclePixelRegion(PixCoord(*PEAK), radius.to_value("arcsec") / PIXEL),
        RectangleSkyRegion(here, 2 * radius, 2 * radius, angle=20 * u.deg),
        PolygonSkyRegion(here.directional_offset_by([0, 90, 180, 270] * u.deg, radius)),
        PointSkyRegion(here),
        CircleSkyRegion(GRID.pixel_to_world(300, 300), radius),
    ]
    ax = axes_of(wcs)
    plot_map(one_peak(), GRID, ax=ax, regions=regions)
    circle, same_circle, square, polygon = ax.patches
    for artist in (circle, same_circle):
        distance = outline_on_the_sky(artist, ax, wcs).separation(here).to_value("arcsec")
        assert np.abs(distance - 180).max() < 0.1 * PIXEL
    corners = outline_on_the_sky(square, ax, wcs).separation(here).to_value("arcsec").max()
    assert np.isclose(corners, 180 * np.sqrt(2), rtol=0.01)
    assert np.isclose(outline_on_the_sky(polygon, ax, wcs).separation(here).to_value("arcsec").max(), 180, rtol=0.01)
    (point,) = ax.lines
    on_axes = ax.transData.inverted().transform(point.get_transform().transform(point.get_xydata()))[0]
    assert wcs.pixel_to_world(*on_axes).separation(here).arcsec < 0.01 * PIXEL
    # the label is above the circle, on the axes
    x, y = ax.transData.inverted().transform(outline(circle)).T
    assert np.allclose(ax.texts[0].xy, (x.min() / 2 + x.max() / 2, y.max()), atol=0.3)
    ax.figure.canvas.draw()


def test_regions_alone_on_other_axes():
    wcs = OTHERS["Galactic"]
    ax = axes_of(wcs)
    ax.imshow(np.zeros((100, 100)), origin="lower")
    here = GRID.pixel_to_world(*PEAK)
    draw_regions(ax, CircleSkyRegion(here, 2 * u.arcmin), GRID, SHAPE)
    distance = outline_on_the_sky(ax.patches[0], ax, wcs).separation(here).to_value("arcsec")
    assert np.abs(distance - 120).max() < 0.1 * PIXEL


@pytest.mark.parametrize("name", OTHERS)
def test_sticks_keep_their_direction_on_the_sky(name):
    wcs = OTHERS[name]
    # all galaxies are stretched by 5 % along a line at 30 degrees from the axis x of pixels
    shear = 0.05 * np.exp(2j * np.radians(30))
    maps = np.stack([np.full(SHAPE, shear.real), np.full(SHAPE, shear.imag)])
    ax = ShearMap(maps, wcs=GRID, noise_std=0.1).plot(axes_of(wcs), pixels_per_stick=12)
    quiver = ax.collections[0]
    x, y = np.transpose(quiver.get_offsets())
    y0, x0 = (np.mgrid[:4, :5] + 0.5).reshape(2, -1) * 12 - 0.5
    where = wcs.pixel_to_world(x, y).icrs
    assert where.separation(GRID.pixel_to_world(x0, y0)).arcsec.max() < 0.01 * PIXEL
    assert np.allclose(np.hypot(quiver.U, quiver.V), 0.05)
    ahead = wcs.pixel_to_world(x + 10 * quiver.U, y + 10 * quiver.V).icrs
    expected = GRID.pixel_to_world(x0 + np.cos(np.radians(30)), y0 + np.sin(np.radians(30)))
    angle = where.position_angle(ahead) - GRID.pixel_to_world(x0, y0).position_angle(expected)
    assert np.abs(np.sin(angle)).max() < 0.01
    ax.figure.canvas.draw()


def test_sticks_are_mirrored_with_the_axes():
    """The direction of a stick follows axes that the user inverts."""
    shear = 0.05 * np.exp(2j * np.radians(30))
    maps = np.stack([np.full(SHAPE, shear.real), np.full(SHAPE, shear.imag)])
    ax = ShearMap(maps, wcs=GRID, noise_std=0.1).plot(pixels_per_stick=12)
    ax.invert_xaxis()
    ax.figure.canvas.draw()
    along = ax.collections[0].get_paths()[0].vertices @ [1, 1j]
    turn = np.angle(np.sum((along - along.mean()) ** 2), deg=True) / 2
    assert np.isclose(turn, -30, atol=1)


@pytest.mark.slow
def test_the_whole_sky_around_a_map():
    wcs = WCS({"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CDELT1": -1.0, "CDELT2": 1.0, "CRVAL1": 180.0,
               "CRVAL2": 0.0, "CRPIX1": 180.5, "CRPIX2": 90.5})  # fmt: skip
    ax = axes_of(wcs)
    ax.imshow(np.zeros((180, 360)), origin="lower")
    # across the edge of the all-sky image, where right ascension is zero
    grid = tan_wcs(SHAPE, center=(0.1, 20.0), scale=6)
    plot_map(one_peak(), grid, ax=ax)
    image = ax.images[1]
    values = np.ma.filled(image.get_array(), np.nan)
    left, right, low, high = image.get_extent()
    rows, columns = np.nonzero(np.isfinite(values))
    x = left + (columns + 0.5) * (right - left) / values.shape[1]
    y = low + (rows + 0.5) * (high - low) / values.shape[0]
    inside = grid.world_to_pixel(wcs.pixel_to_world(x, y))
    assert np.all((np.abs(inside[0] - 29.5) < 30.1) & (np.abs(inside[1] - 23.5) < 24.1))  # no part at the antipodes
    assert peak_on_the_sky(image, wcs).separation(grid.pixel_to_world(*PEAK)).deg < 0.1


def test_invalid_axes():
    kappa = ConvergenceMap(one_peak(), wcs=GRID)
    spectrum = WCS({"CTYPE1": "FREQ", "CTYPE2": "STOKES", "CRVAL1": 1.4e9, "CDELT1": 1e6, "CUNIT1": "Hz"})
    with pytest.raises(TypeError, match="ax: needs celestial axes, with the longitude first"):
        kappa.plot(axes_of(spectrum))
    away = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.01, "CDELT2": 0.01,
                "CRVAL1": (CENTER.ra.deg + 180) % 360, "CRVAL2": -CENTER.dec.deg})  # fmt: skip
    with pytest.raises(ValueError, match="ax: needs a projection on which the map lies"):
        kappa.plot(axes_of(away))


def test_axes_of_a_cube():
    cube = WCS(naxis=3)
    cube.wcs.ctype = "FREQ", "GLON-TAN", "GLAT-TAN"
    galactic = CENTER.galactic
    cube.wcs.crval = 1.4e9, galactic.l.deg, galactic.b.deg
    cube.wcs.cdelt = 1e6, -SIDE, SIDE
    cube.wcs.crpix = 1, 50, 50
    import matplotlib.pyplot as plt

    ax = plt.figure().add_subplot(projection=cube, slices=(0, "x", "y"))
    ConvergenceMap(one_peak(), wcs=GRID).plot(ax)
    seen = peak_on_the_sky(ax.images[0], cube.celestial)
    assert seen.separation(GRID.pixel_to_world(*PEAK)).arcsec < 0.1 * PIXEL
    assert [coord.get_axislabel() for coord in ax.coords][1:] == ["l", "b"]
