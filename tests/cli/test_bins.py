"""Source redshifts and tomographic bins of ``massmap reconstruct``."""

import re
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astro_massmap import ConvergenceMap, PowerSpectrum, ShearCatalog, Wiener, plotting, reconstruct_fields
from astro_massmap.cli import main
from astro_massmap.maps.n_z import mean_redshift

from helpers.cases import each_case

Z = np.linspace(0, 2, 101)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("survey")
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-8, 8, size=(2, 2400)) / 60
    e = rng.normal(scale=0.25, size=(2, 2400))
    redshift, bins = np.repeat([0.4, 0.8, 1.2], 800), np.repeat([1, 2, 3], 800)
    catalog = ShearCatalog(SkyCoord(30 + x, y, unit="deg"), *e, axes="west-north", redshift=redshift)
    table = catalog.to_table()
    table["zbin"], table["number"] = bins, bins - 1
    table.write(path / "survey.fits")
    bumps = {f"bin{i + 1}": np.exp(-0.5 * ((Z - z) / 0.1) ** 2) for i, z in enumerate((0.4, 0.8, 1.2))}
    Table({"z": Z, **bumps}).write(path / "n_z.ecsv")
    Table({"z": Z, "n": bumps["bin2"]}).write(path / "one.ecsv")
    return path


def reconstruct(folder, *arguments, output="kappa.fits"):
    words = ["reconstruct", str(folder / "survey.fits"), "--axes", "west-north", "-o", output, "--quiet"]
    return main([*words, "--method", "wiener", "--n-samples", "0", *arguments])


def read(folder, **columns):
    return ShearCatalog.read(folder / "survey.fits", axes="west-north", columns=columns)


def test_redshifts_of_the_catalogue_set_the_spectrum(folder, capsys):
    assert reconstruct(folder) == 0
    kappa = ConvergenceMap.read("kappa.fits")
    assert kappa.diagnostics["sources"]["mean_redshift"] == pytest.approx(0.8)
    assert kappa.diagnostics["sources"]["origin"] == "n(z) of the data"
    assert "pixels of 0.4 arcmin, from 9." in capsys.readouterr().out
    assert kappa.meta["provenance"]["command"]["options"]["pixel_scale"] == "0.4 arcmin"
    assert main(["repeat", "kappa.fits", "-o", "again.fits", "--input", str(folder), "--quiet"]) == 0
    assert "identical, bit by bit" in capsys.readouterr().out
    assert reconstruct(folder, "--columns", "redshift=", output="default.fits") == 0
    default = ConvergenceMap.read("default.fits")
    assert default.diagnostics["sources"]["origin"] == "default"
    assert not np.allclose(default.data, kappa.data, atol=1e-5)


@each_case(("option", "spectrum"), [(["--z-source", "0.7"], (0.7,)), (["--redshift", "0.7"], (0.7,))])
def test_one_redshift(folder, option, spectrum):
    assert reconstruct(folder, *option, "--overwrite") == 0
    kappa = ConvergenceMap.read("kappa.fits")
    method = Wiener(PowerSpectrum.from_n_z(*spectrum), n_samples=0)
    assert np.array_equal(kappa.data, read(folder).reconstruct(method, progress=False).data)
    assert mean_redshift(kappa.n_z) == 0.7


def test_a_file_of_one_distribution(folder, capsys):
    assert reconstruct(folder, "--n-z", str(folder / "one.ecsv")) == 0
    kappa = ConvergenceMap.read("kappa.fits")
    assert mean_redshift(kappa.n_z) == pytest.approx(0.8, abs=1e-3)
    assert main(["repeat", "kappa.fits", "-o", "again.fits", "--input", str(folder), "--quiet"]) == 0
    assert "identical, bit by bit" in capsys.readouterr().out
    assert reconstruct(folder, "--n-z", str(folder / "n_z.ecsv"), "--source-bin", "bin3", output="third.fits") == 0
    assert mean_redshift(ConvergenceMap.read("third.fits").n_z) == pytest.approx(1.2, abs=1e-3)
    assert reconstruct(folder, "--n-z", str(folder / "one.ecsv"), "--z-source", "1", output="both.fits") == 1
    assert "--z-source, --n-z: give one of them" in capsys.readouterr().err


def test_bins_by_column(folder, capsys, tmp_path):
    assert reconstruct(folder, "--bins", "tomo", "--n-z", str(folder / "n_z.ecsv"), output="maps") == 0
    assert "wrote 4 maps and bins.ecsv to maps" in capsys.readouterr().out
    table = QTable.read("maps/bins.ecsv")
    assert table["bin"].tolist() == ["1", "2", "3", "all"]
    assert table["mean_redshift"] == pytest.approx([0.4, 0.8, 1.2, 0.8], abs=2e-3)
    bins = read(folder).bins(n_z=folder / "n_z.ecsv", total=True)
    for row, kappa in zip(table, reconstruct_fields(bins, "wiener", n_samples=0, progress=False), strict=True):
        assert np.array_equal(ConvergenceMap.read(tmp_path / "maps" / row["file"]).data, kappa.data)
    assert reconstruct(folder, "--bins", "tomo", output="maps") == 1
    assert "bins.ecsv' exists; give --overwrite" in capsys.readouterr().err
    # any of the maps can be repeated
    command = ["repeat", "maps/bin_3.fits", "-o", "again.fits", "--input", str(folder), "--quiet"]
    assert main(command) == 0
    assert "identical, bit by bit" in capsys.readouterr().out
    # one bin alone
    options = ["--bins", "tomo", "--n-z", str(folder / "n_z.ecsv"), "--bin", "3"]
    assert reconstruct(folder, *options, output="third.fits") == 0
    third = ConvergenceMap.read("third.fits")
    assert np.array_equal(third.data, ConvergenceMap.read("maps/bin_3.fits").data)
    assert third.pixel_scale.to_value(u.arcmin) == pytest.approx(0.6, rel=1e-6)


