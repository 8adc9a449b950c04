"""Area without data, contours, scale bar, beam and colours of a map."""

import itertools
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from astropy.io import fits
from astropy.nddata import NDData
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion

from astro_massmap import ConvergenceMap, plotting
from astro_massmap.plotting.colors import color_scale, round_ticks

from helpers.skies import tan_wcs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SHAPE = (80, 100)
GRID = tan_wcs(SHAPE, scale=0.4)
PIXEL = 0.4  # arcmin


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    pytest.importorskip("matplotlib.pyplot").close("all")


def halo(height=1.0, width=6.0):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return height * np.exp(-((x - 50) ** 2 + (y - 40) ** 2) / (2 * width**2))


# ---- area without data


@pytest.mark.parametrize("empty", [0.02, 0.1, 0.2, 0.4, 0.6])
def test_chance_gaps_are_not_grey_and_the_area_without_data_is(empty):
    """With pixels that are empty at random, the fraction of grey is that of the area without data."""
    rng = np.random.default_rng(1)
    area = np.zeros((160, 160), dtype=bool)
    area[:, :20] = area[60:90, 70:110] = True
    grey = plotting.unmeasured((rng.random(area.shape) < empty) | area)
    assert grey[area].mean() > 0.97
    assert grey[~area].mean() < 0.02
    assert np.isclose(grey.mean(), area.mean(), rtol=0.12)


def test_grey_has_no_single_pixels_and_is_within_the_mask():
    from scipy.ndimage import label

    rng = np.random.default_rng(2)
    mask = rng.random(SHAPE) < 0.25
    mask[:, :12] = True
    grey = plotting.unmeasured(mask)
    assert not (grey & ~mask).any()
    pieces, n = label(grey)
    assert np.bincount(pieces.ravel())[1:].min() >= 6 and n < 4


@pytest.mark.parametrize(("scale", "rotation"), [(2, 0), (3, 0), (2.5, 20), (4, 45)])
def test_grey_does_not_depend_on_the_pixel_size(scale, rotation):
    """On finer, rotated pixels the grey covers the same area of the sky, without gaps of single pixels of galaxies."""
    rng = np.random.default_rng(1)
    area = np.zeros((100, 100), dtype=bool)
    area[:, :20] = area[50:70, 60:90] = True
    mask = (rng.random(area.shape) < 0.2) | area
    y, x = (np.mgrid[: 60 * scale, : 60 * scale] / scale - 30).reshape(2, -1)
    turn = np.exp(1j * np.radians(rotation)) * (x + 1j * y)
    i, j = (np.rint(50 + part).astype(int) for part in (turn.imag, turn.real))
    inside = (i >= 0) & (i < 100) & (j >= 0) & (j < 100)
    shape = (round(len(x) ** 0.5),) * 2
    fine, hole = np.zeros((2, *shape), dtype=bool)
    fine.flat[inside], hole.flat[inside] = mask[i[inside], j[inside]], area[i[inside], j[inside]]
    grey = plotting.unmeasured(fine, scale)
    assert grey[hole].mean() > 0.95 and grey[~hole].mean() < 0.03
    assert plotting.unmeasured(fine)[~hole].mean() > 0.03  # by pixels of the map, gaps would be grey


def test_reprojected_maps_have_the_gap_size_of_galaxies():
    pytest.importorskip("reproject")
    meta = {"provenance": {"input": {"pixel_size": (0.4 * u.arcmin).to_value(u.rad)}}}
    mask = np.random.default_rng(1).random(SHAPE) < 0.15
    mask[20:40, 20:40] = True
    kappa = ConvergenceMap(halo(), wcs=GRID, mask=mask, uncertainty=0.1 + 0 * halo(), meta=meta)
    fine = kappa.reproject_to(tan_wcs((320, 400), scale=0.1), (320, 400))

    def grey(image):
        return (image.get_array()[..., 3] > 0).mean()

    assert np.isclose(grey(fine.plot().images[1]), grey(kappa.plot().images[1]), atol=0.01)
    summary = fine.plot_summary()
    assert np.isclose(grey(summary.axes[0].images[1]), grey(kappa.plot().images[1]), atol=0.01)


def test_maps_with_all_or_no_data():
    assert plotting.unmeasured(np.ones(SHAPE, dtype=bool)).all()
    assert not plotting.unmeasured(np.zeros(SHAPE, dtype=bool)).any()
    assert plotting.unmeasured(np.ones((1, 1), dtype=bool)).all()


