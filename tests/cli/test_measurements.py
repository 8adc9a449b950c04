"""Measurements of maps and surveys: the same results from the shell as in Python."""

import re
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning
from regions import Regions

from astro_massmap import ConvergenceMap, ShearCatalog, Wiener, datasets
from astro_massmap.analysis.peaks import match_clusters
from astro_massmap.cli import main

from helpers.skies import tan_wcs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    catalog = datasets.demo()
    catalog.write(folder / "survey.fits")
    datasets.demo_clusters().write(folder / "clusters.ecsv")
    kappa = catalog.reconstruct(Wiener(n_samples=16), pixel_scale=0.8 * u.arcmin, progress=False)
    kappa.write(folder / "kappa.fits")
    wcs = tan_wcs((40, 50), center=(34.5, -5.0), scale=1.0)
    fits.PrimaryHDU(np.zeros((40, 50)), wcs.to_header()).writeto(folder / "image.fits")
    return folder


@pytest.fixture
def kappa(folder):  # a new map for each test, because a map gives its warnings once
    return ConvergenceMap.read(folder / "kappa.fits")


def gaussian():
    return pytest.warns(AstropyUserWarning, match="was made with a Gaussian prior")


def run(folder, command, *arguments):
    return main([command, str(folder / "kappa.fits"), *map(str, arguments)])


CENTER, REFERENCE = SkyCoord([34.41, 34.42], [-5.15, -5.17], unit="deg")
LENS = ["--z-lens", 0.3, "--z-source", 1]
TABLES = {
    "detection-probability": (["--threshold", 0.02], lambda k, c: k.detection_probability(c, 0.02)),
    "region-statistics": ([], lambda k, c: k.region_statistics(c)),
    "projected-mass": (LENS, lambda k, c: k.projected_mass(c, 0.3, 1.0)),
    "aperture-mass": (["--radius", "4 arcmin"], lambda k, c: k.aperture_mass(c, 4 * u.arcmin)),
    "nfw-mass": (
        [*LENS, "--background", "4,8 arcmin"],
        lambda k, c: k.nfw_mass(c, 0.3, 1.0, background=[4, 8] * u.arcmin),
    ),
    "structure-test": (["--size", "1.6 arcmin"], lambda k, c: k.structure_test(c, 1.6 * u.arcmin)),
    "credible-intervals": (
        ["--size", "6.4 arcmin", "--level", 0.68, "--joint"],
        lambda k, c: k.credible_intervals(6.4 * u.arcmin, level=0.68, joint=True).to_table(),
    ),
    "peak-offset": (
        ["--center", "34.41,-5.15", "--reference", "34.42,-5.17", "--radius", "4 arcmin", "--level", 0.5],
        lambda k, c: k.peak_offset(CENTER, REFERENCE, radius=4 * u.arcmin).summary(0.5),
    ),
    "peaks": (["--threshold", 0.03], lambda k, c: k.peaks(0.03)),
    "peak-counts": (["--edges", "0,0.02,0.04"], lambda k, c: k.peak_counts([0, 0.02, 0.04])),
    "power-spectrum": ([], lambda k, c: k.power_spectrum()),
}


@pytest.mark.filterwarnings("ignore:the map was made with a Gaussian prior")
@pytest.mark.parametrize("command", TABLES)
def test_tables_are_those_of_python(folder, kappa, capsys, command):
    options, measure = TABLES[command]
    clusters = [] if command.startswith(("pe", "po", "cr")) else [folder / "clusters.ecsv"]
    assert run(folder, command, *clusters, *options, "-o", "t.ecsv") == 0
    shown, expected = capsys.readouterr().out, measure(kappa, datasets.demo_clusters())
    assert "\n".join(expected.pformat(max_lines=-1, max_width=-1)) in shown
    written = QTable.read("t.ecsv")
    assert written.colnames == expected.colnames and str(written) == str(expected)


def is_picture(file):
    return Path(file).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_clusters(folder, kappa, capsys):
    clusters = folder / "clusters.ecsv"
    options = ("--threshold", 0.02, "--background", "3,6 arcmin", "--plot", "c.png", "--histogram", "h.png")
    code = run(folder, "detection-probability", clusters, *options, "-o", "c.ecsv")
    assert code == 0
    table = QTable.read("c.ecsv")
    with gaussian():
        expected = kappa.detection_probability(clusters, 0.02, [3, 6] * u.arcmin)
    assert np.allclose(table["probability"], expected["probability"], atol=1e-5)
    assert np.allclose(table["kappa"], expected["kappa"], atol=1e-5)
    assert {"std", "signal_to_noise", "measured"} < set(table.colnames) and (table["n_samples"] == 16).all()
    assert np.allclose(table["lower"], expected["lower"], atol=1e-5)
    shown = capsys.readouterr()
    assert "68% interval of the probability" in shown.out
    assert "warning: the map was made with a Gaussian prior" in shown.err
    assert is_picture("c.png") and is_picture("h.png")


