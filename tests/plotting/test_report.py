"""Reports: their contents, parsed as HTML; that they are self-contained, and that text is escaped."""

import base64
import io
import struct
from html.parser import HTMLParser

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable
from regions import CircleSkyRegion

from astro_massmap import ConvergenceMap, datasets
from astro_massmap.plotting import report
from astro_massmap.plotting.report import write_report

from helpers.cases import each_case
from helpers.skies import tan_wcs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
SHAPE = (40, 48)
GRID = tan_wcs(SHAPE)
VOID = {"meta", "img", "link", "br", "hr", "input", "base", "embed", "source", "area", "col", "track", "wbr"}


class Page(HTMLParser):
    """Elements with their attributes, and text by section; an AssertionError for tags that do not match."""

    def __init__(self, file):
        super().__init__()
        self.source = open_text(file)
        self.elements, self.open, self.text, self.sections = [], [], {}, []
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_decl(self, declaration):
        self.declaration = declaration

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.sections.append(data)
        elif self.open and self.open[-1] != "style":
            self.text.setdefault(self.sections[-1] if self.sections else "head", []).append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self, section):
        return [text for text in self.text[section] if text]


def open_text(file):
    with open(file, encoding="utf-8") as stream:
        return stream.read()


def circles(*places):
    return [
        CircleSkyRegion(GRID.pixel_to_world(*place), 2 * u.arcmin, meta={"text": name})
        for name, place in zip("ABCDEF", places, strict=False)
    ]


def kappa(n=8, **options):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    halo = 0.2 * np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 18)
    samples = halo + np.random.default_rng(0).normal(0, 0.02, (max(n, 1), *SHAPE))
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :6] = True
    defaults = {"wcs": GRID, "mask": mask, "uncertainty": np.full(SHAPE, 0.02), "samples": samples if n else None}
    return ConvergenceMap(samples.mean(axis=0), **(defaults | options))


def pictures(page):
    sources = [attributes["src"] for attributes in page.all("img")]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    return [base64.b64decode(source.partition(",")[2], validate=True) for source in sources]


def write(*arguments, **options):
    write_report("report.html", *arguments, **options)
    return Page("report.html")


REGIONS = circles((30, 20), (15, 30), (500, 500))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Report with all possible parts."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_report(file, kappa(), regions=REGIONS, threshold=0.05, title="A field")
    return Page(file)


def test_a_report_has_all_parts(page):
    assert page.declaration == "DOCTYPE html"
    assert page.sections == ["The field", "The map", "Samples", "Clusters", "Power spectrum"]
    assert page.text["head"].count("A field") == 2  # in the head, and as heading
    assert ("html", {"lang": "en"}) in page.elements
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    field = page.words("The field")
    assert "19.2 x 16 arcmin" in field and "48 x 40 pixels of 0.4 arcmin" in field
    assert any(text.startswith("87.5%") for text in field) and "8 of the posterior" in field


def test_pictures_are_png_of_the_stated_size_with_alternative_text(page):
    images = page.all("img")
    assert len(images) == 4
    for attributes, data in zip(images, pictures(page), strict=True):
        assert len(attributes["alt"]) > 20
        assert struct.unpack(">II", data[16:24]) == (int(attributes["width"]), int(attributes["height"]))
        pixels = matplotlib.image.imread(io.BytesIO(data), format="png")
        assert pixels[..., :3].std() > 0.01
    assert not matplotlib.pyplot.get_fignums()  # figures are closed


def test_the_table_of_clusters_is_that_of_the_map(page):
    words = page.words("Clusters")
    found, spread = kappa().detection_probability(REGIONS, 0.05), kappa().region_statistics(REGIONS)
    assert "P(κ > 0.05)" in words
    first = words[words.index("A") :][:9]
    assert first[1:3] == [f"{REGIONS[0].center.ra.deg:.4f}", f"{REGIONS[0].center.dec.deg:.4f}"]
    assert first[3:5] == [f"{found['kappa'][0]:.4f}", f"{spread['std'][0]:.4f}"]
    assert first[5] == f"{spread['lower'][0]:.4f} to {spread['upper'][0]:.4f}"
    # Wilson intervals of 8 of 8 and 0 of 8 samples: 1 / (1 + z^2 / 8), with z = 0.9945 at 68 %
    assert first[6:] == [f"{spread['signal_to_noise'][0]:.1f}", "1.00 (0.89 to 1.00)", "100%"]
    assert words[words.index("B") :][7] == "0.00 (0.00 to 0.11)"
    assert words[words.index("C") :][3:8] == ["n/a"] * 5  # outside of the field
    assert any("highest signal to noise, A" in text for text in words)
    assert not any("Gaussian prior" in text for text in words)


