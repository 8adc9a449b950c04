"""Labels of regions do not overlap, and numbers have a key."""

import itertools

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.utils.exceptions import AstropyUserWarning
from regions import CircleSkyRegion, RectangleSkyRegion

from astro_massmap import plotting

from helpers.skies import tan_wcs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SHAPE = (120, 120)
GRID = tan_wcs(SHAPE)
FLAT = np.zeros(SHAPE)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    pytest.importorskip("matplotlib.pyplot").close("all")


def crowd(n=40, seed=0):
    """Circles, half of them in a tight group."""
    rng = np.random.default_rng(seed)
    x, y = np.concatenate([rng.uniform(5, 115, (n - n // 2, 2)), rng.normal(60, 8, (n // 2, 2))]).T
    return [
        CircleSkyRegion(GRID.pixel_to_world(*place), 0.8 * u.arcmin, meta={"text": f"cluster {i}"})
        for i, place in enumerate(zip(x, y, strict=True))
    ]


def boxes(ax):
    renderer = ax.figure.canvas.get_renderer()
    return [text.get_window_extent(renderer) for text in ax.texts if text.get_visible()]


def overlapping(found):
    """Return the number of pairs of boxes that overlap."""
    return sum(bool(a.overlaps(b)) for a, b in itertools.combinations(found, 2))


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("labels", ["text", "numbers"])
def test_labels_do_not_overlap(width, labels):
    n = 15 if (width, labels) == ("column", "text") else 40
    with plotting.style(width):
        ax = plotting.plot_map(FLAT, GRID, regions=crowd(n), labels=labels)
        ax.figure.canvas.draw()
        found = boxes(ax)
    assert len(found) == n and overlapping(found) == 0
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 for box in found)
    assert all(ax.bbox.y0 <= box.y0 and box.y1 <= ax.bbox.y1 for box in found)


def test_labels_are_separated_again_for_another_size():
    ax = plotting.plot_map(FLAT, GRID, regions=crowd(30))
    for size in ((7, 6), (5, 5), (9, 6)):
        ax.figure.set_size_inches(size)
        ax.figure.canvas.draw()
        assert overlapping(boxes(ax)) == 0


def test_a_single_label_is_above_its_region_and_next_to_it():
    region = crowd(1)[0]
    ax = plotting.plot_map(FLAT, GRID, regions=region)
    ax.figure.canvas.draw()
    (box,), (circle,) = boxes(ax), ax.patches
    outline = circle.get_window_extent()
    assert 0 < box.y0 - outline.y1 < 5 and abs(box.x0 + box.x1 - outline.x0 - outline.x1) < 2


def test_labels_are_not_below_the_scale_bar():
    region = CircleSkyRegion(GRID.pixel_to_world(108, 4), 0.8 * u.arcmin, meta={"text": "A"})
    with_bar, without = (plotting.plot_map(FLAT, GRID, regions=region, scalebar=bar) for bar in (True, None))
    found = []
    for ax in (with_bar, without):
        ax.figure.canvas.draw()
        found += boxes(ax)
    bar = next(a for a in with_bar.artists if hasattr(a, "size_bar")).get_window_extent()
    assert not bar.overlaps(found[0]) and bar.overlaps(found[1])


def test_distant_labels_have_a_line_to_their_region():
    from matplotlib.collections import LineCollection

    same = [
        RectangleSkyRegion(GRID.pixel_to_world(60, 60), 1 * u.arcmin, 1 * u.arcmin, meta={"text": f"cluster {i}"})
        for i in range(24)
    ]
    ax = plotting.plot_map(FLAT, GRID, regions=same)
    ax.figure.canvas.draw()
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    found = boxes(ax)
    assert overlapping(found) == 0 and len(found) == 24
    box = ax.patches[0].get_window_extent().padded(6)  # outlines are those of whole pixels
    assert 4 < len(lines.get_segments()) < 24
    assert all(box.contains(*start) for start, _ in lines.get_segments())
    assert all(any(b.padded(2).contains(*end) for b in found) for _, end in lines.get_segments())


def test_labels_without_a_free_position_are_left_out_with_a_warning():
    same = [CircleSkyRegion(GRID.pixel_to_world(60, 60), 1 * u.arcmin, meta={"text": "a long name " * 6})] * 90
    ax = plotting.plot_map(FLAT, GRID, regions=same)
    with pytest.warns(AstropyUserWarning, match="labels: no free position for .* of 90"):
        ax.figure.canvas.draw()
    assert all(len(text.get_text()) == 30 for text in ax.texts)
    assert 0 < len(boxes(ax)) < 90 and overlapping(boxes(ax)) == 0


def test_numbers_are_rows_of_the_table_with_a_key():
    center = SkyCoord(GRID.pixel_to_world([20, 300, 70, 90], [20, 20, 60, 100]))
    table = QTable({"ra": center.ra, "dec": center.dec, "radius": [1, 1, 1, 1] * u.arcmin})
    table["label"] = ["first", "outside", "$third$", "fourth"]
    ax = plotting.plot_map(FLAT, GRID, regions=table, labels="numbers")
    assert [text.get_text() for text in ax.texts] == ["1", "3", "4"]
    (key,) = ax.figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["1: first", "3: $third$", "4: fourth"]
    ax.figure.canvas.draw()
    assert key.get_window_extent().y1 < ax.get_tightbbox(ax.figure.canvas.get_renderer()).y0  # below the map


def keyed(*places):
    """Circles with names at pixels of the grid."""
    return [
        CircleSkyRegion(GRID.pixel_to_world(*place), 1 * u.arcmin, meta={"text": f"name {place[0]}"})
        for place in places
    ]


def key_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def axes_of_an_image(figure, xlim=(-0.5, 119.5), **kwargs):
    """Axes of a finer grid rotated by 90 degrees, on which columns of the map are rows, with an image."""
    ax = figure.add_subplot(projection=tan_wcs((240, 240), scale=0.2, rotation=90), **kwargs)
    ax.imshow(np.zeros((240, 240)), origin="lower")
    ax.set_ylim(2 * np.array(xlim))
    return ax


@pytest.mark.parametrize("limits", [(-0.5, 70), (-0.5, 61), (30, 119.5), (64, 119.5)])
def test_the_key_lists_regions_on_the_axes_only(limits):
    ax = axes_of_an_image(matplotlib.pyplot.figure(layout="constrained"), limits)
    plotting.plot_map(FLAT, GRID, ax=ax, regions=keyed((20, 60), (61, 60), (100, 60)), labels="numbers")
    ax.figure.canvas.draw()
    visible = [text.get_text() for text in ax.texts if text.get_visible()]
    assert [entry.split(":")[0] for entry in key_of(ax.figure)] == visible
    assert 0 < len(visible) < 3


@pytest.mark.parametrize("layout", [None, "none", "constrained", "compressed"])
@pytest.mark.parametrize("bar", [False, True])
def test_the_key_is_below_the_axes(layout, bar):
    figure = matplotlib.pyplot.figure(layout=layout)
    ax = axes_of_an_image(figure)
    if bar:
        figure.colorbar(ax.images[0], ax=ax)
    regions = keyed(*np.random.default_rng(0).uniform(10, 110, (30, 2)).round(1))
    plotting.plot_map(FLAT, GRID, ax=ax, regions=regions, labels="numbers", image=False)
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    assert len(key_of(figure)) == 30
    assert 0 < figure.legends[0].get_window_extent().y1 < min(a.get_tightbbox(renderer).y0 for a in figure.axes)


def test_a_key_without_space_is_an_error():
    regions = keyed((20, 60), (61, 60))
    for layout, place in (("tight", None), (None, [0.1, 0.1, 0.8, 0.8])):
        figure = matplotlib.pyplot.figure(layout=layout)
        ax = figure.add_subplot(projection=GRID) if place is None else figure.add_axes(place, projection=GRID)
        with pytest.raises(ValueError, match="labels: no space for the key of numbers below the axes; use a figure"):
            plotting.plot_map(FLAT, GRID, ax=ax, regions=regions, labels="numbers")
        assert not figure.legends


def test_axes_of_a_figure_have_one_key():
    figure, axes = matplotlib.pyplot.subplots(1, 2, layout="constrained", subplot_kw={"projection": GRID})
    regions = keyed((20, 60), (61, 60), (100, 60))
    for ax, limit in zip(axes, (40, 90), strict=True):
        ax.set(xlim=(limit - 30, limit), ylim=(0, 119))
        plotting.draw_regions(ax, regions, GRID, SHAPE, labels="numbers")
    assert key_of(figure) == ["1: name 20", "2: name 61"]


def test_regions_without_labels():
    ax = plotting.plot_map(FLAT, GRID, regions=crowd(3), labels=False)
    assert len(ax.patches) == 3 and not ax.texts and not ax.figure.legends
    regions = crowd(3)
    plotting.draw_regions(ax, regions, GRID, SHAPE, labels="numbers")
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3"]
    assert regions[0].meta["text"] == "cluster 0"  # the argument is not changed


def test_invalid_labels():
    with pytest.raises(ValueError, match="labels: needs"):
        plotting.plot_map(FLAT, GRID, regions=crowd(3), labels="names")
