"""Tables of results: printed in 80 columns with the answer in sight, in files with full precision."""

from functools import cache
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from regions import CirclePixelRegion, PixCoord

from astro_massmap import ConvergenceMap, PowerSpectrum, ShearCatalog, Wiener, datasets, write_fields
from astro_massmap._io.result_tables import ResultTable, printed
from astro_massmap.analysis.peaks import match_clusters
from astro_massmap.cli.outputs import show_table
from astro_massmap.validation.completeness import completeness, random_centers
from astro_massmap.validation.diagnostics import coverage, rank_histogram, reliability, tarp
from astro_massmap.validation.null_tests import b_mode_test

from helpers.skies import tan_wcs

RING = [4, 7] * u.arcmin
CLUSTERS = datasets.demo_clusters()


@cache
def kappa():
    truth = datasets.demo_truth()
    samples = truth.data + np.random.default_rng(1).normal(scale=0.02, size=(9, *truth.shape))
    return ConvergenceMap(truth.data, wcs=truth.wcs, samples=samples)


@cache
def draws():
    return np.random.default_rng(2).normal(size=(20, 10, 4))


def matches():
    return match_clusters(SkyCoord([10, 11], [0, 0], unit="deg"), SkyCoord([10.01], [0], unit="deg")).table


def completeness_of_demo():
    shear = datasets.demo()[::8].to_map(pixel_scale=3.2 * u.arcmin)
    centers = random_centers(shear.mask, shear.wcs, 2, 12 * u.arcmin)
    options = {"method": Wiener(n_samples=2), "threshold": 0.03, "radius": 3 * u.arcmin, "wcs": shear.wcs}
    return completeness(datasets.demo()[::8], 3e15 * u.Msun, 0.3, centers, z_source=1.0, **options)


# name: (table, columns that must be in sight)
TABLES = {
    "detection_probability": (
        lambda: kappa().detection_probability(CLUSTERS, 0.02),
        ["region", "center", "probability", "kappa", "std"],
    ),
    "region_statistics": (lambda: kappa().region_statistics(CLUSTERS), ["region", "center", "kappa"]),
    "projected_mass": (lambda: kappa().projected_mass(CLUSTERS, 0.3, 1.0), ["region", "center", "mass", "std"]),
    "aperture_mass": (lambda: kappa().aperture_mass(CLUSTERS, 4 * u.arcmin), ["region", "center", "aperture_mass"]),
    "nfw_mass": (lambda: kappa().nfw_mass(CLUSTERS, 0.3, 1.0, background=RING), ["region", "center", "mass", "std"]),
    "aperture_densitometry": (
        lambda: kappa().aperture_densitometry(kappa().wcs.pixel_to_world(40, 87), [1, 2] * u.arcmin, RING),
        ["radius", "zeta_c", "std", "lower", "upper"],
    ),
    "credible_intervals": (
        lambda: kappa().credible_intervals(6.4 * u.arcmin, level=0.8).to_table(),
        ["center", "kappa", "lower", "upper", "width"],
    ),
    "structure_test": (
        lambda: kappa().structure_test(CLUSTERS, 1.6 * u.arcmin),
        ["region", "center", "p_value", "lower", "kappa", "kappa_tested"],
    ),
    "peak_offset": (
        lambda: kappa().peak_offset(*[kappa().wcs.pixel_to_world(40, 87)] * 2, smoothing=RING[0] / 8).summary(0.5),
        ["center", "separation", "area", "n_samples"],
    ),
    "peaks": (
        lambda: kappa().peaks(0.08, smoothing=0.4 * u.arcmin),
        ["center", "kappa", "probability", "signal_to_noise", "std_east", "std_north"],
    ),
    "peak_counts": (lambda: kappa().peak_counts([0, 0.05, 0.1]), ["low", "high", "mean_map", "count", "std"]),
    "power_spectrum": (lambda: kappa().power_spectrum(), ["low", "high", "ell", "cl", "cl_samples", "std"]),
    "match_clusters": (matches, ["peak", "cluster", "separation"]),
    "coverage": (lambda: coverage(draws()[:, 1:], draws()[:, 0]), ["level", "coverage", "error", "expected"]),
    "rank_histogram": (lambda: rank_histogram(draws()[:, 1:], draws()[:, 0]), ["low", "high", "density", "error"]),
    "tarp": (lambda: tarp(draws()[:, 1:], draws()[:, 0], n_references=5), ["level", "coverage", "error"]),
    "reliability": (
        lambda: reliability(np.linspace(0, 1, 40).reshape(4, 10), np.arange(40).reshape(4, 10) > 20),
        ["low", "high", "claimed", "true", "error", "n"],
    ),
    "completeness": (completeness_of_demo, ["mass", "completeness", "error"]),
    "b_mode_test": (
        lambda: b_mode_test(datasets.demo(), 2, pixel_scale=3.2 * u.arcmin).table,
        ["low", "high", "b_significance"],
    ),
    "write_fields": (lambda: write_fields([kappa()], "fields"), ["bin", "file", "n_galaxies", "signal_to_noise"]),
    "to_table of a catalogue": (lambda: datasets.demo()[:9].to_table(), ["ra", "dec", "g1", "g2", "weight"]),
    "to_table of a spectrum": (lambda: PowerSpectrum.default().to_table(), ["ell", "cl"]),
}