@pytest.mark.slow
def test_regions_without_data_are_marked():
    words = write(kappa(), regions=circles((30, 20), (0, 20)), threshold=0.05).words("Clusters")
    assert words[words.index("A") :][8] == "100%" and words[words.index("B") :][8] == "0%, prior only"


@pytest.mark.slow
def test_clusters_are_sorted_by_probability_then_by_signal_to_noise(page):
    rng, y, x = np.random.default_rng(3), *np.mgrid[: SHAPE[0], : SHAPE[1]]
    places = (0, 20), (12, 8), (24, 30), (38, 12), (30, 20)  # A is where there are no data
    heights = 0.4, 0.0, 0.12, 0.05, 0.2
    halos = sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 18) for h, (a, b) in zip(heights, places, strict=True))
    samples = halos + rng.normal(0, 0.02, (64, 1, 1)) + rng.normal(0, 0.02, (64, *SHAPE))
    words = write(kappa(samples=samples), regions=circles(*places), threshold=0.05).words("Clusters")
    assert [word for word in words if word in "ABCDE"] == ["E", "C", "D", "B", "A"]
    order = page.words("Clusters")
    assert order.index("A") < order.index("B") < order.index("C")
    assert any("Sorted by this fraction, then by signal to noise" in text for text in order)


@pytest.mark.slow
def test_columns_of_the_table_of_clusters():
    here = GRID.pixel_to_world([30, 15], [20, 30])
    clusters = QTable(
        {"name": ["A", "B"], "center": here, "radius": [2, 2] * u.arcmin, "redshift": [0.25, 0.5], "m": [2, 1] * u.Msun}
    )
    page = write(kappa(), regions=clusters, threshold=0.05, keep_columns=["redshift", "m"])
    words = page.words("Clusters")
    assert words[:4] == ["region", "redshift", "m [solMass]", "RA [deg]"]
    assert words[words.index("A") + 1 :][:2] == ["0.25", "2"]
    with pytest.raises(ValueError, match="keep_columns: no column 'z'"):
        write(kappa(), regions=clusters, keep_columns="z", overwrite=True)


@pytest.mark.slow
def test_object_and_title():
    image = kappa(0, meta={"OBJECT": "Abell 370", "n_galaxies": 65666})
    page = write(image)
    assert page.text["head"].count("Mass map of Abell 370") == 2
    field = page.words("The field")
    assert field[field.index("object") + 1] == "Abell 370" and field[field.index("galaxies") + 1] == "65,666"
    image.meta["bin"], image.n_z = 3, 0.74
    page = write(image, overwrite=True)
    assert page.text["head"].count("Mass map of Abell 370, bin 3, mean source redshift 0.74") == 2
    assert "bin 3, mean source redshift 0.74" in page.words("The field")
    image.meta.pop("bin")
    page = write(image, object="RX J1347", overwrite=True)
    assert "Mass map of RX J1347" in page.text["head"] and "RX J1347" in page.words("The field")
    assert "A field" in write(image, title="A field", overwrite=True).text["head"]
    assert any(text.startswith("Mass map around 150") for text in write(kappa(0), overwrite=True).text["head"])


@pytest.mark.slow
def test_paths_are_reduced_to_names_of_files():
    line = "massmap reconstruct data/survey.fits --prior=/home/me/w.safetensors '-o=/data/a b/k.fits'"
    made = {"method": "X", "command": {"line": line, "options": {"plot": "~/plots/k.png", "wcs": "../image.fits"}}}
    several = ["/home/me/y.fits", "file:///home/z.fits"]
    meta = {"provenance": made, "file": "/home/me/my data/x.fits", "/home/me/": several}
    meta |= {"unit": "Msun / kpc2", "doi": "10.1051/0004-6361/200913577", "from": "https://a.example/b/c.fits"}
    page = write(kappa(0, meta=meta, diagnostics={"prior": "ScorePrior('/home/me/w.safetensors')"}))
    for folder in ("home", "my data", "/data", "data/", "~", "..", "plots"):
        assert folder not in "".join(text for texts in page.text.values() for text in texts), folder
    assert "ScorePrior('w.safetensors')" in page.words("The field")
    assert "k.png" in page.words("How it was made") and "image.fits" in page.words("How it was made")
    notes = page.words("Notes")
    assert {"x.fits", "y.fits, file:z.fits"} < {*notes} and {"Msun / kpc2", meta["doi"], meta["from"]} < {*notes}