def test_a_strip_at_the_edge_is_grey():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:2] = mask[-4:] = mask[:, :3] = True
    assert np.array_equal(plotting.unmeasured(mask), mask)


def test_the_drawn_grey_is_one_colour():
    mask = np.random.default_rng(0).random(SHAPE) < 0.05
    mask[:, :10] = True
    kappa = ConvergenceMap(halo(), wcs=GRID, mask=mask)
    overlay = kappa.plot().images[1].get_array()
    assert np.array_equal(overlay[..., 3] > 0, plotting.unmeasured(mask))
    assert len(np.unique(overlay[plotting.unmeasured(mask)], axis=0)) == 1
    assert len(kappa.plot(mask=None).images) == 1


# ---- contours


def contour_set(ax):
    return next(c for c in ax.collections if isinstance(c, matplotlib.contour.ContourSet))


def test_contours_of_signal_to_noise():
    """The contour at S/N = s of a Gaussian halo with constant noise is a circle of radius sqrt(2 ln(peak / s))."""
    kappa = ConvergenceMap(halo(), wcs=GRID, uncertainty=np.full(SHAPE, 0.1))
    contours = contour_set(kappa.plot(contours=[3, 5]))
    for path, level in zip(contours.get_paths(), (3, 5), strict=True):
        radius = np.hypot(*(path.vertices - (50, 40)).T)
        assert np.allclose(radius, 6 * np.sqrt(2 * np.log(10 / level)), atol=0.1)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 50:] = True
    (path,) = contour_set(
        ConvergenceMap(halo(), wcs=GRID, uncertainty=np.full(SHAPE, 0.1), mask=mask).plot(contours=[5])
    ).get_paths()
    assert 48 <= path.vertices[:, 0].max() <= 49  # not where there are no data
    with pytest.raises(ValueError, match="contours: needs the standard deviation"):
        ConvergenceMap(halo(), wcs=GRID).plot(contours=[3, 5])


def test_contours_of_another_map():
    ax = plotting.plot_map(halo(), GRID, contours=(NDData(other_image(), wcs=OTHER_GRID), [0.5]))
    assert np.allclose(radius_on_the_sky(ax), 5 * np.sqrt(2 * np.log(2)), atol=0.15)
    assert ax.get_xlim() == (-0.5, 99.5) and ax.get_ylim() == (-0.5, 79.5)
    same = contour_set(plotting.plot_map(halo(), GRID, contours=(halo(2.0), [1.0])))
    assert np.allclose(np.hypot(*(same.get_paths()[0].vertices - (50, 40)).T), 6 * np.sqrt(2 * np.log(2)), atol=0.1)


OTHER_GRID = tan_wcs((50, 50), scale=1.0, rotation=30)


def other_image():
    """A Gaussian around the pixel (50, 40) of the grid, with a standard deviation of 5 arcmin, on another grid."""
    y, x = np.mgrid[:50, :50]
    px, py = OTHER_GRID.world_to_pixel(GRID.pixel_to_world(50, 40))
    return np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 5.0**2))


def radius_on_the_sky(ax):
    """Distances in arcmin of the contours of some axes from the pixel (50, 40) of the grid."""
    ax.figure.canvas.draw()
    contours = contour_set(ax)
    points = contours.get_transform().transform(contours.get_paths()[0].vertices)
    seen = GRID.pixel_to_world(*ax.transData.inverted().transform(points).T)
    return seen.separation(GRID.pixel_to_world(50, 40)).to_value("arcmin")


def write_hdus(name):
    """Write an empty primary HDU, an image without coordinates, and an image of the sky with two more axes."""
    header = OTHER_GRID.to_header()
    header["CTYPE3"], header["CTYPE4"] = "FREQ", "STOKES"
    image = fits.ImageHDU(other_image()[None, None], header)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((5, 5))), image]).writeto(name)
    return name