def test_bins_by_another_column_or_edges(folder):
    assert reconstruct(folder, "--bins", "number", output="numbers") == 0
    assert QTable.read("numbers/bins.ecsv")["bin"].tolist() == ["0", "1", "2", "all"]
    assert reconstruct(folder, "--bins", "0,0.6,1,2", "--pixel-scale", "1 arcmin", output="edges") == 0
    table = QTable.read("edges/bins.ecsv")
    assert table["mean_redshift"] == pytest.approx([0.4, 0.8, 1.2, 0.8]) and len(table) == 4
    assert table["pixel_scale"].to_value(u.arcmin) == pytest.approx([1] * 4, rel=1e-6)


def test_the_densest_bin_sets_the_pixels_and_warnings_of_all_bins_are_given_once(folder, capsys, tmp_path):
    (tmp_path / "star.reg").write_text('fk5\ncircle(30,0,60")\n# text(30,0) text={star}\n')
    options = ["--columns", "redshift=", "--exclude", "star.reg"]
    assert reconstruct(folder, "--bins", "tomo", *options, output="maps") == 0
    table, printed = QTable.read("maps/bins.ecsv"), capsys.readouterr()
    assert table["pixel_scale"].to_value(u.arcmin) == pytest.approx([0.6] * 4, rel=1e-6)  # 3 per arcmin2 and bin
    assert "galaxies per square arcminute in bin" in ConvergenceMap.read("maps/bin_all.fits").meta["pixel_scale"]
    for once in ("--exclude: 1 text label left out", "--n-z: there is none for the bins"):
        assert printed.err.count(f"warning: {once}") == 1


def test_one_picture_of_all_bins(folder):
    Path("c.reg").write_text("icrs; circle(30, 0, 2')\n")
    options = ["--bins", "zbin", "--pixel-scale", "1 arcmin", "--n-z", str(folder / "n_z.ecsv")]
    outputs = ["--plot", "bins.png", "--report", "bins.html"]
    assert reconstruct(folder, *options, *outputs, "--regions", "c.reg", output="pictures") == 0
    assert Path("bins.png").read_bytes()[:4] == b"\x89PNG"
    for command in ("report", "plot-summary"):
        output = f"{command}.{'html' if command == 'report' else 'png'}"
        assert main([command, "pictures/bin_1.fits", "--regions", "c.reg", "-o", output]) == 0
    assert "bin 1, mean source redshift 0.40" in Path("report.html").read_text()
    assert main(["report", "pictures", "--regions", "c.reg", "-o", "all.html"]) == 0
    assert Path("all.html").read_text() == Path("bins.html").read_text()
    assert main(["report", "pictures/bin_2.fits", "pictures/bin_1.fits", "-o", "two.html"]) == 0
    headings = re.findall("<h2>(.*)</h2>", Path("two.html").read_text())
    assert headings[1:] == [
        f"bin_{key}.fits (bin {key}, mean source redshift {z})" for key, z in ((2, "0.80"), (1, "0.40"))
    ]
    Path("empty").mkdir()
    assert main(["report", "empty", "-o", "none.html"]) == 1 and not Path("none.html").exists()
    maps = {key: ConvergenceMap.read(f"pictures/bin_{key}.fits") for key in (1, 2, 3, "all")}
    figure = plotting.plot_maps(maps, regions=["c.reg"])
    images = [ax.images[0] for ax in figure.axes[:4]]
    assert [ax.get_title() for ax in figure.axes[:4]] == [
        *(f"bin {key}\nmean source redshift {z}" for key, z in ((1, "0.40"), (2, "0.80"), (3, "1.20"))),
        "all bins\nmean source redshift 0.80",
    ]
    assert len({image.get_clim() for image in images}) == 1
    assert all(np.array_equal(i.get_array(), k.data) for i, k in zip(images, maps.values(), strict=True))
    with pytest.raises(ValueError, match=r"^maps: need the same grid, but that of 'part' differs"):
        plotting.plot_maps({"all": maps["all"], "part": maps[1][1:]})
    with pytest.raises(TypeError, match=r"^maps: needs a dictionary"):
        plotting.plot_maps([maps[1]])


@each_case(
    ("arguments", "message"),
    [
        (["--bins", "tomo", "--checkpoint", "a.fits"], "--checkpoint: needs a single map; give the bin with --bin"),
        (["--bins", "tomo", "--bin", "7"], "--bin: needs one of 1, 2, 3, all, got '7'"),
        (["--bin", "1"], "--bin: needs --bins"),
        (["--bins", "magnitude"], "--columns: no column 'magnitude'"),
        (["--bins", "tomo", "--z-source", "1"], "--z-source: not with --bins"),
        (["--bins", "tomo", "--n-z", "there.ecsv"], "--n-z: needs .* there is no file"),
        (["--source-bin", "bin1"], "--source-bin: needs --n-z"),
    ],
)
def test_errors_name_the_option(folder, capsys, arguments, message):
    assert reconstruct(folder, *arguments, output="out.fits") == 1
    assert re.search(message, capsys.readouterr().err)
    assert not Path("out.fits").exists()