def test_credible_regions(folder, kappa, capsys):
    at = ["--center", "34.41,-5.15", "--reference", "34.42,-5.17", "--radius", "4 arcmin", "--farther", "30 arcsec"]
    files = ["--contours", "c.reg", "--plot", "c.png"]
    assert run(folder, "peak-offset", *at, *files) == 0
    offset = kappa.peak_offset(CENTER, REFERENCE, radius=4 * u.arcmin)
    assert f"probability {offset.probability_farther(30 * u.arcsec):.3f}" in capsys.readouterr().out
    assert is_picture("c.png") and len(Regions.read("c.reg")) == len(offset.credible_region().contours)
    assert run(folder, "peak-offset", *at, *files) == 1
    assert run(folder, "peak-offset", *at, "--level", 0.95) == 1
    assert "--level: a region of 0.95 needs at least 19 samples, got 16" in capsys.readouterr().err
    assert run(folder, "peak-offset", "--center", "34.41", "--reference", "34.42,-5.17") == 1
    assert "--center: needs two numbers RA,DEC in degrees" in capsys.readouterr().err
    assert run(folder, "credible-intervals", "--size", "6.4 arcmin", "--level", 0.5, "--plot", "w.png") == 0
    assert is_picture("w.png")
    clusters = folder / "clusters.ecsv"
    for other, value in ((folder / "kappa.fits", kappa), (0, 0)):
        options = ["--size", "1.6 arcmin", "--other", other, "-o", "s.ecsv", "--overwrite"]
        assert run(folder, "structure-test", clusters, *options) == 0
        with gaussian():
            expected = ConvergenceMap.read(folder / "kappa.fits").structure_test(clusters, 1.6 * u.arcmin, other=value)
        assert np.array_equal(QTable.read("s.ecsv")["p_value"], expected["p_value"])