def test_contours_of_an_hdu_and_of_a_file():
    write_hdus("xray.fits")
    with fits.open("xray.fits") as hdus:
        for image in ("xray.fits", Path("xray.fits"), hdus, hdus[2], fits.PrimaryHDU(other_image(), hdus[2].header)):
            ax = plotting.plot_map(halo(), GRID, contours=(image, [0.5]))
            assert np.allclose(radius_on_the_sky(ax), 5 * np.sqrt(2 * np.log(2)), atol=0.15)
        for image in (hdus[0], hdus[1], fits.HDUList(hdus[:2])):
            with pytest.raises(ValueError, match="contours: needs an HDU with an image"):
                plotting.plot_map(halo(), GRID, contours=(image, [0.5]))
        fits.HDUList(hdus[:2]).writeto("blind.fits")
    with pytest.raises(ValueError, match=r"contours: 'blind.fits' contains no image with celestial"):
        plotting.plot_map(halo(), GRID, contours=("blind.fits", [0.5]))
    Path("text.fits").write_text("no image")
    with pytest.raises(OSError, match=r"contours: cannot read 'text.fits': it does not begin with SIMPLE"):
        plotting.plot_map(halo(), GRID, contours=("text.fits", [0.5]))
    with pytest.raises(FileNotFoundError):
        plotting.plot_map(halo(), GRID, contours=("missing.fits", [0.5]))


def test_an_array_for_contours_needs_the_grid_of_the_map():
    for image in (other_image(), other_image().tolist(), NDData(other_image()), halo().T, halo()[0]):
        with pytest.raises(ValueError, match=r"contours: an array needs the shape \(80, 100\) of the map, got"):
            plotting.plot_map(halo(), GRID, contours=(image, [0.5]))
    for image in (object(), {"data": 1}, None, fits.BinTableHDU()):
        with pytest.raises(TypeError, match=r"contours: needs a pair .* FITS file; got"):
            plotting.plot_map(halo(), GRID, contours=(image, [0.5]))
    masked = np.ma.array(halo(2.0), mask=np.indices(SHAPE)[1] > 50)
    (path,) = contour_set(plotting.plot_map(halo(), GRID, contours=(masked, [1.0]))).get_paths()
    assert path.vertices[:, 0].max() == 50


def test_levels_outside_of_another_image_give_a_warning():
    with pytest.warns(AstropyUserWarning, match="contours: no level lies within the values of the image, .* to 1;"):
        plotting.plot_map(halo(), GRID, contours=(halo(), [2, 3]))


@pytest.mark.parametrize("contours", ["high", [np.nan], [], (halo()[0], [1.0]), (halo(), "high"), [halo(), [1.0]]])
def test_invalid_contours(contours):
    with pytest.raises(ValueError, match="contours: "):
        plotting.plot_map(halo(), GRID, std=halo(), contours=contours)


def test_colours_of_contours_and_regions():
    """Contours of another image differ from regions by default; lines and labels have a halo."""
    circle = CircleSkyRegion(GRID.pixel_to_world(50, 40), 3 * u.arcmin, meta={"text": "A"})
    same = matplotlib.colors.same_color

    def drawn(**options):
        ax = plotting.plot_map(halo(), GRID, std=0 * halo() + 0.1, regions=circle, **options)
        contours, (region,) = contour_set(ax), ax.patches
        strokes = [artist.get_path_effects()[0]._gc["foreground"] for artist in (contours, region, ax.texts[0])]
        return contours.get_edgecolor()[0], region.get_edgecolor(), strokes

    own, region, strokes = drawn(contours=[3])
    assert same(own, "black") and same(region, "black") and strokes == ["white"] * 3
    assert not same(drawn(contours=(halo(), [0.5]))[0], "black")
    own, region, strokes = drawn(contours=[3], contour_color="tab:purple", region_color="white")
    assert same(own, "tab:purple") and same(region, "white") and strokes == ["white", "black", "black"]
    for name in ("contour_color", "region_color"):
        with pytest.raises(ValueError, match=f"{name}: needs a colour of matplotlib"):
            drawn(contours=[3], **{name: "no colour"})


# ---- scale bar and beam


def length_of_bar(ax):
    """Return length in arcmin and label of the scale bar."""
    bar = next(a for a in ax.artists if hasattr(a, "size_bar"))
    ax.figure.canvas.draw()
    extent = bar.size_bar.get_children()[0].get_window_extent()
    (x0, _), (x1, _) = ax.transData.inverted().transform([(extent.x0, 0), (extent.x1, 0)])
    return (x1 - x0) * PIXEL, bar.txt_label.get_text()


def test_scale_bar_of_an_angle():
    length, text = length_of_bar(plotting.plot_map(halo(), GRID, scalebar=5 * u.arcmin))
    assert np.isclose(length, 5, rtol=0.03) and text == "5\u2032"
    length, text = length_of_bar(plotting.plot_map(halo(), GRID, scalebar=True))
    assert text == "10\u2032" and np.isclose(length, 10, rtol=0.03)