@pytest.mark.slow
def test_how_it_was_made_diagnostics_and_notes():
    image = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=6, progress=False)
    image.diagnostics["check"] = {"ell": [1.0, 2.0, 3.0], "ratio": [0.9, 1.25, 1.1], "n": 4, "inner": {"deep": True}}
    page = write(image, regions=datasets.demo_clusters())
    assert any("was made with a Gaussian prior, which biases high peaks" in text for text in page.words("Clusters"))
    assert page.sections[-3:] == ["How it was made", "Diagnostics", "Notes"]
    diagnostics = page.words("Diagnostics")
    assert diagnostics[diagnostics.index("method") + 1] == "Wiener"
    assert diagnostics[diagnostics.index("box") + 1] == "64, 64"
    table = diagnostics[len(diagnostics) - diagnostics[::-1].index("ell") - 1 :]  # the first is that of the fit
    assert table[:8] == ["ell", "ratio", "1", "0.9", "2", "1.25", "3", "1.1"]
    assert table[table.index("deep") + 1] == "yes"
    made = page.words("How it was made")
    assert made[made.index("n_samples") + 1] == "6" and made[made.index("spectrum") + 1] == "none"
    assert made.count("n_samples") == 1 and "numpy" in made and "shape_noise" in page.words("Notes")
    del image.meta["provenance"]  # as in a map of an earlier version
    page = write(image, overwrite=True)
    assert page.sections[-4:] == ["Settings", "Versions", "Diagnostics", "Notes"]
    assert "numpy" in page.words("Versions")


@pytest.mark.parametrize(
    ("n", "regions", "uncertainty"),
    [(0, None, None), (0, REGIONS, np.full(SHAPE, 0.02)), (1, [], None), (1, REGIONS, np.full(SHAPE, 0.02))],
)
@pytest.mark.filterwarnings("ignore:level=0.68. needs at least 6 samples, got 1")
def test_maps_without_samples_or_uncertainty(n, regions, uncertainty):
    page = write(kappa(n, uncertainty=uncertainty), regions=regions)
    assert ("Samples" in page.sections) == (n == 1)
    assert ("Clusters" in page.sections) == bool(regions)
    assert "Power spectrum" in page.sections and "Diagnostics" not in page.sections
    if regions:
        assert "too few samples" in " ".join(page.words("Clusters"))
    assert len(pictures(page)) == 2 + n


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (5, 4)])
def test_maps_of_a_few_pixels(shape):
    samples = np.random.default_rng(0).normal(size=(6, *shape))
    image = ConvergenceMap(samples.mean(axis=0), wcs=tan_wcs(shape), samples=samples)
    write(image, regions=CircleSkyRegion(image.wcs.pixel_to_world(0, 0), 1 * u.arcmin))


@pytest.mark.slow
def test_a_map_on_another_grid_with_missing_pixels():
    moved = kappa(6).reproject_to(tan_wcs((50, 60), rotation=30, flipped=True))
    assert np.isnan(moved.samples).any()
    page = write(moved, regions=circles((30, 20), (0, 0)))
    assert "Power spectrum" in page.sections


