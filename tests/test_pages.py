"""
Layout of the HTML report and of the documentation in a browser, at the width of a phone.

The tests need a Chromium on the PATH or in MASSMAP_CHROMIUM, and the documentation in docs/_build/html or in the folder
MASSMAP_DOCS. Pages are opened from their files, without a network, in a frame as wide as a phone, because the
window of a Chromium cannot be that narrow.
"""

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import astropy.units as u
import pytest

from astro_massmap import datasets

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NAMES += ("chrome-headless-shell", "chromium-headless-shell")
SIZE = (390, 844)
SETTINGS = {"WIDTH": SIZE[0], "SMALLEST": 12, "SHRUNK": 0.7}


class Elements(HTMLParser):
    """Elements of an HTML file with their attributes."""

    def __init__(self, file):
        super().__init__()
        self.elements = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def browser():
    named = os.environ.get("MASSMAP_CHROMIUM")
    found = [path for path in map(shutil.which, [named] if named else NAMES) if path]
    if named and not found:
        pytest.fail(f"MASSMAP_CHROMIUM: needs an executable, got {named!r}")
    return found[0] if found else pytest.skip("needs a Chromium on the PATH or in MASSMAP_CHROMIUM")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    kappa = datasets.demo().reconstruct("wiener", pixel_scale=1.6 * u.arcmin, n_samples=8, progress=False)
    file = tmp_path_factory.mktemp("report") / "report.html"
    kappa.report(file, regions=datasets.demo_clusters())
    return file


def pages_of(folder):
    """Return the pages in the order of the table of contents, by the link from each page to the next."""
    pages = [folder / "index.html"]
    while following := [link["href"] for link in Elements(pages[-1]).all("link") if link.get("rel") == "next"]:
        pages.append((pages[-1].parent / following[0]).resolve())
    return pages


def inspect(pages, browser):
    """Return the title, counts and faults of each page, and the messages on the console of the browser."""
    settings = SETTINGS | {"PAGES": [page.as_uri() for page in pages]}
    script = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in settings.items())
    script += Path(__file__).with_name("probe.js").read_text(encoding="utf-8")
    frame = '<iframe width="{}" height="{}" style="border: 0"></iframe>'.format(*SIZE)
    probe = Path("probe.html").absolute()
    probe.write_text(f"<!DOCTYPE html><pre></pre>{frame}<script>{script}</script>", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    options += ["--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND"]
    options += [f"--user-data-dir={Path('profile').absolute()}", f"--virtual-time-budget={2000 * len(pages)}"]
    done = subprocess.run(
        [browser, *options, "--dump-dom", probe.as_uri()],
        capture_output=True, encoding="utf-8", errors="replace", timeout=60 + 5 * len(pages),
    )  # fmt: skip
    written = re.search(r"<pre>(\{.*?\})</pre>", done.stdout, re.DOTALL)
    assert written, f"the browser ended with {done.returncode}:\n{done.stderr[-3000:]}"
    return json.loads(html.unescape(written[1])), re.findall(r'CONSOLE\W\d+\W+(".*", source: .*)', done.stderr)


@pytest.mark.slow
def test_report_is_self_contained_and_described(report):
    page = Elements(report)
    assert page.all("html") == [{"lang": "en"}] and len(page.all("title")) == len(page.all("h1")) == 1
    assert any("width=device-width" in a.get("content", "") for a in page.all("meta") if a.get("name") == "viewport")
    assert len(page.all("img")) == 4
    for image in page.all("img"):
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64" and len(image["alt"].split()) >= 4
        picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(data, validate=True)), format="png")
        assert picture.shape[:2] == (int(image["height"]), int(image["width"])) and picture.std() > 0.01
    assert not page.all("script") + page.all("link") + page.all("iframe")
    assert not [tag for tag, attributes in page.elements if {"href", "srcset", "style"} & set(attributes)]


@pytest.mark.slow
def test_report_on_a_phone(report, browser):
    found, messages = inspect([report], browser)
    page = found[report.as_uri()]
    assert page["title"].startswith("Mass map around") and page["pictures"] == 4 and page["letters"] > 1000
    assert page["faults"] == [] and messages == []


@pytest.mark.slow
def test_documentation_on_a_phone(browser):
    folder = Path(os.environ.get("MASSMAP_DOCS") or Path(__file__).parents[1] / "docs/_build/html").absolute()
    if not (folder / "index.html").is_file():
        pytest.skip("needs the built documentation in docs/_build/html or in the folder MASSMAP_DOCS")
    pages = pages_of(folder)
    found, messages = inspect(pages, browser)
    assert len(found) == len(set(pages)) > 20
    assert all(page["title"] and page["letters"] > 200 for page in found.values())
    assert {address: page["faults"] for address, page in found.items() if page["faults"]} == {}
    assert [line for line in messages if not line.startswith('"[PST]')] == []  # the theme reports its colours


FAULTS = {
    "<img src='nowhere.png' alt='A map.'>": "missing image",
    "<img src='DOT'>": "image without alt text",
    "<img src='DOT' alt='A dot.' width=700>": "sideways scrolling",
    "<img src='WIDE' alt='A line.' width=300>": "image shrunk",
    "<div style='overflow: hidden'><img src='WIDE' alt='A line.'></div>": "image cut off",
    "<pre>" + "word " * 30 + "</pre>": "text cut off",
    "<div style='overflow: hidden'><code style='white-space: nowrap'>" + "word " * 30 + "</code></div>": "text cut off",
    "<p style='margin-left: -20px'>Some words.</p>": "text cut off",
    "<div style='overflow: auto'><h1>Title</h1><pre>" + "word " * 30 + "</pre></div>": "sideways scrolling",
    "<p style='font-size: 9px'>Some words.</p>": "small text",
    "<script>console.error('no')</script>": None,
    "<div style='overflow: auto'><pre>" + "word " * 30 + "</pre><img src='WIDE' alt='A line.'></div>": None,
}


def picture(width):
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, [[0.0] * width] * 2, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.slow
def test_faults_are_detected(browser, tmp_path):
    files = []
    for i, body in enumerate(FAULTS):
        body = body.replace("DOT", picture(2)).replace("WIDE", picture(600))
        files.append(tmp_path / f"{i}.html")
        files[-1].write_text(f"<!DOCTYPE html><title>A page</title><p>Words.</p>{body}")
    found, messages = inspect(files, browser)
    for file, (body, fault) in zip(files, FAULTS.items(), strict=True):
        faults = found[file.as_uri()]["faults"]
        assert any(line.startswith(fault) for line in faults) if fault else faults == [], (body, faults)
    assert len(messages) == 1 and messages[0].startswith('"no"')
