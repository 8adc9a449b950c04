"""The command ``massmap survey``."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable

from astro_massmap import ConvergenceMap, SkyFields, SkyMaps, datasets
from astro_massmap.cli import main


def test_a_survey_in_the_shell_is_that_of_python(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = datasets.demo()[::3]
    catalog.write("galaxies.fits")
    datasets.demo_clusters().write("clusters.ecsv")
    line = "survey galaxies.fits --axes west-north --rows 9000 --fields 64 --method kaiser_squires --quiet -o maps"
    options = ["--pixel-scale", "1.6 arcmin", "--smoothing", "2 arcmin", "--healpix", "sky.fits", "--threshold", "0.02"]
    options += ["--peaks", "peaks.ecsv", "--clusters", "clusters.ecsv", "--size", "16 arcmin"]
    assert main([*line.split(), *options]) == 0
    assert "wrote 4 maps to maps" in capsys.readouterr().out
    maps = SkyMaps.read("maps")
    pieces = SkyFields([catalog[:9000], catalog[9000:18000], catalog[18000:]], nside=64, pixel_scale=maps.pixel_scale)
    for cell in maps:
        np.testing.assert_allclose(maps[cell].wcs.wcs.crval, pieces[cell].wcs.wcs.crval)
        assert maps[cell].meta["n_galaxies"] == pieces[cell].meta["n_galaxies"]
    peaks = QTable.read("peaks.ecsv")
    assert len(peaks) == len(maps.peaks(0.02)) > 2 and isinstance(peaks["center"], SkyCoord)
    clusters = sorted(file.name for file in (tmp_path / "maps/clusters").iterdir())
    assert clusters == [f"cluster_{name}.fits" for name in "ABCDE"]
    assert (~ConvergenceMap.from_healpix("sky.fits", wcs=datasets.demo_truth().wcs).mask).mean() > 0.7


def test_tomographic_bins_have_a_folder_each(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = datasets.demo()[::3]
    catalog.tomo, catalog.redshift = np.arange(len(catalog)) % 2 + 1, np.full(len(catalog), 0.8)
    catalog.write("galaxies.fits")
    line = "survey galaxies.fits --axes west-north --fields 64 --method kaiser_squires --quiet -o maps --bins tomo"
    options = ["--pixel-scale", "1.6 arcmin", "--smoothing", "2 arcmin", "--threshold", "0.02", "--peaks", "peaks.ecsv"]
    options += ["--noise", "2", "--healpix", "sky.fits"]
    assert main([*line.split(), *options]) == 0
    assert capsys.readouterr().out.count("wrote 4 maps") == 6
    noise = SkyMaps.read("maps/bin_2/noise")
    assert noise[noise.cells[0]].samples.shape[0] == 2
    std = ConvergenceMap.from_healpix("sky_bin_2_noise.fits", wcs=datasets.demo_truth().wcs, field="STD")
    assert (std.data > 0).any()
    maps = {key: SkyMaps.read(f"maps/bin_{key}") for key in (1, 2, "all")}
    n = [sum(maps[key][cell].meta["n_galaxies"] for cell in maps[key]) for key in maps]
    assert n[0] + n[1] == n[2]
    assert len(QTable.read("peaks_bin_2.ecsv")) == len(maps[2].peaks(0.02))
    assert main([*line.split(), "--source-bin", "bin1"]) == 1
    assert "--source-bin: not with --bins" in capsys.readouterr().err


def test_a_property_in_a_column_of_the_catalogue(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = datasets.demo()[::3]
    table = catalog.to_table()
    table["psf"] = catalog.g1
    table.write("galaxies.fits")
    line = "property-test galaxies.fits --axes west-north --select weight>0&ra>34.5 --property"
    assert main([*line.split(), "psf", "-o", "quantiles.ecsv"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("slope per standard deviation of the property: g1 +0.26") and "p < 0.001" in out
    assert QTable.read("quantiles.ecsv").colnames == ["property", "g1", "g1_std", "g2", "g2_std"]
    assert main([*line.split(), "depth"]) == 1
    assert "--property: 'depth' is neither a file nor a column" in capsys.readouterr().err
    # the column is one of the table of galaxies, also if that is not the first
    runs = fits.BinTableHDU(QTable({"psf": np.zeros(7)}), name="RUNS")
    fits.HDUList([fits.PrimaryHDU(), runs, fits.table_to_hdu(table)]).writeto("second.fits")
    assert main([*line.replace("galaxies.fits", "second.fits").split(), "psf"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == out.splitlines()[0]


def test_errors_come_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    line = "survey none.fits --axes west-north -o maps"
    for more, message in [
        ("--peaks peaks.ecsv", "--peaks: needs --threshold"),
        ("--noise 1", "--noise: needs"),
        ("--noise 100", "--noise: maps of chains take too long"),
        ("--checkpoint samples.fits", "--checkpoint: not with survey"),
        ("--fields 20", "--nside: needs one of"),
        ("--clusters none.reg", "there is no file 'none.reg'"),
        ("-o file", "--output: 'file' exists and is not a folder"),
    ]:
        assert main([*line.split(), *more.split()]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*line.split(), "--peaks", "peaks.foo"])
    assert "--peaks: 'peaks.foo' needs the extension of a table format" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()