ELEMENTS = {"html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "h1", "h2", "h3"}
ELEMENTS |= {
    "p",
    "div",
    "article",
    "dl",
    "dt",
    "dd",
    "figure",
    "figcaption",
    "img",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
EVIL = '"><script src="https://evil.example/x.js">alert(1)</script><img src=x onerror=alert(1)>&amp;{{7*7}}\x00\ud800'


@pytest.mark.slow
def test_all_text_of_a_map_is_escaped():
    diagnostics = {
        EVIL: EVIL,
        "settings": {EVIL: [EVIL, EVIL], "inner": {EVIL: {EVIL: EVIL}}},
        "versions": EVIL,
        "method": EVIL,
        "lists": [EVIL] * 4,
        "more": [EVIL] * 4,
    }
    regions = circles((30, 20), (15, 30))
    regions[0].meta["text"] = EVIL
    page = write(kappa(6, diagnostics=diagnostics, meta={EVIL: EVIL}), regions=regions, title=EVIL)
    assert {tag for tag, _ in page.elements} <= ELEMENTS
    known = {
        "lang",
        "id",
        "charset",
        "name",
        "content",
        "http-equiv",
        "class",
        "src",
        "alt",
        "width",
        "height",
        "scope",
    }
    assert {name for _, attributes in page.elements for name in attributes} <= known
    pictures(page)
    assert "\x00" not in page.source
    assert any("evil.example" in text and "&amp;{{7*7}}" in text for text in page.words("Notes"))  # as text


def test_a_report_refers_to_nothing_outside(page):
    for _, attributes in page.elements:
        assert not {"href", "srcset", "action", "data", "poster", "background", "style"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    plain = "".join(part.partition('"')[2] for part in page.source.split("data:image/png;base64,"))
    assert not any(word in plain for word in ("http:", "https:", "//", "url(", "@import", "<script", "javascript:"))
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


@pytest.mark.slow
def test_files_are_written_atomically(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("before")
    with pytest.raises(OSError, match="overwrite"):
        write_report("report.html", kappa())
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(report, "region_statistics", None)
        write_report("report.html", kappa(), regions=circles((30, 20)), overwrite=True)
    assert open_text("report.html") == "before"
    write_report("report.html", kappa(0), overwrite=True)
    assert open_text("report.html").startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.slow
def test_a_report_is_the_same_each_time_and_in_any_style():
    write_report("one.html", kappa(6))
    with matplotlib.style.context("dark_background"):
        write_report("two.html", kappa(6))
        assert matplotlib.rcParams["axes.facecolor"] == "black"
    assert open_text("one.html") == open_text("two.html")


@pytest.mark.slow
def test_several_maps_have_a_table_and_a_chapter_each():
    z, faint = np.linspace(0, 2, 21), kappa(6, uncertainty=None, samples=None, meta={"bin": 2})
    bright = kappa(6, meta={"bin": 1, "n_galaxies": 12345}, n_z=(z, np.exp(-((z - 0.5) ** 2) / 0.02)))
    page = write(iter([bright, faint]), regions=REGIONS[:1], threshold=0.05)
    assert page.sections == ["All maps", "bin 1, mean source redshift 0.50", "bin 2"]
    table = page.words("All maps")
    assert table[:5] == ["map", "mean redshift", "galaxies", "per arcmin²", "peaks of S/N > 3"]  # known of a map
    found = bright.peaks(0)
    heights = found["signal_to_noise"][found["measured"]]
    peaks = f"{(heights > 3).sum()} (highest {heights.max():.1f})"
    density = 12345 / (~bright.mask).sum() / bright.pixel_scale.to_value(u.arcmin) ** 2
    assert table[5:15] == ["bin 1", "0.50", "12,345", f"{density:.1f}", peaks, "bin 2", *["n/a"] * 4]
    targets = [attributes["id"] for attributes in page.all("article")]
    assert [attributes["href"] for attributes in page.all("a")] == [f"#{name}" for name in targets[1:]]
    assert len(pictures(page)) == 1 + 4 + 2 and page.source.count("Mass maps around 150") == 2
    assert write({1: bright, "2": faint}, regions=REGIONS[:1], threshold=0.05, overwrite=True).source == page.source
    page = write({"wiener & <b>": bright, "cutout": bright[5:, 5:]}, object="Abell 1", overwrite=True)  # two grids
    assert page.sections[1:] == [f"{name} (bin 1, mean source redshift 0.50)" for name in ("wiener & <b>", "cutout")]
    assert len(pictures(page)) == 6 and page.text["head"].count("Mass maps of Abell 1") == 2
    for maps, error in (([], ValueError), ([bright, 3], TypeError), (3, TypeError), ("ab", TypeError)):
        with pytest.raises(error, match=r"^kappa: needs"):
            write_report("none.html", maps)


@each_case(
    ("options", "error", "message"),
    [
        ({"threshold": "high"}, ValueError, "threshold"),
        ({"threshold": np.nan}, ValueError, "threshold"),
        ({"threshold": [0.01, 0.02]}, ValueError, "threshold"),
        ({"regions": [3]}, TypeError, "regions"),
        ({"regions": "missing.reg"}, OSError, "regions"),
    ],
)
def test_invalid_arguments(options, error, message):
    with pytest.raises(error, match=message):
        write_report("report.html", kappa(), **options)


def test_a_surface_density_is_refused():
    image = ConvergenceMap(np.ones(SHAPE), wcs=GRID, unit=u.Msun / u.kpc**2)
    with pytest.raises(u.UnitsError, match="kappa"):
        write_report("report.html", image)