def test_scale_bar_of_a_length():
    cosmology = FlatLambdaCDM(70, 0.3)
    options = {"scalebar": 2 * u.Mpc, "redshift": 0.3, "cosmology": cosmology}
    length, text = length_of_bar(plotting.plot_map(halo(), GRID, **options))
    assert np.isclose(length, (2 * u.Mpc * cosmology.arcsec_per_kpc_proper(0.3)).to_value("arcmin"), rtol=0.03)
    assert text == "2 Mpc"


def test_invalid_scale_bars():
    for length, match in ((1 * u.Mpc, "redshift: needs"), (5 * u.deg, "scalebar: needs to be shorter")):
        with pytest.raises(ValueError, match=match):
            plotting.plot_map(halo(), GRID, scalebar=length)
    with pytest.raises(u.UnitsError, match="scalebar"):
        plotting.plot_map(halo(), GRID, scalebar=5 * u.s)


def test_the_beam_has_the_full_width_at_half_maximum():
    ax = plotting.plot_map(halo(), GRID, beam=1.5 * u.arcmin)
    ax.figure.canvas.draw()
    ellipse = ax.artists[-1].get_child().get_children()[0]
    assert np.isclose(ellipse.width * PIXEL, 1.5 * 2.3548, rtol=1e-3) and ellipse.width == ellipse.height
    with pytest.raises(u.UnitsError, match="beam"):
        plotting.plot_map(halo(), GRID, beam=1.5)


# ---- colours


def test_asinh_colours_do_not_saturate_on_a_strong_cluster():
    data = np.random.default_rng(0).normal(scale=0.01, size=SHAPE) + halo(0.8, 3)
    linear, asinh = (plotting.plot_map(data, GRID, norm=norm).images[0] for norm in ("linear", "asinh"))
    assert (data > linear.norm.vmax).any() and asinh.norm.vmax == data.max()
    colour = linear.cmap(linear.norm(0.02)), asinh.cmap(asinh.norm(0.02))
    assert 1 - min(colour[1][:3]) > 3 * (1 - min(colour[0][:3]))  # a faint structure is seen


def test_zero_is_white_on_every_scale():
    for low in (-0.5, -0.1, -0.01):
        data = np.array([[low, 0, 0.3, 1.0]])
        for norm in ("linear", "asinh"):
            scale = color_scale([data], norm)
            colormap = matplotlib.colormaps[scale["cmap"]] if isinstance(scale["cmap"], str) else scale["cmap"]
            assert min(colormap(scale["norm"](0.0))[:3]) > 0.93


@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.4), (-0.4, 0.1), (0, 0.3), (-0.2, 0.2)])
def test_zero_is_white_for_given_limits(low, high):
    image = plotting.plot_map(halo() - 0.5, GRID, vmin=low, vmax=high).images[0]
    assert image.get_clim() == (low, high) and min(image.to_rgba(np.zeros((1, 1)))[0, 0, :3]) > 0.93


def test_the_colour_bar_ends_where_the_map_does():
    image = plotting.plot_map(halo() - 0.05, GRID).images[0]
    assert image.norm.vmin == (halo() - 0.05).min() and image.colorbar.extend == "max"
    image = plotting.plot_map(halo() - 0.5, GRID).images[0]
    assert image.norm.vmin == -image.norm.vmax


def test_ticks_are_round_and_do_not_overlap():
    norm = matplotlib.colors.AsinhNorm(0.02, vmin=-0.8, vmax=0.8)
    ticks = round_ticks(norm, 0.07)
    assert ticks == [-0.5, -0.2, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.2, 0.5]
    assert np.diff(norm(ticks)).min() > 0.07
    ax = plotting.plot_map(halo(0.8), GRID, norm="asinh")
    ax.figure.canvas.draw()
    found = [t.get_window_extent() for t in ax.images[0].colorbar.ax.get_yticklabels() if t.get_text()]
    assert len(found) > 3 and not any(a.overlaps(b) for a, b in itertools.pairwise(found))


def test_norms_of_matplotlib_and_unknown_ones():
    norm = matplotlib.colors.PowerNorm(0.5, vmin=0, vmax=1)
    assert plotting.plot_map(halo(), GRID, norm=norm).images[0].norm is norm
    with pytest.raises(ValueError, match='norm: needs "linear", "asinh"'):
        plotting.plot_map(halo(), GRID, norm="log")
