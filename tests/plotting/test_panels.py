"""
Figures, by their parts and as pictures.

The pictures in ``baseline`` have no text, which depends on fonts. After an intended change, inspect new pictures:
``pytest tests/plotting/test_panels.py --mpl-generate-path=$PWD/tests/plotting/baseline``.
"""

import re
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from regions import CirclePixelRegion, CircleSkyRegion, PixCoord
from scipy.ndimage import gaussian_filter

from astro_massmap import PowerSpectrum, plotting as figures

from helpers.cases import each_case
from helpers.skies import tan_wcs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SHAPE = (40, 52)
GRID = tan_wcs(SHAPE)
HALO = GRID.pixel_to_world(34, 26)
COMPARED = {"style": "default", "savefig_kwargs": {"dpi": 50}, "tolerance": 3, "remove_text": True}
OLD = tuple(int(n) for n in matplotlib.__version__.split(".")[:2]) < (3, 11)  # places the panels elsewhere


def picture(test):
    """Compare the figure of a test with the picture of its name."""
    return pytest.mark.skipif(OLD, reason="matplotlib 3.11")(pytest.mark.mpl_image_compare(**COMPARED)(test))


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    pytest.importorskip("matplotlib.pyplot").close("all")


def field(strength=1.0, phase=0.0):
    """Halo on a periodic background."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = 0.01 * np.sin(x / 4 + phase) * np.cos(y / 5 - phase)
    return waves + 0.08 * strength * np.exp(-((x - 34) ** 2 + (y - 26) ** 2) / 18)


def samples(n=16):
    """Samples, two in three with the halo."""
    return np.array([field(i % 3 != 2, 0.7 * i) for i in range(n)])


def mask():
    hidden = np.zeros(SHAPE, dtype=bool)
    hidden[:6] = hidden[12:18, 8:14] = True
    return hidden


def circle(x=34, y=26, text="A 1"):
    return CircleSkyRegion(GRID.pixel_to_world(x, y), 2 * u.arcmin, meta={"text": text})


def spectrum_table():
    low = np.geomspace(500, 8000, 7)[:-1]
    table = QTable({"low": low, "high": low * 16 ** (1 / 6)})
    table["ell"] = np.sqrt(table["low"] * table["high"])
    table["cl_samples"] = PowerSpectrum.default()(table["ell"]) * [1.1, 0.8, 1.2, 1, 0.95, 1]
    table["cl"] = table["cl_samples"] * [0.9, 0.8, 0.5, 0.2, 0.05, -0.01]
    table["lower"], table["upper"] = table["cl_samples"] * 0.8, table["cl_samples"] * 1.3
    return table


def counts_table():
    low = np.arange(6) * 0.01
    table = QTable({"low": low, "high": low + 0.01, "mean_map": [12, 5, 2, 0, 0, 0]})
    table["count"] = [30, 14.5, 6, 2, 0.5, 0]
    table["lower"], table["upper"] = [25, 11, 4, 1, 0, 0], [34, 18, 8, 3, 1, 0.0]
    return table


def sky_axes(figure):
    return [ax for ax in figure.axes if hasattr(ax, "coords")]


def labels(ax):
    return [text.get_text() for text in ax.texts]


# ---- pictures


def without_text(figure):
    for text in figure.findobj(matplotlib.text.Text):
        text.set_visible(False)
    for coord in (coord for ax in sky_axes(figure) for coord in ax.coords):
        coord.set_ticklabel_visible(False)
        coord.set_axislabel(" ")
    return figure


@picture
@pytest.mark.slow
def test_picture_of_samples():
    return without_text(figures.plot_samples(samples(), GRID, n=5, mean=field(0.7), regions=circle()))


@picture
def test_picture_of_a_summary():
    std = 0.01 + 0.01 * mask() + 0.1 * np.abs(field())
    return without_text(figures.plot_summary(field(), std, GRID, mask(), regions=circle()))


@picture
def test_picture_of_cutouts():
    return without_text(figures.plot_cutouts(samples(), GRID, HALO, 9 * u.arcmin, n=6, regions=circle()))


@picture
def test_picture_of_a_detection():
    values = 0.02 + 0.015 * np.sin(np.arange(40))
    return without_text(figures.plot_detection(values, 0.015))


@picture
def test_picture_of_a_spectrum():
    return without_text(figures.plot_spectrum(spectrum_table(), theory=PowerSpectrum.default()))


@picture
def test_picture_of_peak_counts():
    return without_text(figures.plot_peak_counts(counts_table()))


# ---- maps side by side


def test_samples_are_on_one_scale_with_the_mean_first():
    figure = figures.plot_samples(samples(), GRID, n=5, mean=field(0.7), regions=[circle(), circle(10, 10, "B")])
    axes = sky_axes(figure)
    assert [ax.get_title() for ax in axes] == ["mean", *(f"sample {i}" for i in range(1, 6))]
    assert np.array_equal(axes[0].images[0].get_array(), field(0.7))
    assert all(np.array_equal(ax.images[0].get_array(), s) for ax, s in zip(axes[1:], samples(), strict=False))
    limits = {ax.images[0].get_clim() for ax in axes}
    assert len(limits) == 1
    (low, high) = limits.pop()
    shown = np.array([field(0.7), *samples(5)])
    assert high == np.quantile(np.abs(shown), 0.998)
    assert low == shown.min() > -high / 4  # and not -high: a strong peak, and nothing as far below zero
    white = axes[1].images[0].to_rgba(np.zeros((1, 1)))[0, 0]
    assert min(white[:3]) > 0.95
    assert all(len(ax.patches) == 2 for ax in axes)
    assert labels(axes[0]) == ["A 1", "B"] and not any(labels(ax) for ax in axes[1:])
    colorbar = next(ax for ax in figure.axes if not hasattr(ax, "coords"))
    assert "kappa" in colorbar.get_ylabel()


def test_the_number_of_panels_is_at_most_that_of_samples():
    assert len(sky_axes(figures.plot_samples(samples(3), GRID))) == 3
    assert len(sky_axes(figures.plot_samples(samples(20), GRID))) == 8
    assert len(sky_axes(figures.plot_samples(samples(1), GRID))) == 1


@pytest.mark.parametrize("n", [2, 5, 7, 11])
@pytest.mark.parametrize("width", [None, "column", "page"])
@pytest.mark.slow
def test_no_panel_is_empty(n, width):
    """The colour bar is in the part of the grid in which a panel would be empty."""
    from contextlib import nullcontext

    with nullcontext() if width is None else figures.style(width):
        figure = figures.plot_samples(samples(n), GRID, n=n)
    cells = sum(len(ax.get_subplotspec().rowspan) * len(ax.get_subplotspec().colspan) for ax in figure.axes
                if ax.get_subplotspec() is not None)  # fmt: skip
    rows, columns = sky_axes(figure)[0].get_subplotspec().get_gridspec().get_geometry()
    assert len(sky_axes(figure)) == n and cells == rows * columns


def test_smoothing_is_gaussian_and_ignores_missing_pixels():
    torn = samples(2)
    torn[1, :, :5] = np.nan
    figure = figures.plot_samples(torn, GRID, smoothing=0.8 * u.arcmin)
    first, second = (ax.images[0].get_array() for ax in sky_axes(figure))
    inner = np.s_[8:-8, 13:-8]
    for drawn, sample in ((first, torn[0]), (second, samples(2)[1])):
        assert np.allclose(drawn[inner], gaussian_filter(sample, 2.0)[inner], atol=1e-4)
    assert np.ma.getmaskarray(second)[:, :5].all() and not np.ma.getmaskarray(second)[:, 5:].any()
    flat = figures.plot_samples(np.where(np.isnan(torn), np.nan, 0.02), GRID, smoothing=1 * u.arcmin)
    assert np.allclose(np.ma.compressed(sky_axes(flat)[1].images[0].get_array()), 0.02)


def test_labels_that_would_overlap_are_left_out():
    many = [circle(2 * i + 1, 20, f"c{i}") for i in range(25)]
    for figure in (
        figures.plot_samples(samples(2), GRID, regions=many),
        figures.plot_summary(field(), None, GRID, regions=many),
    ):
        (ax, *_) = sky_axes(figure)
        assert len(ax.patches) == 25 and not labels(ax)
    assert many[0].meta["text"] == "c0"
    far = [CirclePixelRegion(PixCoord(1000, i), 2, meta={"text": "far"}) for i in range(25)]
    assert labels(sky_axes(figures.plot_samples(samples(2), GRID, regions=[circle(), *far]))[0]) == ["A 1"]


def test_a_summary_shows_map_uncertainty_and_their_ratio():
    std = np.full(SHAPE, 0.02)
    std[0, 0] = 0
    figure = figures.plot_summary(field(), std, GRID, mask(), regions=circle())
    axes = sky_axes(figure)
    shown = [ax.images[0].get_array() for ax in axes]
    assert np.array_equal(shown[0], field()) and np.array_equal(shown[1], std)
    assert np.allclose(shown[2].ravel()[1:], (field() / 0.02).ravel()[1:]) and np.ma.getmaskarray(shown[2])[0, 0]
    assert all(np.array_equal(ax.images[1].get_array()[..., 3] > 0, mask()) for ax in axes)
    assert [len(ax.patches) for ax in axes] == [1, 0, 1]
    assert len(sky_axes(figures.plot_summary(field(), None, GRID, mask()))) == 1


def test_cutouts_show_the_position_and_are_empty_beyond_the_edge():
    figure = figures.plot_cutouts(samples(), GRID, GRID.pixel_to_world(34.3, 26.3), 4 * u.arcmin, n=3)
    for ax, sample in zip(sky_axes(figure), samples(3), strict=True):
        assert np.array_equal(ax.images[0].get_array(), sample[22:32, 30:40])
    corner = figures.plot_cutouts(samples(), GRID, GRID.pixel_to_world(1.3, 2.3), [4, 6] * u.arcmin, n=1)
    shown = sky_axes(corner)[0].images[0].get_array()
    assert shown.shape == (10, 15)
    assert np.array_equal(shown[2:, 6:], samples(1)[0, :8, :9]) and np.ma.getmaskarray(shown)[:2].all()


def test_pixel_regions_keep_their_sky_position_in_cutouts():
    pixels = CirclePixelRegion(PixCoord(30, 22), 2, meta={"text": "here"})
    figure = figures.plot_cutouts(samples(), GRID, GRID.pixel_to_world(34.3, 26.3), 4 * u.arcmin, n=2, regions=pixels)
    first, second = sky_axes(figure)
    assert np.allclose(first.patches[0].center, (0, 0), atol=1e-6) and len(second.patches) == 1
    assert pixels.meta["text"] == "here" and labels(first) == ["here"] and not labels(second)


@pytest.mark.parametrize("rotation", [-40, 0, 35, 150, 200])
@pytest.mark.parametrize("flipped", [False, True])
def test_north_is_up_and_east_is_left(rotation, flipped):
    grid = tan_wcs(SHAPE, rotation=rotation, flipped=flipped)
    center = grid.pixel_to_world(26, 20)
    places = [center, center.directional_offset_by(0 * u.deg, 3 * u.arcmin)]
    places.append(center.directional_offset_by(90 * u.deg, 3 * u.arcmin))
    figure = figures.plot_samples(samples(2), grid, regions=CircleSkyRegion(center, 2 * u.arcmin, meta={"text": "A"}))
    for ax in sky_axes(figure):
        here, north, east = ax.transData.transform([grid.world_to_pixel(place) for place in places])
        assert north[1] > here[1] and east[0] < here[0]
    first = sky_axes(figure)[0]
    assert first.transData.transform(first.texts[0].xy)[1] > first.transData.transform(grid.world_to_pixel(center))[1]


def test_only_one_panel_has_tick_labels_and_they_are_in_degrees():
    figure = figures.plot_samples(samples(4), GRID)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig("samples.svg")
    written = re.findall(r"<text[^>]*>([^<]*)</text>", Path("samples.svg").read_text(encoding="utf-8"))
    assert written.count("RA [deg]") == written.count("Dec [deg]") == 1
    ra, dec = ([text for text in written if re.fullmatch(f"{start}\\.\\d+", text)] for start in ("1(49|50)", "2"))
    assert 2 <= len(ra) == len(set(ra)) <= 5 and 2 <= len(dec) == len(set(dec)) <= 5


@pytest.mark.parametrize("shape", [(3, 60), (60, 3), (1, 1)])
def test_maps_of_every_shape(shape):
    maps = np.zeros((3, *shape))
    figures.plot_samples(maps, tan_wcs(shape)).savefig("samples.png")
    figures.plot_summary(maps[0], maps[0], tan_wcs(shape), np.ones(shape, dtype=bool)).savefig("summary.png")


def test_maps_without_finite_pixels():
    unknown = np.full((2, *SHAPE), np.nan, dtype=np.float32)
    figures.plot_samples(unknown, GRID, smoothing=1 * u.arcmin).savefig("samples.png")
    figures.plot_summary(unknown[0], unknown[0], GRID).savefig("summary.png")


@each_case(
    ("center", "size", "error", "message"),
    [
        (GRID.pixel_to_world(500, 20), 4 * u.arcmin, ValueError, "center"),
        (SkyCoord(-30, -2.2, unit="deg"), 4 * u.arcmin, ValueError, "center"),
        ((150, 2), 4 * u.arcmin, TypeError, "center"),
        (HALO.reshape(1), 4 * u.arcmin, TypeError, "center"),
        (HALO, 4, u.UnitsError, "size"),
        (HALO, -4 * u.arcmin, ValueError, "size"),
        (HALO, 1 * u.arcsec, ValueError, "at least a pixel"),
    ],
)
def test_invalid_centres_and_sizes_of_cutouts(center, size, error, message):
    with pytest.raises(error, match=message):
        figures.plot_cutouts(samples(), GRID, center, size)


def test_invalid_samples():
    with pytest.raises(ValueError, match="samples"):
        figures.plot_samples(field(), GRID)
    with pytest.raises(ValueError, match="samples"):
        figures.plot_cutouts(None, GRID, HALO, 4 * u.arcmin)
    with pytest.raises(ValueError, match="n: "):
        figures.plot_samples(samples(), GRID, n=0)
    with pytest.raises(u.UnitsError, match="smoothing"):
        figures.plot_samples(samples(), GRID, smoothing=2)


# ---- numbers


def bars(ax, color):
    color = matplotlib.colors.to_rgba(color)
    return [patch for patch in ax.patches if np.allclose(patch.get_facecolor()[:3], color[:3])]


@pytest.mark.parametrize("n", [1, 2, 17, 400])
@pytest.mark.parametrize("threshold", [0.03, 0.0, -0.1, 0.2])
def test_a_detection_counts_the_samples_above(n, threshold):
    values = np.random.default_rng(n).normal(0.03, 0.02, n)
    (ax,) = figures.plot_detection(values, threshold, label="cluster $x").axes
    above = int((values > threshold).sum())
    assert sum(patch.get_height() for patch in bars(ax, "#c44e43")) == above
    assert sum(patch.get_height() for patch in bars(ax, "#3a76af")) == n - above
    assert all(patch.get_x() >= threshold - 1e-9 for patch in bars(ax, "#c44e43") if patch.get_height())
    title = ax.get_title(loc="left")
    assert title.startswith("cluster $x\n") and f"{above} of {n} samples" in title
    assert ax.get_xlim()[0] <= threshold <= ax.get_xlim()[1]
    ax.figure.savefig("detection.png")


@each_case("values", [[], [np.nan, np.nan], [[0.1, 0.2]]])
def test_invalid_values_of_a_detection(values):
    with pytest.raises(ValueError, match="values"):
        figures.plot_detection(values, 0.1)


def test_identical_samples():
    figures.plot_detection(np.full(5, 0.02), 0.02).savefig("same.png")
    figures.plot_detection(np.full(5, 0.02), 0.9).savefig("far.png")


def test_a_spectrum_shows_map_samples_and_theory():
    table, spectrum = spectrum_table(), PowerSpectrum.default()
    (ax,) = figures.plot_spectrum(table, theory=spectrum).axes
    dots, theory = (line for line in ax.lines if line.get_label() in ("map", "theory"))
    scale = table["ell"] * (table["ell"] + 1) / (2 * np.pi)
    assert np.allclose(dots.get_ydata(), (scale * table["cl"])[:5])  # the last is negative
    x = theory.get_xdata()
    assert np.allclose(theory.get_ydata(), x * (x + 1) / (2 * np.pi) * spectrum(x))
    assert np.allclose([p.get_x() for p in ax.patches], table["low"])
    assert np.allclose([p.get_y() for p in ax.patches], scale * table["lower"])
    assert np.allclose([p.get_y() + p.get_height() for p in ax.patches], scale * table["upper"])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["map", "mean of the samples", "68% of the samples", "theory"]


def test_a_spectrum_with_noise_shows_where_the_noise_exceeds_the_theory():
    density, shape_noise, spectrum = 30 / u.arcmin**2, 0.26, PowerSpectrum.default()
    level = (shape_noise**2 / density).to_value(u.sr)
    (ax,) = figures.plot_spectrum(spectrum_table(), spectrum, noise=shape_noise**2 / density).axes
    noise = next(line for line in ax.lines if line.get_label() == "shape noise")
    x = noise.get_xdata()
    assert np.allclose(noise.get_ydata(), x * (x + 1) / (2 * np.pi) * level)
    (area,) = (c for c in ax.collections if c.get_label() == "noise > theory")
    start = area.get_paths()[0].vertices[:, 0].min()
    assert 500 < start < 8000 and np.isclose(spectrum(np.array([start]))[0], level, rtol=0.02)
    (same,) = figures.plot_spectrum(spectrum_table(), noise=lambda ell: np.full_like(ell, level)).axes
    assert np.allclose(next(x for x in same.lines if "noise" in x.get_label()).get_ydata(), noise.get_ydata())
    with pytest.raises(u.UnitsError):
        figures.plot_spectrum(spectrum_table(), noise=1 * u.arcmin)
    with pytest.raises(ValueError, match="noise: needs one positive C_ell"):
        figures.plot_spectrum(spectrum_table(), noise=-1.0)


def test_a_spectrum_without_samples_and_with_empty_bands():
    table = spectrum_table()
    for name in ("cl_samples", "lower", "upper"):
        table[name] = np.nan
    table["cl"][0], table["ell"][0], table["low"][0] = np.nan, np.nan, 0
    (ax,) = figures.plot_spectrum(table, theory=PowerSpectrum.default()).axes
    assert len(ax.lines[0].get_xdata()) == 4 and not ax.patches
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["map", "theory"]
    ax.figure.savefig("spectrum.png")


def test_peak_counts():
    table = counts_table()
    (ax,) = figures.plot_peak_counts(table).axes
    assert np.array_equal(ax.lines[0].get_ydata(), table["mean_map"])
    assert np.allclose([p.get_y() + p.get_height() for p in ax.patches], table["upper"])
    assert "peaks" in ax.get_ylabel()
    table.meta["minima"] = True
    assert "minima" in figures.plot_peak_counts(table).axes[0].get_xlabel()


# ---- given figures


def test_figures_are_drawn_into_given_figures():
    from matplotlib.figure import Figure

    calls = [
        lambda f: figures.plot_samples(samples(2), GRID, figure=f),
        lambda f: figures.plot_summary(field(), np.ones(SHAPE), GRID, figure=f),
        lambda f: figures.plot_cutouts(samples(2), GRID, HALO, 4 * u.arcmin, figure=f),
        lambda f: figures.plot_detection([0.1, 0.2], 0.15, figure=f),
        lambda f: figures.plot_spectrum(spectrum_table(), figure=f),
        lambda f: figures.plot_peak_counts(counts_table(), figure=f),
    ]
    for call in calls:
        figure = Figure()
        assert call(figure) is figure and figure.axes
        left = Figure().subfigures(1, 2)[0]
        assert call(left) is left and left.axes
    assert not matplotlib.pyplot.get_fignums()


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    for call in (lambda: figures.plot_samples(samples(2), GRID), lambda: figures.plot_detection([1], 0)):
        with pytest.raises(ImportError, match=r"astro_massmap\[plot\]"):
            call()
