import re
import subprocess
import sys
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astro_massmap import ConvergenceMap, PowerSpectrum, datasets
from astro_massmap.cli import main
from astro_massmap.cli.reconstruct import save

from helpers.cases import each_case


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    table = datasets.demo()[::3].to_table()
    table.rename_columns(["g1", "g2"], ["e1", "e2"])
    table["good"] = np.arange(len(table)) % 2 == 0
    table.write(folder / "survey.fits")
    datasets.demo_clusters().write(folder / "clusters.ecsv")
    PowerSpectrum.default().to_table().write(folder / "cl.ecsv")
    return folder


def reconstruct(survey, *arguments, output="kappa.fits"):
    return main(
        ["reconstruct", str(survey / "survey.fits"), "--axes", "west-north", "-o", output, "--quiet", *arguments]
    )


@pytest.mark.slow
def test_the_demonstration_prints_its_files(capsys):
    assert main(["demo", "--n-samples", "2", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "wrote massmap_demo.fits" in printed
    assert "wrote massmap_demo.png" in printed
    kappa = ConvergenceMap.read("massmap_demo.fits")
    assert kappa.samples.shape == (2, 128, 128)
    assert kappa.diagnostics["method"] == "AnnealedHMC"
    assert kappa.diagnostics["score_evaluations"] > 0
    # it can be run again, and replaces only its own files
    assert main(["demo", "--n-samples", "1", "--quiet"]) == 0
    assert main(["demo", "--n-samples", "1", "--quiet", "-o", "mine.fits"]) == 0
    assert main(["demo", "--n-samples", "1", "--quiet", "-o", "mine.fits"]) == 1


@pytest.mark.parametrize(("width", "inches"), [(None, 8), ("column", 3.4), ("page", 7)])
def test_pictures_for_print(width, inches):
    """PDF files embed TrueType fonts, and have the width of a column or a page if given."""
    save(datasets.demo_truth(), Path("truth.fits"), Path("truth.pdf"), None, overwrite=False, width=width)
    content = Path("truth.pdf").read_bytes()
    assert b"/FontFile2" in content and b"/Subtype /Type3" not in content
    box = re.search(rb"/MediaBox \[\s*0 0 ([\d.]+)", content)
    assert np.isclose(float(box[1]), 72 * inches, atol=0.1)


def test_a_catalogue_becomes_a_map_and_a_picture(survey, capsys, tmp_path):
    code = reconstruct(
        survey, "--method", "wiener", "--n-samples", "2", "--pixel-scale", "0.8 arcmin", "--plot", "kappa.png",
        "--check-axes",
        "--regions", str(survey / "clusters.ecsv"), "--spectrum", str(survey / "cl.ecsv"), "--seed", "3",
    )  # fmt: skip
    assert code == 0
    kappa = ConvergenceMap.read("kappa.fits")
    assert kappa.samples.shape == (2, 64, 64)
    assert kappa.diagnostics["settings"]["seed"] == 3
    assert kappa.meta["catalog"] == "survey.fits"
    assert (tmp_path / "kappa.png").read_bytes()[:4] == b"\x89PNG"
    assert "axes 'west-north'" in capsys.readouterr().out


def test_selection_exclusion_and_method(survey):
    assert reconstruct(survey, "--select", "good", "--method", "kaiser_squires", "--smoothing", "2 arcmin") == 0
    kappa = ConvergenceMap.read("kappa.fits")
    n = Table.read(survey / "survey.fits")["good"].sum()
    assert kappa.meta["n_galaxies"] == n
    assert kappa.b_mode is not None
    assert (
        reconstruct(
            survey,
            "--exclude",
            str(survey / "clusters.ecsv"),
            "--method",
            "wiener",
            "--n-samples",
            "0",
            output="less.fits",
        )
        == 0
    )
    assert ConvergenceMap.read("less.fits").meta["n_galaxies"] < 2 * n


@each_case(
    ("arguments", "message"),
    [
        (["--method", "magic"], "'magic' is unknown"),
        (["--method", "kaiser_squires", "--seed", "3"], "method 'kaiser_squires' has no option seed"),
        (["--method", "wiener", "--inpaint", "9"], "method 'wiener' has no option inpaint"),
        (["--columns", "g1=nope"], "no column 'nope'"),
        (["--select", "nope"], "no column 'nope'"),
        (["--regions", "missing.reg"], "missing.reg"),
        (["--plot", "no/such/folder.png"], "folder"),
        (["--n-samples", "-3"], "--n-samples: needs"),
        (["--device", "cuda:99"], "device"),
        (["--width", "page"], "--width: needs --plot"),
        (["--plot", "picture.xyz"], "needs one of the extensions"),
        (["--wcs", "missing.fits"], "missing.fits"),
        (["--exclude", "missing.reg"], "--exclude: there is no file 'missing.reg'"),  # was REGIONS
        (["--z-source", "-1"], "--z-source: needs positive"),  # was --n-z
        (["--bins", "1.2,0.2"], "--bins: needs two or more increasing"),  # was edges
        (["--prior", "missing.safetensors"], "missing.safetensors"),
        (["--method", "wiener", "--prior", "gaussian"], "--prior: not used by"),
        (["--pixel-scale", "2.5 arcmin"], "--prior: needs pixels of 0.25 to 2 arcmin"),
        (["--field", "targeted", "--pixel-scale", "0.5 arcmin"], "--prior: needs pixels of 0.1 to 0.4 arcmin"),
        (["--field", "targeted", "--method", "wiener"], "--field: a choice of the default prior"),
    ],
)
def test_errors_are_one_line_and_write_no_file(survey, capsys, tmp_path, arguments, message):
    assert reconstruct(survey, *arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("massmap: error:")
    assert message in error
    assert not list(tmp_path.iterdir())


def test_the_grid_of_another_image(survey):
    assert (
        reconstruct(survey, "--method", "wiener", "--n-samples", "0", "--pixel-scale", "1 arcmin", output="one.fits")
        == 0
    )
    assert reconstruct(survey, "--method", "wiener", "--n-samples", "0", "--wcs", "one.fits", output="two.fits") == 0
    assert np.allclose(ConvergenceMap.read("one.fits").data, ConvergenceMap.read("two.fits").data, atol=1e-4)


def test_a_map_needs_a_fits_extension(survey, capsys):
    assert reconstruct(survey, output="kappa.png") == 1
    assert "ends in .fits" in capsys.readouterr().err


@each_case("arguments", [["--columns", "g1"], ["--pixel-scale", "0.4 m"], ["--pixel-scale", "zero"]])
def test_invalid_arguments(survey, arguments):
    with pytest.raises(SystemExit):
        reconstruct(survey, *arguments)


def test_the_error_for_an_unknown_option_names_the_command_and_a_similar_option(survey, capsys):
    with pytest.raises(SystemExit):
        reconstruct(survey, "--metod", "wiener")
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("massmap reconstruct: error: unrecognized arguments: --metod wiener; similar: --method;")


def test_a_missing_catalogue_is_named(capsys):
    assert main(["reconstruct", "missing.fits", "--axes", "west-north", "-o", "kappa.fits"]) == 1
    error = capsys.readouterr().err
    assert "there is no file" in error and "missing.fits" in error and "Errno" not in error
    Path("maps").mkdir()
    assert main(["info", "maps"]) == 1
    assert "maps' is a folder; give one of the files in it" in capsys.readouterr().err


def test_existing_files_are_reported_before_the_computation(survey, capsys):
    fits.PrimaryHDU().writeto("kappa.fits")
    assert reconstruct(survey) == 1
    assert "overwrite" in capsys.readouterr().err
    assert reconstruct(survey, "--overwrite", "--method", "wiener", "--n-samples", "0") == 0


def test_warnings_are_one_line(survey, capsys):
    table = Table.read(survey / "survey.fits")
    table["e1"][:3] = np.nan
    table.write("holes.fits")
    assert (
        main(
            [
                "reconstruct",
                "holes.fits",
                "--axes",
                "west-north",
                "-o",
                "k.fits",
                "--quiet",
                "--method",
                "wiener",
                "--n-samples",
                "0",
            ]
        )
        == 0
    )
    assert "massmap: warning: 3 of" in capsys.readouterr().err


def test_annealed_hmc_from_the_shell(survey):
    options = ["--prior", "gaussian", "--schedule", "fast", "--n-samples", "2", "--pixel-scale", "1.6 arcmin"]
    options += ["--spectrum", str(survey / "cl.ecsv"), "--checkpoint", "samples.fits"]
    assert reconstruct(survey, *options) == 0
    assert ConvergenceMap.read("kappa.fits").diagnostics["method"] == "AnnealedHMC"


def test_check_of_the_sampler(capsys):
    assert main(["validate", "--gaussian", "--n-check", "6"]) == 0
    printed = capsys.readouterr().out
    assert "standard errors" in printed and len(printed.splitlines()) == 11


def test_help_and_version(capsys):
    for argument in ("--help", "--version"):
        with pytest.raises(SystemExit) as end:
            main([argument])
        assert end.value.code == 0
    assert "reconstruct" in capsys.readouterr().out


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    kappa = datasets.demo().reconstruct("kaiser_squires", pixel_scale=1.6 * u.arcmin)
    kappa.write(tmp_path / "kappa.fits")
    command = [sys.executable, "-m", "astro_massmap", "info", str(tmp_path / "kappa.fits")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert "Broken pipe" not in process.stderr.read().decode()
    assert process.returncode == 0
