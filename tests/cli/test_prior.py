"""``massmap simulate`` and ``massmap train``: from simulations to a prior."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from safetensors import safe_open

from astro_massmap import PowerSpectrum, ScorePrior
from astro_massmap.cli import main
from astro_massmap.training import Trainer

from helpers.cases import each_case

TINY = ["--size", "32", "--margin", "16", "--widths", "4,8,8", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "maps"
    boxes = ["--boxes", "2", "--particles", "16", "--box-size", "64", "--maps", "3", "--size", "128"]
    assert main(["simulate", "-o", str(folder), *boxes, "--device", "cpu", "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def lognormal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lognormal") / "maps"
    maps = ["--boxes", "2", "--maps", "2", "--size", "80", "--pixel-scale", "0.5 arcmin", "--seed", "3"]
    assert main(["simulate", "--lognormal", "-o", str(folder), *maps]) == 0
    return folder


def train(folder, *options, output="p.safetensors", spectrum=None):
    spectrum = folder / "spectrum.ecsv" if spectrum is None else spectrum
    arguments = ["train", "-o", output, "--maps", str(folder), "--spectrum", str(spectrum), *TINY]
    return main([*arguments, "--steps", "4", "--validate-every", "2", "--corrections", "2", *options])


def weights(file="p.safetensors"):
    return torch.cat([p.flatten() for p in ScorePrior.load(file).denoiser.parameters()])


# ---- maps


def test_simulated_maps_and_their_tables(simulated):
    assert sorted(file.name for file in simulated.iterdir()) == [
        "box_0000.safetensors", "box_0001.safetensors", "maps_0000.fits", "maps_0001.fits",
        "report.ecsv", "spectrum.ecsv", "transfer.ecsv",
    ]  # fmt: skip
    maps, header = fits.getdata(simulated / "maps_0001.fits", header=True)
    assert maps.shape == (3, 128, 128) and np.isfinite(maps).all() and 0.001 < maps.std() < 0.1
    assert header["CDELT2"] * 60 == pytest.approx(0.4)
    assert header["source_redshift"] == 1.0 and header["box_size"] == 64.0 and header["seed"] == 1
    table = Table.read(simulated / "spectrum.ecsv")
    assert table.meta["resolution"] == [5200.0, 2.2]
    expected = PowerSpectrum.default()(table["ell"]) / (1 + (table["ell"] / 5200) ** 2.2)
    assert np.allclose(table["cl"], expected, rtol=1e-6)


def test_existing_boxes_are_kept(simulated, tmp_path, capsys):
    folder = shutil.copytree(simulated, tmp_path / "copy")
    files = [*folder.glob("box_*"), *folder.glob("maps_*")]
    before = [file.read_bytes() for file in files]
    options = ["--particles", "16", "--box-size", "64", "--maps", "1", "--size", "32", "--device", "cpu", "--quiet"]
    assert main(["simulate", "-o", str(folder), "--boxes", "2", *options]) == 0
    assert [file.read_bytes() for file in files] == before
    options[1] = "12"
    assert main(["simulate", "-o", str(folder), "--boxes", "2", *options]) == 1
    assert "was made with" in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before


def test_lognormal_maps(lognormal):
    assert sorted(file.name for file in lognormal.iterdir()) == ["maps_0000.fits", "maps_0001.fits", "spectrum.ecsv"]
    (one, header), (other, _) = (fits.getdata(lognormal / f"maps_000{i}.fits", header=True) for i in range(2))
    assert one.shape == (2, 80, 80) and one.min() >= -0.03 and not np.allclose(one, other)
    assert header["seed"] == 3 and header["CDELT2"] * 60 == pytest.approx(0.5)


@pytest.mark.parametrize("option", ["--boxes", "--maps", "--size"])
def test_invalid_numbers_of_maps(option, capsys, tmp_path):
    assert main(["simulate", "-o", "new", option, "0"]) == 1
    assert capsys.readouterr().err.strip() == f"massmap: error: {option}: needs to be positive, got 0"
    assert not list(tmp_path.iterdir())


# ---- priors


@pytest.mark.slow
def test_a_prior_from_simulated_maps(simulated, tmp_path, capsys):
    assert train(simulated, "--seed", "1") == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.csv", "p.png", "p.safetensors"]
    prior = ScorePrior.load("p.safetensors")
    assert prior.pixel_scale.to_value("arcmin") == pytest.approx(0.4)
    spectrum = PowerSpectrum.read(simulated / "spectrum.ecsv")
    assert np.array_equal(prior.trained_spectrum.cl, spectrum.cl) and prior.trained_spectrum.name == spectrum.name
    card = prior.card
    assert card["source_redshift"] == 1.0 and card["resolution"] == [5200.0, 2.2]
    assert card["maps"] == "maps, folder, 2 boxes, seed of the split 1"
    assert card["training_maps"] == card["validation_maps"] == 3 and card["plan"]["seed"] == 1
    assert len(prior.correction.sigma) > 1
    assert len(Path("p.csv").read_text().splitlines()) == 3
    assert Path("p.png").read_bytes()[:4] == b"\x89PNG"
    printed = capsys.readouterr().out
    assert "3 training maps, 3 validation maps from 1 other boxes" in printed and "wrote p.safetensors" in printed
    ratio = card["denoising_ratio"]["0.050"]
    assert f"noise 0.050: mean squared error {ratio:.3f} of that of the Gaussian component alone" in printed


@pytest.mark.slow
def test_spectra_of_other_sources_have_the_resolution_of_the_maps(simulated):
    assert train(simulated) == 0
    prior = ScorePrior.load("p.safetensors", PowerSpectrum.default())
    ell = np.geomspace(300, 5000, 20)
    assert np.allclose(prior.theory(ell) / prior.trained_spectrum(ell), 1, rtol=1e-3)
    assert abs(prior.amplitude - 1) < 1e-3


@pytest.mark.slow
def test_a_prior_from_lognormal_maps(lognormal):
    assert train(lognormal, "--margin", "8", "--z-source", "0.8", "--corrections", "0") == 0
    prior = ScorePrior.load("p.safetensors")
    assert prior.pixel_scale.to_value("arcmin") == pytest.approx(0.5) and prior.card["source_redshift"] == 0.8
    assert len(prior.correction.sigma) == 1


@pytest.mark.slow
def test_without_theory(lognormal):
    assert train(lognormal, "--margin", "8", "--without-theory") == 0
    prior = ScorePrior.load("p.safetensors")
    cl = prior.trained_spectrum(np.geomspace(10, 1e6, 20))
    assert prior.trained_spectrum.name == "white" and np.allclose(cl, cl[0])


@pytest.mark.slow
def test_an_interrupted_training_continues(lognormal, monkeypatch, capsys):
    options = ["--margin", "8", "--checkpoint", "c.safetensors"]
    assert train(lognormal, "--margin", "8", output="whole.safetensors") == 0
    advance = Trainer._advance

    def interrupted(self, batch):
        if self.step == 3:
            raise KeyboardInterrupt
        return advance(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_advance", interrupted)
        assert train(lognormal, *options) == 130
    assert not Path("p.safetensors").exists()
    with safe_open("c.safetensors", framework="pt") as opened:
        assert json.loads(opened.metadata()["training"])["step"] == 2
    assert train(lognormal, *options) == 0
    assert torch.equal(weights(), weights("whole.safetensors"))
    assert Path("p.csv").read_text() == Path("whole.csv").read_text()
    assert train(lognormal, *options, "--seed", "5", output="other.safetensors") == 1
    assert "'c.safetensors' is from another run (seed differ)" in capsys.readouterr().err


# ---- what goes wrong


@each_case(
    ("options", "message"),
    [
        (["--widths", "4,8"], "--widths: needs three positive numbers such as 16,32,64, got '4,8'"),
        (["--widths", "4,8,wide"], "--widths: needs three positive numbers"),
        (["--widths", "4,0,8"], "--widths: needs three positive numbers"),
        (["--kind", "magic"], "kind: needs to be one of"),
        (["--steps", "0"], "steps: needs a positive integer, got 0"),
        (["--margin", "-1"], "margin: needs a non-negative integer (pixels), got -1"),
        (["--corrections", "-1"], "--corrections: needs a number of maps, zero or more, got -1"),
        (["--size", "96"], "pieces of 96 pixels with a margin of 16 do not fit into maps of 80 x 80"),
        (["--validation", "1.5"], "validation: needs a fraction between 0 and 1"),
        (["--pixel-scale", "2 arcmin"], "0.5 arcmin"),
        (["--device", "cuda:99"], "device"),
        (["--maps", "missing"], "folder: 'missing' does not exist"),
        (["--maps", "."], "contains no maps of a known kind"),
        (["--spectrum", "missing.ecsv"], "missing.ecsv"),
        (["-o", "no/such/p.safetensors"], "folder 'no/such' does not exist"),
        (["-o", "prior.csv"], "--output: needs the extension .safetensors, got 'prior.csv'"),
    ],
)
def test_errors_are_one_line_and_write_no_file(lognormal, capsys, tmp_path, options, message):
    assert train(lognormal, *options) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("massmap: error:") and message in error and "\n" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_second_box_is_needed(lognormal, capsys, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(lognormal / "maps_0000.fits", folder)
    options = ["--margin", "8", "--corrections", "0"]
    assert train(folder, *options, spectrum=lognormal / "spectrum.ecsv") == 1
    assert "a split needs two of them, got maps of one box" in capsys.readouterr().err
    assert train(folder, *options, "--split", "realisation", spectrum=lognormal / "spectrum.ecsv") == 0
    assert "massmap: warning: by: after a split by realisation" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["p.safetensors", "p.csv", "p.png"])
def test_existing_files_are_reported_before_the_computation(lognormal, capsys, name):
    Path(name).write_text("precious")
    assert train(lognormal, "--margin", "8") == 1
    error = capsys.readouterr().err
    assert f"{name!r} exists; give --overwrite to replace it" in error
    assert Path(name).read_text() == "precious"


@pytest.mark.slow
def test_overwriting(lognormal):
    for seed in ("0", "1"):
        assert train(lognormal, "--margin", "8", "--corrections", "0", "--seed", seed, "--overwrite") == 0
    assert ScorePrior.load("p.safetensors").card["plan"]["seed"] == 1


@each_case("command", ["simulate", "train"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and "default" in capsys.readouterr().out
