"""Summaries in notebooks: complete, escaped, small, quick, and without matplotlib still there."""

import base64
import io
import re
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astro_massmap import (
    ConvergenceMap,
    GaussianPrior,
    PowerSpectrum,
    ScorePrior,
    ShearCatalog,
    ShearMap,
    Wiener,
    datasets,
)
from astro_massmap._utils.html import card, image
from astro_massmap.priors import PosteriorNetwork
from astro_massmap.validation import Comparison

from helpers.skies import tan_wcs

EVIL = "<script>alert('x')</script>\"&"
SHAPE = 300, 200


def noise():
    """The picture that compresses worst."""
    return np.random.default_rng(1).normal(size=SHAPE)


def comparison():
    table = QTable({"quantity": [EVIL], "wiener": [0.98765], "wiener error": [0.01234]})
    return Comparison(table, metrics={"wiener": None}, edges=None, density=None)


# name: (object, texts that its summary contains)
OBJECTS = {
    "catalogue": (datasets.demo, ["65,666", "34.5083, -4.9999 deg (icrs)", "0.853 x 0.853 deg", "west-north", "0.260"]),
    "shear map": (
        lambda: ShearMap(noise()[None].repeat(2, 0), wcs=tan_wcs(SHAPE), noise_std=np.abs(noise()) + 0.1),
        ["150.0000, +2.2000 deg (icrs)", "1.33 x 2 deg", "200 x 300 of 0.4 arcmin, 100% with data"],
    ),
    "map": (
        lambda: ConvergenceMap(
            noise(),
            wcs=tan_wcs(SHAPE),
            samples=noise()[None],
            uncertainty=np.full(SHAPE, 0.02),
            diagnostics={"method": EVIL},
            n_z=([0.8], [1.0]),
        ),
        ["200 x 300 of 0.4 arcmin", "0.02 (median)", "<td", ">1<", "0.8"],
    ),
    "spectrum": (lambda: PowerSpectrum([10, 100], [1e-9, 1e-10], name=EVIL), ["10 to 100"]),
    "Gaussian prior": (lambda: GaussianPrior(PowerSpectrum([10, 100], [1e-9, 1e-10], name=EVIL)), []),
    "score prior": (lambda: ScorePrior.load("default"), ["default: z_s = 1", "368370"]),
    "network of the posterior": (lambda: PosteriorNetwork.load("default"), ["trained on", "random"]),
    "comparison": (comparison, ["0.988 +- 0.012"]),
}


class Balanced(HTMLParser):
    """Check that all elements are closed."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        assert tag in ("div", "table", "tr", "th", "td", "strong", "img", "i", "thead", "tbody")
        self.open += [tag] if tag != "img" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", OBJECTS)
def test_summaries_are_complete_escaped_and_small(name):
    make, texts = OBJECTS[name]
    thing = make()
    thing._repr_html_()  # imports
    start = time.process_time()
    text = thing._repr_html_()
    assert time.process_time() - start < 1  # 0.1 s on an idle core
    assert len(text) < 60_000
    assert all(part in text for part in texts)
    assert "<script" not in text and "alert('x')" not in text.replace("&#x27;", "")
    parser = Balanced()
    parser.feed(text)
    assert not parser.open
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert len(pictures) == (name != "comparison")
    assert all(base64.b64decode(picture)[:4] == b"\x89PNG" for picture in pictures)


@pytest.mark.parametrize("name", OBJECTS)
def test_summaries_without_matplotlib_are_text(name, monkeypatch):
    for module in [m for m in sys.modules if m.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    make, texts = OBJECTS[name]
    text = make()._repr_html_()
    assert "<img" not in text and all(part in text for part in texts)


def test_the_fit_is_stated():
    kappa = datasets.demo().reconstruct(Wiener(n_samples=2), progress=False)
    text = kappa._repr_html_()
    assert "Wiener" in text and "chi^2 of the residuals" in text and "83% with data" in text


def test_extreme_maps_and_catalogues():
    wcs = tan_wcs((4, 4))
    for data, mask in ((np.zeros((4, 4)), None), (np.full((4, 4), np.nan), np.ones((4, 4), bool)), (np.eye(4), None)):
        assert "<img" in ConvergenceMap(data, wcs=wcs, mask=mask)._repr_html_()
    one = ShearCatalog(SkyCoord([10], [20], unit="deg"), [0.1], [0.1], axes="west-north", redshift=[np.nan])
    assert "10.0000, +20.0000 deg" in one._repr_html_()
    pole = ShearCatalog(SkyCoord([0, 120, 240], [89.9] * 3, unit="deg"), [0.1] * 3, [0.1] * 3, axes="west-north")
    assert "+90.0000 deg" in pole._repr_html_()
    assert image(np.full((3, 3), "text")) == ""


def test_masked_pixels_are_grey_and_the_first_row_is_below():
    from matplotlib.image import imread

    data, mask = np.array([[1.0, -1.0], [0.0, 0.0]]), np.array([[False, False], [False, True]])
    (file,) = re.findall(r"base64,([^\"]+)", image(data, mask))
    pixels = imread(io.BytesIO(base64.b64decode(file)))[..., :3]
    assert np.allclose(pixels[0, 1], 0.75, atol=0.01)
    assert pixels[1, 0, 0] > pixels[1, 0, 2] and pixels[1, 1, 2] > pixels[1, 1, 0]  # red, blue


def test_rows_without_text_are_left_out():
    assert card("A & B", {"x": None, "y": "", "z": 0}).count("<tr>") == 1
    assert "A &amp; B" in card("A & B", {})


def test_a_comparison_is_printed_as_a_table():
    assert str(comparison()).splitlines()[0].split() == ["quantity", "wiener"]
    assert "0.988 +- 0.012" in str(comparison())