@pytest.mark.filterwarnings("ignore:level=")  # few samples
@pytest.mark.parametrize("name", TABLES)
def test_tables_are_printed_in_80_columns_with_the_answer(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    make, seen = TABLES[name]
    table = make()
    assert isinstance(table, QTable) and len(table)
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 80
    assert set(seen) <= set(lines[0].split())
    for column in table.itercols():
        numbers = getattr(getattr(column, "dtype", None), "kind", "") == "f"
        assert column.info.format or not (numbers or isinstance(column, SkyCoord)), column.info.name
    cells = [cell for line in table.pformat(max_width=-1, max_lines=9)[3:] for cell in line.split()]
    assert max(map(len, cells)) <= 20  # no numbers with all their digits


def test_files_have_full_precision_and_ecsv_files_the_formats(tmp_path):
    table = kappa().peaks(0.08)
    table.meta.clear()  # FITS files need short names
    assert str(table["kappa"][:1]).split()[-1] == f"{table['kappa'][0]:.4f}"
    for name in ("p.ecsv", "p.fits", "p.fits.gz", "p.csv"):
        table.write(tmp_path / name)
        again = QTable.read(tmp_path / name)
        assert np.array_equal(np.float32(again["kappa"]), table["kappa"])
    again = QTable.read(tmp_path / "p.ecsv")
    assert again["center"].separation(table["center"]).max() < 1e-9 * u.arcsec
    assert str(again) == str(table)
    assert again["std_east"].unit == u.arcsec
    table.write(tmp_path / "p.txt", format="ascii.csv")
    again = Table.read(tmp_path / "p.txt", format="ascii.csv")
    assert np.array_equal(np.float32(again["kappa"]), table["kappa"])


def test_catalogues_keep_all_digits(tmp_path):
    catalog = datasets.demo()[:50]
    for name in ("c.ecsv", "c.fits"):
        catalog.write(tmp_path / name)
        again = ShearCatalog.read(tmp_path / name, axes="west-north")
        assert np.array_equal(again.g1, catalog.g1) and np.array_equal(again.coords.ra, catalog.coords.ra)


def test_formats_follow_the_column_before_and_those_given_stay():
    table = ResultTable({"kappa": [0.12345], "std": [0.01], "mass": [1e14] * u.Msun, "lower": [1.0], "x": [1 / 3]})
    table["x"].info.format = ".1f"
    formats = {name: printed(table)[name].info.format for name in table.colnames}
    assert formats == {"kappa": ".4f", "std": ".4f", "mass": ".2e", "lower": ".2e", "x": ".1f"}


def test_positions_of_any_frame_are_short():
    center = SkyCoord(120.123456789, -45.987654321, unit="deg", frame="galactic")
    text = str(printed(ResultTable({"center": center.reshape(1)}))).splitlines()
    assert text[-1] == "120.1235 -45.9877"
    outside = [CirclePixelRegion(PixCoord(5000, 5000), 3)]
    wcs = tan_wcs((30, 40))
    flat = ConvergenceMap(np.zeros((30, 40)), wcs=wcs, samples=np.zeros((9, 30, 40)))
    assert "nan" in str(flat.region_statistics(outside))


def test_a_single_sample_has_no_scatter():
    one = ConvergenceMap(kappa().data, wcs=kappa().wcs, samples=kappa().samples[:1])
    table = one.detection_probability(CLUSTERS, 0.02)
    assert np.isnan(table["std"]).all() and np.isnan(table["signal_to_noise"]).all()


def test_the_shell_shows_as_much_as_the_terminal_holds(capsys, monkeypatch):
    table = kappa().detection_probability(CLUSTERS, 0.02)
    show_table(table)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == table.colnames  # in a pipe
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show_table(table)
    *lines, note = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) == len(table) + 3
    hidden = [name for name in table.colnames if name not in lines[0].split()]
    assert hidden and note.startswith(f"columns not shown: {', '.join(hidden)};")


def test_csv_files_of_the_shell_have_no_samples(tmp_path):
    table = kappa().nfw_mass(CLUSTERS, 0.3, 1.0, background=RING)
    show_table(table, SimpleNamespace(output=tmp_path / "m.csv", overwrite=False))
    assert Table.read(tmp_path / "m.csv").colnames == [name for name in table.colnames if name != "samples"]
    show_table(table, SimpleNamespace(output=tmp_path / "m.ecsv", overwrite=False))
    assert QTable.read(tmp_path / "m.ecsv").colnames == table.colnames
