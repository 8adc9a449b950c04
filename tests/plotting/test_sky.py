"""Contents of figures: axes, colours, regions."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from regions import (
    CirclePixelRegion,
    CircleSkyRegion,
    EllipseSkyRegion,
    PixCoord,
    PointSkyRegion,
    PolygonSkyRegion,
    TextSkyRegion,
)

from astro_massmap import ConvergenceMap, ShearMap

from helpers.skies import halo_shear, tan_wcs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SHAPE = (48, 60)
GRID = tan_wcs(SHAPE)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    matplotlib.pyplot.close("all")


def kappa():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5:9, 10:20] = True
    return ConvergenceMap(np.random.default_rng(0).normal(size=SHAPE), wcs=GRID, mask=mask)


def test_a_map_is_drawn_on_the_sky_with_the_regions_on_it():
    import matplotlib.pyplot  # noqa: F401

    inside = CircleSkyRegion(GRID.pixel_to_world(30, 20), 2 * u.arcmin, meta={"text": "A 1"})
    outside = CircleSkyRegion(GRID.pixel_to_world(300, 20), 2 * u.arcmin)
    ax = kappa().plot(regions=[inside, outside, CirclePixelRegion(PixCoord(3, 3), 2)], title="field", vmax=2)
    assert ax.get_title() == "field"
    assert len(ax.patches) == 2
    assert np.allclose(ax.patches[0].center, (30, 20))
    assert [t.get_text() for t in ax.texts] == ["A 1"]
    overlay = ax.images[1].get_array()
    assert np.array_equal(overlay[..., 3] > 0, kappa().mask)
    image = ax.images[0]
    assert image.get_clim()[1] == 2 and image.origin == "lower"
    assert ax.coords[0].get_axislabel() == "RA"
    ax.figure.savefig("map.png")


def test_files_of_regions_keep_their_colours():
    with open("r.reg", "w") as file:
        file.write('fk5\ncircle(150.0, 2.2, 120") # color=green text={star}\n')
    ax = kappa().plot(regions="r.reg")
    assert ax.patches[0].get_edgecolor() == (0.0, 128 / 255, 0.0, 1.0)


def test_labels_are_not_parsed_as_formulas():
    circle = CircleSkyRegion(GRID.pixel_to_world(30, 20), 2 * u.arcmin, meta={"text": r"$\frac{z$"})
    ax = kappa().plot(regions=circle)
    assert ax.texts[0].get_text() == r"$\frac{z$"
    assert np.allclose(ax.texts[0].xy, (30, 25), atol=0.01)  # on top of a circle of five pixels
    ax.figure.savefig("label.png")


def test_labels_stay_on_the_map():
    top = CircleSkyRegion(GRID.pixel_to_world(30, 45), 1 * u.arcmin, meta={"text": "top"})
    ax = kappa().plot(regions=top)
    assert np.allclose(ax.texts[0].xy, (30, 42.5), atol=0.01) and ax.texts[0].get_va() == "top"


def test_regions_of_every_kind_are_drawn_or_left_out():
    here, there = GRID.pixel_to_world(20, 20), GRID.pixel_to_world(30, 24)
    circle, other = (CircleSkyRegion(c, 2 * u.arcmin) for c in (here, there))
    far = SkyCoord(-30, -60, unit="deg")
    far_polygon = PolygonSkyRegion(SkyCoord([-30, -31, -31], [-60, -60, -61], unit="deg"))
    regions = [circle | other, TextSkyRegion(here, "here"), PointSkyRegion(there), far_polygon]
    regions += [EllipseSkyRegion(far, 1 * u.deg, 2 * u.deg), PointSkyRegion(far)]
    ax = kappa().plot(regions=regions)
    assert len(ax.patches) == 2
    ax.figure.savefig("regions.png")


@pytest.mark.parametrize("shape", [(3, 100), (100, 3), (1, 1)])
def test_sticks_on_long_maps(shape):
    ShearMap(np.ones((2, *shape)), wcs=tan_wcs(shape), noise_std=0.1).plot()


def test_colours_of_a_map_without_negative_values_start_at_zero():
    from astro_massmap.plotting import plot_map

    image = plot_map(np.full(SHAPE, 0.3), GRID).images[0]
    assert image.get_clim()[0] == 0


def test_a_map_without_finite_pixels():
    from astro_massmap.plotting import plot_map

    plot_map(np.full(SHAPE, np.nan), GRID).figure.savefig("nothing.png")


def test_a_map_is_drawn_on_given_axes():
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.add_subplot(projection=GRID)
    assert kappa().plot(ax, colorbar=False) is ax
    assert len(figure.axes) == 1
    with pytest.raises(TypeError, match="sky coordinates"):
        kappa().plot(Figure().add_subplot())


def test_sticks_lie_along_the_tangent_of_a_halo():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    e = halo_shear(GRID.pixel_to_world(x, y), GRID.pixel_to_world(29.5, 23.5))
    noise = np.full(SHAPE, 0.1)
    noise[:6] = np.inf
    ax = ShearMap([e.real, e.imag], wcs=GRID, noise_std=noise).plot(pixels_per_stick=4)
    quiver = ax.collections[0]
    xy = quiver.get_offsets() - (29.5, 23.5)
    along = (quiver.U * xy[:, 0] + quiver.V * xy[:, 1]) / np.hypot(quiver.U, quiver.V) / np.hypot(*xy.T)
    far = np.hypot(*xy.T) > 8
    assert np.abs(along[far]).max() < 0.1
    assert xy[:, 1].min() == 5.5 - 23.5  # the first row of squares has no data
    ax.figure.savefig("sticks.png")


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"astro_massmap\[plot\]"):
        kappa().plot()


def test_figures_of_a_surface_density_are_labelled_as_such():
    samples = np.random.default_rng(0).normal(size=(3, *SHAPE))
    mass = ConvergenceMap(kappa().data, wcs=GRID, uncertainty=np.ones(SHAPE), samples=samples).surface_density(0.3, 1.0)
    figures = [
        mass.plot().figure,
        mass.plot_summary(),
        mass.plot_samples(2),
        mass.plot_cutouts(GRID.pixel_to_world(9, 9)),
    ]
    for figure in figures:
        labels = [ax.get_xlabel() + ax.get_ylabel() for ax in figure.axes]
        assert any("surface density" in label for label in labels)
        assert not any("convergence" in label or "kappa" in label for label in labels)