def test_files_are_not_replaced_without_overwrite(folder, capsys):
    arguments = ("peaks", "--threshold", 0.03, "-o", "p.ecsv")
    assert run(folder, *arguments) == 0
    assert run(folder, *arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(folder, *arguments, "--overwrite") == 0


def test_peaks_and_their_clusters(folder, kappa, capsys):
    code = run(folder, "peaks", "--threshold", 0.01, "--smoothing", "1 arcmin", "--clusters", folder / "clusters.ecsv",
               "--radius", "3 arcmin", "-o", "p.ecsv")  # fmt: skip
    assert code == 0
    peaks = kappa.peaks(0.01, smoothing=1 * u.arcmin, radius=3 * u.arcmin)
    written, shown = QTable.read("p.ecsv"), capsys.readouterr().out
    assert len(written) == len(peaks) and "completeness" in shown
    pairs = match_clusters(peaks, datasets.demo_clusters(), 3 * u.arcmin).table
    assert 0 < len(pairs) < len(peaks)
    assert "\n".join(pairs.pformat(max_lines=-1, max_width=-1)) in shown
    with_cluster = written["cluster_name"] != ""
    assert sorted(np.flatnonzero(with_cluster)) == sorted(pairs["peak"])
    assert list(written["cluster_name"][pairs["peak"]]) == list(pairs["cluster_name"])
    assert u.allclose(written["separation"][pairs["peak"]], pairs["separation"], rtol=1e-6)
    assert (np.isfinite(written["separation"]) == with_cluster).all()


def test_counts_and_spectrum(folder, kappa, capsys):
    assert run(folder, "peak-counts", "--edges", "0,0.02,0.04", "--minima", "-o", "n.ecsv", "--plot", "n.png") == 0
    expected = kappa.peak_counts([0, 0.02, 0.04], minima=True)
    assert np.allclose(Table.read("n.ecsv")["count"], expected["count"], atol=1e-5)
    options = ["--edges", "500,1000,3000", "--measured-only", "--plot", "s.png", "-o", "s.ecsv"]
    assert run(folder, "power-spectrum", *options) == 0
    expected = kappa.power_spectrum([500, 1000, 3000], measured_only=True)
    assert np.allclose(QTable.read("s.ecsv")["cl"], expected["cl"], rtol=1e-12, atol=0)
    assert f"{expected['cl'][0]:.5g}" in capsys.readouterr().out  # small numbers are not rounded away
    assert is_picture("n.png") and is_picture("s.png")


def test_masses(folder, kappa, capsys):
    clusters = folder / "clusters.ecsv"
    assert run(folder, "projected-mass", clusters, "--z-lens", 0.3, "--z-source", 1, "-o", "m.ecsv") == 0
    assert "warning: the map was made with a Gaussian prior" in capsys.readouterr().err
    with gaussian():
        expected = kappa.projected_mass(clusters, 0.3, 1.0)
    assert u.allclose(QTable.read("m.ecsv")["mass"], expected["mass"], rtol=1e-4)
    triangle = "icrs; polygon(34.4, -5.1, 34.6, -5.1, 34.5, -4.9) # text={triangle}\n"
    Path("triangle.reg").write_text(triangle)
    assert run(folder, "aperture-mass", "triangle.reg", "--radius", "4 arcmin", "-o", "a.fits") == 0
    assert "triangle" in capsys.readouterr().out
    center = SkyCoord(34.5, -5.0, unit="deg")
    found = Table.read("a.fits")["aperture_mass"][0]
    assert np.isclose(found, kappa.aperture_mass(center, 4 * u.arcmin)["aperture_mass"][0], atol=2e-3)
    ring = ["--background", "4,8 arcmin"]
    assert run(folder, "nfw-mass", clusters, "--z-lens", 0.3, "--z-source", 1, *ring, "-o", "n.ecsv") == 0
    expected = kappa.nfw_mass(expected["center"], 0.3, 1.0, background=[4, 8] * u.arcmin)
    assert u.allclose(QTable.read("n.ecsv")["mass"], expected["mass"], rtol=1e-3)
    lenses = datasets.demo_clusters()[:2]
    lenses["redshift"] = [0.3, 1.5]
    lenses.write("lenses.ecsv")
    assert run(folder, "nfw-mass", "lenses.ecsv", "--z-lens", "redshift", "--z-source", 1, *ring, "-o", "z.ecsv") == 0
    assert np.isclose(QTable.read("z.ecsv")["mass"][0], expected["mass"][0], rtol=1e-3)
    assert "1 of 2 lenses are not in front of the sources" in capsys.readouterr().err
    assert run(folder, "surface-density", "--z-lens", 0.3, "--z-source", 1, "-o", "sigma.fits") == 0
    sigma = ConvergenceMap.read("sigma.fits")
    assert sigma.unit == u.Msun / u.kpc**2
    assert np.allclose(sigma.data, kappa.surface_density(0.3, 1.0).data)
    assert run(folder, "surface-density", "--z-lens", 0.3, "--z-source", 1) == 1


@pytest.mark.filterwarnings("ignore:the noise seems")  # a posterior mean is taken for a noisy map
def test_other_grids_and_noisy_maps(folder, kappa):
    assert run(folder, "reproject-to", "--wcs", folder / "image.fits", "-o", "moved.fits") == 0
    assert ConvergenceMap.read("moved.fits").samples.shape == (16, 40, 50)
    noisy = ConvergenceMap(kappa.data, wcs=kappa.wcs, uncertainty=np.full(kappa.shape, 0.05), mask=kappa.mask)
    noisy.write("noisy.fits")
    assert main(["denoise", "noisy.fits", "-o", "clean.fits", "--method", "wiener", "--n-samples", "2", "--quiet"]) == 0
    assert np.allclose(
        ConvergenceMap.read("clean.fits").data, noisy.reconstruct("wiener", n_samples=0, progress=False).data, atol=1e-6
    )
    assert main(["denoise", "noisy.fits", "-o", "noisy.fits", "--method", "wiener", "--overwrite"]) == 1


def test_a_map_of_the_whole_sky(folder):
    sphere = fits.BinTableHDU.from_columns([fits.Column("KAPPA", "D", array=np.full(12 * 32**2, 0.25))])
    sphere.header["ORDERING"], sphere.header["NSIDE"] = "RING", 32
    sphere.writeto("sphere.fits")
    assert main(["from-healpix", "sphere.fits", "--wcs", str(folder / "image.fits"), "-o", "cut.fits"]) == 0
    assert np.allclose(ConvergenceMap.read("cut.fits").data, 0.25)
    assert main(["from-healpix", "sphere.fits", "--wcs", str(folder / "image.fits"), "-o", "cut.fits"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["plot-summary", "plot-samples"])
def test_pictures(folder, command, capsys):
    assert run(folder, command, "-o", "p.png") == 0
    assert is_picture("p.png")
    assert run(folder, command, "-o", "p.png") == 1
    assert run(folder, command) == 1
    assert "--output" in capsys.readouterr().err


@pytest.mark.parametrize("quantity", ["map", "std", "signal_to_noise"])
def test_the_picture_of_one_quantity(folder, quantity, capsys):
    regions = ["--regions", folder / "clusters.ecsv", "--labels", "numbers"]
    options = ["--quantity", quantity, *regions, "--width", "column"]
    assert run(folder, "plot", *options, "-o", "p.pdf") == 0
    content = Path("p.pdf").read_bytes()
    assert b"/FontFile2" in content and re.search(rb"/MediaBox \[\s*0 0 244\.8", content)
    assert run(folder, "plot", "--quantity", quantity, "--contours", "1,2", "-o", "p.png") == (quantity == "std")
    assert ("--contours: levels need --quantity map" in capsys.readouterr().err) == (quantity == "std")


@pytest.mark.slow
def test_the_report(folder):
    assert run(folder, "report", "-o", "r.html", "--regions", folder / "clusters.ecsv", "--object", "Abell 1") == 0
    assert Path("r.html").read_text().lower().startswith("<!doctype html>")
    assert "<h1>Mass map of Abell 1</h1>" in Path("r.html").read_text()
    code = main(
        ["reconstruct", str(folder / "survey.fits"), "--axes", "west-north", "--pixel-scale", "1.6 arcmin", "--quiet",
         "--method", "wiener", "--n-samples", "4", "-o", "k.fits", "--report", "k.html", "--object", "Abell 2"]
    )  # fmt: skip
    assert code == 0
    page = Path("k.html").read_text()
    assert "Wiener" in page and "<h1>Mass map of Abell 2</h1>" in page and str(folder) not in page
    assert ConvergenceMap.read("k.fits").meta["object"] == "Abell 2"
    assert run(folder, "report", "-o", "again.html", "--title", "A field") == 0
    assert "<h1>A field</h1>" in Path("again.html").read_text()


def survey(folder, command, *arguments):
    options = ["--axes", "west-north", "--pixel-scale", "1.6 arcmin"]
    return main([command, str(folder / "survey.fits"), *options, *map(str, arguments)])


def test_the_null_test(folder, capsys):
    files = ["--noise", "noise.fits", "--jackknife", "jack.fits", "--plot", "eb.png"]
    assert survey(folder, "null-test", "--rotations", 20, *files) == 0
    assert is_picture("eb.png")
    assert len(ConvergenceMap.read("jack.fits").samples) == 20
    assert "B" in capsys.readouterr().out
    assert len(ConvergenceMap.read("noise.fits").samples) == 20


@pytest.mark.slow
def test_halos(folder, capsys):
    halo = ["--mass", 1e15, "--redshift", 0.3, "--z-source", 1]
    assert survey(folder, "inject-halo", "-o", "more.fits", "--position", "34.5,-5.0", *halo) == 0
    before, after = datasets.demo(), ShearCatalog.read("more.fits", axes="west-north")
    near = before.coords.separation(SkyCoord(34.5, -5.0, unit="deg")) < 4 * u.arcmin
    change = np.hypot(after.g1 - before.g1, after.g2 - before.g2)
    assert change[near].mean() > 5 * change[~near].mean()
    code = survey(folder, "completeness", "--masses", "1e13,3e15", "--redshift", 0.3, "--z-source", 1, "--radius",
                  "2 arcmin", "--threshold", 0.03, "--places", 4, "--method", "wiener", "--n-samples", 16, "--quiet",
                  "-o", "curve.ecsv", "--plot", "curve.png")  # fmt: skip
    assert code == 0
    assert list(QTable.read("curve.ecsv")["completeness"])[-1] == 1
    assert is_picture("curve.png")


def test_calibration(folder, kappa, capsys):
    # the truth of each map is one of its samples, removed from the map
    for i in range(3):
        left = np.delete(kappa.samples, i, axis=0)
        ConvergenceMap(kappa.data, wcs=kappa.wcs, samples=left).write(f"m{i}.fits")
        ConvergenceMap(kappa.samples[i], wcs=kappa.wcs).write(f"t{i}.fits")
    maps, truths = ([f"{kind}{i}.fits" for i in range(3)] for kind in "mt")
    assert main(["calibration", *maps, "--truths", *truths, "--plot", "c.png"]) == 0
    assert "coverage" in capsys.readouterr().out and is_picture("c.png")
    assert main(["calibration", *maps[:2], "--truths", *truths[:2]]) == 0
    assert "at least three" in capsys.readouterr().out
    assert main(["calibration", *maps, "--truths", *truths[:2]]) == 1
