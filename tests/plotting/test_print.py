"""Figures for print: width, fonts, and settings of matplotlib that stay as they are."""

import re
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from regions import CircleSkyRegion

from astro_massmap import ConvergenceMap, PowerSpectrum, plotting

from helpers.skies import tan_wcs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SHAPE = (48, 60)
GRID = tan_wcs(SHAPE)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    pytest.importorskip("matplotlib.pyplot").close("all")


def kappa():
    rng = np.random.default_rng(0)
    return ConvergenceMap(
        rng.normal(size=SHAPE), wcs=GRID, uncertainty=np.ones(SHAPE), samples=rng.normal(size=(8, *SHAPE))
    )


def fonts(file):
    """Return the kinds of fonts of a PDF file, and whether font programs are TrueType."""
    content = Path(file).read_bytes()
    return set(re.findall(rb"/Subtype /(Type\d|CIDFontType\d|TrueType)", content)), b"/FontFile2" in content


@pytest.mark.parametrize(("width", "inches"), [("column", 3.4), ("page", 7.0), (5, 5.0)])
def test_figures_have_the_width_of_the_style(width, inches):
    circle = CircleSkyRegion(GRID.pixel_to_world(30, 20), 2 * u.arcmin, meta={"text": "A 1"})
    table = kappa().power_spectrum()
    with plotting.style(width):
        drawn = [
            kappa().plot(regions=circle, scalebar=True).figure,
            kappa().plot_summary(regions=circle, labels="numbers"),
            kappa().plot_samples(3),
            plotting.plot_spectrum(table, PowerSpectrum.default()),
        ]
        for figure in drawn:
            figure.draw_without_rendering()
            box = figure.get_tightbbox()
            assert figure.get_figwidth() == inches
            assert box.x0 > -0.02 and box.x1 < inches + 0.02  # the content fits
            assert box.y0 > -0.02 and box.height > figure.get_figheight() - 0.45  # and fills the figure


def test_text_is_legible_at_its_size():
    circle = CircleSkyRegion(GRID.pixel_to_world(30, 20), 2 * u.arcmin, meta={"text": "A 1"})
    with plotting.style("column"):
        figure = kappa().plot(regions=circle, title="title").figure
        figure.draw_without_rendering()
        sizes = [t.get_fontsize() for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    assert len(sizes) > 5 and min(sizes) >= 7 and max(sizes) <= 8


def test_pdf_files_embed_truetype_fonts_within_the_style_only():
    with plotting.style("column"):
        kappa().plot(title="field").figure.savefig("within.pdf")
    kappa().plot(title="field").figure.savefig("outside.pdf")
    kinds, truetype = fonts("within.pdf")
    assert truetype and b"Type3" not in kinds and {b"Type0", b"CIDFontType2"} <= kinds
    assert b"Type3" in fonts("outside.pdf")[0]


def test_settings_of_matplotlib_are_as_before():
    before = dict(matplotlib.rcParams)
    with pytest.raises(RuntimeError), plotting.style("page"):
        assert matplotlib.rcParams["pdf.fonttype"] == 42
        raise RuntimeError
    assert dict(matplotlib.rcParams) == before
    assert plotting.new_axes(GRID).figure.get_figwidth() == 7


@pytest.mark.parametrize("width", ["wide", 0, np.nan, None, [3.4]])
def test_invalid_widths(width):
    with pytest.raises(ValueError, match="width: needs"), plotting.style(width):
        pass


def test_a_map_has_no_title_unless_given():
    figures = [kappa().plot().figure, kappa().plot_summary(), kappa().plot_samples(2)]
    titles = [ax.get_title() for figure in figures for ax in figure.axes]
    assert titles[0] == "" and not any("Map" in title for title in titles)
